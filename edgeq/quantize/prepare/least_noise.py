"""Factors by which the channels of a group lose least: predicted noise at the layers that read it, over ranges that calibration saw.

Channels are brought near each other, by several strengths, or stay. Of all that are tried the quietest is taken, if it gains at least
`GAIN`: other samples have their peaks in other channels, so that they gain less than is predicted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from edgeq import reals
from edgeq.ir import Graph
from edgeq.quantize.channels import MAX_EXPONENT, PER_OCTAVE, Float, Group, columns, is_depthwise, powers
from edgeq.quantize.grid import LIMIT
from edgeq.quantize.prepare import Work
from edgeq.quantize.statistics import Channels

STRENGTHS = (0.25, 0.4, 0.5, 0.6, 0.75, 0.9, 1.0)
CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)
GAIN = 10**0.2  # 2 dB of noise: for less, channels stay as they are
TINY = 1e-30
MIN_SAMPLES = 8  # fewer say too little about channels


def _rounding_noise(seen: Channels, factors: Float, weight: Float) -> float:
    """The least weighted square error per position of storing a tensor in int8 with one scale, over a few ranges."""
    x, n = seen.centers / factors[:, None], seen.counts / seen.values
    low, high = min(float((seen.low / factors).min()), 0.0), max(float((seen.high / factors).max()), 0.0)
    best = math.inf
    for clip in CLIPS:
        step = (high - low) * clip / 255
        beyond = x - np.clip(x, low * clip, high * clip)
        best = min(best, float(((n * (beyond**2 + step**2 / 12)).sum(axis=1) * weight).sum()))
    return best


def _power(seen: Channels) -> float:
    """Mean square of a tensor, summed over its channels."""
    return float((seen.centers**2 * seen.counts).sum() / seen.values)


def _importance(graph: Graph, group: Group, seen: Mapping[str, Channels], factors: Float) -> dict[str, Float]:
    """Per tensor and channel, how much a unit of square error counts: at the layers that read it, relative to their outputs' power."""
    result: dict[str, Float] = {n: np.zeros(len(factors)) for n in group.tensors}
    for node in reversed(graph.nodes):
        output = node.outputs[0]
        for name in dict.fromkeys(n for n in node.inputs if n in result):
            if node in group.consumers:
                w = graph.tensors[node.inputs[1]].data
                assert w is not None
                result[name] += ((columns(node, w, len(factors)) * factors) ** 2).sum(axis=(0, 1)) / max(_power(seen[output]), TINY)
            else:
                result[name] += result[output] * graph.type(output).size / graph.type(name).size
    return result


def _noise(graph: Graph, group: Group, seen: Mapping[str, Channels], exponents: NDArray[np.int64]) -> float:
    """Predicted noise at the outputs of a group's consumers, relative to their power, if its channels are divided by the factors."""
    factors = powers(exponents)
    total = 0.0
    for node in group.consumers:
        w = graph.tensors[node.inputs[1]].data
        assert w is not None
        if not is_depthwise(node):
            w = columns(node, w, len(factors)) * factors
            scales = np.abs(w).max(axis=(1, 2)) / LIMIT
            x = seen[node.inputs[0]]
            power = ((x.centers / factors[:, None]) ** 2 * x.counts).sum() / x.values
            total += float((scales**2).sum() / 12 * w.shape[1] * power) / max(_power(seen[node.outputs[0]]), TINY)
    weights = _importance(graph, group, seen, factors)
    return total + math.fsum(_rounding_noise(seen[n], factors, weights[n]) for n in group.tensors)


def _peak(seen: Channels) -> Float:
    """Per channel, the largest magnitude."""
    return np.maximum(seen.high, -seen.low)


def _clip(seen: Channels) -> Float:
    """Per channel, the largest magnitude of the range of least square error."""
    x, n = seen.centers, seen.counts
    best, chosen = np.full(len(x), np.inf), np.zeros(len(x))
    low, high = np.minimum(seen.low, 0.0), np.maximum(seen.high, 0.0)
    for clip in np.linspace(1.0, 0.2, 17):
        step = (high - low) * clip / 255
        beyond = x - np.clip(x, (low * clip)[:, None], (high * clip)[:, None])
        error = (n * (beyond**2 + step[:, None] ** 2 / 12)).sum(axis=1)
        better = error < best
        best, chosen = np.where(better, error, best), np.where(better, np.maximum(high, -low) * clip, chosen)
    return chosen


def exponents(work: Work) -> dict[str, NDArray[np.int64]]:
    """See `prepare`. Fewer samples give weaker factors, fewer than `MIN_SAMPLES` none."""
    graph, seen, samples = work.graph, work.seen, work.samples
    result: dict[str, NDArray[np.int64]] = {}
    if samples < MIN_SAMPLES:
        return result
    for group in work.groups:
        tried = [np.zeros(len(seen[group.tensors[0]].low), np.int64)]
        for measure in (_peak, _clip):
            size = np.max([measure(seen[n]) for n in group.tensors], axis=0)
            size = size + (size.max() - size) / math.sqrt(1 + samples)  # what few samples did not show
            if size.max() > 0:
                relative = np.where(size > 0, PER_OCTAVE * reals.log2(np.maximum(size / size.max(), 1e-30)), 0.0)
                relative = np.maximum(relative, -MAX_EXPONENT)
                tried += [np.rint(s * relative).astype(np.int64) for s in STRENGTHS]
        noise = [_noise(graph, group, seen, e) for e in tried]
        chosen = tried[int(np.argmin(noise))]
        if chosen.any() and noise[0] >= GAIN * min(noise):
            result |= dict.fromkeys(group.tensors, chosen)
    return result
