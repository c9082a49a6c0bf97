"""What nobody reads of an activation: far below the largest score a softmax gives nothing, however far it is.

Masks are added to scores as -1e4 or the least number there is. Calibration sees neither: values beyond `Limits` count as the limit, and
saturate when they are stored. So do inputs of a hard sigmoid or hard swish where it is constant. A limit goes back through sums, products
with a number and moves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.ops.add import Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.logic import Step
from edgeq.ops.reduce_max import ReduceMax

WIDER = 4  # a range is cut to what is read of it if that is a small part
FACTORS = 64.0  # products with numbers up to this, or down to its inverse, only scale
Limits = Mapping[str, tuple[float, float]]  # tensor -> real values beyond which all are alike to its readers
NONE = (-math.inf, math.inf)
CODES = 254  # steps between the least value of a mask that counts and its largest one: one code more excludes


class Peaks:
    """What masks leave.

    Attributes:
        found: by node the least of the largest values that it met in a row that is not masked as a whole.
        counted: by computed mask its least value that does not exclude.
    """

    def __init__(self, graph: Graph) -> None:
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            if node.op.traits.near is not None and not graph.tensors[node.inputs[0]].is_constant:
                self._readers.setdefault(node.inputs[0], []).append(node)
        self.found: dict[str, float] = {}
        self.counted = {n.inputs[i]: 0.0 for n in graph.nodes for i in n.op.traits.excludes if not graph.tensors[n.inputs[i]].is_constant}

    def see(self, name: str, a: Array) -> None:
        """`a` is ``[V, *shape]``."""
        if name in self.counted:
            self.counted[name] = min(self.counted[name], float(a[a > MASKED].min(initial=0.0)))
        for node in self._readers.get(name, ()):
            assert node.op.traits.near is not None
            axes, _ = node.op.traits.near(node.op, a.shape[1:])
            largest = a.max(tuple(axis + 1 for axis in axes))
            kept = largest[largest > MASKED]
            if kept.size:
                self.found[node.name] = min(self.found.get(node.name, math.inf), float(kept.min()))


def excluding(peaks: Peaks, seen: Limits) -> dict[str, float]:
    """Per computed mask that has values besides 0 the value that excludes, a step below those that count."""
    return {n: low - (seen[n][1] - low) / CODES for n, low in peaks.counted.items() if seen[n][1] > low}


def limits(graph: Graph, peaks: Peaks, seen: Limits) -> dict[str, tuple[float, float]]:
    """The limits of every tensor, constants included, that has some.

    Args:
        seen: extremes of every activation.
    """
    extremes = dict(seen)
    for name, tensor in graph.tensors.items():
        if tensor.data is not None and tensor.data.size:
            extremes[name] = float(tensor.data.min()), float(tensor.data.max())
    found, floors, asking = dict.fromkeys(graph.outputs, NONE), excluding(peaks, seen), _questions(graph)
    for node in reversed(graph.nodes):
        own_limits = _of_inputs(graph, node, found.get(node.outputs[0], NONE), peaks.found, extremes)
        for i in node.op.traits.excludes:
            own_limits[i] = (floors.get(node.inputs[i], -math.inf), math.inf)
        if node.name in asking:
            own_limits = [(math.inf, -math.inf)]
        for name, own in zip(node.inputs, own_limits, strict=True):
            low, high = found.get(name, own)
            found[name] = min(low, own[0]), max(high, own[1])
    return {n: limit for n, limit in found.items() if limit != NONE and limit[0] <= limit[1]}


def _questions(graph: Graph) -> set[str]:
    """Nodes that ask whether a row of scores is masked as a whole: their rare yes is given up for the scores' own resolution in int8."""
    consumers = graph.consumers()

    def asks(test: Node) -> bool:
        first = graph.tensors[test.inputs[0]].data
        below = isinstance(test.op, Sub) and first is not None and first.size > 0 and bool((first <= MASKED).all())
        return below and all(isinstance(n.op, Step) for n in consumers[test.outputs[0]])

    maxima = [n for n in graph.nodes if isinstance(n.op, ReduceMax)]
    return {n.name for n in maxima if consumers[n.outputs[0]] and all(map(asks, consumers[n.outputs[0]]))}


def _of_inputs(
    graph: Graph, node: Node, limit: tuple[float, float], peaks: Mapping[str, float], extremes: Limits
) -> list[tuple[float, float]]:
    """The limits up to which a node reads each of its inputs, from that of its output."""
    traits, every = node.op.traits, [NONE] * len(node.inputs)
    if traits.near is not None and node.name in peaks:
        low, high = extremes[node.inputs[0]]
        floor = min(peaks[node.name] - traits.near(node.op, graph.type(node.inputs[0]).shape)[1], 0.0)
        return [(floor, math.inf), *every[1:]] if high - low > WIDER * (high - floor) and low < floor else every
    if traits.flat is not None:
        low, high = traits.flat(node.op)
        return [(min(low, 0.0), max(high, 0.0))]
    if limit == NONE or len(node.outputs) > 1:
        return every
    low, high = limit
    if traits.signs:
        (a_low, a_high), (b_low, b_high) = (extremes[n] for n in node.inputs)
        if traits.signs[1] > 0:
            return [(low - b_high, high - b_low), (low - a_high, high - a_low)]
        return [(low + b_low, high + b_high), (a_low - high, a_high - low)]
    if not traits.averages and (traits.moves or traits.merges or traits.saturates or traits.keeps_scale("tflm")):
        return [limit] * len(node.inputs)
    return _scaled(graph, node, limit)


def _scaled(graph: Graph, node: Node, limit: tuple[float, float]) -> list[tuple[float, float]]:
    """Of a product with one constant number."""
    every = [NONE] * len(node.inputs)
    constant = [i for i, n in enumerate(node.inputs) if graph.tensors[n].is_constant]
    if node.op.traits.affine is None or len(constant) != 1 or len(node.inputs) != 2:
        return every
    data = graph.tensors[node.inputs[constant[0]]].data
    assert data is not None
    factor, term = (np.unique(v) for v in node.op.traits.affine(data.astype(np.float64), constant[0] == 0))
    if factor.size != 1 or term.size != 1 or not 1 / FACTORS <= abs(factor[0]) <= FACTORS:
        return every
    ends = sorted((end - float(term[0])) / float(factor[0]) for end in limit)
    every[1 - constant[0]] = ends[0], ends[1]
    return every


def ends(graph: Graph) -> dict[str, tuple[float, float]]:
    """Per activation that has some, the real values beyond which every reader tells nothing apart: a hard swish below -3."""
    found = {}
    for name, readers in graph.consumers().items():
        flats = [n.op.traits.flat(n.op) for n in readers if n.op.traits.flat is not None]
        if readers and len(flats) == len(readers) and name not in graph.outputs:
            found[name] = min(low for low, _ in flats), max(high for _, high in flats)
    return found


def limited(graph: Graph, found: Limits, kept: Mapping[str, str], integers: tuple[str, ...]) -> Graph:
    """The graph whose constants end at their limits, where integers alone read them.

    Args:
        kept: node -> storage; empty where all are in int8.
        integers: the storages that saturate.
    """
    consumers = graph.consumers()
    changed = []
    for name, (low, high) in found.items():
        tensor = graph.tensors[name]
        stored = all(kept.get(n.name, integers[0]) in integers for n in consumers[name])
        if tensor.data is None or tensor.data.dtype != np.float32 or not stored:
            continue
        data = np.clip(tensor.data, np.float32(low), np.float32(high))
        if not np.array_equal(data, tensor.data):
            changed.append(replace(tensor, data=data))
    return graph.with_nodes(graph.nodes, changed) if changed else graph
