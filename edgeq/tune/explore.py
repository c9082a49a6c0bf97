"""Which choices of quantization to try next, by a model learned from those tried so far.

A point is one value for each option. The model says what each value adds to the quality and to the logarithm of each cost, against the
usual one: a ridge regression on main effects, fitted by sweeps in a fixed order, so that it is the same on every computer. The next
point is the one whose predicted quality lies furthest above the best of as low a cost. After Quantune (Lee et al. 2022), which learns
from trials which options of quantization pay, with boosted trees, and SimQ-NAS (Mehta et al. 2023), whose predictors of accuracy and
latency are linear.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field

RIDGE = 0.1  # trials' worth of belief that a value changes nothing
SWEEPS = 30
WHOLE = 4096  # points of a space that are all looked at; in larger ones the model climbs
DRAWN = 4  # points drawn at random that it climbs from, beside the front of those known
Point = tuple[str, ...]


@dataclass(frozen=True)
class Space:
    """Options and the values to choose from.

    Attributes:
        options: name -> values, the usual one first.
        alone: values that leave no choice of others.
    """

    options: Mapping[str, tuple[str, ...]]
    alone: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[Point]:
        """All points, one after the other: those with a value of `alone` differ from the usual one in one option at most."""
        yield from (p for p in self.first() if self.alone & set(p))
        yield from itertools.product(*self._free)

    def __contains__(self, point: Point) -> bool:
        known = all(value in values for value, values in zip(point, self.options.values(), strict=True))
        return known and (not self.alone & set(point) or sum(a != b for a, b in zip(point, self.usual, strict=True)) <= 1)

    def __len__(self) -> int:
        return math.prod(map(len, self._free)) + sum(bool(self.alone & set(p)) for p in self.first())

    @property
    def _free(self) -> list[tuple[str, ...]]:
        """The values that leave a choice of others."""
        return [tuple(v for v in values if v not in self.alone) for values in self.options.values()]

    @property
    def usual(self) -> Point:
        """The usual value of every option."""
        return tuple(values[0] for values in self.options.values())

    def named(self, point: Point) -> dict[str, str]:
        """The point's value of every option."""
        return dict(zip(self.options, point, strict=True))

    def first(self) -> list[Point]:
        """The usual point, then those that differ from it in one option."""
        usual = self.usual
        return [usual, *self.around(usual)]

    def around(self, point: Point) -> list[Point]:
        """The points that differ from a point in one option."""
        found = [(*point[:i], value, *point[i + 1 :]) for i, values in enumerate(self.options.values()) for value in values]
        return [p for p in found if p != point and p in self]

    def without(self, bad: Set[tuple[int, str]]) -> Space:
        """Without some values, each with the place of its option; usual ones stay."""
        kept = {n: tuple(v for v in values if (i, v) not in bad) for i, (n, values) in enumerate(self.options.items())}
        return Space(kept, self.alone)

    def drawn(self, count: int, seed: int) -> list[Point]:
        """Points at random, the same for a seed; none where every value of an option leaves no choice of others."""
        rng, free = random.Random(seed), self._free
        return [tuple(v[int(rng.random() * len(v))] for v in free) for _ in range(count)] if all(free) else []


@dataclass(frozen=True)
class Trial:
    """What a point gave.

    Attributes:
        quality: the higher, the better.
        costs: name -> what the chip pays: bytes, cycles, instructions.
        refused: why the point cannot be quantized, empty where it can; there is no quality then.
        unseen: the quality on samples that choose nothing, where there are any.
    """

    point: Point
    quality: float = -math.inf
    costs: Mapping[str, float] = field(default_factory=dict)
    refused: str = ""
    unseen: float | None = None


@dataclass(frozen=True)
class Effects:
    """What the usual point gives, and per option and value what it adds."""

    base: float
    added: tuple[Mapping[str, float], ...]

    def __call__(self, point: Point) -> float:
        return self.base + math.fsum(a.get(value, 0.0) for a, value in zip(self.added, point, strict=True))


def fit(space: Space, points: Sequence[Point], values: Sequence[float]) -> Effects:
    """The main effects that explain `values` best, each drawn towards 0 by `RIDGE`; usual values have none, and the usual point gives what
    it gave, or the mean of all where it was not tried."""
    base = dict(zip(points, values, strict=True)).get(space.usual, math.fsum(values) / len(values))
    added: list[dict[str, float]] = [dict.fromkeys(choices, 0.0) for choices in space.options.values()]
    for _ in range(SWEEPS):
        for i, choices in enumerate(space.options.values()):
            effects = Effects(base, tuple(added))
            left: dict[str, list[float]] = {value: [] for value in choices}
            for point, value in zip(points, values, strict=True):
                left[point[i]].append(value - effects(point) + added[i][point[i]])
            added[i] = {v: math.fsum(rest) / (len(rest) + RIDGE) if v != choices[0] else 0.0 for v, rest in left.items()}
    return Effects(base, tuple(added))


class Model:
    """What is predicted of points that have not been tried, from the trials that were not refused."""

    def __init__(self, space: Space, trials: Sequence[Trial]) -> None:
        done = [t for t in trials if not t.refused]
        points = [t.point for t in done]
        self.quality = fit(space, points, [t.quality for t in done])
        self.costs = {name: fit(space, points, [math.log(max(1.0, t.costs[name])) for t in done]) for name in done[0].costs}

    def __call__(self, point: Point) -> Trial:
        return Trial(point, self.quality(point), {name: math.exp(effects(point)) for name, effects in self.costs.items()})


def front(trials: Sequence[Trial]) -> list[Trial]:
    """Those that no other one beats in quality and in every cost, the lowest first cost first; of equals the first that was tried."""
    done = list({(t.quality, *t.costs.values()): t for t in reversed(trials) if not t.refused}.values())
    kept = [t for t in done if not any(_beats(other, t) for other in done)]
    return sorted(kept, key=lambda t: (*t.costs.values(), -t.quality))


def _beats(a: Trial, b: Trial) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better."""
    pairs = [(-a.quality, -b.quality), *((a.costs[name], b.costs[name]) for name in a.costs)]
    return all(x <= y for x, y in pairs) and any(x < y for x, y in pairs)


def propose(space: Space, trials: Sequence[Trial], count: int) -> list[Point]:
    """The next points, at most `count` of them; those that differ from the usual one in one option come before all others.

    A value that was refused while all else was usual is not tried again. A space of more than `WHOLE` points is not gone through: the
    model climbs, an option at a time, from the front and from points at random, the same ones for as many trials.
    """
    tried = {t.point for t in trials}
    known, usual = list(trials), space.usual
    early = [p for p in space.first() if p not in tried][:count]
    if early:
        return early
    bad = {(i, v) for t in trials if t.refused for i, v in enumerate(t.point) if v != usual[i] and _alone(t.point, usual)}
    able = space.without(bad)
    if all(t.refused for t in trials):
        return list(itertools.islice((p for p in able if p not in tried), count))
    predicted = functools.cache(Model(space, trials))
    found: list[Point] = []
    while len(found) < count:
        points = [p for p in _candidates(able, predicted, known) if p not in tried]
        if not points:
            break
        best = max(map(predicted, points), key=lambda t: _gain(t, known))
        found.append(best.point)
        tried.add(best.point)
        known.append(best)  # others of the same round look elsewhere
    return found


def _candidates(space: Space, predicted: Callable[[Point], Trial], known: Sequence[Trial]) -> Iterable[Point]:
    """All points, or of a large space those met on the way to more gain."""
    if len(space) <= WHOLE:
        return space
    gain = functools.cache(lambda point: _gain(predicted(point), known))
    met: dict[Point, None] = {}
    for start in [*(t.point for t in front(known) if t.point in space), *space.drawn(DRAWN, len(known))]:
        point, best = None, start
        while best != point:
            point = best
            around = [point, *space.around(point)]
            met |= dict.fromkeys(around)
            best = max(around, key=gain)
    return met


def _alone(point: Point, usual: Point) -> bool:
    """Whether one option differs."""
    return sum(a != b for a, b in zip(point, usual, strict=True)) == 1


def _gain(trial: Trial, known: Sequence[Trial]) -> float:
    """How far a predicted quality lies above the best that costs no more."""
    cheaper = [k.quality for k in known if not k.refused and all(k.costs[n] <= trial.costs[n] for n in trial.costs)]
    return trial.quality - max(cheaper, default=min((k.quality for k in known if not k.refused), default=0.0))
