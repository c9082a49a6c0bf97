"""Calibration: samples through the float graph -> a range for every activation."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.evaluate import follow_states
from edgeq.ir import Array, Graph
from edgeq.ops.logic import IsZero, Step
from edgeq.quantize import cells, masks, ranges
from edgeq.quantize.bounds import NONE, bounds
from edgeq.quantize.floating import Progress, real_step, require_float, stream
from edgeq.quantize.statistics import Channels, Observer
from edgeq.simulate import fit_inputs
from edgeq.text import first_of

LOG = logging.getLogger("edgeq")
FEWEST = 4  # steps of int8 that a tensor should span
NAMED = 4  # tensors in a line
MAX_LEVELS = 256
MIN_LEVELS = 16
PILE = 4  # an end value seen so many times as often as the other is taken for the end of the 8-bit range


@dataclass(frozen=True)
class TensorRange:
    """What was chosen for one tensor.

    Attributes:
        low, high: the real values that the stored integers must span (zero is added where they do not enclose it).
        method: how they were chosen.
        seen: the extremes over the calibration data.
        grid: ``(scale, zero_point)`` if every value seen lies on one int8 grid (an input that comes from 8-bit data).
    """

    low: float
    high: float
    method: str
    seen: tuple[float, float]
    grid: tuple[float, int] | None = None


@dataclass(frozen=True, eq=False)
class Ranges:
    """The result of `calibrate`.

    Attributes:
        method: the rule that chose them, one of `ranges`.
        tensors: per activation.
        observers: what was seen of each.
        channels: per activation, histograms of its channels (last axis).
        cells: per cell state of an LSTM its scale, see `cells`.
        limits: per tensor, constants included, the real values beyond which its readers tell none apart, see `masks`.
        samples: the fitted calibration inputs, ``[V, *shape]`` float32 each.
    """

    method: str
    tensors: Mapping[str, TensorRange]
    observers: Mapping[str, Observer]
    channels: Mapping[str, Channels]
    samples: Mapping[str, Array]
    cells: Mapping[str, float] = field(default_factory=dict)
    limits: masks.Limits = field(default_factory=dict)

    @property
    def vectors(self) -> int:
        return len(next(iter(self.samples.values())))

    def choose(self, name: str, method: str) -> TensorRange:
        """The range of one activation by another method."""
        used, (low, high) = chosen(name, self.observers[name], method)
        return replace(self.tensors[name], low=low, high=high, method=used)


def chosen(name: str, seen: Observer, wanted: str) -> tuple[str, tuple[float, float]]:
    """The method that a tensor's range is chosen by, and the range; one line says where the method is not the wanted one."""
    used, ends = ranges.choose(wanted, seen)
    if used != wanted:
        LOG.warning("'%s' hardly varies, from %.9g to %.9g: its range is chosen by %s, not %s", name, seen.low, seen.high, used, wanted)
    return used, ends


def advise(graph: Graph, found: Mapping[str, TensorRange]) -> None:
    """Say, a line each, which tensors never vary and which vary so little beside their size that int8 cannot tell their values apart."""
    own = {n.outputs[0] for n in graph.nodes if n.op.traits.natural is not None or n.op.traits.counts_whole}
    own |= {n.inputs[i] for n in graph.nodes for i in n.op.traits.indices}
    own |= {n.inputs[0] for n in graph.nodes if isinstance(n.op, Step | IsZero)}  # of which only the sign counts
    still = [n for n, r in found.items() if r.seen[0] == r.seen[1]]
    if still:
        names = first_of([f"'{n}'" for n in still], NAMED)
        LOG.warning("the same value in every sample: %s. Fix: calibrate with samples that are more varied", names)
    for name, r in found.items():
        (low, high), step = r.seen, (max(r.seen[1], 0.0) - min(r.seen[0], 0.0)) / 255
        if name not in own and low < high < low + FEWEST * step:
            LOG.warning(
                "'%s' lies between %.6g and %.6g, where int8 has steps of %.3g. Fix: let the model subtract its mean",
                name, low, high, step,
            )  # fmt: skip


def check_samples(graph: Graph, samples: Mapping[str, Array]) -> dict[str, Array]:
    """Fit calibration samples to a float graph: float32 ``[V, *shape]`` per input. States are those that the float model finds.

    Raises:
        EdgeqError: a shape does not fit, a value is NaN, or int8 is given (its scale is unknown, so it is not guessed).
    """
    require_float(graph, "calibrate the float model")
    if graph.states and set(samples) == set(graph.inputs):  # the states are known
        return dict(samples)
    for name, a in samples.items():
        kind = np.asarray(a).dtype
        if kind.kind not in "fiu":
            raise EdgeqError(f"samples of {kind} are not numbers", where=name, fix="give float32")
        if kind == np.int8:
            raise EdgeqError(
                "int8 samples for a float input", where=name, why="their scale is not known",
                fix="give float values, (q - zero_point) * scale",
            )  # fmt: skip
    return follow_states(graph, fit_inputs(graph, samples), real_step)


def grid(values: Array, counts: Array) -> tuple[float, int] | None:
    """The int8 scale and zero point that store all `values` exactly, if they lie on such a grid.

    Data that was 8-bit once (pixels, quantized features) keeps its own steps this way. At least
    `MIN_LEVELS` different values are asked for. Steps that were not seen are kept where a full
    8-bit range suggests itself: 0..255, -128..127, else beyond the end where fewer values pile up.
    """
    if not MIN_LEVELS <= len(values) <= MAX_LEVELS:
        return None
    v = np.sort(values.astype(np.float64))
    step = float(np.diff(v).min())
    k = np.rint(v / step)
    if step <= 0 or k[-1] - k[0] > 2**12:
        return None
    step = float((v * k).sum() / (k * k).sum())
    k = np.rint(v / step)
    low, high = int(min(k[0], 0)), int(max(k[-1], 0))
    if high - low > 255 or np.abs(v - k * step).max() > 1e-3 * step:
        return None
    if low >= 0:
        zero_point = -128
    elif low >= -128 and high <= 127:
        zero_point = 0
    else:
        slack = 255 - (high - low)
        below = 0 if counts[0] > PILE * counts[-1] else slack if counts[-1] > PILE * counts[0] else slack // 2
        zero_point = min(127, max(-128, -128 - low + below))
    return float(np.float32(step)), zero_point


def _merge(known: tuple[Array, Array], a: Array) -> tuple[Array, Array] | None:
    """Different values and how often each was seen, with those of `a` added; None beyond `MAX_LEVELS`."""
    values, counts = np.unique(a, return_counts=True)
    if len(values) > MAX_LEVELS:
        return None
    merged, where = np.unique(np.concatenate([known[0], values]), return_inverse=True)
    sums = np.bincount(where, np.concatenate([known[1], counts]), len(merged))
    return (merged, sums) if len(merged) <= MAX_LEVELS else None


class _Collector:
    """Observers of every activation, over both passes."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.peaks = graph, masks.Peaks(graph)
        self.limits: masks.Limits = {}
        self.floors: dict[str, float] = {}
        activations = [n for n, t in graph.tensors.items() if not t.is_constant]
        ends = bounds(graph)
        self.observers = {n: Observer(bounds=ends.get(n, NONE)) for n in activations}
        self.channels = {n: Channels() for n in activations}
        self.cells: dict[str, list[Array]] = {n: [] for n in cells.inputs(graph)}
        self.levels: dict[str, tuple[Array, Array] | None] = {n: (np.zeros(0, np.float32), np.zeros(0, np.int64)) for n in graph.inputs}

    def extremes(self, name: str, a: Array) -> None:
        self.observers[name].see_extremes(a)
        observer = self.observers[name]
        if not (np.isfinite(observer.lows[-len(a) :]).all() and np.isfinite(observer.highs[-len(a) :]).all()):
            raise EdgeqError("the float model computes NaN or infinity on the calibration data", where=name, fix="check both")
        self.channels[name].see_extremes(a)
        self.peaks.see(name, a)
        if name in self.cells:
            self.cells[name].append(a)
        known = self.levels.get(name)
        if known is not None:
            self.levels[name] = _merge(known, a)

    def limit(self) -> None:
        """Between the passes: leave out what nobody reads."""
        seen = {n: (o.low, o.high) for n, o in self.observers.items()}
        self.limits = masks.limits(self.graph, self.peaks, seen)
        self.floors = masks.excluding(self.peaks, seen)
        for name, ends in self.limits.items():
            if name in self.observers:
                self.observers[name].limit(*ends)
                self.channels[name].limit(*ends)

    def values(self, name: str, a: Array) -> None:
        if name in self.limits:
            low, high = self.limits[name]
            a = np.clip(a, np.float32(low), np.float32(high))
        self.observers[name].see_values(a)
        self.channels[name].see_values(a)


def calibrate(graph: Graph, samples: Mapping[str, Array], method: str = "mse", progress: Progress | None = None) -> Ranges:
    """Choose a range for every activation of a float graph.

    Graph inputs and outputs keep their extremes whatever the method: clipping there is seen from outside.

    Args:
        graph: float.
        samples: per input ``[V, ...]``, first axis = samples; float32, or integers that stand for themselves (pixels).
        method: a rule of `ranges`.
        progress: called with (vectors done, vectors in all), both passes counted.

    Raises:
        EdgeqError: an unknown method, samples that do not fit, or a model that computes NaN on them.
    """
    if method not in ranges.METHODS:
        raise EdgeqError(f"unknown range method '{method}'", fix=f"choose one of {', '.join(ranges.METHODS)}")
    inputs = check_samples(graph, samples)
    total = len(next(iter(inputs.values())))
    collector = _Collector(graph)
    passes = (collector.extremes, collector.values)
    for number, visit in enumerate(passes):

        def report(done: int, _: int, base: int = number * total) -> None:
            if progress:
                progress(base + done, len(passes) * total)

        if number:
            collector.limit()
        stream(graph, inputs, visit, report)
    found = {}
    for name, observer in collector.observers.items():
        levels = collector.levels.get(name)
        ends = name in graph.inputs or name in graph.outputs or name in collector.floors
        used, (low, high) = chosen(name, observer, ranges.EXTREMES if ends else method)
        low = min(low, collector.floors.get(name, low))
        found[name] = TensorRange(low, high, used, (observer.low, observer.high), grid(*levels) if levels else None)
    advise(graph, found)
    peaks = {n: max(-o.low, o.high) for n, o in collector.observers.items()}
    fitted = cells.fitted(graph, {n: np.concatenate(parts) for n, parts in collector.cells.items()}, peaks)
    return Ranges(method, found, collector.observers, collector.channels, inputs, fitted, collector.limits)


def centred(ranges: Ranges) -> Ranges:
    """With ranges widened so that their middle, which is stored as zero, is the tensor's mean; inputs keep theirs.

    A faulty weight adds its error times what it meets: about the mean that is least in the mean square, and rectified activations,
    most of which are small, would else be stored near the end of the range.
    """

    def middle(name: str, r: TensorRange) -> TensorRange:
        mean = min(max(ranges.observers[name].mean, r.low), r.high)
        if name in ranges.samples:
            return r
        return replace(r, low=min(r.low, 2 * mean - r.high), high=max(r.high, 2 * mean - r.low))

    return replace(ranges, tensors={n: middle(n, r) for n, r in ranges.tensors.items()})
