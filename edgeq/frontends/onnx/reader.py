"""An ONNX model -> Graph: inputs with static shapes, node after node, and one refusal that lists all unsupported parts."""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Mapping, MutableMapping

import numpy as np
from numpy.typing import ArrayLike
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx import (
    blockwise,
    channels_last,
    classical,
    contraction,
    dynamic,
    elementwise,
    fused,
    fused_attention,
    indexing,
    linear,
    logic,
    movement,
    normal,
    pooling,
    qonnx,
    quantized,
    recurrent,
    resizing,
    spectra,
)  # fmt: skip
from edgeq.frontends.onnx.advice import ADVICE, MEANINGLESS, advice
from edgeq.frontends.onnx.builder import CONTRADICTIONS, Builder
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.expansion import body_of
from edgeq.frontends.onnx.file import DAMAGED, FLOATS, FOURS, array, graphs, opset, printable, type_name
from edgeq.frontends.onnx.folding import constant_node, fold, foldable
from edgeq.frontends.onnx.indexed import BY_DEFINITION, by_index, is_index
from edgeq.frontends.onnx.inference import inferred_types
from edgeq.frontends.onnx.inputs import fixed_value, named_sizes, static_shape
from edgeq.frontends.onnx.logic import marked
from edgeq.frontends.onnx.loops import unrolled
from edgeq.frontends.onnx.registry import READERS
from edgeq.frontends.onnx.values import Constant, Index, Value, is_integer, is_whole, whole
from edgeq.ir import DType, Graph, QParams, Tensor, TensorType
from edgeq.text import first_of

LOG = logging.getLogger("edgeq")
Shapes = Mapping[str, tuple[int, ...]]
Consts = Mapping[str, ArrayLike]
MAX_DEPTH = 20  # of an If in an If
# importing them registers their readers
MODULES = (
    blockwise, channels_last, classical, contraction, dynamic, elementwise, fused, fused_attention, indexing, linear, logic, movement,
    normal, pooling, qonnx, quantized, recurrent, resizing, spectra,
)  # fmt: skip
INTEGERS = (TensorProto.INT8, TensorProto.UINT8)
WHOLE = (TensorProto.BOOL, TensorProto.INT32, TensorProto.INT64)


class Refused:
    """What a node could not give; consumers of it are not refused again."""


class Reader:
    """Reads one model.

    Attributes:
        values: ONNX name -> what it holds.
        refusals: per node that cannot be read its name and why.
    """

    def __init__(self, model: ModelProto, name: str, where: str) -> None:
        self.model, self.where = model, where
        self.version = opset(model) or 0
        parts = list(graphs(model))
        names = [n for g in parts for node in g.node for n in (*node.input, *node.output)]
        self.builder = Builder(name, [*names, *(t.name for g in parts for t in g.initializer), *(i.name for i in model.graph.input)])
        self.values: MutableMapping[str, Value | Refused] = {}
        self.refusals: list[tuple[str, str]] = []
        self.used = {n for g in parts for node in g.node for n in node.input} | {o.name for g in parts for o in g.output}
        self.bound: set[str] = set()  # names of the file that tensors have
        self.depth = 0  # of the If that is read
        self.inferred: dict[str, TensorType] | None = None

    def read(self, shapes: Shapes, const: Consts) -> Graph:
        """The graph, quantized nodes still as stand-ins.

        Args:
            shapes: of inputs whose dimensions the file leaves open.
            const: values of inputs that are bound to them.

        Raises:
            EdgeqError: an input has no static shape, or nodes cannot be read (all are listed).
        """
        for tensor in self.model.graph.initializer:
            self._define(tensor.name, self._initializer(tensor))
        self._inputs(shapes, const)
        for node in self.model.graph.node:
            self._node(node)
        if self.refusals:
            self._refuse()
        outputs = []
        for info in self.model.graph.output:
            value = self.values.get(info.name)
            if value is None or isinstance(value, Refused):
                raise EdgeqError(f"output '{printable(info.name)}' is never computed", where=self.where, why=DAMAGED)
            dynamic.check("an output", [value])
            code = info.type.tensor_type.elem_type
            if code in (TensorProto.INT16, TensorProto.UINT16) and isinstance(value, Tensor) and not is_whole(value):
                fix = "end the model with a DequantizeLinear, or quantize its end to int8 or uint8"
                raise EdgeqError(f"output '{printable(info.name)}' is {type_name(code)}, which is not supported", where=self.where, fix=fix)
            outputs.append((info.name, value))
        if not outputs or len({n for n, _ in outputs}) != len(outputs):
            raise EdgeqError("the model has no outputs, or one of them twice", where=self.where, why=DAMAGED)
        for said, noted in (("stored in INT16 or UINT16", self.builder.words), ("quantized at run time", self.builder.dynamic)):
            if noted:
                names = first_of([f"'{printable(n)}'" for n in noted])
                LOG.warning("%s, read as floats: %s. Calibrate (--calib), or take --recipe fp16", said, names)
        return self.builder.finish(outputs)

    def _define(self, name: str, value: Value | Refused) -> None:
        if name in self.values:
            raise EdgeqError(f"'{printable(name)}' is defined twice", where=self.where, why=DAMAGED)
        self.values[name] = value

    def _initializer(self, tensor: TensorProto) -> Constant:
        return Constant(tensor.name, array(tensor), four=tensor.data_type in FOURS)

    # inputs

    def _inputs(self, shapes: Shapes, const: Consts) -> None:
        given, fixed = dict(shapes), dict(const)
        self._known_inputs([*given, *fixed])
        symbols = named_sizes([i for i in self.model.graph.input if i.name not in fixed], given)
        for info in self.model.graph.input:
            if info.name in fixed:
                self.values.pop(info.name, None)
                self._define(info.name, Constant(info.name, fixed_value(info, fixed.pop(info.name))))
            elif info.name not in self.values:  # older files list initializers here, too
                self._input(info, given.pop(info.name, None), symbols)
        if given:  # of what an initializer gives
            raise EdgeqError(f"'{next(iter(given))}' is no input", where=self.where, why="the file gives it a value", fix="leave it out")
        if not self.builder.inputs:
            raise EdgeqError("the model has no inputs", where=self.where)

    def _known_inputs(self, names: list[str]) -> None:
        """Refuse shapes and values of inputs that the model does not have."""
        inputs = [i.name for i in self.model.graph.input]
        wrong = next((n for n in names if n not in inputs), None)
        if wrong is not None:
            known = ", ".join(f"'{printable(n)}'" for n in inputs) or "none"
            raise EdgeqError(f"the model has no input '{wrong}'", where=self.where, why=f"its inputs: {known}")

    def _input(self, info: ValueInfoProto, given: tuple[int, ...] | None, symbols: Mapping[str, int]) -> None:
        if not info.type.HasField("tensor_type") or not info.name:
            raise EdgeqError("an input that is no tensor is not supported", where=printable(info.name), fix=ADVICE["SequenceAt"])
        code = info.type.tensor_type.elem_type
        shape = static_shape(info, given, symbols)
        readers = [n for n in self.model.graph.node if info.name in n.input]
        cast = code != TensorProto.BOOL and readers and all(n.op_type == "Cast" for n in readers)  # images as integers
        if code in FLOATS or cast:
            self._define(info.name, self.builder.add_input(info.name, TensorType(shape), False))
        elif code in WHOLE:
            tensor = self.builder.add_input(info.name, TensorType(shape), False)
            constants = {n for n, v in self.values.items() if isinstance(v, Constant)}
            counts = code != TensorProto.BOOL and is_index(self.model, info.name, constants)
            self._define(info.name, Index(tensor.name, tensor.type) if counts else whole(tensor, code == TensorProto.BOOL))
        elif code in INTEGERS:
            q = self._input_scale(info.name)
            self._define(info.name, self.builder.add_input(info.name, TensorType(shape, DType.INT8, q), code == TensorProto.UINT8))
        else:
            fix = f'use floats, or bind it to its value, as --const "{printable(info.name)}=1"'
            if code == TensorProto.STRING:
                fix = ADVICE["StringSplit"]
            elif code in (TensorProto.INT16, TensorProto.UINT16):
                fix = "export it with a float input, or as int8 or uint8 with the scale of a DequantizeLinear"
            raise EdgeqError(f"an input of type {type_name(code)} is not supported", where=printable(info.name), fix=fix)

    def _input_scale(self, name: str) -> QParams:
        """Scale and zero point of an integer input: those of the node that first gives it a meaning."""
        constants = {n: v.array for n, v in self.values.items() if isinstance(v, Constant)}
        seen, pending = {name}, [name]
        while pending:
            name = pending.pop(0)
            for node in self.model.graph.node:
                if name not in node.input:
                    continue
                at = list(node.input).index(name)
                scaled = node.op_type == "DequantizeLinear" or node.op_type.startswith("QLinear") or node.op_type == "QGemm"
                if scaled and len(node.input) > at + 2 and node.input[at + 1] in constants and node.input[at + 2] in constants:
                    scale, zero = constants[node.input[at + 1]], constants[node.input[at + 2]]
                    if scale.size == zero.size == 1 and scale.dtype.kind == "f":
                        return QParams((float(scale.ravel()[0]),), int(zero.ravel()[0]) - (128 if zero.dtype == np.uint8 else 0))
                if (reader := READERS.get(("", node.op_type))) and reader.integers and not scaled:
                    fresh = [o for o in node.output if o and o not in seen]
                    seen.update(fresh)
                    pending += fresh
        raise EdgeqError("the model does not give the scale of an integer input", where=printable(name), fix="use the QDQ format")

    # nodes

    def _node(self, node: NodeProto, anonymous: bool = False) -> None:
        """Read a node; the names of an anonymous one are not the file's."""
        where = node.name or next((o for o in node.output if o), "") or node.op_type
        try:
            results = self._results(node, anonymous)
        except EdgeqError as e:
            self._note(where, e)
            results = [self._placeholder(o) for o in node.output]
        except (*CONTRADICTIONS, RecursionError) as e:
            self._note(where, EdgeqError(f"{node.op_type} is malformed", why=f"{type(e).__name__}: {e}"[:120]))
            results = [self._placeholder(o) for o in node.output]
        for i, (name, result) in enumerate(zip(node.output, [*results, *[None] * len(node.output)], strict=False)):
            if name:
                self._define(name, Refused() if result is None else result)
            if result is None and name in self.used and not self.refusals:
                fix = f"leave '{printable(name)}' unread in the model"
                self._note(where, EdgeqError(f"output {i} of {node.op_type} is not supported", fix=fix))

    def _results(self, node: NodeProto, anonymous: bool) -> list[Value | Refused | None]:
        """What a node's outputs hold.

        Raises:
            EdgeqError: the node cannot be read.
        """
        domain = "" if node.domain == "ai.onnx" else node.domain
        inputs = [self.values.get(n) if n else None for n in node.input]
        missing = [n for n, v in zip(node.input, inputs, strict=True) if n and v is None]
        if missing:
            raise EdgeqError(f"input '{printable(missing[0])}' is used before it is computed", why=DAMAGED)
        call = Call(self.builder, node, self.version, [v for v in inputs if not isinstance(v, Refused)])
        dynamic.check(node.op_type, call.values)
        if (domain, node.op_type) == ("", "If"):
            return self._branch(node, inputs[0] if inputs else None)
        if domain == "" and node.op_type in ("Scan", "Loop"):
            return self._loop(node, call, any(isinstance(v, Refused) for v in inputs))
        constant = domain == "" and node.op_type == "Constant"
        unknown = any(isinstance(v, Refused) for v in inputs)
        if not unknown and (constant or foldable(call)):
            return [constant_node(call)] if constant else list(dynamic.carried(call, fold(call)))
        reader = READERS.get((domain, node.op_type))
        if not unknown and (reader is None or (domain == "" and self._wants_body(node, call))):
            expanded = body_of(call, domain)
            if expanded is not None:
                return self._body(node, call, *expanded)
        if reader is None:
            name = f"{domain}::{node.op_type}" if domain else node.op_type
            raise EdgeqError(f"{printable(name)} is not supported", fix=advice(domain, node.op_type))
        if unknown:
            return [self._placeholder(o) for o in node.output]
        integers = any(isinstance(v, Tensor) and is_integer(v) for v in call.values)
        if integers and not reader.integers:
            raise EdgeqError(f"{node.op_type} of integers is not supported", fix="dequantize its inputs")
        result = reader.read(call)
        unread = {a.name for a in node.attribute} - call.read - MEANINGLESS.get(node.op_type, frozenset())
        if unread:
            raise EdgeqError(f"{node.op_type} with attribute '{printable(min(unread))}' is not supported")
        found = dynamic.carried(call, [result] if isinstance(result, Tensor | Constant) else result)
        results: list[Value | Refused | None] = list(marked(node.op_type, call.values, found))
        if not anonymous:
            self._bind(node, call, results)
        return results

    def _branch(self, node: NodeProto, condition: Value | Refused | None) -> list[Value | Refused | None]:
        """The outputs of an If whose condition is known: its branch is read in place, its names are seen in it alone."""
        if isinstance(condition, Refused):
            return [Refused() for _ in node.output]
        if not isinstance(condition, Constant) or condition.array.size != 1:
            fix = "bind the input that decides it to its value (--const NAME=VALUE), or export the model without control flow"
            raise EdgeqError("If on a condition that is computed from the inputs is not supported", fix=fix)
        name = "then_branch" if condition.array.ravel()[0] else "else_branch"
        branch: GraphProto | None = next((a.g for a in node.attribute if a.name == name and a.HasField("g")), None)
        if branch is None or len(branch.output) != len(node.output):
            raise EdgeqError(f"If without a {name} that gives its outputs", why=DAMAGED)
        if self.depth >= MAX_DEPTH:
            raise EdgeqError(f"If nested in more than {MAX_DEPTH} others is not supported")
        return self._inside(branch, {})

    def _inside(self, part: GraphProto, given: Mapping[str, Value], anonymous: bool = False) -> list[Value | Refused | None]:
        """The outputs of a graph in a node: names of its own are seen in it alone."""
        outer = self.values
        self.values, self.depth = ChainMap(dict(given), dict(outer)), self.depth + 1
        try:
            for tensor in part.initializer:
                self._define(tensor.name, self._initializer(tensor))
            for inner in part.node:
                self._node(inner, anonymous)
            return [self.values.get(o.name) for o in part.output]
        finally:
            self.values, self.depth = outer, self.depth - 1

    def _loop(self, node: NodeProto, call: Call, unknown: bool) -> list[Value | Refused | None]:
        """The outputs of a loop, its body read once per turn.

        Raises:
            EdgeqError: the number of turns is not known, or the body cannot be read.
        """
        body: GraphProto | None = next((a.g for a in node.attribute if a.name == "body" and a.HasField("g")), None)
        if self.depth >= MAX_DEPTH or body is None:
            raise EdgeqError(f"{node.op_type} without a body, or nested in more than {MAX_DEPTH} others is not supported")
        if unknown:
            return [Refused() for _ in node.output]
        part, first = body, len(self.builder.nodes)

        def run(given: Mapping[str, Value]) -> list[Value]:
            before = len(self.refusals)
            found = self._inside(part, given, anonymous=True)
            known = [v for v in found if v is not None and not isinstance(v, Refused)]
            if len(self.refusals) > before or len(known) < len(found):
                why = self.refusals[before][1] if len(self.refusals) > before else DAMAGED
                del self.refusals[before:]
                why = why.partition("with this body (")[2][:-1] or why  # of the innermost loop
                raise EdgeqError(f"{node.op_type} is not supported with this body", why=why[:200])
            return known

        results: list[Value | Refused | None] = list(unrolled(call, run))
        call.created += [self.builder.tensors[o] for n in self.builder.nodes[first:] for o in n.outputs]
        self._bind(node, call, results)
        return results

    def _wants_body(self, node: NodeProto, call: Call) -> bool:
        """Whether an operator that has a reader is read by its definition all the same: its further outputs are wanted, or no index is."""
        if node.op_type in BY_DEFINITION:
            return not by_index(call)
        return node.op_type == "LayerNormalization" and any(n in self.used for n in node.output[1:])

    def _body(self, node: NodeProto, call: Call, body: FunctionProto, version: int) -> list[Value | Refused | None]:
        """The outputs of an operator that the standard defines by others: its body is read in place, its names seen in it alone.

        Raises:
            EdgeqError: the body holds what cannot be read.
        """
        if self.depth >= MAX_DEPTH:
            raise EdgeqError(f"{node.op_type} nested in more than {MAX_DEPTH} others is not supported")
        outer, used, own = self.values, self.used, self.version
        before, first = len(self.refusals), len(self.builder.nodes)
        given = {n: v for n, v in zip(body.input, call.values, strict=False) if v is not None}
        absent = set(body.input) - set(given)
        for inner in body.node:
            names = ["" if n in absent else n for n in inner.input]
            del inner.input[:]
            inner.input.extend(names)
        self.values, self.depth, self.version = dict(given), self.depth + 1, version
        self.used = {n for inner in body.node for n in inner.input} | set(body.output)
        try:
            for inner in body.node:
                inner.name = f"{call.label}/{inner.name or inner.op_type}"
                self._node(inner, anonymous=True)
            results = [self.values.get(name) for name in body.output]
        finally:
            self.values, self.depth, self.version, self.used = outer, self.depth - 1, own, used
        if len(self.refusals) > before:
            why = self.refusals[before][1]
            del self.refusals[before:]
            fix = ADVICE.get(node.op_type, "")
            raise EdgeqError(f"{node.op_type} is not supported in this form", why="" if fix else why[:200], fix=fix)
        call.created += [self.builder.tensors[o] for n in self.builder.nodes[first:] for o in n.outputs]
        self._bind(node, call, results)
        return results

    def _bind(self, node: NodeProto, call: Call, results: list[Value | Refused | None]) -> None:
        """Tensors that this node has computed take the names of its outputs."""
        created = {t.name for t in call.created}
        for name, result in zip(node.output, results, strict=False):
            fresh = isinstance(result, Tensor) and result.name in created and result.name not in self.builder.final
            if isinstance(result, Tensor) and fresh and name and name not in self.bound:
                self.builder.final[result.name] = name
                self.bound.add(name)

    # refusals

    def _note(self, where: str, e: EdgeqError) -> None:
        text = f"{e.where + ': ' if e.where else ''}{e.what}{f' ({e.why})' if e.why else ''}{f', fix: {e.fix}' if e.fix else ''}"
        self.refusals.append((printable(where), "".join(c if c.isprintable() else "?" for c in " ".join(text.split()))))

    def _refuse(self) -> None:
        what = "a node cannot be read" if len(self.refusals) == 1 else f"{len(self.refusals)} nodes cannot be read"
        groups: dict[str, list[str]] = {}
        for name, text in self.refusals:
            groups.setdefault(text, []).append(f"'{name}'")
        raise EdgeqError(what, where=self.where, why="; ".join(f"{first_of(names)}: {text}" for text, names in groups.items()))

    def _placeholder(self, name: str) -> Value | Refused:
        """A tensor of the shape that onnx infers, so that the nodes after a refused one are examined as well."""
        if self.inferred is None:
            self.inferred = inferred_types(self.model, {n: self.builder.tensors[n].type.shape for n in self.builder.inputs})
        known = self.inferred.get(name)
        if known is None or not name:
            return Refused()
        tensor = Tensor(self.builder.fresh(name), known)
        self.builder.tensors[tensor.name] = tensor
        return tensor
