"""Weights rounded toward zero, which makes none larger."""

from __future__ import annotations

import numpy as np

from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.weight_scales import Float, within

QUICK = "truncate"


def integers(problem: LayerProblem) -> Float:
    """Integers of no larger magnitude."""
    return within(np.trunc(problem.matrix / problem.scales[..., None]), problem.bounds)
