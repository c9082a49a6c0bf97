"""Rules that choose a tensor's range from what calibration saw of it: one file each, found by scan.

A rule is a module with ``rule(statistics) -> (low, high)`` in real values; its name is the file's.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence

from edgeq.quantize.methods import Methods
from edgeq.quantize.statistics import Observer

LEVELS = 256  # of a tensor in int8
GRID = 96  # ends that a search tries on either side
FEW = 64  # samples: fewer do not show how far a tensor reaches
DEVIATIONS = 3  # of the samples' peaks, beyond their mean
EXTREMES = "minmax"  # what graph inputs and outputs take, and tensors that have no histogram

Range = tuple[float, float]
Rule = Callable[[Observer], Range]

METHODS: Mapping[str, Rule] = Methods(__name__, __path__, "rule")


def choose(method: str, o: Observer) -> tuple[str, Range]:
    """The range of a tensor, and the method that chose it: the extremes where there is no histogram for another one."""
    used = EXTREMES if o.narrow else method
    low, high = METHODS[used](o)
    if not 2 <= len(o.lows) < FEW:
        return used, (low, high)
    return used, (-_reach([-v for v in o.lows], -low, -o.bounds[0]), _reach(o.highs, high, o.bounds[1]))


def _reach(peaks: Sequence[float], end: float, bound: float) -> float:
    """How far a range goes that few samples show: up to the mean of their peaks plus `DEVIATIONS` standard deviations.

    Only an end at the largest peak moves, outwards, at most to its double and to what bounds the tensor. None moves that is not above
    zero, nor one that two samples reach exactly: something limits them.
    """
    largest = max(peaks)
    if end <= 0 or end != largest or peaks.count(largest) > 1:
        return end
    return max(end, min(statistics.fmean(peaks) + DEVIATIONS * statistics.pstdev(peaks), 2 * largest, bound))
