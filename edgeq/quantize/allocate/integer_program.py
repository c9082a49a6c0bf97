"""The integer program over noise, flash, RAM and instructions, solved exactly by HiGHS (Hubara et al., AdaQuant, ICML 2021)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy

from edgeq.ir import Array
from edgeq.quantize.allocate import NOISE, Problem, Wanted

Constraint = Any  # of scipy.optimize, which has no types


def choose(problem: Problem, wanted: Wanted) -> Mapping[str, str] | None:
    """The choice that costs least of all that keep to what is wanted."""
    one = [{problem.index[u.name, s]: 1.0 for s in u.choices} for u in problem.units]
    constraints = [_constraint(problem, problem.rows, -np.inf, 0.0)] if problem.rows else []
    constraints.append(_constraint(problem, one, 1.0, 1.0))
    for values, most in ((problem.flash, wanted.flash), (problem.instructions, wanted.instructions)):
        if math.isfinite(most):
            constraints.append(scipy.optimize.LinearConstraint(values[None], -np.inf, most))
    for row, constant in problem.live if math.isfinite(wanted.ram) else ():
        constraints.append(_constraint(problem, [row], -np.inf, wanted.ram - constant))
    if math.isfinite(wanted.noise):
        constraints.append(scipy.optimize.LinearConstraint(problem.noise / wanted.noise, -np.inf, 1 - problem.costs.base / wanted.noise))
    price = problem.price(wanted.aim)
    if wanted.aim == NOISE:
        return _quietest(problem, constraints, price)
    bounds = scipy.optimize.Bounds(0, 1)
    return _chosen(problem, scipy.optimize.milp(price, constraints=constraints, integrality=_whole(problem), bounds=bounds))


def _constraint(problem: Problem, rows: list[dict[int, float]], low: float, high: float) -> Constraint:
    matrix = scipy.sparse.lil_matrix((len(rows), problem.size))
    for i, row in enumerate(rows):
        for j, value in row.items():
            matrix[i, j] = value
    return scipy.optimize.LinearConstraint(matrix.tocsr(), low, high)


def _quietest(problem: Problem, constraints: list[Constraint], price: Array) -> Mapping[str, str] | None:
    """As little noise as may be: one more variable, above that of every output."""
    scale = max(float(problem.noise.max()), 1e-15)
    padded = [(scipy.sparse.hstack([scipy.sparse.csr_matrix(c.A), scipy.sparse.csr_matrix((c.A.shape[0], 1))]), c) for c in constraints]
    wide = [scipy.optimize.LinearConstraint(matrix, c.lb, c.ub) for matrix, c in padded]
    bound = np.hstack([problem.noise / scale, -np.ones((len(problem.noise), 1))])
    wide.append(scipy.optimize.LinearConstraint(bound, -np.inf, -problem.costs.base / scale))
    whole = np.append(_whole(problem), 0)
    limits = scipy.optimize.Bounds(0, np.append(np.ones(problem.size), np.inf))
    return _chosen(problem, scipy.optimize.milp(np.append(price * 1e-6, 1.0), constraints=wide, integrality=whole, bounds=limits))


def _whole(problem: Problem) -> Array:
    """Which variables are whole: casts follow from the choices."""
    return np.array([int(i < len(problem.choices)) for i in range(problem.size)])


def _chosen(problem: Problem, result: Any) -> Mapping[str, str] | None:
    if result.x is None:
        return None
    return {unit: s for (unit, s), value in zip(problem.choices, np.asarray(result.x), strict=False) if value > 0.5}
