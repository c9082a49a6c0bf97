"""Which constants of a graph are weights and biases of layers, and how they are stored."""

from __future__ import annotations

from dataclasses import replace

from edgeq.formats import PLAIN, Format
from edgeq.ir import DType, Graph, Node, Params, Tensor


def with_formats(graph: Graph, weights: Format, biases: Format = PLAIN) -> Graph:
    """The graph with the int8 weights of all layers, and their int32 biases, stored so."""
    wanted = {DType.INT8: weights, DType.INT32: biases}
    names = {n.inputs[i] for n in graph.nodes for p in n.op.traits.products for i in (p.weights, p.bias) if i is not None}
    found = {n: replace(graph.tensors[n], format=f) for n in names if (f := wanted.get(graph.type(n).dtype)) is not None}
    return replace(graph, tensors={n: found.get(n, t) for n, t in graph.tensors.items()})


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
