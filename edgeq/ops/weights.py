"""Which constants of a graph are weights and biases of layers, and how they are stored."""

from __future__ import annotations

from dataclasses import replace

from edgeq.formats import PLAIN, Format
from edgeq.ir import DType, Graph, Node, Params, Tensor

WHOLE = 1024  # rows, and weights of each, of a table where groups that are filled up make no difference


def with_formats(graph: Graph, weights: Format, biases: Format = PLAIN) -> Graph:
    """The graph with the int8 weights of all layers, and their int32 biases, stored so."""
    wanted = {DType.INT8: weights, DType.INT32: biases}
    names = {n.inputs[i] for n in graph.nodes for p in n.op.traits.products for i in (p.weights, p.bias) if i is not None}
    found = {n: replace(graph.tensors[n], format=f) for n in names if (f := wanted.get(graph.type(n).dtype)) is not None}
    return replace(graph, tensors={n: found.get(n, t) for n, t in graph.tensors.items()})


def bits(node: Node, inputs: tuple[Tensor, ...]) -> float | None:
    """Bits of memory per weight of a layer, on the average of its products; None of an operator without weights."""
    found = [inputs[p.weights].type for p in node.op.traits.products]
    formats = [inputs[p.weights].format for p in node.op.traits.products]
    if not found:
        return None
    each = [8.0 * t.dtype.bytes if f == PLAIN else f.stored_bits(WHOLE, WHOLE) / WHOLE**2 for t, f in zip(found, formats, strict=True)]
    return round(sum(b * t.size for b, t in zip(each, found, strict=True)) / sum(t.size for t in found), 2)


def has_weights(params: Params) -> bool:
    return any("weights" in name for name in params.tables)


def table_formats(node: Node, inputs: tuple[Tensor, ...], params: Params) -> dict[str, Format]:
    """How the tables of a layer are stored: weights in the order of its products, biases likewise, the last one's
    format for all others."""
    products = node.op.traits.products
    formats = [inputs[p.weights].format for p in products], [inputs[p.bias].format for p in products if p.bias is not None]
    found: dict[str, Format] = {}
    for word, own in zip(("weights", "bias"), formats, strict=True):
        names = [n for n in params.tables if word in n]
        found |= zip(names, [*own, *own[-1:] * len(names)], strict=False)
    return {n: f for n, f in found.items() if f != PLAIN and params.tables[n].dtype.kind == "i"}
