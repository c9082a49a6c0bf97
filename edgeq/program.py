"""A lowered program: calls of kernels in order, how the tables of each are stored, and which calls run by bands of rows."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeq.chains import Composite
from edgeq.formats import Format
from edgeq.ir import Array, Graph, Node, Params
from edgeq.kernels import Kernel
from edgeq.staged import Staged, room
from edgeq.target import Target
from edgeq.traits import Rows


@dataclass(frozen=True)
class Tiled:
    """A call on some output channels at a time, whose weights alone are decoded for it.

    Attributes:
        rows: output channels of a tile; they divide all.
        pixels: output pixels of a band; the last one may have fewer.
        source: where in scratch the input of a band is copied to, -1 if it is read where it is. With a copy all tiles of a band run
            before the next band, so that the output may take the input's place; else all bands of a tile before the next tile.
        result: where in scratch a tile's output of a band is computed, -1 if it is stored where it belongs.
    """

    rows: int
    pixels: int
    source: int
    result: int


@dataclass(frozen=True, eq=False)
class Share:
    """What one core computes of a call, or of a tile of it: the same kernel on some of the rows, pixels or channels.

    Attributes:
        starts: elements before its own in each operand, then in each result.
        tables: elements before its own in tables of which it reads a part.
    """

    params: Params
    starts: tuple[int, ...]
    tables: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Fetched:
    """A call whose tables are copied to fast memory before it runs, while what is before it runs.

    Attributes:
        tiles: some of the output channels each; two buffers in turn hold their tables, where there are several.
        step: elements of the result from a tile to the next, and of those operands and results that are `moved`, by position.
        pieces: table -> where it lies in a buffer, and elements of it from a tile to the next.
        bytes: of a buffer.
        rest: how many of the call's shares, the last ones, are those of the last tile, where that is smaller than the others.
    """

    tiles: int
    step: int
    pieces: Mapping[str, tuple[int, int]]
    bytes: int
    moved: tuple[int, ...] = ()
    rest: int = 0


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel bound to a node.

    Attributes:
        tables: the params' tables in the kernel's own layout.
        inplace: positions of the operands whose storage the output may take.
        epilogue: the nodes that the kernel computes too, on the first one's result; `output` and the last operands are theirs.
        formats: how tables are stored, of those that are not plain.
        staged: the tables that are stored otherwise, and decoded before it runs: into scratch, behind the kernel's own, or at the start.
        shares: what each core computes, which all together do the call; each has an equal part of its scratch. None: one core, as it is.
        fetched: None where tables are read where they are stored.
    """

    node: Node
    kernel: Kernel
    params: Params
    operands: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: int
    tables: Mapping[str, Array]
    macs: int
    inplace: tuple[int, ...] = ()
    epilogue: tuple[Node, ...] = ()
    formats: Mapping[str, Format] = field(default_factory=dict)
    staged: Mapping[str, Staged] = field(default_factory=dict)
    tiled: Tiled | None = None
    shares: tuple[Share, ...] = ()
    fetched: Fetched | None = None

    @property
    def stored(self) -> dict[str, Array]:
        """The tables as they are stored."""
        return {n: self.staged[n].data if n in self.staged else table for n, table in self.tables.items()}

    @property
    def output(self) -> str:
        """The first output, the one that may be computed in place."""
        return self.outputs[0]

    @property
    def specialized(self) -> dict[str, int | str]:
        return {name: self.kernel.value(name, self.params) for name in self.kernel.specialize}

    @property
    def kind(self) -> str:
        """What is computed: ``conv2d``, or ``conv2d + add``."""
        return " + ".join(n.op.kind() for n in self.nodes)

    @property
    def folded(self) -> tuple[str, ...]:
        """The names of the other nodes that are computed with its own."""
        inside = self.node.op.members if isinstance(self.node.op, Composite) else ()
        return (*inside, *(n.name for n in self.epilogue))

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All that is computed, in order."""
        return (self.node, *self.epilogue)


@dataclass(frozen=True)
class Source:
    """How a call of a band reads an operand: the rows that its own rows need, or all of it where `rows` is None.

    Attributes:
        height, pitch: the operand's rows, and the bytes of each.
    """

    rows: Rows | None
    height: int
    pitch: int

    def first(self, row: Any, height: int) -> Any:
        """The first row that is read for the rows from `row` on of an output of `height`; behind the last one where there are none."""
        assert self.rows is not None
        return np.where(np.less(row, height), np.maximum(row // self.rows.up * self.rows.step - self.rows.before, 0), self.height)

    def end(self, row: Any) -> Any:
        """The row behind the last one that is read for the rows before `row`."""
        assert self.rows is not None
        return np.minimum((row - 1) // self.rows.up * self.rows.step - self.rows.before + self.rows.extent, self.height)

    def padding(self, row: Any) -> Any:
        """Rows of padding above the first row that `row` reads."""
        assert self.rows is not None
        return np.maximum(self.rows.before - row // self.rows.up * self.rows.step, 0)


@dataclass(frozen=True)
class Flow:
    """How many rows there are after turn t: ``(rate * t + offset) // per`` times `unit`."""

    rate: int
    offset: int
    per: int = 1
    unit: int = 1

    def turn(self, rows: int) -> int:
        """The first turn after which there are so many rows."""
        return -(-(self.per * -(-rows // self.unit) - self.offset) // self.rate)

    def delayed(self, turns: int) -> Flow:
        return Flow(self.rate, self.offset - self.rate * turns, self.per, self.unit)


@dataclass(frozen=True, eq=False)
class Part:
    """A call in a band, which computes some more rows, of `height` in all, at each turn or every few turns.

    Attributes:
        pitch: bytes of a row of its output.
        gathers: it takes in rows and keeps sums in its scratch from turn to turn; flow and height are those of its input, and its
            result, which is there after the last turn, is no row of anything (pitch 0).
        variants: the constants of what it computes at a turn, by its rows, those of its first operand and those of padding above.
    """

    flow: Flow
    height: int
    pitch: int
    sources: tuple[Source, ...]
    variants: Mapping[tuple[int, int, int], Params]
    gathers: bool = False

    def done(self, turn: Any) -> Any:
        """Rows that there are after a turn."""
        return np.clip((self.flow.rate * turn + self.flow.offset) // self.flow.per * self.flow.unit, 0, self.height)


@dataclass(frozen=True)
class Lines:
    """Some rows of a tensor that is whole nowhere.

    Attributes:
        bytes: of its buffer, 0 of one without.
        first, last: the calls while which it lives.
        over: the tensor whose rows nobody needs any more and these take the place of.
        ahead: the tensor whose next rows will take the place of these.
        spare: at turns at which too few rows of `over` are of no more need, these lie behind its rows, where its buffer has room.
        busy: the first and last of the calls while which all bytes are in use; else those `kept` from turn to turn. None: while all.
        either: whether these may lie at the buffer's end as well as at its front.
    """

    bytes: int
    first: int
    last: int
    over: str = ""
    ahead: str = ""
    spare: bool = False
    busy: tuple[int, int] | None = None
    kept: int = 0
    either: bool = False

    @property
    def spans(self) -> tuple[tuple[int, int, int], ...]:
        """(bytes, first call, last call): what is in use while which calls, at one place."""
        return ((self.bytes, *(self.busy or (self.first, self.last))), *([(self.kept, self.first, self.last)] if self.busy else []))

    def at(self, call: int) -> int:
        """Bytes in use while a call runs."""
        return max((size for size, first, last in self.spans if first <= call <= last), default=0)


@dataclass(frozen=True)
class Fed:
    """An input that comes row by row, of which a band keeps some.

    Attributes:
        flow: the rows that must have come before each turn.
        height, pitch: its rows, and bytes of each.
    """

    name: str
    flow: Flow
    height: int
    pitch: int


@dataclass(frozen=True, eq=False)
class Band:
    """Calls from `first` on that run in turn, some rows each, over and over.

    Attributes:
        fed: the input that comes row by row, None where all are there.
        lines: the tensors that are made and read within the band alone.
        overlaps: (output, input that nobody needs after the band) -> how many bytes the output must begin before the input, so that
            its rows come only where those of the input have been read.
    """

    first: int
    turns: int
    parts: tuple[Part, ...]
    lines: Mapping[str, Lines]
    overlaps: Mapping[tuple[str, str], int]
    fed: Fed | None = None

    @property
    def counters(self) -> int:
        """How many int32 a band keeps from one row that comes to the next: its turn, the rows that came, those of each call, and the first
        row in each buffer."""
        return 2 + len(self.parts) + len(self.kept) if self.fed else 0

    @property
    def kept(self) -> list[str]:
        """The tensors whose buffers keep rows from turn to turn."""
        return [n for n, x in self.lines.items() if x.bytes and (x.first, x.last) == (self.first, self.last)]

    @property
    def last(self) -> int:
        return self.first + len(self.parts) - 1

    def overwrites(self, call: Call) -> tuple[int, ...]:
        """Positions of the operands whose rows the only call of a band may overwrite with its own, turn by turn: they begin where those
        begin that they are made of, and end before those that the next turn reads. None of several calls."""
        part = self.parts[0]
        if len(self.parts) > 1 or part.gathers:
            return ()
        found = ((i, part.sources[i]) for i in call.inplace if i < len(part.sources))
        return tuple(i for i, s in found if (r := s.rows) and r.before == 0 and r.up == 1 and part.pitch == r.step * s.pitch)


@dataclass(frozen=True, eq=False)
class Program:
    """Calls in order. `views` maps a tensor to the tensor whose storage it shares as it is (reshapes); `bands` are those of the calls that
    run by bands of rows, in order."""

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    views: Mapping[str, str]
    bands: tuple[Band, ...] = ()

    @property
    def steps(self) -> tuple[int | Band, ...]:
        """What runs, in order: a call by its number, or a band."""
        starts = {b.first: b for b in self.bands}
        inside = {i for b in self.bands for i in range(b.first, b.last + 1)}
        return tuple(starts.get(i, i) for i in range(len(self.calls)) if i in starts or i not in inside)

    @functools.cached_property
    def lines(self) -> Mapping[str, Lines]:
        """The tensors of which only some rows exist at a time."""
        return {n: lines for b in self.bands for n, lines in b.lines.items()}

    @property
    def parts(self) -> dict[int, Part]:
        """What the calls that run in bands compute at a turn."""
        return {b.first + k: part for b in self.bands for k, part in enumerate(b.parts)}

    @property
    def fetches(self) -> dict[int, int]:
        """Calls whose tables are copied -> the call during which the first copy begins."""
        found = [i for i, c in enumerate(self.calls) if c.fetched]
        return dict(zip(found, [0, *found], strict=False))

    def room(self, name: str) -> int:
        """Bytes that a storage tensor takes in the arena."""
        return self.lines[name].bytes if name in self.lines else self.graph.type(name).bytes

    @functools.cached_property
    def outside(self) -> frozenset[str]:
        """Tensors that have no place in the arena: constants, states as the inference finds them, and those of `renewed`."""
        return frozenset(n for n, t in self.graph.tensors.items() if t.is_constant) | {a for a, _ in self.graph.states} | set(self.renewed)

    @functools.cached_property
    def renewed(self) -> Mapping[str, str]:
        """The next value of a state -> the state where it is written over it: by the only call that reads it, and may."""
        banded = {i for b in self.bands for i in range(b.first, b.last + 1)}
        makers = {c.output: c for i, c in enumerate(self.calls) if i not in banded and c.tiled is None and not c.staged}
        found = {}
        for a, b in self.graph.states:
            read = [(c, i) for c in self.calls for i, n in enumerate(c.operands) if self.storage(n) == a]
            if len(read) == 1 and read[0][0] is makers.get(b) and read[0][1] in read[0][0].inplace and b not in self.graph.results:
                found[b] = a
        return found

    @property
    def decoded(self) -> dict[tuple[int, str], int]:
        """The tables that are decoded at the start, by call and name -> their bytes in the state."""
        every = ((i, n, s, c.tables[n]) for i, c in enumerate(self.calls) for n, s in c.staged.items())
        return {(i, n): room(table.nbytes, s.format) for i, n, s, table in every if s.offset < 0}

    def storage(self, name: str) -> str:
        """The tensor that owns the bytes of `name`."""
        while name in self.views:
            name = self.views[name]
        return name
