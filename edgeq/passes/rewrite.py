"""What the passes share: renaming, fresh names, uses."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType
from edgeq.ops.linear import NO_CLAMP
from edgeq.text import unused


def computed_inputs(graph: Graph, node: Node) -> set[str]:
    """The inputs of a node that are no constants."""
    return {n for n in node.inputs if not graph.tensors[n].is_constant}


def is_pointwise(graph: Graph, node: Node) -> bool:
    """Whether a node works element by element on tensors of its output's shape, with single numbers as its constants."""
    tensors, shape = graph.node_inputs(node), graph.type(node.outputs[0]).shape
    if not node.op.traits.elementwise or node.op.traits.casts or all(t.is_constant for t in tensors):
        return False
    return all(t.type.size == 1 if t.is_constant else t.type.shape == shape for t in tensors)


def computes(node: Node | None, *kinds: type[Op]) -> bool:
    """Whether there is a node of one of some classes, and it limits nothing: an activation that was fused into it is not lost."""
    return node is not None and type(node.op) in kinds and getattr(node.op, "clamp", NO_CLAMP) == NO_CLAMP


def repeated(step: Callable[[Graph], Graph | None]) -> Callable[[Graph], Graph]:
    """The pass that makes one change after another, until `step` finds none and gives None."""

    @functools.wraps(step)
    def whole(graph: Graph) -> Graph:
        while (changed := step(graph)) is not None:
            graph = changed
        return graph

    return whole


def rename(nodes: Iterable[Node], names: Mapping[str, str]) -> list[Node]:
    """Nodes that read other tensors; chains of renamings are followed."""

    def final(name: str) -> str:
        while name in names:
            name = names[name]
        return name

    return [replace(n, inputs=tuple(final(i) for i in n.inputs)) for n in nodes]


def use_counts(graph: Graph) -> dict[str, int]:
    """Readings of every tensor, a graph output counted as one more."""
    counts = dict.fromkeys(graph.tensors, 0)
    for name in (*(i for n in graph.nodes for i in n.inputs), *graph.outputs):
        counts[name] += 1
    return counts


def is_quantized(graph: Graph, node: Node) -> bool:
    """Whether the node computes on integers."""
    return graph.type(node.outputs[0]).q is not None


def same_values(a: TensorType, b: TensorType) -> bool:
    """Whether equal stored numbers mean equal values: the shapes may differ."""
    return a.dtype is b.dtype and a.q == b.q


class Names:
    """Fresh tensor names for one graph."""

    def __init__(self, graph: Graph) -> None:
        self._taken = set(graph.tensors)

    def fresh(self, base: str) -> str:
        """`base`, with a number behind it if it is taken."""
        return unused(base, self._taken)


def constant(name: str, data: Array, q: QParams | None = None) -> Tensor:
    """A constant tensor of the array's own dtype."""
    data = np.ascontiguousarray(data)
    dtype = next(d for d in DType if d.numpy == data.dtype)
    return Tensor(name, TensorType(data.shape, dtype, q), data)


def select(tensor: Tensor, name: str, index: Array, axis: int) -> Tensor:
    """A constant with only the entries `index` along `axis`, stored in the same format; scales along that axis follow."""
    assert tensor.data is not None
    q = tensor.type.q
    if q is not None and q.axis == axis and len(q.scale) > 1:
        q = replace(q, scale=tuple(q.scale[i] for i in index))
    return replace(constant(name, np.take(tensor.data, index, axis=axis), q), format=tensor.format)
