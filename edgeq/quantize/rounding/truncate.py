"""Weights rounded toward zero, which makes none larger."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded
from edgeq.quantize.weight_scales import within

QUICK = "truncate"


def rounded(problem: LayerProblem) -> Rounded:
    """Integers of no larger magnitude."""
    return within(np.trunc(problem.matrix / problem.scales[..., None]), problem.bounds), problem.scales
