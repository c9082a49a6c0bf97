"""The integer program over noise, flash, RAM and instructions, solved exactly by HiGHS (Hubara et al., AdaQuant, ICML 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from edgeq import solver
from edgeq.ir import Array
from edgeq.quantize.allocate import NOISE, Problem, Wanted
from edgeq.solver import Row


def choose(problem: Problem, wanted: Wanted) -> Mapping[str, str] | None:
    """The choice that costs least of all that keep to what is wanted."""
    rows = [Row(r, high=0.0) for r in problem.rows]
    rows += [Row({problem.index[u.name, s]: 1.0 for s in u.choices}, 1.0, 1.0) for u in problem.units]
    for values, most in ((problem.flash, wanted.flash), (problem.instructions, wanted.instructions)):
        if math.isfinite(most):
            rows.append(Row(_terms(values), high=most))
    for row, constant in problem.live if math.isfinite(wanted.ram) else ():
        rows.append(Row(row, high=wanted.ram - constant))
    if math.isfinite(wanted.noise):
        limits = 1 - problem.costs.base / wanted.noise
        rows += [Row(_terms(noise / wanted.noise), high=float(most)) for noise, most in zip(problem.noise, limits, strict=True)]
    price = problem.price(wanted.aim)
    if wanted.aim == NOISE:
        return _quietest(problem, rows, price)
    return _chosen(problem, rows, price, np.ones(problem.size))


def _terms(values: Array) -> dict[int, float]:
    return dict(enumerate(values.tolist()))


def _quietest(problem: Problem, rows: list[Row], price: Array) -> Mapping[str, str] | None:
    """As little noise as may be: one more variable, above that of every output."""
    scale = max(float(problem.noise.max()), 1e-15)
    for noise, base in zip(problem.noise, np.broadcast_to(problem.costs.base, len(problem.noise)), strict=True):
        rows.append(Row(_terms(noise / scale) | {problem.size: -1.0}, high=float(-base / scale)))
    return _chosen(problem, rows, np.append(price * 1e-6, 1.0), np.append(np.ones(problem.size), np.inf))


def _chosen(problem: Problem, rows: list[Row], price: Array, upper: Array) -> Mapping[str, str] | None:
    """The choices of the best answer; casts, which follow from the choices, need not be whole."""
    whole = np.arange(len(price)) < len(problem.choices)
    found = solver.minimise(solver.Problem(price, rows, np.zeros(len(price)), upper, whole)).x
    if found is None:
        return None
    return {unit: s for (unit, s), value in zip(problem.choices, found, strict=False) if value > 0.5}
