"""Quantized graph -> program: a kernel and its constants for every step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from edgeq import kernels
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Params, TensorType
from edgeq.kernels import Kernel
from edgeq.ops.reshape import Reshape
from edgeq.order import Step, best_order
from edgeq.packing import LAYOUTS
from edgeq.target import Target


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel bound to a node. `tables` are the params' tables in the kernel's own layout."""

    node: Node
    kernel: Kernel
    params: Params
    operands: tuple[str, ...]
    output: str
    scratch: int
    tables: Mapping[str, Array]
    macs: int

    @property
    def specialized(self) -> dict[str, int]:
        return {name: self.params.scalars[name] for name in self.kernel.specialize}


@dataclass(frozen=True, eq=False)
class Program:
    """Calls in order. `views` maps a tensor to the tensor whose storage it shares as it is (reshapes)."""

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    views: Mapping[str, str]

    def storage(self, name: str) -> str:
        """The tensor that owns the bytes of `name`."""
        while name in self.views:
            name = self.views[name]
        return name


def kernel_dtype(operands: list[TensorType], output: TensorType) -> str:
    """The dtype part of a kernel's name."""
    first = operands[0].dtype if operands else output.dtype
    return output.dtype.value if first is output.dtype else f"{first.value}_{output.dtype.value}"


def bind(graph: Graph, node: Node) -> Params:
    """The node's constants under the graph's law."""
    return node.op.bind(graph.law, node.name, graph.node_inputs(node), graph.type(node.outputs[0]))


def operands(graph: Graph, node: Node) -> tuple[str, ...]:
    """The inputs that a kernel receives as pointers."""
    return tuple(n for i, n in enumerate(node.inputs) if i not in node.op.parameters)


def lower(graph: Graph, target: Target) -> Program:
    """Choose a kernel for every node of a quantized graph.

    A reshape costs nothing: its output is a view, unless both ends are the caller's own buffers.
    The calls may run in another order than the nodes, if that needs less memory.

    Raises:
        EdgeqError: the graph is not quantized, or no kernel applies to a node.
    """
    calls: list[Call] = []
    views: dict[str, str] = {}
    owners = {n: n for n in graph.inputs}  # storage -> the graph input or output that it belongs to
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
        if output in graph.outputs:
            owners[output] = output
        params = bind(graph, node)
        names = operands(graph, node)
        kernel = kernels.select(
            node.name, node.op.kernel_op(), kernel_dtype([graph.type(n) for n in names], graph.type(output)), params, target.isa
        )
        unknown = set(kernel.pack.values()) - set(LAYOUTS)
        if unknown:
            raise EdgeqError(f"unknown weight layout {sorted(unknown)}", where=kernel.path)
        tables = {n: LAYOUTS[kernel.pack[n]](t) if n in kernel.pack else t for n, t in params.tables.items()}
        calls.append(
            Call(
                node, kernel, params, names, output, kernel.scratch_bytes(params), tables,
                node.op.macs(*(t.type for t in graph.node_inputs(node))),
            )
        )  # fmt: skip
    return _ordered(Program(graph, target, tuple(calls), views))


def _ordered(program: Program) -> Program:
    """The calls in the order with the smallest peak of live bytes; as they are where none is better."""
    graph, storage = program.graph, program.storage
    sizes = {n: graph.type(n).bytes for n in graph.inputs}
    steps = []
    for call in program.calls:
        sizes[call.output] = graph.type(call.output).bytes
        roots = [storage(n) for n in call.operands]
        read = tuple(dict.fromkeys(r for r in roots if not graph.tensors[r].is_constant))
        fixed = {r for i, r in enumerate(roots) if i not in call.kernel.inplace}
        steps.append(Step(read, call.output, call.scratch, tuple(r for r in read if r not in fixed)))
    order = best_order(steps, sizes, frozenset(storage(n) for n in graph.outputs))
    return replace(program, calls=tuple(program.calls[i] for i in order))


