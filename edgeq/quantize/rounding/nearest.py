"""Weights rounded to the nearest integer, halves to even."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded
from edgeq.quantize.weight_scales import within


def rounded(problem: LayerProblem) -> Rounded:
    """Integers of least distance."""
    return within(np.rint(problem.matrix / problem.scales[..., None]), problem.bounds), problem.scales
