"""Ranges from the extremes."""

from __future__ import annotations

from edgeq.quantize.ranges import Range
from edgeq.quantize.statistics import Observer


def rule(o: Observer) -> Range:
    """The extremes over all samples."""
    return o.low, o.high
