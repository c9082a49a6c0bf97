"""Where the rows of a band lie: how many of each tensor are kept from turn to turn, and which take the place of others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeq.ir import Array
from edgeq.program import Call, Fed, Flow, Lines, Part, Program


@dataclass(frozen=True, eq=False)
class Trace:
    """What one call does at each turn, int64 ``[turns]``.

    Attributes:
        before, after: rows of its result that exist before and after the turn.
        reads: the rows that it reads of each operand, first and end; None of one that it reads whole.
        padding: rows of padding above the first that it reads; where it sums over all rows, those that it has taken in.
    """

    before: Array
    after: Array
    reads: tuple[tuple[Array, Array] | None, ...]
    padding: Array

    @property
    def busy(self) -> Array:
        """Whether it computes rows; bool."""
        return np.asarray(self.after > self.before)


def _done(flow: Flow, turn: Array) -> Array:
    """Rows by a flow without end."""
    return np.asarray((flow.rate * turn + flow.offset) // flow.per * flow.unit)


def traces_of(parts: Sequence[Part], turns: int) -> list[Trace]:
    """What each call of a band does at so many turns."""
    at = np.arange(turns)
    traces = []
    for part in parts:
        before, after = part.done(at - 1), part.done(at)
        padding = before if part.gathers else part.sources[0].padding(before)
        reads = tuple((s.first(before, part.height), s.end(after)) if s.rows else None for s in part.sources)
        traces.append(Trace(before, after, reads, padding))
    return traces


class Memory:
    """Finds the buffers of a band: `plan` gives them, and how far results may overlap inputs."""

    def __init__(
        self, program: Program, first: int, calls: Sequence[Call], parts: Sequence[Part], traces: Sequence[Trace], lasting: Iterable[str],
        fed: Fed | None,
    ) -> None:  # fmt: skip
        self.program, self.first, self.calls, self.parts, self.traces, self.lasting = program, first, calls, parts, traces, set(lasting)
        self.fed = fed
        self.maker = {c.output: i for i, c in enumerate(calls)}
        self.readers: dict[str, list[tuple[int, int]]] = {}  # storage -> (call, position of the operand)
        for i, call in enumerate(calls):
            for j, name in enumerate(call.operands):
                self.readers.setdefault(program.storage(name), []).append((i, j))
        self.lines: dict[str, Lines] = {}
        self.hosts: set[str] = set()  # whose dead rows or next rows are used
        self.wider: set[str] = set()  # whose buffers hold longer rows of others

    def low(self, storage: str) -> Array:
        """The first row that is still needed at each turn, before it runs."""
        reads = [self.traces[i].reads[j] for i, j in self.readers[storage]]
        return np.asarray(np.minimum.reduce([r[0] for r in reads if r is not None]))

    def start(self, storage: str) -> Array:
        """The first row in a buffer at each turn: one that is still needed, or made although nobody needs it."""
        return np.minimum(self.low(storage), self.traces[self.maker[storage]].before)

    def pitch(self, storage: str) -> int:
        """Bytes of a row."""
        i, j = self.readers[storage][0]
        return self.parts[i].sources[j].pitch

    def plan(self) -> tuple[dict[str, Lines], dict[tuple[str, str], int]]:
        """The buffers of the band by tensor, and how many bytes each whole result must begin before each whole input that dies in it."""
        if self.fed:
            done = np.clip(_done(self.fed.flow, np.arange(-1, len(self.traces[0].after))), 0, self.fed.height)
            most = int((done[1:] - np.minimum(self.low(self.fed.name), done[:-1])).max())
            self.lines[self.fed.name] = Lines(most * self.fed.pitch, self.first, self.first + len(self.calls) - 1)
        for name, i in self.maker.items():
            if name not in self.lasting:
                trace = self.traces[i]
                most = int(np.where(trace.busy, trace.after - self.start(name), 0).max())
                last = len(self.calls) - 1
                kept = not self._passing(name)
                start, stop = (0, last) if kept else (i, max(c for c, _ in self.readers[name]))
                self.lines[name] = Lines(most * self.parts[i].pitch, self.first + start, self.first + stop)
        for name in [n for n in self.lines if n in self.maker]:
            if self._passing(name) and name not in self.wider:
                over, ahead = self._over(name), self._ahead(name)
                if over:
                    self.hosts.add(over)
                    mine = self.lines.get(over)
                    if mine and mine.bytes:
                        self.lines[over] = replace(mine, last=max(mine.last, self.lines[name].last))
                    self.lines[name] = replace(self.lines[name], bytes=0, over=over, spare=self._spares(name, over))
                elif ahead:
                    self.hosts |= {ahead, name}
                    self.lines[name] = replace(self.lines[name], bytes=0, ahead=ahead)
        self.lines |= {n: self._shrunk(n) for n in self.lines}
        return self.lines, self._overlaps()

    def _home(self, name: str) -> str:
        """The tensor in whose place a tensor lies."""
        lines = self.lines.get(name)
        return self._home(lines.over or lines.ahead) if lines and (lines.over or lines.ahead) else name

    def _shrunk(self, name: str) -> Lines:
        """The buffer of rows that are kept from turn to turn: while it is in use as a whole, and how much of it else."""
        lines, end = self.lines[name], self.first + len(self.calls) - 1
        if not lines.bytes or (lines.first, lines.last) != (self.first, end):
            return lines
        there = [n for n in self.lines if self._home(n) == name]
        begin = min(self.maker.get(n, 0) for n in there)
        busy = self.first + begin, self.first + max(i for n in there for i, _ in self.readers[n])
        low = self.low(name)
        if name in self.maker:
            held, pitch = self.traces[self.maker[name]].before - low, self.parts[self.maker[name]].pitch
        else:
            assert self.fed is not None
            held, pitch = np.clip(_done(self.fed.flow, np.arange(-1, len(low) - 1)), 0, self.fed.height) - low, self.fed.pitch
        kept = min(lines.bytes, max(0, int(held[1:].max(initial=0))) * pitch)
        return replace(lines, busy=busy, kept=kept, either=name in self.maker and name not in self.wider and kept < lines.bytes)

    def _passing(self, name: str) -> bool:
        """Whether all rows of a tensor are read, by one call, at the turn at which they are made."""
        if name not in self.maker or len(self.readers[name]) > 1:
            return False
        trace, low, readers = self.traces[self.maker[name]], self.low(name), self.readers[name]
        reads = self.traces[readers[0][0]].reads[readers[0][1]]
        if reads is None:
            return False
        busy, reader = trace.busy, self.traces[readers[0][0]].busy
        same = (
            np.array_equal(busy, reader)
            and np.array_equal(low[busy], trace.before[busy])
            and np.array_equal(reads[1][busy], trace.after[busy])
        )
        return bool(same and np.all(low[1:][busy[:-1]] >= trace.after[:-1][busy[:-1]]))

    def _over(self, name: str) -> str:
        """The tensor whose rows, of no more need, the rows of a passing one may take the place of; nothing where there is none."""
        i = self.maker[name]
        call, trace, part = self.calls[i], self.traces[i], self.parts[i]
        for position in call.inplace:
            if position >= len(call.operands):
                continue
            storage = self.program.storage(call.operands[position])
            reads = trace.reads[position]
            mine = self.lines.get(storage)
            if reads is None or storage in self.hosts or not (mine.bytes or mine.over if mine else self._dies(storage)):
                continue
            if mine and self._passing(storage):
                if np.all((trace.after - trace.before) * part.pitch <= (reads[1] - reads[0]) * part.sources[position].pitch * trace.busy):
                    return storage
                continue
            if any(self.traces[k].reads[j] is None for k, j in self.readers[storage]):
                continue
            if [r for r in self.readers[storage] if r[0] > i or (r[0] == i and r[1] != position)]:
                continue
            front, behind = self._free(name, storage)
            if np.all(front | behind):
                return storage
        return ""

    def _free(self, name: str, storage: str) -> tuple[Array, Array]:
        """At each turn that makes rows of a tensor, whether they fit in the place of rows of an operand that nobody needs any more, and
        whether they fit behind all that its buffer holds."""
        i = self.maker[name]
        trace = self.traces[i]
        busy, low, pitch = trace.busy[:-1], self.low(storage), self.pitch(storage)
        need = ((trace.after - trace.before) * self.parts[i].pitch)[:-1]
        call = self.calls[i]
        reads = trace.reads[next(k for k in call.inplace if self.program.storage(call.operands[k]) == storage)]
        assert reads is not None
        front = (low[1:] - reads[0][:-1]) * pitch >= need
        behind = np.zeros_like(front)
        if storage in self.maker and storage in self.lines:
            held = (self.traces[self.maker[storage]].after - self.start(storage))[:-1] * pitch
            behind = held + need <= self.lines[storage].bytes
        return front[busy], behind[busy]

    def _spares(self, name: str, storage: str) -> bool:
        """Whether a tensor's rows lie behind an operand's at some turns."""
        if storage in self.lines and self._passing(storage):
            return False
        return not np.all(self._free(name, storage)[0])

    def _ahead(self, name: str) -> str:
        """The result of a passing tensor's reader, if its new rows may take the place of those that they are made of."""
        ((i, position),) = self.readers[name]
        call, part, trace = self.calls[i], self.parts[i], self.traces[i]
        mine, made = self.lines.get(call.output), self.traces[self.maker[name]]
        if part.gathers or position not in call.inplace or call.output in self.hosts or (mine and not mine.bytes):
            return ""
        if not (np.array_equal(made.before, trace.before) and np.array_equal(made.after, trace.after)):
            return ""
        pitch = self.parts[self.maker[name]].pitch
        if pitch > part.pitch:
            if not mine:
                return ""
            most = np.where(
                trace.busy, (trace.before - self.start(call.output)) * part.pitch + (trace.after - trace.before) * pitch, 0
            ).max()
            self.lines[call.output] = replace(mine, bytes=max(mine.bytes, int(most)))
            self.wider.add(call.output)
        if mine and self._passing(call.output):  # it lives from the first of the two on
            self.lines[call.output] = replace(self.lines[call.output], first=self.lines[name].first)
        return call.output

    def _dies(self, storage: str) -> bool:
        """Whether nobody needs a whole tensor after the band."""
        program = self.program
        if storage in program.outside or storage in self.maker or storage in {program.storage(n) for n in program.graph.outputs}:
            return False
        after = program.calls[self.first + len(self.calls) :]
        return not any(program.storage(n) == storage for c in after for n in c.operands)

    def _overlaps(self) -> dict[tuple[str, str], int]:
        """How far each result that lasts must begin before each input that dies."""
        found: dict[tuple[str, str], int] = {}
        dying = [n for n in self.readers if n not in self.maker and n not in self.lines and self._dies(n)]
        for storage in dying:
            if any(self.traces[i].reads[j] is None for i, j in self.readers[storage]):
                continue
            low, pitch, reader = self.low(storage), self.pitch(storage), max(i for i, _ in self.readers[storage])
            for name in sorted(self.lasting, key=lambda n: self.maker[n]):
                i = self.maker[name]
                if self.parts[i].gathers:
                    continue
                writer = min([i, *(self.maker[n] for n, lines in self.lines.items() if lines.ahead == name)])
                trace = self.traces[i]
                read = low[:-1] if writer <= reader or storage in self.hosts else low[1:]
                ends = trace.after[:-1] * self.parts[i].pitch - read * pitch
                found[name, storage] = int(ends[trace.busy[:-1]].max())
        return found
