"""Groups, strong components and integer programs against SciPy, and answers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.cluster.hierarchy import DisjointSet
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from edgeq.components import Groups, strong
from edgeq.errors import EdgeqError
from edgeq.solver import Problem, Row, minimise


@pytest.mark.parametrize("seed", range(5))
def test_groups_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"n{i}" for i in range(40)]
    own, other = Groups(names), DisjointSet(names)
    for a, b in rng.integers(0, 40, (30, 2)):
        own.join(names[a], names[b])
        other.merge(names[a], names[b])
    assert [own.find(n) for n in names] == [other[n] for n in names]
    assert all(own.group(n) == set(other.subset(n)) for n in names)
    assert sorted(n for group in own.members() for n in group) == sorted(names)
    assert "n3" in own and "m" not in own


@pytest.mark.parametrize("seed", range(5))
def test_strong_components_are_scipys(seed: int) -> None:
    rng = np.random.default_rng(seed)
    arcs = [(int(a), int(b)) for a, b in rng.integers(0, 50, (60, 2))]
    own = np.array(strong(50, arcs))
    other = connected_components(coo_array((np.ones(60), np.array(arcs).T), shape=(50, 50)), connection="strong")[1]
    assert ((own[:, None] == own) == (other[:, None] == other)).all()
    assert len(set(own)) < 50  # some lie on a cycle


def test_a_long_chain_needs_no_stack() -> None:
    assert len(set(strong(5000, [(i, i + 1) for i in range(4999)]))) == 5000
    assert len(set(strong(5000, [(i, (i + 1) % 5000) for i in range(5000)]))) == 1


@pytest.mark.parametrize("seed", range(8))
def test_programs_are_solved_as_scipy_does(seed: int) -> None:
    rng = np.random.default_rng(seed)
    price, matrix = -rng.random(12), rng.integers(-3, 9, (5, 12)).astype(float)
    limits = rng.uniform(-1 if seed % 2 else 4, 12, 5)
    rows = [Row(dict(enumerate(r.tolist())), high=float(h)) for r, h in zip(matrix, limits, strict=True)]
    whole = np.arange(12) < 9
    own = minimise(Problem(price, rows, np.zeros(12), np.full(12, 2.0), whole))
    other = milp(price, integrality=whole.astype(int), bounds=Bounds(0, 2), constraints=LinearConstraint(matrix, -np.inf, limits))
    assert (own.x is None) == (other.x is None)
    if own.x is not None:
        assert own.state == "optimal" and price @ own.x == pytest.approx(other.fun, abs=1e-6)


def test_the_solver_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    one = np.ones(1)
    assert minimise(Problem(one, [Row({0: 1.0}, low=0.5)], 0 * one, one, one == 1)).state == "optimal"
    assert capfd.readouterr() == ("", "")


def test_no_answer_and_no_program_are_told_apart() -> None:
    one = np.ones(1)
    assert minimise(Problem(one, [Row({0: 1.0}, low=3.0)], 0 * one, one, one)) == ("infeasible", None)
    with pytest.raises(EdgeqError, match="HiGHS refuses"):
        minimise(Problem(one, [Row({7: 1.0}, low=3.0)], 0 * one, one, one))
