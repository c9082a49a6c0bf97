"""Which calls of a program run by bands of rows, so that it needs less memory.

A program is cut into segments, neighbouring calls that run as one band, and calls that run on their own. The bytes that a segment needs
follow from its rows exactly; a dynamic program over the places of the cuts finds the least largest need, and within a limit the fewest
instructions more.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq.ir import Array
from edgeq.plan.arena import MemoryPlan, lifetimes, live, plan
from edgeq.plan.bands import Bander, Whole
from edgeq.program import Band, Call, Flow, Part, Program

LONGEST = 40  # calls of a segment
FASTER = (2, 3, 4, 6, 8, 12, 16, 24, 32)  # rows at a turn
# Instructions, about, as measured on a Cortex-M4: of a byte moved, of a row's input read again, of a turn, of a call; of a call per output
# channel, and of one of a depthwise layer, which goes channel by channel.
MOVE, READ, TURN, CALL, CHANNEL, PLANE = 0.6, 1.5, 30.0, 120.0, 40.0, 250.0
PORTABLE = 1.0  # of a MAC of a portable kernel, where the call on its own has one of the ISA's
GUESS = 0.1  # of a band's cost at its slowest pace, before the best one is known
PATIENCE = 3  # paces without one that stays within a limit, before faster ones are left out


@dataclass(frozen=True)
class Segment:
    """Calls `first` to `last`: alone where `pace` is None, else as a band; the bytes that they need, and the instructions more."""

    first: int
    last: int
    pace: Flow | None
    bytes: int
    cost: float


def extra(program: Program, part: Part, whole: Call, call: Call, band: Band) -> float:
    """Instructions that a call takes more than on its own, `whole`."""
    flow = part.flow
    calls = -(-part.height * min(flow.per, flow.rate) // (flow.rate * flow.unit))  # slower than a row a turn, it waits for turns
    channels = program.graph.type(call.output).shape[-1]
    of_rows = call.kernel.isa == whole.kernel.isa and call.kernel.priority > whole.kernel.priority
    each = PLANE if call.node.op.traits.family == "depthwise" and not of_rows else CHANNEL
    cost = TURN * band.turns + (CALL + each * channels) * max(calls - 1, 0)
    if call.kernel.isa == "c" != whole.kernel.isa and not part.gathers:
        cost += PORTABLE * whole.macs
    for source, name in zip(part.sources, call.operands, strict=True):
        again = 0 if source.rows is None else max(source.rows.extent - source.rows.step, 0)
        if again:
            cost += calls * again * source.pitch * (READ + (MOVE if program.storage(name) in band.lines else 0))
    return cost


@dataclass(eq=False)
class Search:
    """Cuts of a program.

    Attributes:
        most: bytes that some cut stays within: segments that need more are of no use. It may change: what is known of segments stays.
    """

    program: Program
    fed: str = ""  # an input that comes row by row, to the first segment
    alignment: int = 4
    most: float = math.inf
    _found: dict[tuple[int, int], Segment | None] = field(default_factory=dict)
    _steps: dict[tuple[int, int], int] = field(default_factory=dict)
    _bounds: dict[tuple[int, int], float] = field(default_factory=dict)
    _guesses: dict[tuple[int, int], float] = field(default_factory=dict)
    _made: dict[tuple[int, int, Flow], Segment | None] = field(default_factory=dict)
    _plans: dict[tuple[tuple[int, int, Flow], ...], tuple[Program, MemoryPlan]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._bander = Bander(self.program, self.fed)
        self._spans = lifetimes(self.program)
        self._live = live(self.program)
        self._ends = {self.program.storage(n) for n in self.program.graph.outputs}

    def _units(self, size: int) -> int:
        return -(-size // self.alignment) * self.alignment

    def ends(self, first: int) -> Iterator[int]:
        """The last calls of the segments that begin with a call."""
        for last in range(first, min(first + LONGEST, len(self.program.calls))):
            if self._bander.endless(last):
                if self._bander.fits(last):
                    yield last
                return
            yield last

    def slowest(self, first: int, last: int) -> Segment | None:
        """The band with the pace that needs the fewest bytes: no call computes several rows at a turn."""
        key = first, last
        if key not in self._found:
            steps = self._steepest(first, last)
            self._found[key] = self._segment(first, last, Flow(1, 1, steps)) if steps else None
        return self._found[key]

    def _steepest(self, first: int, last: int) -> int:
        """As of `Bander`; 0 where there is no such band."""
        key = first, last
        if key not in self._steps:
            try:
                self._steps[key] = self._bander.steepest(first, last)
            except Whole:
                self._steps[key] = 0
        return self._steps[key]

    def bound(self, first: int, last: int) -> float:
        """Bytes that a segment needs at least: its whole tensors, the rows of windows that overlap, and those that one of them reads."""
        key = first, last
        if self._least(first, last) > self.most:
            return math.inf
        if key not in self._bounds:
            found = math.inf
            if self._steepest(first, last):
                inside = (w for i in range(first, last + 1) for w in self._windows[i])
                rows = {w[0]: w for w in inside if self._makers.get(w[0], -1) >= first and self._spans[w[0]][1] <= last}
                own = [(most, kept) for n, most, kept in rows.values() if n not in self._ends]
                found = self._least(first, last) + sum(k for _, k in own) + max((m - k for m, k in own), default=0)
            self._bounds[key] = found
        return self._bounds[key]

    @functools.cached_property
    def _makers(self) -> dict[str, int]:
        return {c.output: i for i, c in enumerate(self.program.calls)}

    @functools.cached_property
    def _windows(self) -> list[list[tuple[str, int, int]]]:
        """Of each call the tensors of which it reads rows again, the bytes of the most rows that it reads at once, and those of the rows
        that are read again whenever some are still to be read."""
        found: list[list[tuple[str, int, int]]] = []
        for i, call in enumerate(self.program.calls):
            found.append([])
            if not self._bander.fits(i) or len(shape := self.program.graph.type(call.output).shape) != 4:
                continue
            rows = np.arange(shape[1])
            for source, name in zip(self._bander.sources(i), call.operands, strict=True):
                if source.rows and source.rows.extent > source.rows.step:
                    most = int((source.end(rows + 1) - source.first(rows, shape[1])).max())
                    again = max(0, int((source.end(rows[1:]) - source.first(rows[1:], shape[1])).min(initial=most)))
                    found[i].append((self.program.storage(name), most * source.pitch, again * source.pitch))
        return found

    def _least(self, first: int, last: int) -> int:
        """Bytes that a segment needs at least: of the whole tensors, results may take the place of what is read for the last time."""
        born, dies, sizes, given, ends = self._spans_arrays
        alive = (born <= last) & (dies >= first) & ~((born >= first) & (dies <= last) & ~ends)
        made = alive & (born >= first) & ~given
        read = alive & ~made & (dies <= last) & ~ends
        return int(sizes[alive & ~made & ~read].sum() + max(sizes[made].sum(), sizes[read].sum()))

    @functools.cached_property
    def _spans_arrays(self) -> tuple[Array, ...]:
        """Of each tensor but the fed one its first and last step, its bytes, whether it is an input, and an output."""
        names = [n for n in self._spans if n != self.fed]
        spans = np.array([self._spans[n] for n in names], np.int64).reshape(-1, 2)
        sizes = np.array([self.program.graph.type(n).bytes for n in names], np.int64)
        inputs, outputs = (np.array([n in which for n in names], bool) for which in (self.program.graph.given, self._ends))
        return spans[:, 0], spans[:, 1], sizes, inputs, outputs

    def paced(self, slow: Segment, limit: float) -> Segment:
        """A segment at the pace that costs the least within a limit."""
        assert slow.pace is not None
        best, failed = slow, 0
        halves = [slow.pace.per // 2**k for k in range(1, slow.pace.per.bit_length())]
        for pace in (*(Flow(1, 1, n) for n in halves), *(Flow(n, n) for n in FASTER)):
            found = self._segment(slow.first, slow.last, pace)
            failed = 0 if found and found.bytes <= limit else failed + 1
            if failed == PATIENCE:
                break
            if found and found.bytes <= limit and found.cost < best.cost:
                best = found
        return best

    def _segment(self, first: int, last: int, pace: Flow) -> Segment | None:
        key = first, last, pace
        if key not in self._made:
            self._made[key] = self._simulated(first, last, pace)
        return self._made[key]

    def _simulated(self, first: int, last: int, pace: Flow) -> Segment | None:
        program = self.program
        height = self._bander.sources(last)[0].height
        if pace.rate >= max(height, 2):
            return None
        try:
            band, calls = self._bander.band(first, last, pace)
        except Whole:
            return None
        whole = [n for n, (a, b) in self._spans.items() if a <= last and b >= first and n not in (*band.lines, self.fed)]
        sizes = {n: self._units(program.graph.type(n).bytes) for n in whole}
        own = 0
        kept = calls[-1].scratch if band.parts[-1].gathers else 0
        for i, call in enumerate(calls, first):
            lines = sum(self._units(x.at(i)) for x in band.lines.values())
            own = max(own, lines + self._units(call.scratch if i < last or not kept else 0) + self._units(kept))
        need = sum(sizes.values()) + own + self._units(4 * band.counters) - self._saved(band, calls[0], sizes)
        wholes = program.calls[first : last + 1]
        return Segment(first, last, pace, need, sum(extra(program, *x, band) for x in zip(band.parts, wholes, calls, strict=True)))

    def _saved(self, band: Band, call: Call, sizes: dict[str, int]) -> int:
        """Bytes that outputs share with inputs, each with one at most; `call` is the first of the band."""
        over = {self.program.storage(call.operands[i]) for i in band.overwrites(call)} & set(sizes) - self._ends
        if any(self._spans[x][1] == band.first for x in over):
            return sizes[call.output]
        pairs = sorted(
            ((sizes[x] + sizes[y] - max(sizes[y], max(self._units(d), 0) + sizes[x]), y, x) for (y, x), d in band.overlaps.items()),
            reverse=True,
        )
        saved, taken = 0, set[str]()
        for size, y, x in pairs:
            if size > 0 and not {x, y} & taken:
                saved, taken = saved + size, taken | {x, y}
        return saved

    @functools.cached_property
    def least(self) -> float:
        """The least largest need of all cuts; `most` falls to it.

        What a band needs is found of those alone that the best cut has by what is known of others and their bounds.
        """
        while True:
            need, bands = self._narrowest()
            if all(key in self._found for key in bands):
                self.most = min(self.most, need)
                return need
            for key in bands:
                self.slowest(*key)

    def _narrowest(self) -> tuple[float, list[tuple[int, int]]]:
        """The least largest need, as far as it is known, and the bands of a cut that has it."""
        count = len(self.program.calls)
        best: list[tuple[float, int, int]] = [(0.0, 0, 0), *([(math.inf, 0, -1)] * count)]  # need, unknown bands, first call (~ of a band)
        for i in range(count):
            need, unknown, _ = best[i]
            if need == math.inf:
                continue
            if i or not self.fed:
                best[i + 1] = min(best[i + 1], (max(need, self._live[i]), unknown, i), key=lambda b: b[:2])
            for last in self.ends(i):
                if best[last + 1][0] < need:
                    continue
                known = (i, last) in self._found
                found = self._found[i, last] if known else None
                size = self.bound(i, last) if not known else found.bytes if found else math.inf
                best[last + 1] = min(best[last + 1], (max(need, size), unknown + (not known), ~i), key=lambda b: b[:2])
        bands, at = list[tuple[int, int]](), count
        while at and best[count][0] < math.inf:
            first = best[at][2]
            if first < 0:
                bands.append((~first, at - 1))
            at = max(first, ~first)
        return best[count][0], bands

    def cut(self, limit: float) -> list[Segment] | None:
        """The segments that stay within a limit, with the fewest instructions more; None where there are none.

        A band is taken to cost little before the pace is known at which it costs the least, and to need little before its rows are: both
        are looked for only of bands that would be chosen so.
        """
        paced: dict[tuple[int, int], Segment] = {}
        options: dict[tuple[int, int], Segment | None] = {}
        while True:
            found = self._cheapest(limit, options)
            guessed = [s for s in found or () if s.pace is not None and (s.first, s.last) not in paced]
            if not guessed:
                return found
            for s in guessed:
                key = s.first, s.last
                if key not in self._found:
                    self.slowest(*key)
                elif slow := self._found[key]:
                    paced[key] = self.paced(slow, limit)
                options[key] = paced[key] if key in paced else self._option(*key, limit)

    def _guess(self, first: int, last: int) -> float:
        """About what a band costs at its slowest pace at least."""
        key = first, last
        if key not in self._guesses:
            calls = self.program.calls[first : last + 1]
            try:
                band, _ = self._bander.sketch(first, last, Flow(1, 1, self._steepest(first, last)))
            except Whole:
                self._guesses[key] = math.inf
                return math.inf
            self._guesses[key] = sum(extra(self.program, p, c, c, band) for p, c in zip(band.parts, calls, strict=True))
        return self._guesses[key]

    def _option(self, first: int, last: int, limit: float) -> Segment | None:
        """A band as far as it is known, None where it is of no use."""
        key = first, last
        if key in self._found:
            slow = self._found[key]
            return replace(slow, cost=slow.cost * GUESS) if slow and slow.bytes <= limit else None
        size = self.bound(first, last)
        if size > limit or (cost := self._guess(first, last)) == math.inf:
            return None
        return Segment(first, last, Flow(1, 1), int(size), cost * GUESS)

    def _cheapest(self, limit: float, known: dict[tuple[int, int], Segment | None]) -> list[Segment] | None:
        """The cheapest cut, by what is known of bands and what is guessed of others, which joins it."""
        count = len(self.program.calls)
        best: list[tuple[float, float, Segment | None]] = [(0.0, 0.0, None), *([(math.inf, math.inf, None)] * count)]
        for i in range(count):
            cost, need, _ = best[i]
            if cost == math.inf:
                continue
            alone = Segment(i, i, None, self._live[i], 0.0) if i or not self.fed else None
            options = [alone] if alone and alone.bytes <= limit else []
            for last in self.ends(i):
                if cost >= best[last + 1][0]:
                    continue  # no band costs less than nothing
                if (i, last) not in known:
                    known[i, last] = self._option(i, last, limit)
                if found := known[i, last]:
                    options.append(found)
            for s in options:
                best[s.last + 1] = min(best[s.last + 1], (cost + s.cost, need + s.bytes, s), key=lambda b: b[:2])
        path: list[Segment] = []
        at = count
        while at:
            segment = best[at][2]
            if segment is None:
                return None
            path.append(segment)
            at = segment.first
        return path[::-1]

    def planned(self, segments: list[Segment]) -> tuple[Program, MemoryPlan]:
        """The program cut so, and its plan."""
        bands = tuple((s.first, s.last, s.pace) for s in segments if s.pace is not None)
        if bands not in self._plans:
            made = self._bander.combined(bands)
            self._plans[bands] = made, plan(made, self.alignment)
        return self._plans[bands]
