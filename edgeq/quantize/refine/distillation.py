"""Gains and biases of every channel trained through the whole network, the float one as the teacher (knowledge distillation).

The forward pass is the simulator's: what is trained is what the chip computes. Gradients are the float graph's at the values of that
pass; roundings let them through (straight through, Bengio et al., 2013), clamps do not. Labels are not needed: outputs, before a
softmax, follow the teacher's. Integers of weights stay: with few bits and a short training, flips of weights (LSQ, Esser et al., ICLR
2020) cost more than they gain. What is kept is the best on samples that took no part. Products are those of `matrices`: the same
samples give the same result on every computer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq import reals
from edgeq.ir import Array, Graph, Node
from edgeq.quantize.floating import evaluate_float, real_values
from edgeq.quantize.gradients import backward, logits
from edgeq.quantize.refine import Work, changed, check_gradients
from edgeq.simulate import real_array, simulate

STEPS, BATCH = 240, 32
EVERY = 20  # steps between judgements
JUDGES = 4  # one sample of so many takes no part
GAINS, SHIFTS = 0.01, 0.1  # the largest step of a gain's logarithm, and of a bias in steps of the output; they fall to 0
FIRST, SECOND, TINY = 0.9, 0.999, 1e-12  # of Adam (Kingma and Ba, ICLR 2015)


def refined(work: Work) -> Graph:
    """The graph after training, or as it was where samples that took no part come no nearer to the teacher.

    Raises:
        EdgeqError: the graph has states or several outputs, an operator has no gradient, or there are too few samples.
    """
    count = check_gradients(work, "distillation", 2 * JUDGES, "hundreds")
    lesson = Lesson.of(work)
    judges = np.arange(0, count, JUDGES)
    pupils = np.setdiff1d(np.arange(count), judges)
    layers = [Layer(node, work.graph.type(node.outputs[0]).scale) for node in work.tunable()]
    rng = np.random.default_rng(0)
    best, least, graph = work.graph, lesson.loss(work.graph, judges), work.graph
    for step in range(STEPS):
        found = lesson.gradients(graph, rng.choice(pupils, min(BATCH, len(pupils)), replace=False), layers)
        graph = work.graph
        for layer in layers:
            layer.move(work, found, step)
            graph = layer.into(graph)
        if (step + 1) % EVERY == 0:
            loss = lesson.loss(graph, judges)
            best, least = (graph, loss) if loss < least else (best, least)
    return best


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the teacher says of every sample.

    Attributes:
        output: what is compared: what a softmax at the end is taken of, else the output.
        wanted: ``[V, n]`` of the float network.
        power: of that.
    """

    work: Work
    output: str
    wanted: Array
    power: float

    @staticmethod
    def of(work: Work) -> Lesson:
        output = logits(work.real, work.graph.results[0])
        real = evaluate_float(replace(work.real, outputs=(output,)), {n: work.samples[n] for n in work.real.given})[output]
        wanted = real.reshape(len(real), -1).astype(np.float64)
        return Lesson(work, output, wanted, max(float((wanted**2).mean()), 1e-30))

    def loss(self, graph: Graph, at: Array) -> float:
        """The error's power over the output's."""
        stored = simulate(replace(graph, outputs=(self.output,)), self._given(graph, at)).outputs[self.output]
        return float((self._error(real_array(stored, graph.type(self.output)), at) ** 2).mean()) / self.power

    def _error(self, output: Array, at: Array) -> Array:
        return np.asarray(output.reshape(len(at), -1).astype(np.float64) - self.wanted[at])

    def _given(self, graph: Graph, at: Array) -> dict[str, Array]:
        return {n: self.work.samples[n][at] for n in graph.given}

    def _values(self, graph: Graph, at: Array) -> dict[str, Array]:
        """Real values of all activations of the quantized graph."""
        steps = simulate(graph, self._given(graph, at), steps=True).steps
        return {**self._given(self.work.real, at), **{n: real_array(a, graph.type(n)) for n, a in steps.items()}}

    def gradients(self, graph: Graph, at: Array, layers: list[Layer]) -> dict[str, Array]:
        """With regard to the weights and biases of layers, as they are stored."""
        values, real = self._values(graph, at), self.work.real
        weights = [layer.node.inputs[1] for layer in layers]
        student = {n: replace(real.tensors[n], data=real_values(graph.tensors[n])) for n in weights}
        error = self._error(values[self.output], at).reshape(values[self.output].shape) / (self.power * self.wanted[at].size)
        return backward(
            replace(real, tensors={**real.tensors, **student}), values, self.output, 2 * error, {layer.node.name for layer in layers}
        )


@dataclass(eq=False)
class Layer:
    """A layer in training: logarithms of its gains and shifts of its bias, ``[O]`` each, by Adam.

    Attributes:
        unit: a step of the output.
    """

    node: Node
    unit: float
    gains: Array = field(default_factory=lambda: np.zeros(1))
    shifts: Array = field(default_factory=lambda: np.zeros(1))
    moments: dict[str, tuple[Array, Array]] = field(default_factory=dict)

    def into(self, graph: Graph) -> Graph:
        """The quantized graph with what was learned."""
        return changed(graph, self.node, np.asarray(reals.exp(self.gains)), self.shifts)

    def move(self, work: Work, found: Mapping[str, Array], step: int) -> None:
        """A step against the gradients with regard to weights and bias, which a gain changes in proportion."""
        linear, (weights, bias) = self.node.op.traits.linear, self.node.inputs[1:3]
        assert linear is not None
        w, g = real_values(work.graph.tensors[weights]).astype(np.float64), found[weights]
        along = (w * g).sum(tuple(i for i in range(w.ndim) if i != linear.axis)) + self._bias(work) * found[bias]
        rate = (1 + float(reals.cos(np.float64(np.pi * step / STEPS)))) / 2
        self.gains = self.gains - rate * GAINS * self._adam("gains", along * reals.exp(self.gains), step)
        self.shifts = self.shifts - rate * SHIFTS * self.unit * self._adam("shifts", found[bias], step)

    def _bias(self, work: Work) -> Array:
        x, w, b = (work.graph.tensors[n] for n in self.node.inputs[:3])
        assert w.type.q is not None and b.data is not None
        return b.data * (np.asarray(w.type.q.scale, np.float64) * x.type.scale)

    def _adam(self, name: str, g: Array, step: int) -> Array:
        m, v = self.moments.get(name, (np.zeros_like(g), np.zeros_like(g)))
        m, v = FIRST * m + (1 - FIRST) * g, SECOND * v + (1 - SECOND) * g**2
        self.moments[name] = m, v
        return np.asarray(m / (1 - FIRST ** (step + 1)) / (np.sqrt(v / (1 - SECOND ** (step + 1))) + TINY))
