"""From stored operators to edgeq's: what the translators of the single operators share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.file import MAX_ELEMENTS, File, FileOperator
from edgeq.frontends.tflite.reading import Reading
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.concat import Concat
from edgeq.ops.gather import Gather
from edgeq.ops.linear import NO_CLAMP, Clamp
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.ops.rescale import Rescale
from edgeq.ops.reshape import Reshape
from edgeq.ops.selection import Selection
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.whole import Whole, WholeCast

# What an operator's `infer` may trip over when a damaged file contradicts itself.
CONTRADICTIONS = (ValueError, IndexError, TypeError, ZeroDivisionError, OverflowError, AssertionError, KeyError, AttributeError)
STARTED = -1  # the variable that tells whether there was an inference before
ACTIVATIONS: Mapping[int, Clamp] = {0: NO_CLAMP, 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


def require_scales(kind: str, *types: TensorType) -> None:
    """Refuse integers without a scale, which only few operators compute with.

    Raises:
        EdgeqError: names the first.
    """
    for t in types:
        if t.q is None and t.dtype in (DType.INT8, DType.INT16, DType.INT32):
            fix = "quantize the model by the TFLite converter"
            raise EdgeqError(f"{kind} on {t} without a scale is not supported", fix=fix)


class Builder(Reading):
    """The graph in the making.

    Attributes:
        resources: index of a VAR_HANDLE's result -> name of the variable.
        initial: name of a variable -> what it is before the first inference.
        kept: variable (its name, or its index where it is a tensor) -> its value at this point of the inference.
        states: variable -> the graph's input of that value.
        offsets: variable of floats -> what it begins with, where that is not zero; the state is kept less it.
        turned, depth: operators of loops' turns that were read, and loops that are read now.
        spreads: name of a SPACE_TO_BATCH_ND's result -> what it was made of.
    """

    def __init__(self, file: File, name: str, shapes: Mapping[str, tuple[int, ...]] | None) -> None:
        super().__init__(file, name, shapes)
        self.nodes: list[Node] = []
        self.turned, self.depth = 0, 0
        self.spreads: dict[str, Any] = {}
        self.resources: dict[int, str] = {}
        self.initial: dict[str, Array] = {}
        self.kept: dict[str | int, Tensor] = {}
        self.states: dict[str | int, Tensor] = {}
        self.offsets: dict[str, Tensor] = {}

    # Variables

    def variable(self, key: str | int, type: TensorType) -> Tensor:
        """The value of a variable: an input of the graph where this inference has not set it yet.

        Raises:
            EdgeqError: it is read as another type than it has, or begins with values of another.
        """
        if key not in self.kept:
            data = self.initial.get(key) if isinstance(key, str) else None
            if data is not None and (data.size != type.size or data.dtype != type.dtype.numpy):
                why = f"it begins with {data.dtype}{list(data.shape)}, and is read as {type}"
                raise EdgeqError(f"variable '{key}' begins with values of another type", why=why, fix="convert the model again")
            self.kept[key] = self.states[key] = self.keep(Tensor(self.fresh(key) if isinstance(key, str) else self.tensor_name(key), type))
            if data is not None and isinstance(key, str) and (data != type.zero_point).any():
                self.kept[key] = self._begun(key, self.states[key], data.reshape(type.shape))
        if self.kept[key].type != type:
            raise EdgeqError(f"variable '{self.kept[key].name}' is {self.kept[key].type} and read as {type}", why="the file is damaged")
        return self.kept[key]

    def _begun(self, key: str, state: Tensor, data: Array) -> Tensor:
        """A variable that does not begin with zeros. States do: floats are kept less what they begin with; of integers another state
        tells whether there was an inference before."""
        first = self.new_constant(f"{key}/first", data, state.type)
        if state.type.dtype is DType.FLOAT32:
            self.offsets[key] = first
            return self.insert(Add(), [state, first], f"{key}/value")
        if STARTED not in self.kept:
            truth = TensorType((1,), DType.INT8)
            self.states[STARTED] = self.keep(Tensor(self.fresh("started"), truth))
            true = self.new_constant("started/true", np.ones(1, np.int8), truth)
            self.kept[STARTED] = self.insert(Selection(), [self.states[STARTED], true, true], "started/next")
        size = state.type.size
        started = self.insert(Gather(indices=(0,) * size, index_shape=(size,), axis=0), [self.states[STARTED]], f"{key}/started")
        started = self.reshaped(started, state.type.shape, f"{key}/started")
        return self.insert(Selection(), [started, state, first], f"{key}/value", state.type)

    def assign(self, key: str | int, value: Tensor) -> None:
        """Set a variable; a state keeps one type.

        Raises:
            EdgeqError: the value has another type.
        """
        known = self.kept.get(key)
        if known is not None and known.type != value.type:
            why = f"{known.type} {known.type.q} and {value.type} {value.type.q}"
            raise EdgeqError(f"variable '{known.name}' is read and set in different types", why=why)
        self.kept[key] = value

    def state(self, op: FileOperator, position: int, type: TensorType) -> Tensor:
        """A state that an operator reads and sets: a variable, or what the file gives for it."""
        stored, index = self.stored(op, position), self.index(op, position)
        if index in self.values or stored.data is not None:
            given = self.operand(op, position)
            if given.type != type:
                raise EdgeqError(f"state '{given.name}' is {given.type}", why=f"expected {type}")
            return given
        if stored.size != type.size:
            raise EdgeqError(f"state '{stored.name}' has shape {list(stored.shape)}", why=f"expected {list(type.shape)}")
        return self.variable(index, type)

    def keep_state(self, op: FileOperator, position: int, value: Tensor) -> None:
        """Set the variable of `state`."""
        index = self.index(op, position)
        if index in self.kept:
            self.assign(index, value)

    # Adding to the graph

    def alias(self, index: int, tensor: Tensor) -> None:
        """Let tensor `index` of the file be one of the graph's."""
        if index in self.values or index in self.folded:
            raise EdgeqError(f"tensor '{self.file.tensors[index].name}' is computed twice", why="the file is damaged")
        self.values[index] = tensor

    def infer(self, op: Op, inputs: Sequence[Tensor]) -> TensorType:
        """The operator's output type; whatever a contradictory file makes it raise becomes an EdgeqError."""
        try:
            type = op.infer(*(t.type for t in inputs))
        except CONTRADICTIONS as e:
            raise EdgeqError("attributes and shapes contradict each other", why=f"{type_name(e)}: {e}"[:120]) from e
        if any(n < 1 for n in type.shape) or type.size > MAX_ELEMENTS:
            raise EdgeqError(f"its output would have shape {list(type.shape)}")
        return type

    def emit(self, op: Op, inputs: Sequence[Tensor], index: int, *, converts: bool = False) -> Tensor:
        """Add the node that computes tensor `index`; its type is the stored one with the inferred shape.

        Raises:
            EdgeqError: shapes contradict, or the stored dtype is not the first input's and the operator does not convert.
        """
        inferred, stored = self.infer(op, inputs), self.file.tensors[index]
        declared = tuple(n for i, n in enumerate(stored.shape) if i not in (stored.unknown or ()))
        actual = tuple(n for i, n in enumerate(inferred.shape) if i not in (stored.unknown or ()))
        if stored.unknown is not None and not self.resized and declared != actual:
            why = f"the file declares shape {list(stored.shape)}, the operator gives {list(inferred.shape)}"
            raise EdgeqError("shapes contradict each other", why=why, fix="convert the model again")
        type = self.activation_type(stored, inferred.shape)
        operands = [t.type for i, t in enumerate(inputs) if i not in op.parameters]
        if not (op.traits.moves or isinstance(op, Concat | Selection | Whole | WholeCast)):
            require_scales(op.kind(), *operands, type)
        wide = {DType.INT16, DType.INT32} & {type.dtype, *(t.dtype for t in operands)}
        knows = op.traits.words or (op.traits.file_words and DType.INT32 not in wide) or isinstance(op, Concat)
        knows = knows or (converts and isinstance(op, Rescale | Quantize | Dequantize | Softmax))
        if wide and not knows:
            raise EdgeqError(f"{op.kind()} on {', '.join(map(str, operands))} giving {type} is not supported")
        if not converts and type.dtype is not inputs[0].type.dtype:
            raise EdgeqError(f"{type} computed from {inputs[0].type} is not supported", fix="use one type on both sides of the operator")
        output = self.put(index, type)
        self.nodes.append(Node(output.name, op, tuple(t.name for t in inputs), (output.name,)))
        return output

    def emit_whole(self, op: Op, inputs: Sequence[Tensor], index: int) -> Tensor:
        """Add the node that computes tensor `index` in the operator's own type, as truth values, or indices in int32."""
        output = self.put(index, self.infer(op, inputs))
        self.nodes.append(Node(output.name, op, tuple(t.name for t in inputs), (output.name,)))
        return output

    def emit_all(self, op: Op, inputs: Sequence[Tensor], indices: Sequence[int], further: Sequence[str] = ()) -> list[Tensor]:
        """Add a node of numbers without a scale that computes several tensors of the file, then some that it does not have.

        Raises:
            EdgeqError: shapes or types contradict the file's.
        """
        self.infer(op, inputs)
        outputs = []
        types = op.infer_all(*(t.type for t in inputs))
        for index, type in zip(indices, types, strict=False):
            stored = self.file.tensors[index]
            wide = stored.kind == "UINT64" and type.shape == (*stored.shape, 2)  # in words
            if not wide and self.activation_type(stored, stored.shape) != type:
                why = f"the file declares {stored.kind}{list(stored.shape)}, the operator gives {type}"
                raise EdgeqError("shapes or types contradict each other", why=why, fix="convert the model again")
            outputs.append(self.put(index, type))
        for name, type in zip(further, types[len(indices) :], strict=True):
            outputs.append(self.keep(Tensor(self.fresh(name), type)))
        self.nodes.append(Node(outputs[0].name, op, tuple(t.name for t in inputs), tuple(t.name for t in outputs)))
        return outputs

    def insert(self, op: Op, inputs: Sequence[Tensor], name: str, like: TensorType | None = None) -> Tensor:
        """Add a node that the file does not have; dtype and scale as the first input's, or as `like`'s."""
        inferred = self.infer(op, inputs)
        output = Tensor(self.fresh(name), replace(like or inputs[0].type, shape=inferred.shape))
        self.tensors[output.name] = output
        self.nodes.append(Node(output.name, op, tuple(t.name for t in inputs), (output.name,)))
        return output

    def insert_all(self, op: Op, inputs: Sequence[Tensor], names: Sequence[str], like: Sequence[TensorType]) -> list[Tensor]:
        """`insert` for an operator with several outputs, whose dtypes and scales are those of `like`."""
        self.infer(op, inputs)
        shapes = (t.shape for t in op.infer_all(*(t.type for t in inputs)))
        outputs = [Tensor(self.fresh(n), replace(t, shape=s)) for n, t, s in zip(names, like, shapes, strict=True)]
        self.tensors |= {t.name: t for t in outputs}
        self.nodes.append(Node(outputs[0].name, op, tuple(t.name for t in inputs), tuple(t.name for t in outputs)))
        return outputs

    def reshaped(self, x: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
        """`x` with another shape; a constant is reshaped at once."""
        if x.type.shape == shape:
            return x
        if x.data is None:
            return self.insert(Reshape(shape), [x], name)
        if math.prod(shape) != x.type.size:
            raise EdgeqError(f"constant {x.type} cannot be reshaped to {list(shape)}")
        return self.new_constant(name, x.data.reshape(shape), x.type)

    def sliced(self, x: Tensor, axis: int, start: int, count: int, name: str) -> Tensor:
        """Part of `x` along an axis, or all of it; of a constant at once."""
        if count == x.type.shape[axis]:
            return x
        begin = tuple(start if i == axis else 0 for i in range(len(x.type.shape)))
        size = tuple(count if i == axis else n for i, n in enumerate(x.type.shape))
        if x.data is None:
            return self.insert(Slice(begin=begin, size=size, stride=(1,) * len(begin)), [x], name)
        return self.new_constant(name, x.data.take(range(start, start + count), axis), x.type)

    def same_rank(self, op: FileOperator, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Operands of an elementwise operator, leading axes of length 1 added to the lower ranks."""
        rank = max(len(t.type.shape) for t in tensors)
        name = self.tensor_name(op.outputs[0])
        return [self.reshaped(t, (1,) * (rank - len(t.type.shape)) + t.type.shape, f"{name}/expand") for t in tensors]

    def activation(self, op: FileOperator) -> Clamp:
        """The fused activation as limits.

        Raises:
            EdgeqError: it is none of the ReLU family.
        """
        code = int(op.option("FusedActivationFunction", 0))
        if code not in ACTIVATIONS:
            name = {4: "tanh", 5: "sign bit"}.get(code, f"number {code}")
            raise EdgeqError(f"the fused activation {name} of {op.kind} is not supported", fix="make the activation an operator of its own")
        return ACTIVATIONS[code]

    def graph(self) -> Graph:
        """The finished graph.

        Raises:
            EdgeqError: an output is never computed, or is constant.
        """
        outputs = []
        for index in self.file.outputs:
            if index not in self.values:
                name = self.file.tensors[index].name
                raise EdgeqError("an output does not depend on any input", where=name, fix="remove it from the model")
            outputs.append(self.values[index].name)
        if not outputs:
            raise EdgeqError("the model has no outputs", where=self.name)
        states = self._states(outputs)
        quantized = any(t.type.dtype in (DType.INT8, DType.INT16) for t in self.tensors.values())
        inputs, ends = (*self.inputs, *(a for a, _ in states)), (*outputs, *(b for _, b in states))
        used = dict.fromkeys([*inputs, *(x for n in self.nodes for x in (*n.inputs, *n.outputs)), *ends])
        tensors = {n: self.tensors[n] for n in used}
        return Graph(self.name, tuple(self.nodes), tensors, inputs, ends, "tflm" if quantized else "single", states)

    def _states(self, outputs: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Pairs of graph inputs and outputs. A variable that is read and never set is a constant."""
        pairs: list[tuple[str, str]] = []
        for key, before in self.states.items():
            after = self.kept[key]
            if isinstance(key, str) and key in self.offsets:
                after = self.insert(Sub(), [after, self.offsets[key]], f"{before.name}/kept")
            if after is before:
                data = np.full(before.type.shape, before.type.zero_point, before.type.dtype.numpy)
                self.tensors[before.name] = Tensor(before.name, before.type, data)
                continue
            taken = {*outputs, *(b for _, b in pairs)}
            if after.name in taken or not any(after.name in n.outputs for n in self.nodes):
                after = self.insert(Reshape(after.type.shape), [after], f"{before.name}/next")
            pairs.append((before.name, after.name))
        return tuple(pairs)


def type_name(error: BaseException) -> str:
    return type(error).__name__
