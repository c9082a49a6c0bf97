"""What several cores do of each call, and which tables are copied to fast memory before they are read.

A share is the same kernel on a smaller problem: some rows of the output, some pixels of a pointwise convolution, some output channels of a
dense layer. No kernel knows of cores. Which shares there are depends on the program alone, whichever cores compute them, so that the bytes
are the same for any number of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edgeq import half, kernels
from edgeq.ir import Array, Params
from edgeq.kernels import Kernel, facts
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gru import Gru
from edgeq.ops.lstm import Lstm
from edgeq.plan.bands import Turn, Whole, gathers, sources, variants
from edgeq.plan.stage import band, part, table
from edgeq.program import Call, Fetched, Program, Share

WORTH = 800  # multiply-accumulates, or elements: less is done before other cores have begun
FUNCTION = 8  # of these, what an element of a function or a cast takes at least
TURN = 8192  # bytes that are copied while cores begin and end another tile, about
SMALL = 16  # of the fast memory, a table that all tiles read may take this part, and is copied with each
ALIGNMENT = 8  # of tables in a buffer, and of each share's scratch


def spread(program: Program, cores: int = 1, fast: int = 0) -> Program:
    """The program for several cores, and for memory from which weights come slowly.

    Args:
        cores: for how many calls are divided; calls in bands run on one.
        fast: bytes for copies of the tables of a call; a call whose tables take more than half runs by tiles of output channels where
            that can be. 0: tables are read where they are stored.
    """
    banded = {i for b in program.bands for i in range(b.first, b.last + 1)}
    calls = [c if i in banded else _spread(program, c, cores, fast) for i, c in enumerate(program.calls)]
    return replace(program, calls=tuple(calls))


def _spread(program: Program, call: Call, cores: int, fast: int) -> Call:
    if call.staged or call.tiled or getattr(call.node.op, "variadic", False):
        return call
    ways = [w for c in _variants(program, call, cores) for w in _ways(program, c, cores, fast)]
    if not ways:
        return call
    best = min(ways, key=lambda w: (w.slowest, sum(t.nbytes for t in w.call.tables.values())))
    each = max(-(-best.call.kernel.scratch_bytes(s.params) // ALIGNMENT) * ALIGNMENT for s in best.shares)
    count = len(best.shares) - (best.call.fetched.rest if best.call.fetched else 0)
    return replace(
        best.call, params=best.shares[0].params, shares=best.shares, scratch=each * count, inplace=best.inplace,
    )  # fmt: skip


def _variants(program: Program, call: Call, cores: int) -> Iterator[Call]:
    """The call, and for several cores the same by other kernels that divide a recurrent layer, or take fewer channels of a dense one."""
    yield call
    if cores > 1 and ("parted" in call.kernel.specialize or isinstance(call.node.op, FullyConnected)):
        others = kernels.candidates(call.kernel.signature, call.params, program.target.isa, own=call.kernel.epilogue)
        alike = (k for k in others if k is not call.kernel and ("parted" in k.specialize or k.path == call.kernel.path))
        yield from (_by(call, k) for k in alike)


def _by(call: Call, kernel: Kernel) -> Call:
    """The call by another kernel."""
    if kernel is call.kernel:
        return call
    tables = {n: table(kernel, n, call.params.tables) for n in call.params.tables if kernel.reads(n, call.params)}
    return replace(call, kernel=kernel, tables=tables)


def _ways(program: Program, call: Call, cores: int, fast: int) -> Iterator[_Way]:
    """The ways to divide a call, and to copy its tables."""
    fetched, rows = _fetched(call, fast, cores) if fast else (None, 0)
    size, found = sum(program.graph.type(n).size for n in call.outputs), False
    size *= FUNCTION if _elements(program, call) else 1
    for make in (_by_rows, _by_pixels, _by_channels, _by_batches, _by_elements) if cores > 1 and max(call.macs, size) >= WORTH else ():
        for way in make(program, call, cores, rows):
            found = True
            copies, own = (fetched, rows) if way.call is call or fetched is None else _fetched(way.call, fast, cores)
            if own == rows:
                yield replace(way, call=replace(way.call, fetched=copies and replace(copies, rest=way.rest)))
    if fast and not found:
        axis = _axis(call)
        params = axis.part(call.params, 0, rows) if axis and rows else call.params
        shares = [Share(params, (0,) * (len(call.operands) + len(call.outputs)))]
        if axis and rows and fetched and (left := axis.count - (fetched.tiles - 1) * rows) < rows:
            shares.append(replace(shares[0], params=axis.part(call.params, axis.count - left, left, axis.count - left)))
        fetched = fetched and replace(fetched, rest=len(shares) - 1)
        yield _Way(replace(call, fetched=fetched), tuple(shares), 1.0, call.inplace)


@dataclass(frozen=True, eq=False)
class _Way:
    """A way to divide a call.

    Attributes:
        call: by the kernel that computes the shares.
        slowest: the largest share of all the work.
        inplace: positions of the operands whose place each share's result may take.
        rest: how many of the shares are those of the last tile, which is smaller than the others; they come last.
    """

    call: Call
    shares: tuple[Share, ...]
    slowest: float
    inplace: tuple[int, ...] = ()
    rest: int = 0


def _cuts(count: int, parts: int, unit: int = 1) -> list[tuple[int, int]]:
    """First and end of at most so many parts, as even as whole units allow."""
    units = -(-count // unit)
    parts = min(parts, units)
    bounds = [min(units * k // parts * unit, count) for k in range(parts + 1)]
    return list(itertools.pairwise(bounds))


def _alike(kernel: Kernel, made: Sequence[Params]) -> bool:
    """Whether one function of a kernel computes all of them."""
    if not all(kernel.applies(p) for p in made):
        return False
    literals = [{n: kernel.value(n, p) for n in kernel.specialize} for p in made]
    return all(x == literals[0] for x in literals)


def _chosen(program: Program, call: Call, made: Sequence[Params]) -> Kernel | None:
    """The kernel for some problems: the call's own, or else the next one that computes all."""
    if _alike(call.kernel, made):
        return call.kernel
    others = kernels.candidates(call.kernel.signature, made[0], program.target.isa, own=call.kernel.epilogue)
    return next((k for k in others if _alike(k, made)), None)


def _by_rows(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some rows of the output each, with the rows of the operands that they need."""
    try:
        if tile or gathers(program, call):
            return
        found = sources(program, call)
        shape = program.graph.type(call.output).shape
        cuts = _cuts(shape[1], cores)
        turns: list[Turn] = []
        for a, b in cuts:
            first, end = int(found[0].first(a, shape[1])), int(found[0].end(b))
            turns.append((b - a, end - first, int(found[0].padding(a))))
        made = variants(program, call, turns)
    except Whole:
        return
    kernel = _chosen(program, call, list(made.values()))
    if len(cuts) < 2 or kernel is None:
        return
    whole = {n: t for n, t in call.params.tables.items() if kernel.reads(n, call.params)}
    if not all(n in p.tables and np.array_equal(t, p.tables[n]) for p in made.values() for n, t in whole.items()):
        return
    sizes = [program.graph.type(n) for n in (*call.operands, call.output)]
    pitches = [t.size // t.shape[1] for t in sizes]
    shares, still = [], set(kernel.overwrites(call.params))
    for (a, b), turn in zip(cuts, turns, strict=True):
        firsts = [0 if s.rows is None else int(s.first(a, shape[1])) for s in found]
        shares.append(Share(made[turn], (*(f * p for f, p in zip(firsts, pitches, strict=False)), a * pitches[-1])))
        ends = [0 if s.rows is None else int(s.end(b)) for s in found]
        still &= {i for i in range(len(found)) if (firsts[i], ends[i], pitches[i]) == (a, b, pitches[-1])}
    inplace = tuple(i for i in kernel.overwrites(call.params) if i in still)
    yield _Way(_by(call, kernel), tuple(shares), max(b - a for a, b in cuts) / shape[1], inplace)


def _by_pixels(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some pixels each of a pointwise convolution."""
    s = call.params.scalars
    flat = isinstance(call.node.op, Conv2d) and s["batches"] == 1 and s.get("groups", 1) == 1
    if tile or not flat or not facts.value("pointwise", call.params):
        return
    pixels, in_c, out_c = int(s["out_h"]) * int(s["out_w"]), int(s["in_c"]), int(s["out_c"])
    cuts = _cuts(pixels, cores, 2)
    made = [replace(call.params, scalars={**s, **band(b - a)}) for a, b in cuts]
    kernel = _chosen(program, call, made)
    if kernel is None or len(cuts) < 2:
        return
    rest = len(call.operands) - 1
    shares = tuple(Share(p, (a * in_c, *[a * out_c] * (rest + 1))) for p, (a, _) in zip(made, cuts, strict=True))
    inplace = tuple(i for i in kernel.overwrites(call.params) if i > 0 or in_c == out_c)
    yield _Way(_by(call, kernel), shares, max(b - a for a, b in cuts) / pixels, inplace)


@dataclass(frozen=True, eq=False)
class _Axis:
    """What a call's output is divided along where it is one vector: output channels, or units of a recurrent layer.

    Attributes:
        count: how many there are.
        sizes: parts are multiples of one of these.
        rows: of weights for each.
        moved: positions of the operands and results of which a part has a part.
        apart: rows lie gate after gate, not unit after unit.
    """

    count: int
    sizes: tuple[int, ...]
    rows: int
    moved: tuple[int, ...]
    apart: bool = False

    def part(self, params: Params, first: int, count: int, tile: int = 0) -> Params:
        """The constants of some, in a tile that begins at `tile`."""
        if self.rows == 1:
            return part(params, first, count)
        tables = {n: self._own(t, first, count) if n.startswith(("x_", "h_")) else t for n, t in params.tables.items()}
        return replace(params, scalars={**params.scalars, "own_units": count, "first_unit": first - tile}, tables=tables)

    def _own(self, table: Array, first: int, count: int) -> Array:
        """The rows of some units."""
        if not self.apart:
            return table[self.rows * first : self.rows * (first + count)]
        gates = table.reshape(-1, self.count, *table.shape[1:])
        return np.ascontiguousarray(gates[:, first : first + count]).reshape(-1, *table.shape[1:])


def _axis(call: Call) -> _Axis | None:
    """The axis of a call whose output is one vector, None of others."""
    op, s, operands = call.node.op, call.params.scalars, len(call.operands)
    if isinstance(op, Lstm | Gru):
        rows = 4 if isinstance(op, Lstm) else 3
        moved = (*range(2, operands), *range(operands, operands + len(call.outputs)))
        fits = "parted" in call.kernel.specialize and s["steps"] == 1
        some = call.kernel.tile.get("rows", 16)  # rows that the kernel computes at a time, of whole units
        apart = rows == 3 and call.params.law in half.LAWS
        unit = some // (rows if apart else math.gcd(some, rows))
        return _Axis(int(s["units"]), (unit,), rows, moved, apart) if fits else None
    dense = isinstance(op, FullyConnected)
    one = isinstance(op, Conv2d) and s.get("groups", 1) == 1 and int(s["out_h"]) * int(s["out_w"]) == 1
    fits = (dense or one) and s.get("batches", 1) == 1
    sizes = (call.kernel.tile["rows"],) if "rows" in call.kernel.tile else (16, 4)  # channels that the kernel computes at a time
    return _Axis(int(s["out_c"]), sizes, 1, tuple(range(1, operands + 1))) if fits else None


def _by_channels(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some output channels, or units, each of a layer with one vector of them, or of a tile of it and of the last tile."""
    axis = _axis(call)
    if axis is None:
        return
    rows = tile or axis.count
    left = axis.count % rows
    last = axis.count - left  # where the last tile begins
    for unit in axis.sizes:
        cuts, rest = _cuts(rows, cores, unit), _cuts(left, cores, unit) if left else []
        made = [axis.part(call.params, a, b - a) for a, b in cuts]
        made += [axis.part(call.params, last + a, b - a, last) for a, b in rest]
        kernel = _chosen(program, call, made)
        if kernel is None or len(cuts) < 2:
            continue
        tables = [_starts(kernel, axis, call.params, a, b) for a, b in cuts]
        tables += [_starts(kernel, axis, call.params, last + a, last + b, last) for a, b in rest]
        if any(t is None for t in tables):
            continue
        positions = range(len(call.operands) + len(call.outputs))
        shares = tuple(
            Share(p, tuple(a if i in axis.moved else 0 for i in positions), t or {})
            for p, t, (a, _) in zip(made, tables, (*cuts, *rest), strict=True)
        )
        inplace = tuple(i for i in call.inplace if i in axis.moved)
        yield _Way(_by(call, kernel), shares, max(b - a for a, b in cuts) / rows, inplace, len(rest))


def _starts(kernel: Kernel, axis: _Axis, params: Params, first: int, end: int, tile: int = 0) -> dict[str, int] | None:
    """Where the tables of a part begin in those of all, or of a tile that begins at `tile`; None where a layout keeps them not together."""
    own, before, found = axis.part(params, first, end - first), axis.part(params, 0, first), {}
    for name in params.tables:
        if not kernel.reads(name, params):
            continue
        whole, mine = table(kernel, name, params.tables).ravel(), table(kernel, name, own.tables).ravel()
        start = 0 if len(whole) == len(mine) or not first else table(kernel, name, before.tables).size
        if not np.array_equal(whole[start : start + len(mine)], mine):
            return None
        found[name] = start
    if not tile:
        return found
    begun = _starts(kernel, axis, params, tile, end)
    return None if begun is None else {n: s - begun[n] for n, s in found.items()}


def _by_batches(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some rows of the input each of a dense layer."""
    s = call.params.scalars
    if tile or not isinstance(call.node.op, FullyConnected) or s["batches"] == 1 or len(call.operands) > 1:
        return
    cuts = _cuts(int(s["batches"]), cores)
    made = [replace(call.params, scalars={**s, "batches": b - a}) for a, b in cuts]
    kernel = _chosen(program, call, made)
    if kernel is None or len(cuts) < 2:
        return
    shares = tuple(Share(p, (a * int(s["in_c"]), a * int(s["out_c"]))) for p, (a, _) in zip(made, cuts, strict=True))
    yield _Way(_by(call, kernel), shares, max(b - a for a, b in cuts) / int(s["batches"]))


def _elements(program: Program, call: Call) -> int:
    """How many elements a function of one tensor or a cast takes one by one; 0 of other calls."""
    sizes = {program.graph.type(n).size for n in (*call.operands, *call.outputs)}
    count = int(call.params.scalars.get("size", 0))
    single = call.node.op.traits.elementwise and len(call.node.inputs) == len(call.operands) == len(call.outputs) == 1
    return count if single and sizes == {count} else 0


def _by_elements(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some elements each of a function or a cast."""
    count = _elements(program, call)
    cuts = _cuts(count, cores, 4) if count else []
    made = [replace(call.params, scalars={**call.params.scalars, "size": b - a}) for a, b in cuts]
    if len(cuts) > 1 and _alike(call.kernel, made):
        shares = tuple(Share(p, (a, a)) for p, (a, _) in zip(made, cuts, strict=True))
        yield _Way(call, shares, max(b - a for a, b in cuts) / count, call.inplace)


def _fetched(call: Call, fast: int, cores: int) -> tuple[Fetched | None, int]:
    """How the tables of a call are copied, and the output channels of a tile, 0 of all; None where they cannot be.

    Tiles are such that cores have least to do, alike where they can be, else the last one is smaller; of these, such that nobody waits
    long for the first and that they are few.
    """
    sizes = {n: t.nbytes for n, t in call.tables.items()}
    if not sizes:
        return None, 0
    pieces, end = _placed({n: (b, 0) for n, b in sizes.items()})
    if end <= fast // 2:
        return Fetched(1, 0, pieces, end), 0
    axis = _axis(call)
    if axis is None:
        return None, 0
    unit = min(axis.sizes)
    groups = -(-axis.count // unit)

    weights = sum(b for n, b in sizes.items() if n.endswith("weights"))

    def cost(count: int) -> tuple[int, bool, int]:
        """Of tiles of so many groups: how often all cores compute one, whether the last tile is smaller, and what the first copy and all
        turns take, as bytes."""
        rounds = groups // count * -(-count // cores) + -(-(groups % count) // cores)
        return rounds, groups % count > 0, weights * count // groups + TURN * -(-groups // count)

    for count in sorted(range(groups - 1, 0, -1), key=cost):
        found = _in_tiles(call, axis, count * unit, fast)
        if found:
            return found, count * unit
    return None, 0


def _in_tiles(call: Call, axis: _Axis, rows: int, fast: int) -> Fetched | None:
    """Tiles of so many channels, None where two buffers do not hold them."""
    weights = sum(t.nbytes for n, t in call.tables.items() if n.endswith("weights"))
    if weights * rows > axis.count * (fast // 2):
        return None
    bounds = [(a, min(axis.count, a + rows)) for a in range(0, axis.count, rows)]
    own = [axis.part(call.params, 0, b - a) for a, b in (bounds[0], bounds[-1])]
    if not _alike(call.kernel, own):
        return None
    second = _starts(call.kernel, axis, call.params, *bounds[1])
    steps = {n: s for n, s in (second or {}).items() if s or call.tables[n].nbytes <= fast // SMALL}
    pieces, end = _placed({n: (table(call.kernel, n, own[0].tables).nbytes, s) for n, s in steps.items()})
    if second is None or end > fast // 2 or any(_starts(call.kernel, axis, call.params, a, b) is None for a, b in bounds[2:]):
        return None
    return Fetched(len(bounds), rows, pieces, end, axis.moved)


def _placed(sizes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, tuple[int, int]], int]:
    """Where tables of so many bytes lie in a buffer, and what it takes."""
    found, end = {}, 0
    for name, (size, step) in sizes.items():
        found[name] = (end, step)
        end += math.ceil(size / ALIGNMENT) * ALIGNMENT
    return found, end
