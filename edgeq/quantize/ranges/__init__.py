"""Rules that choose a tensor's range from what calibration saw of it: one file each, found by scan.

A rule is a module with ``rule(statistics) -> (low, high)`` in real values; its name is the file's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeq.quantize.methods import Methods
from edgeq.quantize.statistics import Observer

LEVELS = 256  # of a tensor in int8
GRID = 96  # ends that a search tries on either side
EXTREMES = "minmax"  # what graph inputs and outputs take, and tensors that have no histogram

Range = tuple[float, float]
Rule = Callable[[Observer], Range]

METHODS: Mapping[str, Rule] = Methods(__name__, __path__, "rule")


def choose(method: str, o: Observer) -> tuple[str, Range]:
    """The range of a tensor, and the method that chose it: the extremes where there is no histogram for another one."""
    used = EXTREMES if o.narrow else method
    return used, METHODS[used](o)
