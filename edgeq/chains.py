"""Chains: int8 operators that work element by element and read one tensor are one function of 256 arguments, so one table.

The table holds what the operators' own integers give, one after the other, so the bytes stay. The graph keeps the operators; the
program has one call for all of them.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Params, Tensor, TensorType
from edgeq.ops.table import INPUTS, _Table
from edgeq.passes.rewrite import computed_inputs, is_pointwise


@dataclass(frozen=True)
class Composite(_Table):
    """x -> the last result of several nodes.

    Attributes:
        values: int8 results of the arguments -128 to 127.
        members: names of the nodes before the last.
    """

    values: tuple[int, ...]
    members: tuple[str, ...]

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return Params(law, {"size": output.size}, {"values": np.array(self.values, np.int8)})


@dataclass(frozen=True)
class Chains:
    """The chains of a graph.

    Attributes:
        nodes: name of the last node -> the node that stands for all of it.
        inside: names of the others.
    """

    nodes: dict[str, Node]
    inside: frozenset[str]


def chains(graph: Graph, taken: Collection[str] = ()) -> Chains:
    """Find the chains of a graph.

    Args:
        graph: quantized.
        taken: names of nodes that something else computes.

    Returns:
        Chains of several nodes, and single nodes that are no table yet.
    """
    producers, consumers = graph.producers(), graph.consumers()
    places = {n.name: i for i, n in enumerate(graph.nodes)}
    able = {n.name for n in graph.nodes if n.name not in taken and _able(graph, n)}
    found: dict[str, Node] = {}
    inside: set[str] = set()
    for last in reversed(graph.nodes):
        if last.name not in able:
            continue
        group, best, border = [last], [last], computed_inputs(graph, last)
        while inner := [
            n for n in (producers.get(t) for t in border)
            if n is not None and n.name in able and n.outputs[0] not in graph.outputs and all(c in group for c in consumers[n.outputs[0]])
        ]:  # fmt: skip
            latest = max(inner, key=lambda n: places[n.name])
            group = [latest, *group]
            border = (border - {latest.outputs[0]}) | computed_inputs(graph, latest)
            if len(border) == 1:
                best = group
        source = {n for node in best for n in computed_inputs(graph, node)} - {n.outputs[0] for n in best}
        if len(source) == 1 and not (len(best) == 1 and isinstance(last.op, _Table)):
            best = sorted(best, key=lambda n: places[n.name])
            able -= {n.name for n in best}
            inside |= {n.name for n in best[:-1]}
            found[last.name] = _joined(graph, best, source.pop())
    return Chains(found, frozenset(inside))


def _able(graph: Graph, node: Node) -> bool:
    """Whether a node works element by element on int8, with single numbers as its constants."""
    types = [graph.type(n) for n in (*node.inputs, *node.outputs)]
    whole = all(t.dtype is DType.INT8 and t.q is not None and len(t.q.scale) == 1 for t in types)
    return whole and len(node.outputs) == 1 and not node.op.traits.weights and is_pointwise(graph, node)


def _joined(graph: Graph, nodes: list[Node], source: str) -> Node:
    """One node for several: its table by computing all 256 arguments through each of them, one element at a time."""
    last = nodes[-1]
    values: dict[str, Array] = {source: INPUTS.astype(np.int8)[:, None]}
    for node in nodes:
        tensors = tuple(Tensor(t.name, TensorType((1,), t.type.dtype, t.type.q), None if t.data is None else t.data.reshape(1))
                        for t in graph.node_inputs(node))  # fmt: skip
        y = graph.type(node.outputs[0])
        params = node.op.bound(graph.law, node.name, tensors, TensorType((1,), y.dtype, y.q))
        operands = [t for i, t in enumerate(tensors) if i not in node.op.parameters]
        (values[node.outputs[0]],) = node.op.compute(params, *(values[t.name] if t.data is None else t.data[None] for t in operands))
    op = Composite(tuple(int(v) for v in values[last.outputs[0]].ravel()), tuple(n.name for n in nodes[:-1]))
    return Node(last.name, op, (source,), last.outputs)
