"""Quantized graph -> program: a kernel and its constants for every step."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq import half, kernels
from edgeq.codes import Code, bias_shift, decode_biases, encode_biases, round_biases
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Params, TensorType
from edgeq.kernels import Kernel
from edgeq.ops.add import Add
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.reshape import Reshape
from edgeq.order import Step, best_order
from edgeq.packing import applied, places
from edgeq.target import Target

ALIGNMENT = 8  # of decoded tables in a call's scratch


@dataclass(frozen=True, eq=False)
class Coded:
    """A table in a storage code.

    Attributes:
        data: what is stored: uint8 of weights, uint16 ``[N, 3]`` of biases.
        offset: where its decoded form lies in the call's scratch.
        shift: of biases, see `codes.decode_biases`; -1 of weights.
        places: of a code by rows, where the weights of each row ``[rows, length]`` lie in the kernel's table.
    """

    data: Array
    code: Code
    offset: int
    shift: int = -1
    places: Array | None = None

    def decoded(self, data: Array, like: Array) -> Array:
        """What the kernel reads of stored `data`, which may be faulty; `like` a table of its form."""
        if self.shift >= 0:
            return decode_biases(data, self.shift).reshape(like.shape)
        if self.places is None:
            return self.code.decode(data, *like.shape)
        table = np.empty_like(like)
        table.reshape(-1)[self.places] = self.code.decode(data, *self.places.shape)
        return table

    def stored_form(self, table: Array) -> Array:
        """A kernel's table in the form that the code takes."""
        return table if self.places is None else table.ravel()[self.places]

    @property
    def blocks(self) -> list[tuple[int, int, int, int]]:
        """Of a code by rows, runs of rows that lie alike in the kernel's table: (first row, rows, place of its first weight, rows of a
        block whose first weights lie side by side, then the second ones, and so on)."""
        assert self.places is not None
        rows, length = self.places.shape
        starts, strides = self.places[:, 0], self.places[:, 1] - self.places[:, 0] if length > 1 else np.ones(rows, np.int64)
        found, first = [], 0
        while first < rows:
            block, at = int(strides[first]), np.arange(rows - first)
            alike = (strides[first:] == block) & (starts[first:] - starts[first] == at // block * block * length + at % block)
            count = rows - first if alike.all() else int(np.argmin(alike))
            found.append((first, count, int(starts[first]), block))
            first += count
        return found


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel bound to a node.

    Attributes:
        tables: the params' tables in the kernel's own layout.
        inplace: positions of the operands whose storage the output may take.
        follower: the node that the kernel computes too, on the first one's result; `output` and the last operand are its.
        coded: the tables that are stored otherwise, and decoded into scratch, behind the kernel's own, before it runs.
    """

    node: Node
    kernel: Kernel
    params: Params
    operands: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: int
    tables: Mapping[str, Array]
    macs: int
    inplace: tuple[int, ...] = ()
    follower: Node | None = None
    coded: Mapping[str, Coded] = field(default_factory=dict)

    @property
    def stored(self) -> dict[str, Array]:
        """The tables as they are stored."""
        return {n: self.coded[n].data if n in self.coded else table for n, table in self.tables.items()}

    @property
    def output(self) -> str:
        """The first output, the one that may be computed in place."""
        return self.outputs[0]

    @property
    def specialized(self) -> dict[str, int | str]:
        return {name: self.params.scalars[name] for name in self.kernel.specialize}

    @property
    def kind(self) -> str:
        """What is computed: ``conv2d``, or ``conv2d + add``."""
        return " + ".join(n.op.kind() for n in (self.node, self.follower) if n is not None)


@dataclass(frozen=True, eq=False)
class Program:
    """Calls in order. `views` maps a tensor to the tensor whose storage it shares as it is (reshapes)."""

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    views: Mapping[str, str]

    @functools.cached_property
    def outside(self) -> frozenset[str]:
        """Tensors that no call writes and that have no place in the arena: constants, and states as the inference finds them."""
        return frozenset(n for n, t in self.graph.tensors.items() if t.is_constant) | {a for a, _ in self.graph.states}

    def storage(self, name: str) -> str:
        """The tensor that owns the bytes of `name`."""
        while name in self.views:
            name = self.views[name]
        return name


def kernel_dtype(operands: list[TensorType], output: TensorType, params: Params) -> str:
    """The dtype part of a kernel's name: the output's, ``<input>_<output>``, or of a layer on halves
    ``f16_w8`` (int8 weights) and ``f16_a16`` (sums in halves)."""
    first = operands[0].dtype if operands else output.dtype
    if params.law == half.SUMS:
        return f"{output.dtype.value}_a16"
    weights = params.tables.get("weights", params.tables.get("x_weights"))
    if params.law == half.LAW and weights is not None and weights.dtype.name == "int8":
        return f"{output.dtype.value}_w8"
    return output.dtype.value if first is output.dtype else f"{first.value}_{output.dtype.value}"


def bind(graph: Graph, node: Node) -> Params:
    """The node's constants under the graph's law, as its storage code keeps them."""
    params = node.op.bound(graph.law, node.name, graph.node_inputs(node), graph.type(node.outputs[0]))
    if graph.code is None or not graph.code.votes:
        return params
    return replace(params, tables={n: round_biases(t) if voted(n, params) else t for n, t in params.tables.items()})


def voted(name: str, params: Params) -> bool:
    """Whether a storage code keeps a table as biases."""
    return "bias" in name and params.tables[name].dtype == np.int32 and has_weights(params)


def has_weights(params: Params) -> bool:
    return any("weights" in name for name in params.tables)


def encoded(code: Code | None, node: Node, kernel: Kernel, params: Params, tables: Mapping[str, Array]) -> dict[str, Coded]:
    """The tables that a code stores otherwise than the kernel reads them.

    Raises:
        EdgeqError: weights do not fit the code, or the kernel keeps no bytes of weights.
    """
    if code is None:
        return {}
    found: dict[str, Coded] = {}
    at = -(-kernel.scratch_bytes(params) // ALIGNMENT) * ALIGNMENT
    for name, table in tables.items():
        if code.votes and voted(name, params):
            found[name] = Coded(encode_biases(table), code, at, bias_shift(table))
        elif "weights" in name and table.dtype == np.int8 and not code.plain(table.size):
            form = Coded(table, code, at, places=_rows(node, kernel, params, name) if code.by_rows else None)
            found[name] = replace(form, data=code.encode(form.stored_form(table)))
        else:
            continue
        at += -(-table.nbytes // ALIGNMENT) * ALIGNMENT
    return found


def _rows(node: Node, kernel: Kernel, params: Params, name: str) -> Array:
    """Where the weights of each output channel ``[rows, length]`` lie in a kernel's table.

    Raises:
        EdgeqError: the kernel's layout does more than move them, or puts those of a row at uneven steps.
    """
    try:
        found = np.moveaxis(places(kernel.pack.get(name) or "", name, params.tables), -1 if isinstance(node.op, DepthwiseConv2d) else 0, 0)
        rows = found.reshape(len(found), -1)
        steps = np.diff(rows, axis=1)
        if (steps < 1).any() or (steps != steps[:, :1]).any():
            raise ValueError("steps")
    except ValueError:
        why = f"kernel {kernel.name} does not keep the weights of a row at even steps"
        raise EdgeqError(why, where=node.name, fix="leave +asymmetric and +crc out") from None
    return rows


def operands(graph: Graph, node: Node) -> tuple[str, ...]:
    """The inputs that a kernel receives as pointers."""
    return tuple(n for i, n in enumerate(node.inputs) if i not in node.op.parameters)


def request(graph: Graph, node: Node) -> tuple[str, str, Params]:
    """Operator, dtype and constants: what a kernel is selected by."""
    types = [graph.type(n) for n in operands(graph, node)]
    params = bind(graph, node)
    return node.op.kernel_op(), kernel_dtype(types, graph.type(node.outputs[0]), params), params


def lower(graph: Graph, target: Target, choices: Mapping[str, str] | None = None) -> Program:
    """Choose a kernel for every node of a quantized graph.

    A reshape costs nothing: its output is a view, unless both ends are the caller's own buffers. An addition is folded into
    the convolution that computes one of its operands, where the convolution's kernel has such a variant.
    The calls may run in another order than the nodes, if that needs less memory.

    A graph with a storage code gets portable kernels, which compute the same whatever faults make of the weights.

    Args:
        choices: kernels to take instead of the preferred ones, see `kernels.select`.

    Raises:
        EdgeqError: the graph is not quantized, no kernel applies to a node, or there are `choices` for a storage code.
    """
    chip = target
    if graph.code is not None:
        if choices:
            raise EdgeqError("a storage code takes portable kernels, no tuned ones", where=graph.name, fix="leave the tuning out")
        target = replace(target, isa=("c",))
    calls: list[Call] = []
    views: dict[str, str] = {}
    owners = {n: n for n in graph.inputs}  # storage -> the graph input or output that it belongs to
    folded = _folded_additions(graph)
    waiting: dict[str, Call] = {}
    for node in graph.nodes:
        output = node.outputs[0]
        if isinstance(node.op, Reshape):
            source = node.inputs[0]
            root = source
            while root in views:
                root = views[root]
            external = root in owners or graph.tensors[root].is_constant
            if not (output in graph.outputs and external):
                views[output] = source
                if output in graph.outputs:
                    owners[root] = output
                continue
        owners |= {n: n for n in node.outputs if n in graph.outputs}
        if node.name in waiting:
            calls.append(waiting.pop(node.name))
            continue
        op, dtype, params = request(graph, node)
        names = operands(graph, node)
        follower = folded.get(node.name)
        addition = follower.op.kernel_op() if follower else ""
        kernel = kernels.select(node.name, op, dtype, params, target, choices, addition)
        macs = node.op.macs(*(t.type for t in graph.node_inputs(node)))
        variant = kernels.fused(kernel, addition)
        if follower and variant:
            waiting[follower.name] = _call(graph, node, variant, *_with_addition(graph, node, follower, params, names), macs, follower)
        else:
            calls.append(_call(graph, node, kernel, params, names, node.outputs, macs))
    return _ordered(Program(graph, chip, tuple(calls), views))


def _call(
    graph: Graph, node: Node, kernel: Kernel, params: Params, names: tuple[str, ...], outputs: tuple[str, ...], macs: int,
    follower: Node | None = None,
) -> Call:  # fmt: skip
    try:
        packed = {n: applied(layout, n, params.tables) for n, layout in kernel.pack.items() if layout}
    except KeyError as error:
        raise EdgeqError(f"`pack` names an unknown table or layout {error}", where=kernel.path) from None
    tables = {n: packed.get(n, table) for n, table in params.tables.items() if kernel.pack.get(n) != ""}
    coded = encoded(graph.code, node, kernel, params, tables)
    scratch = max([kernel.scratch_bytes(params), *(c.offset + tables[n].nbytes for n, c in coded.items())])
    return Call(node, kernel, params, names, outputs, scratch, tables, macs, kernel.overwrites(params), follower, coded)


def _folded_additions(graph: Graph) -> dict[str, Node]:
    """Convolution -> the addition that may be folded into it: the only reader of its result, with another operand of that shape.

    Where both operands come from convolutions it is the later one.
    """
    producers, consumers = graph.producers(), graph.consumers()
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    found: dict[str, Node] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Add) or node.inputs[0] == node.inputs[1]:
            continue
        shapes = {graph.type(n).shape for n in (*node.inputs, *node.outputs)}
        sources = [producers[n] for n in node.inputs if n in producers and consumers[n] == [node] and n not in graph.outputs]
        takers = [s for s in sources if isinstance(s.op, Conv2d) and (node.op.sign > 0 or s.outputs[0] == node.inputs[0])]
        if takers and len(shapes) == 1:
            found[max(takers, key=lambda n: place[n.name]).name] = node
    return found


def _with_addition(
    graph: Graph, node: Node, follower: Node, params: Params, names: tuple[str, ...]
) -> tuple[Params, tuple[str, ...], tuple[str, ...]]:
    """Params, operands and outputs of a convolution with an addition; of the latter's constants `a` is the convolution's side."""
    own, output = node.outputs[0], follower.outputs[0]
    other = next(n for n in follower.inputs if n != own)
    assert isinstance(follower.op, Add)
    constants = follower.op.constants(graph.law, follower.name, graph.type(own), graph.type(other), graph.type(output))
    scalars = {**params.scalars, **{f"add_{name}": value for name, value in constants.scalars.items()}}
    return Params(params.law, scalars, params.tables), (*names, other), follower.outputs


def _ordered(program: Program) -> Program:
    """The calls in the order with the smallest peak of live bytes; as they are where none is better."""
    graph, storage = program.graph, program.storage
    sizes = {n: graph.type(n).bytes for n in graph.given}
    steps = []
    for call in program.calls:
        sizes |= {n: graph.type(n).bytes for n in call.outputs}
        roots = [storage(n) for n in call.operands]
        read = tuple(dict.fromkeys(r for r in roots if r not in program.outside))
        fixed = {r for i, r in enumerate(roots) if i not in call.inplace}
        steps.append(Step(read, call.outputs, call.scratch, tuple(r for r in read if r not in fixed)))
    order = best_order(steps, sizes, frozenset(storage(n) for n in graph.outputs))
    return replace(program, calls=tuple(program.calls[i] for i in order))


