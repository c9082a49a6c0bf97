"""Takes into the levels of a spectrum's bands what follows: a root, bands that overlap little, a floor, a logarithm, factors and terms.

Energies without a logarithm span more than halves and integers hold; levels do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node, Tensor
from edgeq.ops.clamp import Clamp
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.linear import NO_CLAMP
from edgeq.ops.mathematics import Log, Sqrt
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import BandLevels
from edgeq.passes.rewrite import Names, constant, repeated, use_counts

OVERLAP = 4  # weights of bands for each bin
LEAST = float(np.finfo(np.float32).tiny)  # a logarithm without a floor has this one: of silence it is a number


@repeated
def join_bands(graph: Graph) -> Graph | None:
    """Levels of bands, and the nodes behind them as long as those can be part of them."""
    uses, readers = use_counts(graph), graph.consumers()

    def next_of(node: Node) -> Node | None:
        """The one node that reads what a node computes; None where there are others."""
        name = node.outputs[0]
        return readers[name][0] if uses[name] == 1 and len(readers[name]) == 1 else None

    for node in graph.nodes:
        if not isinstance(node.op, BandLevels) or graph.type(node.inputs[0]).q is not None or len(node.inputs) != 4:
            continue
        chain = [node]
        while (after := next_of(chain[-1])) is not None and _is_view(graph, after):
            chain.append(after)
        reader = next_of(chain[-1])
        found = reader and (_taken(graph, node, reader) or _with_logarithm(graph, node, reader, next_of(reader)))
        if found:
            return _rebuilt(graph, node, *found)
    return None


Found = tuple[BandLevels, Sequence[Array] | None, tuple[Node, ...]]  # levels, other bands, the nodes that they take in


def _is_view(graph: Graph, node: Node) -> bool:
    """Whether rows stay rows under another shape."""
    before, after = (graph.type(n).shape for n in (node.inputs[0], node.outputs[0]))
    return isinstance(node.op, Reshape) and bool(before) and bool(after) and before[-1] == after[-1]


def _taken(graph: Graph, node: Node, reader: Node) -> Found | None:
    """One node behind levels."""
    op = node.op
    assert isinstance(op, BandLevels)
    single = _single(graph, node)
    if isinstance(reader.op, Sqrt) and single and op.power == 2:
        return replace(op, power=1), None, (reader,)
    if isinstance(reader.op, Clamp) and op.mode == "linear" and reader.op.clamp == (0, math.inf) and (_own(graph, node)[2] >= 0).all():
        return op, None, (reader,)  # the square of a magnitude is the energy itself
    if isinstance(reader.op, FullyConnected) and single and reader.op.clamp == NO_CLAMP:
        bands = _bands(graph, node, reader)
        return (op, bands, (reader,)) if bands and _term(graph, reader) == 0 else None
    if isinstance(reader.op, Log) and op.mode == "linear":
        return replace(op, mode="max", floor=LEAST), None, (reader,)
    affine = _affine(graph, reader)
    if affine is None or not affine[0] > 0:
        return None
    factor, term = affine
    if op.mode == "linear":
        starts, counts, weights = _own(graph, node)
        return (op, [starts, counts, weights * np.float32(factor)], (reader,)) if term == 0 else None
    return replace(op, factor=op.factor * factor, offset=op.offset * factor + term), None, (reader,)


def _with_logarithm(graph: Graph, node: Node, reader: Node, after: Node | None) -> Found | None:
    """A floor, or a term, and the logarithm behind it; bands may be in the same layer as the floor."""
    op = node.op
    assert isinstance(op, BandLevels)
    if after is None or not isinstance(after.op, Log) or op.mode != "linear":
        return None
    low, high = getattr(reader.op, "clamp", NO_CLAMP)
    if isinstance(reader.op, Clamp | FullyConnected) and low > 0 and high == math.inf:
        plain = replace(reader, op=replace(reader.op, clamp=NO_CLAMP))
        found = _taken(graph, node, plain) if isinstance(reader.op, FullyConnected) else (op, None, ())
        return found and (replace(op, mode="max", floor=low), found[1], (reader, after))
    if isinstance(reader.op, FullyConnected) and low == -math.inf and high == math.inf:
        bands, term = _bands(graph, node, reader), _term(graph, reader)
        return (replace(op, mode="add", floor=term), bands, (reader, after)) if bands and term > 0 and _single(graph, node) else None
    affine = _affine(graph, reader)
    if affine is None or affine[0] != 1 or not affine[1] > 0:
        return None
    return replace(op, mode="add", floor=affine[1]), None, (reader, after)


def _single(graph: Graph, node: Node) -> bool:
    """Whether levels are single bins as they are."""
    _, counts, weights = _own(graph, node)
    return bool((counts == 1).all() and (weights == 1).all()) and getattr(node.op, "mode", "") == "linear"


def _own(graph: Graph, node: Node) -> list[Array]:
    """First bins, numbers of bins and weights."""
    found = [graph.tensors[n].data for n in node.inputs[1:]]
    return [a for a in found if a is not None]


def _bands(graph: Graph, node: Node, layer: Node) -> list[Array] | None:
    """First bins, numbers of bins and weights of bands that a layer makes of single bins; None where it is no bank of filters."""
    w, bias = (graph.tensors[n].data for n in layer.inputs[1:3])
    starts = _own(graph, node)[0]
    if w is None or bias is None or (bias != bias[0]).any() or (w < 0).any() or not w.any(1).all() or (np.diff(starts) != 1).any():
        return None
    spans = [np.flatnonzero(row)[[0, -1]] for row in w]
    if sum(int(last - first) + 1 for first, last in spans) > OVERLAP * w.shape[1]:
        return None
    return [
        np.array([starts[first] for first, _ in spans], np.int16), np.array([last - first + 1 for first, last in spans], np.int16),
        np.concatenate([row[first:last + 1] for row, (first, last) in zip(w, spans, strict=True)]).astype(np.float32),
    ]  # fmt: skip


def _term(graph: Graph, layer: Node) -> float:
    """What a layer adds to all of its sums alike."""
    bias = graph.tensors[layer.inputs[2]].data
    assert bias is not None
    return float(bias[0])


def _affine(graph: Graph, node: Node) -> tuple[float, float] | None:
    """The factor and the term that a node applies to all of what it reads; None where it does anything else."""
    constants = [graph.tensors[n].data for n in node.inputs]
    x = [n for n, c in zip(node.inputs, constants, strict=True) if c is None]
    data = [c for c in constants if c is not None]
    clamped = getattr(node.op, "clamp", NO_CLAMP) != NO_CLAMP
    if clamped or len(x) != 1 or graph.type(x[0]).shape != graph.type(node.outputs[0]).shape:
        return None
    linear = node.op.traits.linear
    if linear is not None and linear.depthwise and data[0].size == graph.type(x[0]).shape[-1]:
        factor, term = data
    elif node.op.traits.affine is not None and len(data) == 1:
        factor, term = node.op.traits.affine(data[0].astype(np.float64), constants[0] is not None)
    else:
        return None
    ends = [(float(np.min(a)), float(np.max(a))) for a in (factor, term)]
    return (ends[0][0], ends[1][0]) if all(low == high for low, high in ends) else None


def _rebuilt(graph: Graph, node: Node, op: BandLevels, bands: Sequence[Array] | None, taken: tuple[Node, ...]) -> Graph:
    """The graph with levels that take in nodes, in the place of the last of these."""
    names, last = Names(graph), taken[-1]
    added: list[Tensor] = []
    inputs = node.inputs
    if bands is not None:
        added = [constant(names.fresh(f"{last.outputs[0]}/{n}"), a) for n, a in zip(("starts", "counts", "weights"), bands, strict=True)]
        inputs = (node.inputs[0], *(t.name for t in added))
    y = graph.type(last.outputs[0])
    types = [graph.type(inputs[0]), *(t.type for t in added or [graph.tensors[n] for n in inputs[1:]])]
    levels = Tensor(names.fresh(f"{last.outputs[0]}/levels"), op.infer(*types))
    made = [Node(levels.name, op, inputs, (levels.name,)), Node(last.name, Reshape(y.shape), (levels.name,), last.outputs)]
    return graph.with_nodes([m for n in graph.nodes for m in (made if n is last else (n,))], [*added, levels])
