"""How well a quantized graph keeps to its float meaning, tensor by tensor, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgeq import half, reals
from edgeq.evaluate import chunk_size
from edgeq.ir import Array, DType, Graph, Node, TensorType
from edgeq.quantize import masks
from edgeq.quantize.channels import powers
from edgeq.quantize.constraints import natural
from edgeq.quantize.floating import Progress, evaluate_float
from edgeq.quantize.plan import Options
from edgeq.quantize.ranges import EXTREMES
from edgeq.quantize.scales import span
from edgeq.simulate import dequantize_array, fit_inputs, simulate
from edgeq.text import percent

LOW = 20.0  # dB: below this a cause is looked for
INHERITED = 3.0  # dB: a tensor that is at most so much worse than its worst input inherits its error
CLIPPED = 0.5  # of the error's energy
UNEVEN = 8.0  # between the largest channel and the median one
AT_ONCE = 2**24  # elements of all tensors that are compared at a time: about 200 MB
PERFECT = 150.0  # dB, for a tensor without any error
BINS = 64  # of the histograms
CUTTING = ("mse", "percentile")  # rules of ranges that leave outliers out
FINER = "compute its node in half precision ([nodes] of precision.toml)"


class Histogram:
    """How often real values and the stored ones that stand for them lie where, over the ends of what came first, and a little more.

    Attributes:
        ends: of all bins; what lies beyond, infinities too, counts in the outer ones, NaN in none.
        real, stored: int64 ``[BINS]``.
    """

    def __init__(self, real: Array, meant: Array) -> None:
        finite = np.concatenate([a[np.isfinite(a)] for a in (real, meant)])
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        room = (high - low) / 16 or abs(high) / 16 or 1.0
        self.ends = low - room, high + room
        self.real, self.stored = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)

    def add(self, real: Array, meant: Array) -> None:
        low, high = self.ends
        for counts, values in ((self.real, real), (self.stored, meant)):
            inside = np.clip(values[~np.isnan(values)].astype(np.float64), low, high)
            at = np.minimum((inside - low) * (BINS / (high - low)), BINS - 1)
            counts += np.bincount(at.astype(np.int64), minlength=BINS)


@dataclass(frozen=True)
class TensorStats:
    """One activation of a quantized graph against the float graph, over all samples.

    Attributes:
        name, op, shape, dtype: the tensor, and the operator that computes it (``input`` for a graph input).
        scale, zero_point: of the stored integers; 0 for halves.
        low, high: the real values that can be stored.
        seen_low, seen_high: extremes of the float values.
        sqnr_db: signal over error, 10 log10; at most 150.
        own_sqnr_db: the same if this tensor alone were stored in integers: its rounding and clipping.
        saturation: part of the values (0...1) that lie more than half a step beyond the range; values that no reader tells apart, such
            as those below -3 before a hard swish, are all alike.
        zeros: part of the stored values that mean zero.
        used: part of the 256 integers, or of all halves, that occur between the lowest and the highest one.
        equalized: channels are stored divided by powers of two; all figures are of the divided values.
        cause, fix: where the signal is poor, the suspected cause and what would fix it; empty otherwise.
        histogram: of the float values and of the stored ones.
    """

    name: str
    op: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    low: float
    high: float
    seen_low: float
    seen_high: float
    sqnr_db: float
    own_sqnr_db: float
    saturation: float
    zeros: float
    used: float
    equalized: bool
    cause: str
    fix: str
    histogram: Histogram


@dataclass(eq=False)
class _Sums:
    """What is added up for one tensor."""

    type: TensorType
    divide: NDArray[np.int64] | None
    ends: tuple[float, float] = masks.NONE  # beyond them nobody tells values apart
    count: int = 0
    signal: float = 0.0
    error: float = 0.0
    own: float = 0.0
    clipped: float = 0.0
    beyond: int = 0
    zeros: int = 0
    seen: list[float] = field(default_factory=list)
    stored: list[int] = field(default_factory=list)
    peaks: Array | None = None
    histogram: Histogram | None = None

    def add(self, real: Array, stored: Array) -> None:
        t = self.type
        real = real.astype(np.float64)
        if self.divide is not None:
            real = real / powers(self.divide)
        self.seen += [float(real.min()), float(real.max())]
        real = np.clip(real, *self.ends)
        low, high = _span(t)
        inside = np.clip(real, low, high)
        if t.q is None:
            rounded, step, zero = inside.astype(np.float16).astype(np.float64), 0.0, 0
            meant, stored = np.clip(stored.astype(np.float64), *self.ends), half.order(stored)
        else:
            rounded, step, zero = np.rint(inside / t.scale) * t.scale, t.scale, t.zero_point
            meant = np.clip(dequantize_array(stored, t.scale, zero), *self.ends)
        self.count += real.size
        self.signal += float((real**2).sum())
        self.error += float(((real - meant) ** 2).sum())
        self.own += float(((real - rounded) ** 2).sum())
        self.clipped += float(((real - inside) ** 2).sum())
        self.beyond += int((np.abs(real - inside) > step / 2).sum())
        self.zeros += int((stored == zero).sum())
        self.histogram = self.histogram or Histogram(real, meant)
        self.histogram.add(real, meant)
        self.stored += [int(stored.min()), int(stored.max())]
        peaks = np.abs(real).reshape(-1, real.shape[-1] if real.ndim > 1 else 1).max(axis=0)
        self.peaks = peaks if self.peaks is None else np.maximum(peaks, self.peaks)

    def decibels(self, error: float) -> float:
        if error <= 0 or self.signal <= 0:
            return PERFECT if error <= 0 else 0.0
        return min(PERFECT, 10 * float(reals.log10(self.signal / error)))

    @property
    def unevenness(self) -> float:
        """The largest channel's peak over the median one's, dead channels left out."""
        assert self.peaks is not None
        alive = self.peaks[self.peaks > 0]
        return float(alive.max() / np.median(alive)) if alive.size else 1.0


def diagnose(
    float_graph: Graph, quantized_graph: Graph, samples: Mapping[str, Array], progress: Progress | None = None,
    exponents: Mapping[str, tuple[int, ...]] | None = None, options: Options | None = None,
) -> list[TensorStats]:  # fmt: skip
    """Compare every activation of a quantized graph with its float meaning.

    Args:
        float_graph: what was quantized; ``dequantized(graph)`` for a model that came quantized.
        quantized_graph: with the same tensor names.
        samples: per input ``[V, ...]``, float32, or int8 as the quantized graph stores it.
        progress: called with (vectors done, vectors in all).
        exponents: of the channels of tensors that were equalized, see `channels`.
        options: that it was quantized with: what is on already is not advised; None where that is not known.

    Returns:
        One entry per activation in int8 or half precision that both graphs hold, in the graph's order.

    Raises:
        EdgeqError: the samples do not fit.
    """
    stored = fit_inputs(quantized_graph, samples)
    real = {n: _real_input(quantized_graph.type(n), np.asarray(samples.get(n, next(iter(samples.values()))))) for n in stored}
    real = fit_inputs(float_graph, real)
    factors = {n: np.asarray(e, np.int64) for n, e in (exponents or {}).items() if e}
    activations = [n for n, t in quantized_graph.tensors.items() if not t.is_constant and (t.type.q or t.type.dtype is DType.FLOAT16)]
    types = {n: quantized_graph.type(n) for n in activations}
    ends = masks.ends(float_graph)
    sums = {
        n: _Sums(t, factors.get(n), ends.get(n, masks.NONE))
        for n, t in types.items()
        if n in float_graph.tensors and float_graph.type(n).shape == t.shape
    }
    total = len(next(iter(stored.values())))
    kept = max(1, AT_ONCE // max(1, sum(t.size for t in types.values())))
    size = total if float_graph.states else min(kept, chunk_size(float_graph, total))
    for start in range(0, total, size):
        part = slice(start, start + size)
        floats = evaluate_float(float_graph, {n: a[part] for n, a in real.items()}, steps=True)
        integers = simulate(quantized_graph, {n: a[part] for n, a in stored.items()}, steps=True).steps
        for name, s in sums.items():
            s.add(floats[name], integers[name])
        if progress:
            progress(min(start + size, total), total)
    producers = quantized_graph.producers()
    return [_stats(n, s, producers.get(n), sums, options) for n, s in sums.items()]


def _span(t: TensorType) -> tuple[float, float]:
    """The real values that a type stores."""
    return span((t.scale, t.zero_point), t.dtype) if t.q else (-half.LARGEST, half.LARGEST)


def _real_input(t: TensorType, a: Array) -> Array:
    """Samples for the float graph: integers in the stored dtype mean what the scale says."""
    return dequantize_array(a, t.scale, t.zero_point) if t.q and a.dtype == t.dtype.numpy else a


def _stats(name: str, s: _Sums, node: Node | None, sums: Mapping[str, _Sums], options: Options | None) -> TensorStats:
    t = s.type
    low, high = _span(t)
    cause, fix = _cause(s, node, sums, options)
    assert s.histogram is not None  # there are samples
    return TensorStats(
        name, node.op.kind() if node else "input", t.shape, t.dtype.value, t.scale if t.q else 0.0, t.zero_point, low, high,
        min(s.seen), max(s.seen),
        s.decibels(s.error), s.decibels(s.own), s.beyond / s.count, s.zeros / s.count,
        (max(s.stored) - min(s.stored) + 1) / (256 if t.q else 2 * half.INFINITE), s.divide is not None, cause, fix, s.histogram,
    )  # fmt: skip


def _cause(s: _Sums, node: Node | None, sums: Mapping[str, _Sums], options: Options | None) -> tuple[str, str]:
    """The suspected cause of a poor signal and the option that would fix it; empty strings where it is good enough."""
    if s.signal == 0:
        return "zero for every sample", "calibrate with samples that are more varied, or remove the layer"
    sqnr = s.decibels(s.error)
    if sqnr >= LOW:
        return "", ""
    if s.type.q is None and s.beyond:
        return f"{percent(s.beyond / s.count)} of the values exceed {half.LARGEST:g}", "scale the inputs, or keep this part in int8"
    if s.clipped > CLIPPED * s.error:
        fix = "calibrate with more samples" + ("" if options and options.method == EXTREMES else f", or with method {EXTREMES}")
        return f"{percent(s.beyond / s.count)} of the values lie beyond the range", fix
    if node and natural(node.op) is not None and s.decibels(s.own) < LOW:
        return f"small values in the fixed range of {node.op.kind()}", "none is needed if the largest values decide"
    if s.own > CLIPPED * s.error:
        if s.unevenness > UNEVEN and s.divide is None:
            tried = options is not None and options.equalize
            fix = f"the layers around it cannot take equalized channels: {FINER}" if tried else "equalize the channels"
            return f"channels whose ranges differ {s.unevenness:.0f} times share one scale", fix
        return "outliers stretch the range", _other_range(options)
    inputs = {n: sums[n].decibels(sums[n].error) for n in node.inputs if n in sums} if node else {}
    if inputs and min(inputs.values()) < sqnr + INHERITED:
        return f"inherits the error of '{min(inputs, key=lambda n: inputs[n])}'", "fix that tensor first"
    if node and node.op.parameters:
        return "rounding of the weights", _better_weights(options)
    return f"{node.op.kind() if node else 'the input'} cancels most of its inputs' signal", "keep its inputs in finer ranges"


def _other_range(options: Options | None) -> str:
    """A rule that leaves outliers out, other than the one that did not help."""
    others = [m for m in CUTTING if options is None or m != options.method]
    more = "" if len(others) == len(CUTTING) else f", or {FINER}"
    return f"choose the range by {' or '.join(others)}{more}"


def _better_weights(options: Options | None) -> str:
    """What of the best ways to round is not on; beyond that more bits."""
    usual = Options()
    missing = {
        f"rounding {usual.rounding}": options is None or options.rounding != usual.rounding,
        f"weight_scale {usual.weight_scale}": options is None or options.weight_scale != usual.weight_scale,
        "bias correction": options is None or not options.bias_correction,
    }
    if any(missing.values()):
        return ", ".join(text for text, off in missing.items() if off)
    more = f"keep its weights in {usual.weights}, or let recipe few-bits choose" if options and options.weights != usual.weights else FINER
    return f"{more}; perhaps calibrate with more samples"
