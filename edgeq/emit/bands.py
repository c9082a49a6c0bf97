"""The C of calls that run by bands of rows."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgeq.emit.functions import Function
from edgeq.emit.runtime import variant
from edgeq.emit.syntax import brief
from edgeq.plan.bands import expression
from edgeq.program import Band, Flow, Part, Program, Source

Line = str


def flow(rows: Flow, height: int) -> str:
    """What `eq_band_rows` reads."""
    return f"{{{rows.rate}, {rows.offset}, {rows.per}, {rows.unit}, {height}}}"


def records(program: Program, behind: Collection[str]) -> list[dict[str, Any]]:
    """What the manifest says of bands (`record.BandRecord`); `behind` are the buffers whose kept rows lie at their end."""
    found = []
    for band in program.bands:
        pitches = {c.output: (p.pitch, p.height) for p, c in zip(band.parts, program.calls[band.first :], strict=False)}
        if band.fed:
            pitches[band.fed.name] = band.fed.pitch, band.fed.height
        lines = [
            {
                "tensor": n, "rows": -(-x.bytes // pitches[n][0]), "height": pitches[n][1], "bytes": x.bytes,
                "beside": x.over or x.ahead or None, "kept": x.kept if x.busy else x.bytes, "busy": x.busy, "behind": n in behind,
            }
            for n, x in band.lines.items()
        ]  # fmt: skip
        rows = [max(rows for rows, _, _ in p.variants) for p in band.parts]
        found.append({"first": band.first, "last": band.last, "turns": band.turns, "rows": rows, "lines": lines})
    return found


@dataclass(frozen=True)
class BandNames:
    """C variables of a band: its turn, the rows of each call before and after it, a copy of the constants of which rows change some, the
    operands of a call that takes any number, and a number for the loop over calls."""

    turn: str
    before: str
    after: str
    own: str
    params: str
    parts: str
    i: str


@dataclass(frozen=True)
class BandWriter:
    """What the statements of a band are made from.

    Attributes:
        place: C expression of a whole tensor's address, or of a constant's.
        arena: its offset in the arena.
        values: per call of the band what its constants hold, as C.
        decoded: per call of the band the members that point to tables decoded at the start, and where these lie.
        scratch: per call of the band its scratch as an argument; "" of a call without.
        firsts: tensor with a buffer -> C variable for the first row in it.
        behind: buffers whose kept rows lie at their end.
    """

    program: Program
    band: Band
    names: BandNames
    functions: Sequence[Function]
    values: Sequence[Mapping[str, str]]
    decoded: Sequence[Mapping[str, str]]
    scratch: Sequence[str]
    place: Callable[[str], str]
    arena: Callable[[str], int]
    firsts: Mapping[str, str]
    behind: frozenset[str]

    def lines(self) -> list[Line]:
        """All statements."""
        band, n = self.band, self.names
        count = len(band.parts)
        head = [
            self._flows(),
            f"int32_t {n.before}[{count}], {n.after}[{count}] = {{0}};",
            *(f"int32_t {v} = 0; /* the first row in the buffer of {brief(t)} */" for t, v in self.firsts.items()),
            f"for (int32_t {n.turn} = 0; {n.turn} < {band.turns}; {n.turn}++) {{",
        ]
        return [*head, *(f"    {line}" for line in self._turn()), "}"]

    def turn(self) -> list[Line]:
        """The statements of one turn of a band whose input comes row by row, on what is kept between turns."""
        n = self.names
        count = len(self.band.parts)
        return [
            self._flows(),
            f"int32_t {n.before}[{count}], *const {n.after} = fed->rows;",
            f"const int32_t {n.turn} = fed->turn++;",
            *self._turn(),
        ]

    def _flows(self) -> Line:
        rows = ", ".join(flow(p.flow, p.height) for p in self.band.parts)
        return f"static const int32_t rows[{len(self.band.parts)}][5] = {{{rows}}};"

    def _turn(self) -> list[Line]:
        n, count = self.names, len(self.band.parts)
        head = [
            f"for (int32_t {n.i} = 0; {n.i} < {count}; {n.i}++) {{",
            f"    {n.before}[{n.i}] = {n.after}[{n.i}];",
            f"    {n.after}[{n.i}] = eq_band_rows(rows[{n.i}], {n.turn});",
            "}",
        ]
        return [*head, *(line for i in range(count) for line in (*self._makes_room(i), *self._call(i), *self._keeps(i)))]

    def _readers(self, storage: str) -> list[tuple[int, Source]]:
        calls = self.program.calls[self.band.first : self.band.last + 1]
        return [
            (i, self.band.parts[i].sources[j])
            for i, call in enumerate(calls)
            for j, name in enumerate(call.operands)
            if self.program.storage(name) == storage
        ]

    def _maker(self, storage: str) -> int:
        return next(i for i, c in enumerate(self.program.calls[self.band.first : self.band.last + 1]) if c.output == storage)

    def _first(self, i: int, source: Source, rows: str = "") -> str:
        """The first row that call `i` reads at a turn; or needs after it, of `rows`."""
        assert source.rows is not None
        r, row = source.rows, f"{rows or self.names.before}[{i}]"
        row = f"{row} / {r.up}" if r.up > 1 else row
        height = self.band.parts[i].height // r.up
        return f"eq_band_first({row}, {height}, {r.step}, {r.before}, {source.height})"

    def _end(self, i: int, source: Source) -> str:
        assert source.rows is not None
        r, row = source.rows, f"{self.names.after}[{i}]"
        row = f"({row} + {r.up - 1}) / {r.up}" if r.up > 1 else row
        return f"eq_band_end({row}, {r.step}, {r.extent - r.before}, {source.height})"

    def _low(self, storage: str, rows: str = "") -> str:
        """The first row of a tensor that is needed after a turn; or at it, by the rows `before` it."""
        lows = dict.fromkeys(self._first(k, s, rows or self.names.after) for k, s in self._readers(storage))
        return functools.reduce(lambda a, b: f"eq_band_least({a}, {b})", lows)

    def _keeps(self, i: int) -> list[Line]:
        """What moves rows to the front of those buffers that are in use as a whole up to call `i`."""
        found = []
        for storage, first in self.firsts.items():
            busy = self.band.lines[storage].busy
            if busy is None or busy[1] != self.band.first + i or storage in self.behind:
                continue
            if self.band.fed and storage == self.band.fed.name:
                end, pitch = "fed->came", self.band.fed.pitch
            else:
                maker = self._maker(storage)
                end, pitch = f"{self.names.after}[{maker}]", self.band.parts[maker].pitch
            low = f"eq_band_least({self._low(storage)}, {end})"
            found.append(f"{self._keep}({self._room(storage)}, &{first}, {low}, {low}, {end}, {pitch});")
        return found

    def _makes_room(self, i: int) -> list[Line]:
        """What moves rows to where new ones end at the end of the buffer, of those that are in use as a whole from call `i` on."""
        found = []
        for storage in sorted(self.behind & set(self.firsts)):
            lines, maker = self.band.lines[storage], self._maker(storage)
            if lines.busy and lines.busy[0] == self.band.first + i:
                end, pitch = f"{self.names.before}[{maker}]", self.band.parts[maker].pitch
                low = f"eq_band_least({self._low(storage, self.names.before)}, {end})"
                to = f"{self.names.after}[{maker}] - {lines.bytes // pitch}"
                found.append(f"{self._keep}({self._room(storage)}, &{self.firsts[storage]}, {to}, {low}, {end}, {pitch});")
        return found

    @functools.cached_property
    def _keep(self) -> str:
        """The function that moves rows of a buffer."""
        return variant("eq_band_keep", self.program.target.isa)

    def _room(self, storage: str) -> str:
        return f"bytes + {self.arena(storage)}"

    def _bytes(self, storage: str, row: str) -> str:
        """The byte address of a row of a tensor of the band's own, or of an input in the arena whose rows are overwritten."""
        lines = self.band.lines.get(storage)
        if lines and lines.over:
            i = self._maker(storage)
            call = self.program.calls[self.band.first + i]
            j = next(k for k in call.inplace if self.program.storage(call.operands[k]) == lines.over)
            front = self._bytes(lines.over, self._first(i, self.band.parts[i].sources[j]))
            return self._spare(i, lines.over, front, self._first(i, self.band.parts[i].sources[j])) if lines.spare else front
        if lines and lines.ahead:
            i = self._maker(lines.ahead)
            if lines.ahead in self.band.lines:
                return self._bytes(lines.ahead, f"{self.names.before}[{i}]")
            pitch = self.band.parts[i].pitch
            return f"(unsigned char *)({self.place(lines.ahead)}) + {self.names.before}[{i}] * {pitch}"
        fed = self.band.fed is not None and storage == self.band.fed.name
        pitch = self.band.parts[self._maker(storage)].pitch if lines and not fed else next(s.pitch for _, s in self._readers(storage))
        if lines and storage in self.firsts:
            row = f"({row} - {self.firsts[storage]})"
        elif lines:
            return self._room(storage)  # rows that pass: the first of them is at the front
        return f"{self._room(storage)} + {row} * {pitch}"

    def _spare(self, i: int, host: str, front: str, first: str) -> str:
        """Where the rows of call `i` lie: in the place of an operand's rows of no more need if these are enough, else where its buffer
        is free, behind its rows or before them."""
        n, maker, part = self.names, self._maker(host), self.band.parts[i]
        pitch = self.band.parts[maker].pitch
        need = f"({n.after}[{i}] - {n.before}[{i}]) * {part.pitch}"
        behind = self._room(host) + ("" if host in self.behind else f" + ({n.after}[{maker}] - {self.firsts[host]}) * {pitch}")
        return f"(({self._low(host)} - {first}) * {pitch} >= {need} ? {front} : {behind})"

    def _address(self, name: str, row: str, pitch: int, constant: bool) -> str:
        """A C expression of the row of a tensor."""
        storage = self.program.storage(name)
        t = self.program.graph.type(name)
        if storage in self.band.lines:
            return f"({'const ' if constant else ''}{t.dtype.c} *)(void *)({self._bytes(storage, row)})"
        return f"({self.place(name)}) + {row} * {pitch // t.dtype.numpy.itemsize}"

    def _call(self, i: int) -> list[Line]:
        program, part, n = self.program, self.band.parts[i], self.names
        call, function = program.calls[self.band.first + i], self.functions[i]
        source = part.sources[0]
        constant: list[Line] = []
        changed = [f"{n.own}.{member} = {place};" for member, place in self.decoded[i].items()]
        for m in function.members:
            found = None if m.table else expression({t: call.kernel.value(m.name, p) for t, p in part.variants.items()})
            if found and found[0]:
                changed.append(f"{n.own}.{m.name} = {self._amount(i, part, source, *found)};")
        if function.members:
            constant = [f"static const {function.struct} {n.params} = {{", *(f"    .{k} = {v}," for k, v in self.values[i].items()), "};"]
        if changed:
            constant += [f"{function.struct} {n.own} = {n.params};", *changed]
        arguments = [f"&{n.own if changed else n.params}"] if function.members else []
        operands = []
        for name, s in zip(call.operands, part.sources, strict=True):
            operands.append(self._address(name, self._first(i, s), s.pitch, True) if s.rows else self.place(name))
        if getattr(call.node.op, "variadic", False):
            ctype = program.graph.type(call.operands[0]).dtype.c
            constant.append(f"const {ctype} *const {n.parts}[] = {{{', '.join(operands)}}};")
            operands = [n.parts]
        result = self.place(call.output) if part.gathers else self._address(call.output, f"{n.before}[{i}]", part.pitch, False)
        arguments += [*operands, result]
        arguments += [self.scratch[i]] if self.scratch[i] else []
        what = f"/* {self.band.first + i}  {brief(call.node.name)}: {call.kind} */"
        inner = [*constant, f"{function.symbol}({', '.join(arguments)});"]
        return [f"if ({n.after}[{i}] > {n.before}[{i}]) {{ {what}", *(f"    {line}" for line in inner), "}"]

    def _amount(self, i: int, part: Part, source: Source, kind: str, factor: int) -> str:
        n = self.names
        assert source.rows is not None
        if kind == "padding" and part.gathers:
            return f"{n.before}[{i}]"
        if kind == "padding":
            return f"eq_band_padding({n.before}[{i}], {source.rows.step}, {source.rows.before})"
        text = f"{n.after}[{i}] - {n.before}[{i}]" if kind == "rows" else f"{self._end(i, source)} - {self._first(i, source)}"
        return text if factor == 1 else f"{factor} * ({text})"
