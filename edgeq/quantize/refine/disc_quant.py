"""Weights rounded by gradients of the network's own outputs (Chee et al., DiscQuant, 2025).

Between the level below and the level above it every weight is a number from 0 to 1. These numbers are moved until the outputs of the float
network with such weights are its own, while a small pull draws each to the level that it was rounded to: most of them then lie at an end,
and the others are rounded to the nearer one. The theory is that of discrepancy: far fewer gradients than weights count, so that nearly all
weights can be at an end without a loss. Biases then take the means (`gains_and_biases`), and samples that took no part decide.

Activations are not rounded meanwhile. Levels of a code book do not lie side by side: their weights stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, Graph, Node
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.gradients import backward, logits
from edgeq.quantize.refine import Work, check_gradients, gains_and_biases

STEPS, BATCH = 60, 24
EVERY = 3  # one sample of so many decides
RATE, PULL = 0.08, 0.02  # of a step by Adam in parts of a level; of the pull beside gradients whose mean square is 1
FIRST, SECOND, TINY = 0.9, 0.99, 1e-12


def refined(work: Work) -> Graph:
    """The graph with other integers, at most a level from the float weights, or as it was where that is no better.

    Raises:
        EdgeqError: the graph has states or several outputs, an operator has no gradient, or there are too few samples.
    """
    count = check_gradients(work, "disc-quant", 2 * EVERY, "tens")
    judges = np.arange(0, count, EVERY)
    others = np.setdiff1d(np.arange(count), judges)
    pupil, judge = (Work(work.real, work.graph, {n: a[at] for n, a in work.samples.items()}) for at in (others, judges))
    layers = [found for node in work.tunable() if (found := _layer(work, node)) is not None]
    if not layers:
        return work.graph
    _train(pupil, layers)
    tensors = dict(work.graph.tensors)
    for layer in layers:
        tensors[layer.name] = replace(tensors[layer.name], data=layer.integers())
    moved = gains_and_biases.refined(replace(pupil, graph=replace(work.graph, tensors=tensors)))
    wanted = {n: evaluate_float(judge.real, {k: judge.samples[k] for k in judge.real.given})[n] for n in work.graph.results}
    return moved if judge.loss(moved, wanted) < judge.loss(work.graph, wanted) else work.graph


@dataclass(eq=False)
class _Layer:
    """A layer's weights between levels.

    Attributes:
        name, real: of the constant in the quantized and in the float graph.
        scales: broadcast to the weights.
        low: the level below each weight.
        part: from 0 to 1, towards the level above.
        end: the one that it was rounded to: 0 or 1.
        free: which weights lie between two levels and were rounded to one of them.
    """

    name: str
    real: str
    scales: Array
    low: Array
    part: Array
    end: Array
    free: Array
    first: Array
    second: Array

    def weights(self) -> Array:
        """Real ones, float32."""
        return ((self.low + self.part) * self.scales).astype(np.float32)

    def integers(self) -> Array:
        """Every weight at a level, int8."""
        return (self.low + np.rint(self.part)).astype(np.int8)

    def move(self, gradient: Array, step: int) -> None:
        """Against the gradient with regard to the weights, and towards the ends."""
        g = gradient * self.scales
        g = g / np.sqrt(max(float((g[self.free] ** 2).mean()), TINY)) + PULL * (1 - 2 * self.end)
        self.first = FIRST * self.first + (1 - FIRST) * g
        self.second = SECOND * self.second + (1 - SECOND) * g**2
        size = np.sqrt(self.second / (1 - SECOND ** (step + 1))) + TINY
        moved = np.clip(self.part - RATE * self.first / (1 - FIRST ** (step + 1)) / size, 0.0, 1.0)
        self.part = np.where(self.free, moved, self.part)


def _layer(work: Work, node: Node) -> _Layer | None:
    """A layer on int8 weights; None of one whose levels do not lie side by side, or of which no weight lies between two."""
    stored = work.graph.tensors[node.inputs[1]]
    real = next(n for n in work.real.nodes if n.name == node.name).inputs[1]
    w, linear = work.real.tensors[real].data, node.op.traits.linear
    assert stored.data is not None and stored.type.q is not None and w is not None and linear is not None
    if stored.format.marks or not getattr(stored.format, "even", True):
        return None
    shape = [1] * w.ndim
    shape[linear.axis] = -1
    scales = np.asarray(stored.type.q.scale, np.float64).reshape(shape)
    ratio, q = w.astype(np.float64) / scales, stored.data.astype(np.float64)
    low = np.floor(ratio)
    free = (np.abs(ratio - q) < 1) & (low >= stored.format.levels[0]) & (low + 1 <= stored.format.levels[-1])
    if not free.any():
        return None
    low = np.where(free, low, q)
    part = np.where(free, ratio - low, 0.0)
    return _Layer(node.inputs[1], real, scales, low, part, np.where(free, q - low, 0.0), free, np.zeros(w.shape), np.zeros(w.shape))


def _train(work: Work, layers: list[_Layer]) -> None:
    """Move what lies between levels, all layers at once."""
    graph, output = work.real, logits(work.real, work.real.results[0])
    nodes = {n.name for n in graph.nodes if n.op.traits.linear is not None and n.inputs[1] in {x.real for x in layers}}
    given = {n: work.samples[n] for n in graph.given}
    wanted = evaluate_float(replace(graph, outputs=(output,)), given)[output].astype(np.float64)
    power, rng = max(float((wanted**2).mean()), 1e-30), np.random.default_rng(0)
    for step in range(STEPS):
        at = rng.choice(len(wanted), min(BATCH, len(wanted)), replace=False)
        found = _gradients(graph, layers, {n: a[at] for n, a in given.items()}, output, wanted[at] / power, power, nodes)
        for layer in layers:
            layer.move(found[layer.real], step)


def _gradients(
    graph: Graph, layers: list[_Layer], x: Mapping[str, Array], output: str, wanted: Array, power: float, nodes: set[str]
) -> Mapping[str, Array]:
    """Of the mean square error of the outputs, over their power."""
    tensors = {x.real: replace(graph.tensors[x.real], data=x.weights()) for x in layers}
    moved = replace(graph, tensors={**graph.tensors, **tensors})
    values = {**x, **evaluate_float(moved, x, steps=True)}
    error = values[output].astype(np.float64) / power - wanted
    return backward(moved, values, output, 2 * error / error.size, nodes)
