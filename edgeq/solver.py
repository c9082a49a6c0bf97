"""Mixed-integer linear programs, solved by HiGHS (Huangfu and Hall, 2018) in one thread: the same answer on each run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from edgeq.errors import EdgeqError

Array = np.ndarray[Any, np.dtype[Any]]


class Row(NamedTuple):
    """``low <= sum of terms[i] x[i] <= high``."""

    terms: Mapping[int, float]
    low: float = -math.inf
    high: float = math.inf


class Problem(NamedTuple):
    """Least ``price @ x`` where `rows` hold and ``lower <= x <= upper``.

    Attributes:
        price, lower, upper: float64 ``[n]``. whole: bool ``[n]``, which variables are integers.
    """

    price: Array
    rows: Sequence[Row]
    lower: Array
    upper: Array
    whole: Array


class Answer(NamedTuple):
    """What the solver says.

    Attributes:
        state: "optimal", "infeasible", "nodes" where it stopped at the limit of nodes, else "stopped": by the clock, say.
        x: the best variables that it found, float64 ``[n]``, or None.
    """

    state: str
    x: Array | None


def minimise(problem: Problem, *, nodes: int | None = None, seconds: float = math.inf) -> Answer:
    """Solve it; the search stops after `nodes` of its tree, or after `seconds`.

    Raises:
        EdgeqError: the solver refuses the problem.
    """
    import highspy  # where it is needed: it takes 0.1 s

    solver: Any = highspy._core._Highs()  # the solver itself: `Highs` writes a banner before it can be told to be silent
    options = {"output_flag": False, "threads": 1, "parallel": "off", "time_limit": seconds, "mip_max_nodes": nodes}
    for name, value in options.items():
        if value is not None:
            solver.setOptionValue(name, value)
    if solver.passModel(_model(problem)) == highspy.HighsStatus.kError:
        raise EdgeqError("HiGHS refuses an integer program", why=f"{len(problem.rows)} rows, {len(problem.price)} variables")
    solver.run()
    status = highspy.HighsModelStatus
    states = {status.kOptimal: "optimal", status.kInfeasible: "infeasible", status.kSolutionLimit: "nodes"}
    feasible = solver.getInfo().primal_solution_status == int(highspy.SolutionStatus.kSolutionStatusFeasible)
    return Answer(states.get(solver.getModelStatus(), "stopped"), np.array(solver.getSolution().col_value) if feasible else None)


def _model(problem: Problem) -> Any:
    import highspy

    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = len(problem.price), len(problem.rows)
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = problem.price, problem.lower, problem.upper
    lp.integrality_ = [highspy.HighsVarType.kInteger if w else highspy.HighsVarType.kContinuous for w in problem.whole]
    lp.row_lower_ = np.array([r.low for r in problem.rows], np.float64)
    lp.row_upper_ = np.array([r.high for r in problem.rows], np.float64)
    terms = [sorted((i, v) for i, v in r.terms.items() if v) for r in problem.rows]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
    lp.a_matrix_.start_ = np.cumsum([0, *map(len, terms)]).astype(np.int32)
    lp.a_matrix_.index_ = np.array([i for row in terms for i, _ in row], np.int32)
    lp.a_matrix_.value_ = np.array([v for row in terms for _, v in row], np.float64)
    return lp
