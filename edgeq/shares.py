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

from edgeq import kernels
from edgeq.bands import Turn, Whole, gathers, sources, variants
from edgeq.ir import Params
from edgeq.kernels import Kernel, facts
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.program import Call, Fetched, Program, Share
from edgeq.stage import band, part, table

WORTH = 2000  # multiply-accumulates, or elements: less is done before other cores have begun
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
    fetched, rows = _fetched(call, fast) if fast else (None, 0)
    size = sum(program.graph.type(n).size for n in call.outputs)
    found: list[_Way] = []
    if cores > 1 and max(call.macs, size) >= WORTH:
        found = [w for make in (_by_rows, _by_pixels, _by_channels, _by_batches) for w in make(program, call, cores, rows)]
    if not found:
        if not fast:
            return call
        params = part(call.params, 0, rows) if fetched and fetched.tiles > 1 else call.params
        found = [_Way(call.kernel, (Share(params, (0,) * (len(call.operands) + len(call.outputs))),), 1.0, call.inplace)]
    best = min(found, key=lambda w: w.slowest)
    tables = call.tables
    if best.kernel is not call.kernel:
        tables = {n: table(best.kernel, n, call.params.tables) for n in call.params.tables if best.kernel.reads(n, call.params)}
        fetched = _fetched(replace(call, kernel=best.kernel, tables=tables), fast)[0] if fetched else None
    each = max(-(-best.kernel.scratch_bytes(s.params) // ALIGNMENT) * ALIGNMENT for s in best.shares)
    return replace(
        call, kernel=best.kernel, params=best.shares[0].params, tables=tables, shares=best.shares, scratch=each * len(best.shares),
        inplace=best.inplace, fetched=fetched,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Way:
    """A way to divide a call.

    Attributes:
        slowest: the largest share of all the work.
        inplace: positions of the operands whose place each share's result may take.
    """

    kernel: Kernel
    shares: tuple[Share, ...]
    slowest: float
    inplace: tuple[int, ...] = ()


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
    yield _Way(kernel, tuple(shares), max(b - a for a, b in cuts) / shape[1], inplace)


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
    yield _Way(kernel, shares, max(b - a for a, b in cuts) / pixels, inplace)


def _single(call: Call) -> bool:
    """Whether a call computes one vector of output channels, which lie side by side."""
    s = call.params.scalars
    dense = isinstance(call.node.op, FullyConnected)
    one = isinstance(call.node.op, Conv2d) and s.get("groups", 1) == 1 and int(s["out_h"]) * int(s["out_w"]) == 1
    return (dense or one) and s.get("batches", 1) == 1


def _by_channels(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some output channels each of a layer with one vector of them."""
    if not _single(call):
        return
    rows = tile or int(call.params.scalars["out_c"])
    for unit in (16, 4):
        cuts = _cuts(rows, cores, unit)
        made = [part(call.params, a, b - a) for a, b in cuts]
        kernel = _chosen(program, call, made)
        if kernel is None or len(cuts) < 2:
            continue
        starts = [_starts(kernel, call.params, a, b) for a, b in cuts]
        if any(s is None for s in starts):
            continue
        rest = len(call.operands) - 1
        shares = tuple(Share(p, (0, *[a] * (rest + 1)), s or {}) for p, s, (a, _) in zip(made, starts, cuts, strict=True))
        yield _Way(kernel, shares, max(b - a for a, b in cuts) / rows, tuple(i for i in call.inplace if i > 0))


def _starts(kernel: Kernel, params: Params, first: int, end: int) -> dict[str, int] | None:
    """Where the tables of output channels begin in those of all; None where a layout does not keep them together."""
    own, before, found = part(params, first, end - first), part(params, 0, first), {}
    for name in params.tables:
        if not kernel.reads(name, params):
            continue
        whole, mine = table(kernel, name, params.tables).ravel(), table(kernel, name, own.tables).ravel()
        start = 0 if len(whole) == len(mine) or not first else table(kernel, name, before.tables).size
        if not np.array_equal(whole[start : start + len(mine)], mine):
            return None
        found[name] = start
    return found


def _by_batches(program: Program, call: Call, cores: int, tile: int) -> Iterator[_Way]:
    """Some rows of the input each of a dense layer."""
    s = call.params.scalars
    if tile or not isinstance(call.node.op, FullyConnected) or s["batches"] == 1:
        return
    cuts = _cuts(int(s["batches"]), cores)
    made = [replace(call.params, scalars={**s, "batches": b - a}) for a, b in cuts]
    kernel = _chosen(program, call, made)
    if kernel is None or len(cuts) < 2:
        return
    shares = tuple(Share(p, (a * int(s["in_c"]), a * int(s["out_c"]))) for p, (a, _) in zip(made, cuts, strict=True))
    if len(call.operands) == 1:
        yield _Way(kernel, shares, max(b - a for a, b in cuts) / int(s["batches"]))


def _fetched(call: Call, fast: int) -> tuple[Fetched | None, int]:
    """How the tables of a call are copied, and the output channels of a tile, 0 of all; None where they cannot be."""
    sizes = {n: t.nbytes for n, t in call.tables.items()}
    if not sizes:
        return None, 0
    pieces, end = _placed({n: (b, 0) for n, b in sizes.items()})
    if end <= fast // 2:
        return Fetched(1, 0, pieces, end), 0
    if not _single(call):
        return None, 0
    channels = int(call.params.scalars["out_c"])
    for tiles in range(2, channels // 4 + 1):
        rows = channels // tiles
        if channels % tiles or rows % 4:
            continue
        starts = [_starts(call.kernel, call.params, k * rows, (k + 1) * rows) for k in range(tiles)]
        if not _alike(call.kernel, [part(call.params, 0, rows)]) or any(s is None for s in starts):
            continue
        steps = {n: s for n, s in (starts[1] or {}).items() if s}
        own = {n: (table(call.kernel, n, part(call.params, 0, rows).tables).nbytes, s) for n, s in steps.items()}
        pieces, end = _placed(own)
        if end <= fast // 2:
            return Fetched(tiles, rows, pieces, end), rows
    return None, 0


def _placed(sizes: Mapping[str, tuple[int, int]]) -> tuple[dict[str, tuple[int, int]], int]:
    """Where tables of so many bytes lie in a buffer, and what it takes."""
    found, end = {}, 0
    for name, (size, step) in sizes.items():
        found[name] = (end, step)
        end += math.ceil(size / ALIGNMENT) * ALIGNMENT
    return found, end
