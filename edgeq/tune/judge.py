"""Judges a choice of storages: quantized by it, what comes out against the float graph, on samples that calibration has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.quantize.allocate import decibels, noise_of
from edgeq.quantize.calibrate import Ranges, calibrate
from edgeq.quantize.cells import cell_dtype
from edgeq.quantize.decide import decide
from edgeq.quantize.floating import evaluate_float
from edgeq.quantize.plan import Options
from edgeq.quantize.rounding import quick
from edgeq.quantize.walk import quantize_decided
from edgeq.simulate import real_array, simulate
from edgeq.target import Target
from edgeq.target import load as load_target
from edgeq.tune.labels import right

FRAMES = 1000  # samples that noise is measured on
LEAST = 32  # samples that a graph is fitted to, or judged by, where they are not the same
PIECES = 8  # of a stream; those that half precision does not keep are not judged


@dataclass(frozen=True, eq=False)
class _Fold:
    """What a graph is fitted to, and the samples that judge it: stored outputs of the float graph on them.

    Attributes:
        at: which of all samples these are.
        judged: which of these take part.
    """

    ranges: Ranges
    samples: Mapping[str, Array]
    real: Mapping[str, Array]
    at: Array
    judged: Array


class Judge:
    """Quantizes by a storage and measures what comes out against the float graph, on samples that calibration has not seen.

    Each half of the samples is judged by what the other half gave; few samples serve both purposes. With states a half is a
    stream of its own.
    """

    def __init__(self, graph: Graph, ranges: Ranges, options: Options | None, labels: Array | None = None) -> None:
        self.graph, self.ranges, self.options, self.labels = graph, ranges, options, labels
        self.cells = {n: cell_dtype(s) for n, s in ranges.cells.items()}
        every = np.arange(ranges.vectors)
        parts = np.array_split(every, 2) if graph.states else [every[::2], every[1::2]]
        if ranges.vectors < 2 * LEAST:
            self.folds = [self._fold(ranges, every)]
        else:
            fitted = [calibrate(graph, {n: a[part] for n, a in ranges.samples.items()}, ranges.method) for part in parts]
            self.folds = [self._fold(fitted[0], parts[1]), self._fold(fitted[1], parts[0])]
        self.samples = self.folds[0].samples

    def _fold(self, ranges: Ranges, at: Array) -> _Fold:
        count = min(FRAMES, len(at))
        at = at[:count] if self.graph.states else at[np.arange(count) * len(at) // count]
        samples = {n: self.ranges.samples[n][at] for n in self.graph.given}
        outputs = evaluate_float(self.graph, samples)
        return _Fold(ranges, samples, {n: outputs[n].astype(np.float64) for n in self.graph.results}, at, np.ones(len(at), bool))

    def coarse(self, storage: Mapping[str, str]) -> Graph:
        """A graph that costs what the quantized one does, made at once."""
        few = replace(self.ranges, samples={n: a[:LEAST] for n, a in self.ranges.samples.items()})
        chosen = self.options or Options()
        return quantize_decided(decide(self.graph, few, replace(chosen, rounding=quick(chosen.rounding)), nodes=storage))

    def outputs(self, storage: Mapping[str, str], folds: int = 2) -> list[dict[str, Array]]:
        """Per fold float32 results on its samples, of what is quantized without them."""
        found = []
        for fold in self.folds[:folds]:
            graph = quantize_decided(decide(self.graph, fold.ranges, self.options, nodes=storage))
            found.append({n: real_array(a, graph.type(n)) for n, a in simulate(graph, fold.samples).outputs.items()})
        return found

    def noise(self, outputs: Sequence[Mapping[str, Array]]) -> Array:
        """Noise over signal per fold and output, of the folds that there are outputs of."""
        return np.concatenate([self._noise(got, fold) for got, fold in zip(outputs, self.folds, strict=False)])

    def spare(self, halves: Sequence[Mapping[str, Array]], least: float) -> None:
        """Judge no piece of a stream that half precision keeps less than so well: the network amplifies there whatever rounding leaves.

        Where that were most of a fold, all of it is judged.

        Args:
            halves: `outputs` in half precision.
            least: dB.
        """
        for i, (fold, got) in enumerate(zip(self.folds, halves, strict=True)):
            judged = fold.judged.copy()
            for piece in np.array_split(np.arange(len(judged)), PIECES):
                judged[piece] = decibels(self._noise(got, replace(fold, judged=piece))) >= least
            if 2 * judged.sum() >= len(judged):
                self.folds[i] = replace(fold, judged=judged)

    def pieces(self, outputs: Sequence[Mapping[str, Array]]) -> tuple[float, ...]:
        """The dB of every piece of the samples that is judged, fold after fold."""
        found = []
        for fold, got in zip(self.folds, outputs, strict=False):
            at = np.flatnonzero(fold.judged)
            parts = np.array_split(at, min(PIECES, max(1, len(at) // LEAST)))
            found += [decibels(self._noise(got, replace(fold, judged=part))) for part in parts]
        return tuple(found)

    @property
    def share(self) -> float:
        """Of the samples, that are judged."""
        return float(np.concatenate([f.judged for f in self.folds]).mean())

    @staticmethod
    def _noise(got: Mapping[str, Array], fold: _Fold) -> Array:
        at = fold.judged
        return noise_of({n: got[n][at] for n in fold.real}, {n: real[at] for n, real in fold.real.items()})

    def loss(self, outputs: Sequence[Mapping[str, Array]]) -> float:
        """Percentage points of right answers that the float graph gives and this one does not."""
        assert self.labels is not None
        (name,) = self.graph.results
        pairs = [(f.real[name], got[name], self.labels[f.at]) for got, f in zip(outputs, self.folds, strict=True)]
        lost = sum(right(real, y) - right(got, y) for real, got, y in pairs)
        return 100 * lost / sum(len(y) for _, _, y in pairs)

    def ram(self, storage: Mapping[str, str], target: Target | None) -> int:
        """Bytes of arena and states."""
        graph = self.coarse(storage)
        return plan(lower(graph, target or load_target("host"))).arena_bytes + sum(graph.type(a).bytes for a, _ in graph.states)
