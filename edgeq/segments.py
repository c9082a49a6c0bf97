"""Which calls of a program run by bands of rows, so that it needs less memory.

A program is cut into segments, neighbouring calls that run as one band, and calls that run on their own. The bytes that a segment needs
follow from its rows exactly; a dynamic program over the places of the cuts finds the least largest need, and within a limit the fewest
instructions more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeq.bands import Bander, Whole
from edgeq.plan import MemoryPlan, lifetimes, live, plan
from edgeq.program import Band, Call, Flow, Part, Program

LONGEST = 40  # calls of a segment
FASTER = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # rows at a turn
# Instructions, about: of a byte moved, of a row's input read again, of a turn, of a call, of a call per output channel.
MOVE, READ, TURN, CALL, CHANNEL = 0.6, 1.5, 30.0, 120.0, 6.0
ATTEMPTS = 6
PATIENCE = 3  # paces without one that stays within a limit, before faster ones are left out


@dataclass(frozen=True)
class Segment:
    """Calls `first` to `last`: alone where `pace` is None, else as a band; the bytes that they need, and the instructions more."""

    first: int
    last: int
    pace: Flow | None
    bytes: int
    cost: float


@dataclass(eq=False)
class Search:
    """Cuts of a program."""

    program: Program
    alignment: int = 4
    _found: dict[int, list[Segment]] = field(default_factory=dict)
    _paces: dict[tuple[int, int], list[Segment | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._bander = Bander(self.program)
        self._spans = lifetimes(self.program)
        self._live = live(self.program)

    def _units(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    def _slowest(self, first: int) -> Iterator[Segment]:
        """The segments that begin with a call, each with the pace that needs the fewest bytes: no call computes several rows at a turn."""
        yield Segment(first, first, None, self._live[first], 0.0)
        for last in range(first, min(first + LONGEST, len(self.program.calls))):
            try:
                steps = self._bander.steepest(first, last)
            except Whole:
                if self._bander.endless(last):
                    return
                continue
            found = self._segment(first, last, Flow(1, 1, steps))
            if found:
                yield found

    def slowest(self, first: int) -> list[Segment]:
        """The same, kept."""
        if first not in self._found:
            self._found[first] = list(self._slowest(first))
        return self._found[first]

    def faster(self, slow: Segment, limit: float) -> Iterator[Segment]:
        """A segment at all paces that stay within a limit."""
        if slow.bytes > limit:
            return
        yield slow
        if slow.pace is None:
            return
        paces = self._paces.setdefault((slow.first, slow.last), [])
        halves = [slow.pace.per // 2**k for k in range(1, slow.pace.per.bit_length())]
        wanted = [*(Flow(1, 1, n) for n in halves), *(Flow(n, n) for n in FASTER)]
        while len(paces) < len(wanted) and (len(paces) < PATIENCE or any(s and s.bytes <= limit for s in paces[-PATIENCE:])):
            paces.append(self._segment(slow.first, slow.last, wanted[len(paces)]))
        yield from (s for s in paces if s is not None and s.bytes <= limit)

    def _segment(self, first: int, last: int, pace: Flow) -> Segment | None:
        program = self.program
        height = self._bander.sources(last)[0].height
        if pace.rate >= max(height, 2):
            return None
        try:
            band, calls = self._bander.band(first, last, pace)
        except Whole:
            return None
        whole = [n for n, (a, b) in self._spans.items() if a <= last and b >= first and n not in band.lines]
        sizes = {n: self._units(program.graph.type(n).bytes) for n in whole}
        own = 0
        kept = calls[-1].scratch if band.parts[-1].gathers else 0
        for i, call in enumerate(calls, first):
            lines = sum(self._units(x.bytes) for x in band.lines.values() if x.first <= i <= x.last)
            own = max(own, lines + self._units(call.scratch if i < last or not kept else 0) + self._units(kept))
        need = sum(sizes.values()) + own - self._saved(band, sizes)
        return Segment(first, last, pace, need, sum(self._more(p, c, band) for p, c in zip(band.parts, calls, strict=True)))

    def _saved(self, band: Band, sizes: dict[str, int]) -> int:
        """Bytes that outputs share with inputs, each with one at most."""
        pairs = sorted(
            ((sizes[x] + sizes[y] - max(sizes[y], max(self._units(d), 0) + sizes[x]), y, x) for (y, x), d in band.overlaps.items()),
            reverse=True,
        )
        saved, taken = 0, set[str]()
        for size, y, x in pairs:
            if size > 0 and not {x, y} & taken:
                saved, taken = saved + size, taken | {x, y}
        return saved

    def _more(self, part: Part, call: Call, band: Band) -> float:
        """Instructions that a call takes more than on its own."""
        calls = -(-part.height * part.flow.per // (part.flow.rate * part.flow.unit))
        channels = self.program.graph.type(call.output).shape[-1]
        cost = TURN * band.turns + (CALL + CHANNEL * channels) * max(calls - 1, 0)
        for source, name in zip(part.sources, call.operands, strict=True):
            again = 0 if source.rows is None else max(source.rows.extent - source.rows.step, 0)
            if again:
                cost += calls * again * source.pitch * (READ + (MOVE if self.program.storage(name) in band.lines else 0))
        return cost

    def least(self) -> float:
        """The least largest need of all cuts."""
        count = len(self.program.calls)
        need = [0.0, *([math.inf] * count)]
        for i in range(count):
            for s in self.slowest(i):
                need[s.last + 1] = min(need[s.last + 1], max(need[i], s.bytes))
        return need[count]

    def cut(self, limit: float) -> list[Segment] | None:
        """The segments that stay within a limit, with the fewest instructions more; None where there are none."""
        count = len(self.program.calls)
        best: list[tuple[float, float, Segment | None]] = [(0.0, 0.0, None), *([(math.inf, math.inf, None)] * count)]
        for i in range(count):
            for slow in self.slowest(i) if best[i][0] < math.inf else ():
                worse = best[i][0] >= best[slow.last + 1][0]  # no band costs less than nothing
                for s in () if worse else self.faster(slow, limit):
                    best[s.last + 1] = min(best[s.last + 1], (best[i][0] + s.cost, best[i][1] + s.bytes, s), key=lambda b: b[:2])
        found: list[Segment] = []
        at = count
        while at:
            segment = best[at][2]
            if segment is None:
                return None
            found.append(segment)
            at = segment.first
        return found[::-1]

    def made(self, segments: list[Segment]) -> Program:
        """The program cut so."""
        return self._bander.combined([(s.first, s.last, s.pace) for s in segments if s.pace is not None])


def fitted(program: Program, limit: float | None) -> tuple[Program, MemoryPlan]:
    """The program with as few bands as it needs for an arena of `limit` bytes, and its plan; of the least arena where none fits.

    Args:
        limit: None for the least arena that there is.
    """
    whole = plan(program)
    if (limit is not None and whole.arena_bytes <= limit) or not program.calls:
        return program, whole
    search = Search(program)
    least = search.least()
    aim = max(least, -math.inf if limit is None else limit)
    best = program, whole
    for _ in range(ATTEMPTS):
        segments = search.cut(aim)
        if segments is None:
            break
        made = search.made(segments)
        planned = plan(made)
        if planned.arena_bytes < best[1].arena_bytes:
            best = made, planned
        if planned.arena_bytes <= aim or aim <= least:
            break
        aim = max(least, aim - (planned.arena_bytes - aim))
    return best
