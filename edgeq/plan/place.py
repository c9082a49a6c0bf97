"""Offsets for blocks with lifetimes: greedy orders first, an exact solver where they miss the lower bound."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from edgeq import solver
from edgeq.solver import Row

MILP_BLOCKS = 40
MILP_NODES = 600  # 500 are too few for keyword spotting fed by rows; 1000 were not seen to find a lower placement
MILP_SECONDS = 60.0
SHUFFLES = 300
MEETINGS = 2_000_000  # pairs of blocks that live together, over all shuffles
SEED = 1
NEVER = 2**62


@dataclass(frozen=True)
class Block:
    """Storage with one offset: alive from step `first` on, `sizes[i]` units large at step ``first + i``: its first ones, or its last ones
    where `behind`."""

    first: int
    sizes: tuple[int, ...]
    behind: bool = False

    @property
    def last(self) -> int:
        return self.first + len(self.sizes) - 1

    @property
    def largest(self) -> int:
        return max(self.sizes)

    def at(self, step: int) -> int:
        """Units at a step, 0 outside the lifetime."""
        return self.sizes[step - self.first] if self.first <= step <= self.last else 0


Matrix = list[list[int]]


Trails = Mapping[tuple[int, int], int]


def separations(blocks: Sequence[Block], trails: Trails | None = None) -> Matrix:
    """``h[i][j]``: if i lies below j, ``offset[i] + h[i][j] <= offset[j]``; both 0 where they never meet.

    It is the largest size of i while j lives, but for the pairs of `trails`, of which the first grows as the second shrinks.
    """
    sizes = np.zeros((len(blocks), max((b.last + 1 for b in blocks), default=0)), np.int64)
    for units, block in zip(sizes, blocks, strict=True):
        units[block.first : block.last + 1] = block.sizes
    largest = sizes.max(axis=1, initial=0)
    starts = np.where(np.array([b.behind for b in blocks], bool)[:, None], largest[:, None] - sizes, 0)
    alive = np.pad(np.cumsum(sizes > 0, axis=1), ((0, 0), (1, 0)))  # steps before each in which a block is there
    moved = any(b.behind for b in blocks)
    h = []
    for i, b in enumerate(blocks):
        life = slice(b.first, b.last + 1)
        if moved:
            meets = (sizes[:, life] > 0) & (sizes[i, life] > 0)
            apart = np.where(meets, starts[i, life] + sizes[i, life] - starts[:, life], -NEVER).max(axis=1, initial=-NEVER)
            row = np.where(apart == -NEVER, 0, apart)
        elif len(set(b.sizes)) == 1:  # most are of one size all their life
            row = b.largest * (alive[:, b.last + 1] > alive[:, b.first])
        else:
            row = (sizes[i, life] * (sizes[:, life] > 0)).max(axis=1)
        row[i] = 0
        h.append(row.tolist())
    for (i, j), distance in (trails or {}).items():
        h[i][j] = max(distance, 1 - h[j][i])  # at most a whole block above the other's beginning
    return h


Partners = list[list[tuple[int, int, int]]]


def partners(h: Matrix) -> Partners:
    """Of each block i those that it meets: (j, ``h[i][j]``, ``h[j][i]``)."""
    return [[(j, row[j], h[j][i]) for j in range(len(h)) if row[j] or h[j][i]] for i, row in enumerate(h)]


def first_fit(met: Partners, order: Sequence[int], ready: Sequence[int] = (), most: Sequence[int] = ()) -> list[int]:
    """Each block in turn at the lowest offset that clears those already placed.

    Args:
        ready: offsets of the first blocks, in order.
        most: of each block, where it may lie at most; no offsets if one would lie higher.
    """
    offsets = [-1] * len(met)
    for i, at in zip(order, ready, strict=False):
        offsets[i] = at
    for i in order[len(ready) :]:
        # strictly between the two ends of a span, block i would collide with block j
        spans = [(offsets[j] - below, offsets[j] + above) for j, below, above in met[i] if offsets[j] >= 0]
        spans.sort()
        at = 0
        for low, high in spans:
            if at <= low:
                break
            if high > at:
                at = high
        if most and at > most[i]:
            return []
        offsets[i] = at
    return offsets


def height(blocks: Sequence[Block], offsets: Sequence[int]) -> int:
    """Units that a placement needs."""
    return max((o + b.largest for b, o in zip(blocks, offsets, strict=True)), default=0)


def greedy(blocks: Sequence[Block], h: Matrix, bound: int) -> list[int]:
    """The best of several orders and of a seeded local search from the best of them; stops at `bound`."""
    everything = range(len(blocks))
    totals = [sum(b.at(t) for b in blocks) for t in range(max((b.last for b in blocks), default=0) + 1)]
    pressure = [max(totals[b.first : b.last + 1], default=0) for b in blocks]
    keys = (
        lambda i: (-blocks[i].largest, blocks[i].first, i),
        lambda i: (-pressure[i], -blocks[i].largest, i),
        lambda i: (-sum(blocks[i].sizes), i),
        lambda i: (-len(blocks[i].sizes), -blocks[i].largest, i),
        lambda i: (blocks[i].first, -blocks[i].largest, i),
        lambda i: (-sum(h[i]), i),
    )
    best: tuple[int, list[int], list[int]] | None = None
    met = partners(h)
    for key in keys:
        order = sorted(everything, key=key)
        offsets = first_fit(met, order)
        tall = height(blocks, offsets)
        if best is None or tall < best[0]:
            best = (tall, order, offsets)
        if tall <= bound:
            return offsets
    assert best is not None
    chance = random.Random(SEED)
    meetings = sum(size != 0 for row in h for size in row)
    ends = [b.largest for b in blocks]
    most = [best[0] - end for end in ends]
    for _ in range(min(SHUFFLES, MEETINGS // max(meetings, 1)) if len(blocks) > 2 else 0):
        order, same = list(best[1]), len(blocks)
        for _ in range(chance.randint(1, 3)):
            to, at = chance.randrange(len(order)), chance.randrange(len(order))
            order.insert(to, order.pop(at))
            same = min(same, to, at)
        offsets = first_fit(met, order, [best[2][i] for i in order[:same]], most)
        if not offsets:
            continue
        tall = height(blocks, offsets)
        best, most = (tall, order, offsets), [tall - end for end in ends]
        if tall <= bound:
            break
    return best[2]


def turned(blocks: Sequence[Block], either: Sequence[int], bound: int, trails: Trails) -> list[Block]:
    """The blocks, of which those of `either` lie at their end where that makes a lower placement of those that
    live with them: found by turning one or two at a time."""

    if not either:
        return list(blocks)
    spans = [(blocks[i].first, blocks[i].last) for i in either]
    inside = [i for i, b in enumerate(blocks) if any(b.first <= last and b.last >= first for first, last in spans)]
    own = {(inside.index(i), inside.index(j)): d for (i, j), d in trails.items() if i in inside and j in inside}

    def tall(made: Sequence[Block]) -> int:
        near = [made[i] for i in inside]
        return height(near, greedy(near, separations(near, own), bound))

    best, least = list(blocks), tall(blocks)
    neighbours = [(i,) for i in either] + list(combinations(either, 2))
    while least > bound:
        made = ([replace(b, behind=not b.behind) if k in some else b for k, b in enumerate(best)] for some in neighbours)
        found = next(((t, m) for m in made if (t := tall(m)) < least), None)
        if found is None:
            break
        least, best = found
    return best


def _by_order(h: Matrix, below: Sequence[tuple[int, int]]) -> list[int]:
    """Lowest offsets in which i lies below j for every (i, j) of an acyclic relation."""
    offsets = [0] * len(h)
    for _ in offsets:
        moved = False
        for i, j in below:
            if offsets[j] < offsets[i] + h[i][j]:
                offsets[j], moved = offsets[i] + h[i][j], True
        if not moved:
            break
    return offsets


def exact(blocks: Sequence[Block], h: Matrix, bound: int, ceiling: int) -> tuple[bool, list[int] | None]:
    """A placement below `ceiling` of least height, by mixed-integer programming (HiGHS).

    Returns:
        Whether the answer is proved, and the offsets: None where there is none below `ceiling`
        (or none was found, if not proved).
    """
    n, top = len(blocks), ceiling - 1
    pairs = [(i, j) for i in range(n) for j in range(i) if h[i][j] or h[j][i]]
    last = n + len(pairs)  # variables: n offsets, one "i lies below j" per pair, the height
    rows: list[Row] = []
    for k, (i, j) in enumerate(pairs, n):
        rows.append(Row({i: 1, j: -1, k: top}, high=top - h[i][j]))
        rows.append(Row({j: 1, i: -1, k: -top}, high=-h[j][i]))
    rows += [Row({i: 1, last: -1}, high=-b.largest) for i, b in enumerate(blocks)]
    zeros, ones = np.zeros(last), np.ones(len(pairs))
    upper = np.array([*(top - b.largest for b in blocks), *ones, top], np.float64)
    whole = np.concatenate([np.zeros(n), ones, [1.0]])
    problem = solver.Problem(np.append(zeros, 1.0), rows, np.append(zeros, float(bound)), upper, whole)
    answer = solver.minimise(problem, nodes=MILP_NODES, seconds=MILP_SECONDS)
    if answer.state == "infeasible":
        return True, None
    if answer.state == "stopped" or answer.x is None:  # what the wall clock stopped would differ from run to run
        return False, None
    offsets = _by_order(h, [(i, j) if z > 0.5 else (j, i) for (i, j), z in zip(pairs, answer.x[n:last], strict=True)])
    return answer.state == "optimal", offsets if height(blocks, offsets) < ceiling else None


def place(problems: Sequence[Sequence[Block]], bound: int, trails: Sequence[Trails] | None = None) -> tuple[int, int, str, list[int]]:
    """Offsets for the best of several block sets that describe the same memory.

    Args:
        problems: alternatives; the one that can be placed lowest is taken.
        bound: no placement can be lower than this many units.
        trails: of each, pairs of blocks of which the first may lie over the second, see `separations`.

    Returns:
        Index of the alternative, height, method (``greedy``, ``milp optimal``, ``milp time limit``) and offsets.
    """
    matrices = [separations(blocks, t) for blocks, t in zip(problems, trails or [{}] * len(problems), strict=True)]
    best: tuple[int, int, list[int]] | None = None
    for index, (blocks, h) in enumerate(zip(problems, matrices, strict=True)):
        offsets = greedy(blocks, h, bound)
        tall = height(blocks, offsets)
        if best is None or tall < best[0]:
            best = (tall, index, offsets)
    assert best is not None
    method = "greedy"
    if best[0] > bound and max(map(len, problems)) <= MILP_BLOCKS:
        proved = True
        for index, (blocks, h) in enumerate(zip(problems, matrices, strict=True)):
            if best[0] > bound:
                certain, better = exact(blocks, h, bound, best[0])
                proved = proved and certain
                if better is not None:
                    best = (height(blocks, better), index, better)
        method = "milp optimal" if proved or best[0] == bound else "milp time limit"
    return best[1], best[0], method, best[2]
