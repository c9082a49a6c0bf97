"""Ranges from two moments (ACIQ: Banner et al., NeurIPS 2019): where few samples say little about the tails."""

from __future__ import annotations

import numpy as np
from scipy.special import lambertw

from edgeq.quantize.ranges import LEVELS, Range
from edgeq.quantize.statistics import Observer


def rule(o: Observer) -> Range:
    """The range of least mean square error if the values are of a Laplace distribution; of one side of it if they have one sign.

    With deviation b about the middle and N steps of a range of 2 a, the error is ``2 b^2 exp(-a / b) + a^2 / (3 N^2)``, least where
    ``(a / b) exp(a / b) = 3 N^2``. It never leaves the extremes, which have the last word.
    """
    if o.high <= o.low:
        return o.low, o.high
    one_sided = o.low >= 0 or o.high <= 0
    middle = 0.0 if one_sided else o.mean
    spread = float(o.counts @ np.abs(o.centers - middle) + o.zeros * abs(middle)) / max(1, o.total)
    steps = LEVELS * (2 if one_sided else 1)
    reach = spread * float(lambertw(3 * steps**2).real)
    return max(o.low, middle - reach), min(o.high, middle + reach)
