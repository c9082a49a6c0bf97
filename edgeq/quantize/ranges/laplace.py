"""Ranges from two moments (ACIQ: Banner et al., NeurIPS 2019): where few samples say little about the tails."""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.quantize.ranges import LEVELS, Range
from edgeq.quantize.statistics import Observer


def _best(steps: int) -> float:
    """The reach in deviations: u with ``u + log u = log(3 steps^2)``, by Newton's method."""
    goal = float(reals.log(3.0 * steps**2))
    u = goal
    for _ in range(8):
        u -= (u + float(reals.log(u)) - goal) / (1 + 1 / u)
    return u


def rule(o: Observer) -> Range:
    """The range of least mean square error if the values are of a Laplace distribution; of one side of it if they have one sign.

    With deviation b about the middle and N steps of a range of 2 a, the error is ``2 b^2 exp(-a / b) + a^2 / (3 N^2)``, least where
    ``(a / b) exp(a / b) = 3 N^2``. It never leaves the extremes, which have the last word.
    """
    if o.high <= o.low:
        return o.low, o.high
    one_sided = o.low >= 0 or o.high <= 0
    middle = 0.0 if one_sided else o.mean
    spread = float((o.counts * np.abs(o.centers - middle)).sum() + o.zeros * abs(middle)) / max(1, o.total)
    reach = spread * _best(LEVELS * (2 if one_sided else 1))
    return max(o.low, middle - reach), min(o.high, middle + reach)
