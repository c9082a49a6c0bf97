"""The order of steps: valid, never worse than the given one, and the best of all where the search is exact."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import Builder, random_graph

from edgeq import target
from edgeq.lower import lower
from edgeq.plan import order, plan
from edgeq.plan.order import Step, best_order
from edgeq.simulate import simulate


def random_steps(seed: int, count: int) -> tuple[list[Step], dict[str, int], frozenset[str]]:
    rng = np.random.default_rng(seed)
    names = ["in0", "in1"]
    steps = []
    for i in range(count):
        reads = tuple(dict.fromkeys(names[int(k)] for k in rng.integers(0, len(names), rng.integers(1, 3))))
        over = tuple(r for r in reads if rng.random() < 0.4)
        writes = (f"t{i}", f"u{i}") if rng.random() < 0.3 else (f"t{i}",)
        steps.append(Step(reads, writes, int(rng.integers(0, 3)) * 5, over))
        names += writes
    read = {r for s in steps for r in s.reads}
    kept = frozenset({n for n in names if n not in read} | {names[-1]})
    return steps, {n: int(rng.integers(1, 40)) for n in names}, kept


def peak(steps: list[Step], sizes: dict[str, int], kept: frozenset[str], indices: list[int]) -> int:
    """Straight from the definition: at each step what has been written (or given) and is still to be read or kept."""
    worst = 0
    written = {n for s in steps for n in s.writes}
    for at, i in enumerate(indices):
        step = steps[i]
        later = {r for k in indices[at + 1 :] for r in steps[k].reads} | kept
        before = {n for k in indices[:at] for n in steps[k].writes} | (set(sizes) - written)
        live = {n for n in before if n in later or n in step.reads}
        dying = [n for n in step.overwrites if n not in later and sizes[n] >= sizes[step.writes[0]]]
        fresh = sum(sizes[n] for n in step.writes[1 if dying else 0 :])
        worst = max(worst, sum(sizes[n] for n in live) + step.scratch + fresh)
    return worst


def topological(steps: list[Step]) -> Iterator[list[int]]:
    """All orders that respect what is read."""
    written = {n for s in steps for n in s.writes}

    def grow(done: list[int]) -> Iterator[list[int]]:
        if len(done) == len(steps):
            yield done
        have = {n for i in done for n in steps[i].writes}
        for i, step in enumerate(steps):
            if i not in done and all(r in have or r not in written for r in step.reads):
                yield from grow([*done, i])

    return grow([])


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6))
def test_exact_equals_brute_force(seed: int, count: int) -> None:
    problem = random_steps(seed, count)
    found = best_order(*problem)
    orders = list(topological(problem[0]))
    assert found in orders
    least = min(peak(*problem, o) for o in orders)
    assert peak(*problem, found) == least
    if peak(*problem, list(range(count))) == least:
        assert found == list(range(count)), "an order that is as good stays"


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(5, 30))
def test_heuristic_is_valid_and_never_worse(seed: int, count: int) -> None:
    problem = random_steps(seed, count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "TRIALS", 1)
        found = best_order(*problem)
    given_order = list(range(count))
    assert sorted(found) == given_order
    have = set(problem[1]) - {n for s in problem[0] for n in s.writes}
    for i in found:
        assert set(problem[0][i].reads) <= have
        have.update(problem[0][i].writes)
    assert peak(*problem, found) <= peak(*problem, given_order)


@pytest.mark.parametrize("seed", range(8))
def test_the_search_looks_at_every_set_of_steps_once(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    ready = order._Problem.ready
    monkeypatch.setattr(order._Problem, "ready", lambda self, done: seen.append(done) or ready(self, done))
    problem = random_steps(seed, 8)
    least = peak(*problem, best_order(*problem))
    seen.clear()
    assert order._exact(order._Problem(*problem), least) == (True, None)
    proved, found = order._exact(order._Problem(*problem), least + 1)
    assert proved and found is not None and peak(*problem, found) == least
    half = seen.index(0, 1)
    assert all(len(part) == len(set(part)) for part in (seen[:half], seen[half:]))


@pytest.mark.parametrize(("overwrites", "searched"), [(("x",), False), ((), True)])
def test_no_search_where_one_step_needs_the_peak(overwrites: tuple[str, ...], searched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a step reads and its scratch are live in any order."""
    asked: list[object] = []
    monkeypatch.setattr(order, "_exact", lambda *a: asked.append(a) or (True, None))
    steps = [Step(("x",), ("a",), 5, overwrites), Step(("a",), ("b",), 0, ())]
    assert best_order(steps, {"x": 6, "a": 4, "b": 1}, frozenset({"b"})) == [0, 1] and bool(asked) == searched


def test_a_branch_is_finished_before_the_next_one_starts() -> None:
    """Three wide branches that each end narrow: one after the other instead of side by side."""
    b = Builder(1, "single", clamps=False)
    x = b.input(1, 8, 8, 2)
    wide = [b.conv(x, 16, 1) for _ in range(3)]
    narrow = [b.conv(w, 1, 3) for w in wide]
    graph = b.graph(b.add(b.add(narrow[0], narrow[1]), narrow[2]))
    program = lower(graph, target.load("host"))
    assert [c.output for c in program.calls] == [wide[0], narrow[0], wide[1], "add_6_out", wide[2], "add_7_out"]
    assert plan(program).arena_bytes < 2 * 1024 < 3 * 1024


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32))
def test_lowered_programs_run_every_call_once_and_in_time(seed: int) -> None:
    graph = random_graph(seed, layers=10)
    program = lower(graph, target.load("host"))
    have = set(graph.inputs)
    for call in program.calls:
        assert all(program.storage(n) in have for n in call.operands)
        have.add(call.output)
    assert len(have) == len(graph.inputs) + len(program.calls)
    assert simulate(graph, {n: np.zeros((1, *graph.type(n).shape), np.int8) for n in graph.inputs}).outputs
