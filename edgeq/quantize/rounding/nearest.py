"""Weights rounded to the nearest integer, halves to even."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded
from edgeq.quantize.weight_scales import nearest


def rounded(problem: LayerProblem) -> Rounded:
    """Integers of least distance."""
    low, high = (np.asarray(b, np.float64)[..., None] for b in problem.bounds)
    return nearest(problem.matrix / problem.scales[..., None], (low, high), problem.levels), problem.scales
