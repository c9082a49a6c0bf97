"""Ranges from moving averages of extremes (Jacob et al., CVPR 2018)."""

from __future__ import annotations

from collections.abc import Callable

from edgeq.quantize.ranges import Range
from edgeq.quantize.statistics import Observer

MOMENTUM = 0.9
BATCH = 8


def rule(o: Observer) -> Range:
    """An exponential moving average of the extremes of batches of `BATCH` samples, in their order."""

    def average(values: list[float], extreme: Callable[[list[float]], float]) -> float:
        batches = [extreme(values[i : i + BATCH]) for i in range(0, len(values), BATCH)]
        result = batches[0]
        for b in batches[1:]:
            result = MOMENTUM * result + (1 - MOMENTUM) * b
        return result

    return average(o.lows, min), average(o.highs, max)
