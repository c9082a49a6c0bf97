"""Integers and scales of a layer's rows jointly (Hubara et al., AdaQuant, ICML 2021), by turns instead of gradients.

The integers are second-order's for the scales, the scales those of least squares for the integers; each row keeps the best of all turns.
What this gains over second-order grows as bits get few: one scale is right for the weights, another for the outputs.
"""

from __future__ import annotations

import numpy as np

from edgeq.matrices import whole
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded, second_order
from edgeq.quantize.weight_scales import Float

TURNS = 4
REACH = 2.0  # a scale leaves the one that was chosen for the weights by at most this factor


def rounded(problem: LayerProblem) -> Rounded:
    """As second-order, and the scale of every row that fits its integers best; a wide matrix keeps its scales."""
    if second_order.is_wide(problem):
        return second_order.rounded(problem)
    equations, first = second_order.Equations.of(problem), problem.scales
    alike = first.shape[1] > 1 and bool((first == first[:, :1]).all())  # one scale for all rows stays one
    best, integers, chosen = np.full(first.shape, np.inf), np.zeros_like(problem.matrix), first
    scales = first
    for _ in range(TURNS):
        q = equations.solve(scales, problem.nearest)
        power, along = (whole(q, equations.h) * q).sum(-1), (q * equations.target).sum(-1)
        fitted = _fitted(power, along, first, alike)
        loss = (fitted * power - 2 * along) * fitted
        better = loss.sum(1, keepdims=True) < best.sum(1, keepdims=True) if alike else loss < best
        if not better.any():
            break
        best, chosen = np.where(better, loss, best), np.where(better, fitted, chosen)
        integers = np.where(better[..., None], q, integers)
        scales = fitted
    return integers, chosen


def _fitted(power: Float, along: Float, first: Float, alike: bool) -> Float:
    """The scales of least error for given integers, as float32 has them."""
    if alike:
        power, along = (np.broadcast_to(v.sum(1, keepdims=True), v.shape) for v in (power, along))
    found = np.divide(along, power, out=first.copy(), where=power > 0)
    return np.asarray(np.clip(found, first / REACH, first * REACH).astype(np.float32), np.float64)
