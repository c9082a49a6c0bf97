"""Which tables of a call are resident, read where they are stored, and which are decoded into its scratch: whole, or a tile at a time.

A tile is the same kernel on a smaller problem: some of the output channels, with their rows of weights alone decoded. Of all ways to
stage a call that keep the arena within `ROOM` of what resident tables would need, the one is taken that costs the fewest instructions.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgeq import kernels
from edgeq.errors import EdgeqError
from edgeq.formats import Format
from edgeq.formats.format import Packed, Records
from edgeq.ir import Array, DType, Params
from edgeq.kernels import Kernel, facts
from edgeq.kernels.layouts import applied, places
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.plan.arena import lifetimes, live, overwritable
from edgeq.program import Call, Program, Tiled
from edgeq.staged import ALIGNMENT, Staged, room

ROOM = 4 / 3  # of the arena that resident tables would need
LEAST = 12  # pixels of a band
# Instructions, as measured on a Cortex-M4: of a weight decoded, of an output stored again, of a pixel's input read again, of a window's
# input gathered again and of each run of them that lie side by side, of a call.
DECODE, SCATTER, READ, GATHER, PIECE, CALL = 1.5, 3.0, 1.2, 3.0, 80.0, 200.0
TILES, WHOLE, START = "tiles", "whole", "start"  # when tables are decoded
BOUNDS = ("pairs", "twos", "group", "has_least")
HEAD, TAIL = 16, 20  # bytes of `chunks` before and behind the weights of four rows


class Unstorable(Exception):
    """A kernel's table cannot be decoded from a format."""


def table(kernel: Kernel, name: str, tables: Mapping[str, Array]) -> Array:
    """A table in a kernel's layout."""
    layout = kernel.pack.get(name)
    return applied(layout, name, tables) if layout else tables[name]


def decoded_formats(kernel: Kernel, formats: Mapping[str, Format]) -> dict[str, Format]:
    """The formats of those tables that a kernel does not read as they are stored."""
    own = {kernel.signature.w, kernel.signature.r} - {""}
    return {n: f for n, f in formats.items() if "weights" not in n or f.type not in own}


def storable(kernel: Kernel, params: Params, formats: Mapping[str, Format]) -> bool:
    """Whether the weights of a kernel can be decoded from their formats."""
    try:
        for name, format in formats.items():
            if "weights" in name and not format.plain(params.tables[name].size):
                _form(kernel, params, name, format)
    except Unstorable:
        return False
    return True


def _form(kernel: Kernel, params: Params, name: str, format: Format) -> tuple[Array, Records | None]:
    """A kernel's table of weights, and how it divides.

    Raises:
        Unstorable: no decoder of the format makes it.
    """
    packed, layout = table(kernel, name, params.tables), (kernel.pack.get(name) or "").partition(" with ")[0]
    if not isinstance(format, Packed):
        if layout.startswith("quads(") and not format.by_rows:
            return packed, Records(1, 0, packed.nbytes, 0)
        if packed.dtype != np.int8 or not _moved(layout, name, params):
            raise Unstorable
        return packed, None
    if packed.dtype == np.int8 or layout.startswith(("pairs(", "quads(", "lanes(")):
        borrow = layout.startswith("pairs(") and not format.even  # levels that lie side by side have one more below
        records = Records(1, 0, packed.nbytes, 0, 128 * layout.startswith("lanes("), borrow)
    elif "chunks" in layout:
        records = Records(len(packed), HEAD, packed.shape[1] * packed.itemsize - HEAD - TAIL, TAIL)
    else:
        raise Unstorable
    body = np.ascontiguousarray(packed).view(np.uint8).reshape(records.count, -1)[:, records.head :][:, : records.body]
    if not format.fits(records.weights(body)):
        raise Unstorable
    return packed, records


def _moved(layout: str, name: str, params: Params) -> bool:
    try:
        places(layout, name, params.tables)
    except (ValueError, KeyError, TypeError):
        return False
    return True


def whole(call: Call, start: bool = False) -> Call:
    """The call with all tables decoded before it runs that are not stored as the kernel reads them.

    Args:
        start: once, at the start, and not into its scratch.

    Raises:
        EdgeqError: the kernel keeps no bytes of weights.
    """
    found: dict[str, Staged] = {}
    end = call.scratch
    for name, kept in call.tables.items():
        format = call.formats[name].fitted(call.params.tables[name]) if name in call.formats else None
        if format is None or format.plain(call.params.tables[name].size):
            continue
        records = _form(call.kernel, call.params, name, format)[1] if "weights" in name else None
        at = -1 if start else _aligned(end)
        if isinstance(format, Packed) and records:
            found[name] = Staged(format.stream(kept, records), format, at, records=records)
        else:
            form = Staged(kept, format, at, _rows(call, name) if format.by_rows else None, records)
            found[name] = replace(form, data=format.encode(form.stored_form(kept)))
        end = end if start else at + room(kept.nbytes, format)
    return replace(call, staged=found, scratch=end)


def _aligned(at: int) -> int:
    """Bytes up to where the next thing may begin."""
    return -(-at // ALIGNMENT) * ALIGNMENT


def _rows(call: Call, name: str) -> Array:
    """Where the weights of each output channel ``[rows, length]`` lie in a kernel's table.

    Raises:
        EdgeqError: the kernel's layout does more than move them, or puts those of a row at uneven steps.
    """
    op, kernel = call.node.op, call.kernel
    try:
        found = np.moveaxis(places(kernel.pack.get(name) or "", name, call.params.tables), -1 if isinstance(op, DepthwiseConv2d) else 0, 0)
        rows = found.reshape(len(found), -1)
        steps = np.diff(rows, axis=1)
        if (steps < 1).any() or (steps != steps[:, :1]).any():
            raise ValueError("steps")
    except ValueError:
        why = f"kernel {kernel.name} does not keep the weights of a row at even steps"
        raise EdgeqError(why, where=call.node.name, fix="leave +asymmetric and +crc out") from None
    return rows


@dataclass(frozen=True)
class _Way:
    """A way to stage a call: what it costs, and the call."""

    bytes: int
    cost: float
    call: Call


def stage(program: Program, how: str = TILES) -> Program:
    """The program with every table resident or staged.

    Args:
        how: decode by tiles where that saves memory, whole tables before each call, or all once at the start.
    """
    if not any(c.formats for c in program.calls):
        return program
    if how != TILES:
        return replace(program, calls=tuple(whole(c, how == START) for c in program.calls))
    sizes, spans = live(program), lifetimes(program)
    limit, calls = int(max(sizes) * ROOM), []
    for i, call in enumerate(program.calls):
        if not call.formats:
            calls.append(call)
            continue
        kept = bool(overwritable(program, i, spans)) and 0 in call.inplace
        lost = program.graph.type(call.output).bytes if kept else 0
        rest = sizes[i] - call.scratch
        first = whole(call)
        ways = [_Way(rest + first.scratch, DECODE * _weights(call), first), *_tilings(program, call, rest, lost)]
        fitting = [w for w in ways if w.bytes <= limit]
        calls.append((min(fitting, key=lambda w: w.cost) if fitting else min(ways, key=lambda w: (w.bytes, w.cost))).call)
    return replace(program, calls=tuple(calls))


def _weights(call: Call) -> int:
    return sum(t.size for n, t in call.params.tables.items() if n in call.formats)


def _tilings(program: Program, call: Call, rest: int, lost: int) -> Iterator[_Way]:
    """The ways to stage a call by tiles.

    Args:
        rest: bytes that live beside the call's scratch.
        lost: bytes more if the output does not take the input's place.
    """
    s, format = call.params.scalars, call.formats.get("weights")
    types = {program.graph.type(n).dtype for n in (*call.operands, *call.outputs)}
    tiled = isinstance(call.node.op, Conv2d | FullyConnected) and s.get("groups", 1) == 1
    if not tiled or types != {DType.INT8} or format is None or format.by_rows:
        return
    if s["batches"] != 1 or format.plain(call.params.tables["weights"].size):
        return
    pixels, all_rows = _sizes(call)
    flat = isinstance(call.node.op, Conv2d) and not call.epilogue and facts.value("pointwise", call.params)
    bands = [-(-pixels // k) for k in range(1, pixels // LEAST + 1)] if flat else []
    for rows, each in itertools.product(range(4, all_rows, 4), sorted({pixels, *bands})):
        if all_rows % rows == 0:
            for copied in (False, True) if lost and each < pixels else (False,):
                found = _tiling(program, call, rows, each, copied)
                if found is not None:
                    yield _Way(rest + found[0].scratch + (0 if copied else lost), found[1], found[0])


def _sizes(call: Call) -> tuple[int, int]:
    """Pixels of the output, and its channels."""
    s = call.params.scalars
    return int(s.get("out_h", 1)) * int(s.get("out_w", 1)), int(s["out_c"])


def _tiling(program: Program, call: Call, rows: int, pixels: int, copied: bool) -> tuple[Call, float] | None:
    """A call in tiles and what it costs; None where no kernel computes a tile."""
    all_pixels, _ = _sizes(call)
    parts = [part(call.params, 0, rows, p if pixels < all_pixels else 0) for p in {pixels, all_pixels % pixels or pixels}]
    fitting = [k for k in _kernels(call.kernel, parts[0], program.target.isa, call.formats) if all(k.applies(p) for p in parts)]
    for kernel in fitting:
        try:
            return _tiled_by(kernel, call, parts, rows, pixels, copied)
        except Unstorable:
            continue
    return None


def _tiled_by(kernel: Kernel, call: Call, parts: list[Params], rows: int, pixels: int, copied: bool) -> tuple[Call, float]:
    """The call in tiles by a kernel, and what it costs.

    Raises:
        Unstorable: how long the kernel's table of a tile is depends on its weights.
    """
    all_pixels, all_rows = _sizes(call)
    weights = room(table(kernel, "weights", parts[0].tables).nbytes, call.formats["weights"])
    at = _aligned(max(kernel.scratch_bytes(p) for p in parts))
    first, at = at, at + weights
    depth = call.params.tables["weights"].size // all_rows
    turns, tiles = -(-all_pixels // pixels), all_rows // rows
    cost = DECODE * depth * all_rows * (turns if copied else 1) + CALL * tiles * turns
    cost += _again(call.params) * depth * all_pixels * (tiles - 1)
    source = result = -1
    if copied:
        source, at = at, at + _aligned(pixels * depth)
        cost += all_pixels * depth
    if all_pixels > 1:
        result, at = at, at + _aligned(pixels * rows)
        cost += SCATTER * all_pixels * all_rows * (2 if call.epilogue else 1)
    form = Tiled(rows, pixels, source, result)
    inplace = call.inplace if copied or call.epilogue else ()
    return _tiled(replace(call, kernel=kernel, tiled=form, inplace=inplace), first, at), cost


def _again(params: Params) -> float:
    """Instructions per input of a window that another tile reads again."""
    s = params.scalars
    if "kernel_w" not in s:
        return 0.0
    return READ if facts.value("pointwise", params) else GATHER + PIECE / (int(s["kernel_w"]) * int(s["in_c"]))


def _kernels(kernel: Kernel, params: Params, isa: tuple[str, ...], formats: Mapping[str, Format]) -> list[Kernel]:
    """Kernels for a tile, the call's own first."""
    own = [kernel] if kernel.applies(params) else []
    found = [*own, *kernels.candidates(kernel.signature, params, isa, own=kernel.epilogue)]
    return [k for k in found if "out_c" not in k.specialize and storable(k, params, formats)]


def part(params: Params, row: int, rows: int, pixels: int = 0) -> Params:
    """The constants of some output channels, and of so many pixels of a pointwise convolution if not 0."""
    count = len(params.tables["bias"])
    tables = {n: t[row : row + rows] if len(t) == count else t for n, t in params.tables.items()}
    bounds = {n: facts.value(n, params) for n in BOUNDS}  # literals and members of the kernel tell them of all rows
    scalars = {**params.scalars, **bounds, "out_c": rows, **(band(pixels) if pixels else {})}
    return Params(params.law, scalars, tables)


def band(pixels: int) -> dict[str, int]:
    """The scalars of so many pixels of a pointwise convolution."""
    return {"in_h": 1, "out_h": 1, "in_w": pixels, "out_w": pixels}


def _tiled(call: Call, first: int, end: int) -> Call:
    """The call with its weights stored tile after tile, decoded to `first` in its scratch, which ends at `end`; biases decoded whole.

    Raises:
        Unstorable: tiles differ in length.
    """
    assert call.tiled is not None
    rows, kernel, all_rows = call.tiled.rows, call.kernel, int(call.params.scalars["out_c"])
    format, streams, parts = call.formats["weights"], [], []
    records: Records | None = None
    for row in range(0, all_rows, rows):
        own = part(call.params, row, rows)
        packed, records = _form(kernel, own, "weights", format)
        parts.append(packed)
        streams.append(format.stream(packed, records) if isinstance(format, Packed) and records else format.encode(packed))
    if len({p.shape for p in parts}) > 1:
        raise Unstorable
    tables = {n: table(kernel, n, call.params.tables) for n in call.params.tables if kernel.reads(n, call.params) and n != "weights"}
    tables = {"weights": np.stack(parts), **tables}
    rest = whole(replace(call, tables=tables, scratch=end, formats={n: f for n, f in call.formats.items() if n != "weights"}))
    weights = Staged(np.stack(streams), format, first, records=records)
    return replace(rest, formats=call.formats, staged={"weights": weights, **rest.staged})
