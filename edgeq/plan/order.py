"""The order of steps with the smallest peak of live bytes: exact where the search stays small, else the best of two."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

TRIALS = 60_000  # of a step after a set of steps


@dataclass(frozen=True)
class Step:
    """What one step touches.

    Attributes:
        reads: storage names, constants left out.
        writes: the storages that it creates.
        scratch: bytes that it needs while it runs.
        overwrites: those of `reads` that the first output may take the place of, if this is their last use.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    scratch: int
    overwrites: tuple[str, ...]


class _Problem:
    """Sets of steps as bit masks, and what lives between and during steps."""

    def __init__(self, steps: Sequence[Step], sizes: Mapping[str, int], kept: frozenset[str]) -> None:
        self.steps, self.sizes, self.kept = steps, sizes, kept
        self.readers: dict[str, int] = dict.fromkeys(sizes, 0)
        for i, step in enumerate(steps):
            for name in step.reads:
                self.readers[name] |= 1 << i
        writer = {n: i for i, s in enumerate(steps) for n in s.writes}
        self.needs = [sum({1 << writer[n] for n in s.reads if n in writer}) for s in steps]
        self.start = sum(size for n, size in sizes.items() if n not in writer and (self.readers[n] or n in kept))

    def ready(self, done: int) -> list[int]:
        return [i for i, need in enumerate(self.needs) if not done >> i & 1 and need & ~done == 0]

    def run(self, i: int, done: int, live: int) -> tuple[int, int]:
        """Bytes live during step i, and after it."""
        step, after = self.steps[i], done | 1 << i
        dying = {n for n in step.reads if n not in self.kept and self.readers[n] & ~after == 0}
        first = self.sizes[step.writes[0]]
        reused = any(n in dying and self.sizes[n] >= first for n in step.overwrites)
        during = live + step.scratch + sum(self.sizes[n] for n in step.writes) - (first if reused else 0)
        lasting = sum(self.sizes[n] for n in step.writes if self.readers[n] or n in self.kept)
        return during, live + lasting - sum(self.sizes[n] for n in dying)

    def peak(self, order: Sequence[int]) -> int:
        done, live, peak = 0, self.start, 0
        for i in order:
            during, live = self.run(i, done, live)
            done |= 1 << i
            peak = max(peak, during)
        return peak


def _greedy(problem: _Problem) -> list[int]:
    """Always the step that needs least while it runs, then the one that leaves least behind."""
    order: list[int] = []
    done, live = 0, problem.start
    while len(order) < len(problem.steps):
        _, left, i = min((*problem.run(i, done, live), i) for i in problem.ready(done))
        order.append(i)
        done, live = done | 1 << i, left
    return order


def _exact(problem: _Problem, ceiling: int) -> tuple[bool, list[int] | None]:
    """Best-first search over sets of done steps for a peak below `ceiling`: whether it was completed, and the order found."""
    goal = (1 << len(problem.steps)) - 1
    queue: list[tuple[int, int, int, int]] = [(0, 0, 0, problem.start)]  # peak, minus the number done, set, live
    came: dict[int, tuple[int, int, int]] = {}  # set -> peak, set before, step
    closed: set[int] = set()
    trials = 0
    while queue:
        peak, count, done, live = heapq.heappop(queue)
        if done == goal:
            order = []
            while done:
                _, done, i = came[done]
                order.append(i)
            return True, order[::-1]
        if done in closed:
            continue
        closed.add(done)
        ready = problem.ready(done)
        trials += len(ready)
        if trials > TRIALS:
            return False, None
        for i in ready:
            during, left = problem.run(i, done, live)
            reached, after = max(peak, during), done | 1 << i
            if reached < ceiling and (after not in came or reached < came[after][0]):
                came[after] = (reached, done, i)
                heapq.heappush(queue, (reached, count - 1, after, left))
    return True, None


def best_order(steps: Sequence[Step], sizes: Mapping[str, int], kept: frozenset[str]) -> list[int]:
    """A topological order of the steps.

    Args:
        steps: in some topological order, which is kept where no other has a smaller peak.
        sizes: bytes of every storage; those that no step writes live from the start.
        kept: storages that live to the end (the graph's outputs).

    Returns:
        Indices into `steps`.
    """
    problem = _Problem(steps, sizes, kept)
    order = list(range(len(steps)))
    peak = problem.peak(order)
    if peak <= max((sum(sizes[n] for n in {*s.reads}) + s.scratch for s in steps), default=0):
        return order
    proved, better = _exact(problem, peak)
    if not proved:
        candidate = _greedy(problem)
        better = candidate if problem.peak(candidate) < peak else None
    return better or order
