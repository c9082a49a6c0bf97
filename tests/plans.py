"""What the planner decides for small programs, in words: shares of cores, tiles of stored weights, bands and their lines.

    python tests/plans.py            what differs from plans.txt
    python tests/plans.py NAME       what is decided now for a program of `many`, of which plans.txt keeps a CRC-32 alone
    python tests/plans.py --bless    take what is decided now for right; say why in the commit

Every decision computes the same bytes, so that no comparison with the simulator would see a worse one. All is for the host's kernels,
but for one program for RISC-V vectors, some for XCV, whose recurrent kernels divide units, and for Cortex-M4, whose kernels take room.
"""

from __future__ import annotations

import difflib
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpy as np  # noqa: E402
import test_cluster  # noqa: E402
import test_stage  # noqa: E402
from band_graphs import band_graph, halved  # noqa: E402
from random_graphs import Builder, random_graph  # noqa: E402

from edgeq import target  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.ir import Graph, Params  # noqa: E402
from edgeq.lower import lower  # noqa: E402
from edgeq.ops.gru import Gru  # noqa: E402
from edgeq.ops.lstm import Lstm  # noqa: E402
from edgeq.plan import plan, room, stage  # noqa: E402
from edgeq.plan.arena import live  # noqa: E402
from edgeq.plan.bands import Bander, Whole  # noqa: E402
from edgeq.plan.fit import fitted, ways  # noqa: E402
from edgeq.plan.segments import Search  # noqa: E402
from edgeq.plan.shares import spread  # noqa: E402
from edgeq.program import Flow  # noqa: E402
from edgeq.target import Target  # noqa: E402

FILE = HERE / "plans.txt"
HOST = target.load("host")
SPREADS = ((4, 0), (3, 16384), (8, 4096), (1, 12288))


def brief(params: Params) -> str:
    """What a share's constants are, in eight digits."""
    return f"{zlib.crc32(repr(sorted((n, int(v)) for n, v in params.scalars.items())).encode()):08x}"


def shares(graph: Graph, machine: Target = HOST, spreads: Sequence[tuple[int, int]] = SPREADS) -> Iterator[str]:
    """Of calls for some numbers of cores and bytes of fast memory; of other kernels than the host's where they begin alone."""
    program = lower(graph, machine)
    for cores, fast in spreads:
        for i, call in enumerate(spread(program, cores, fast).calls):
            parts = " ".join(f"{brief(s.params)}@{','.join(map(str, s.starts))}{dict(s.tables) or ''}" for s in call.shares)
            f = call.fetched
            copies = f" copies {f.tiles} of {f.bytes} B by {f.step}, {dict(f.pieces)} {f.moved}" if f else ""
            kernel = f" {call.kernel.name} scratch {call.scratch}" if machine is HOST else ""
            yield f"{cores} cores {fast} B, call {i}{kernel} over {call.inplace}: {parts}{copies}"


def tiles(graph: Graph) -> Iterator[str]:
    """Ways to decode weights, with what they cost, where an output may and where it cannot take its input's place."""
    program = lower(test_stage.narrowed(graph, test_stage.INT4), HOST)
    for i, call in enumerate(program.calls):
        for lost in (0, 100) if call.formats else ():
            for way in sorted(stage._tilings(program, call, 0, lost), key=lambda w: (w.bytes, w.cost)):
                yield f"call {i}, {lost} B lost: {way.bytes} B, {way.cost:.9g} instructions, {way.call.tiled}, over {way.call.inplace}"
    for tiled in (False, True):
        for i, call in enumerate(stage.stage(program).calls if tiled else stage.stage(program, stage.WHOLE).calls):
            yield f"{'tiled' if tiled else 'whole'}, call {i}: {call.tiled} {sorted(call.staged)} scratch {call.scratch}"


def memory(graph: Graph) -> Iterator[str]:
    """What is offered, and what is taken within limits."""
    program = lower(graph, HOST)
    yield from map(str, ways(program))
    least = fitted(program, None)[1].arena_bytes
    for limit in (None, least + 1, int(least * 1.1), int(least * 1.4)):
        made, planned = fitted(program, limit)
        found = [(b.first, b.turns, b.parts[-1].flow) for b in made.bands]
        yield f"within {limit} B: {planned.arena_bytes} B, {found}"


def bands(graph: Graph, machine: Target = HOST) -> Iterator[str]:
    """The cuts of least memory, and those within limits above it; the same where the input comes row by row."""
    program = lower(graph, machine)
    for fed in ("", program.graph.inputs[0]):
        try:
            search = Search(program, fed) if fed else Search(program)
            least = search.least
        except EdgeqError as e:
            yield f"fed: {e}"
            continue
        yield f"{'fed' if fed else 'whole'}: least {least:.9g} B"
        for factor in (1.0, 1.2, 1.5):
            for s in search.cut(least * factor) or []:
                yield f"{factor:g} least: {s.first} to {s.last}, {s.bytes:.9g} B, {s.cost:.9g} instructions, {s.pace}"
                if s.pace is not None:
                    yield from lines(Bander(program, fed), s.first, s.last, s.pace)


def lines(bander: Bander, first: int, last: int, pace: Flow) -> Iterator[str]:
    """Of a band."""
    band, _ = bander.band(first, last, pace)
    yield f"  {band.turns} turns, over {dict(band.overlaps)}"
    yield from (f"  {n}: {one}" for n, one in band.lines.items())
    yield from (f"  {p.flow} {p.height} rows of {p.pitch} B" for p in band.parts)


def places(graph: Graph, machine: Target = HOST) -> Iterator[str]:
    """Where tensors and scratch lie, with and without results that trail; and what scratch takes of the rest of the arena."""
    program = lower(graph, machine)
    yield str(live(program))
    for made in (plan(program), plan(program, 16), plan(program, trailing=False), room.roomiest(program)):
        yield f"{made.arena_bytes} {sorted(made.offsets.items())} {sorted(made.scratch.items())} {made.trails}"
        filled, after = room.filled(program, made)
        yield f"{[(c.scratch, brief(c.params)) for c in filled.calls]} {sorted(after.scratch.items())}"


def tall(seed: int) -> Graph:
    """Of many rows: windows that overlap much, strides, a residual, and a layer that needs all rows."""
    b = Builder(seed, "single")
    rng = b.rng
    x = b.input(1, int(rng.integers(40, 97)), int(rng.integers(2, 6)), int(rng.integers(1, 4)))
    for _ in range(int(rng.integers(2, 5))):
        kernel = int(rng.integers(2, 8))
        y = b.conv(x, int(rng.integers(2, 9)), kernel, stride=int(rng.integers(1, 3)), pads=(kernel - 1,) * 4)
        x = b.add(b.conv(y, b.tensors[y].type.shape[3], 3, pads=(1, 1, 1, 1)), y) if rng.random() < 0.5 else b.depthwise(y)
    return b.graph(b.dense(b.flatten(b.pool(x)), 5) if rng.random() < 0.5 else x)


def heads(seed: int) -> Graph:
    """Dense layers of one vector and of several, of channels that no group divides; pointwise layers and functions."""
    b = Builder(seed, "single")
    rng = b.rng
    x = b.conv(b.input(1, int(rng.integers(3, 9)), int(rng.integers(3, 9)), int(rng.integers(3, 40))), int(rng.integers(5, 60)), 1)
    y = b.conv(b.leaky(x), int(rng.integers(5, 40)), 1)
    z = b.dense(b.flatten(b.pool(y)), int(rng.integers(20, 150)))
    return b.graph(b.dense(z, int(rng.integers(20, 150))), b.dense(x, int(rng.integers(5, 40))))


def every(graph: Graph) -> Iterator[str]:
    """Of bands of all calls in a row, at some paces, whether a search would take them or not."""
    program = lower(graph, HOST)
    bander = Bander(program)
    for first in range(len(program.calls)):
        for last, pace in ((b, p) for b in range(first + 1, min(first + 6, len(program.calls))) for p in (1, 2, 5)):
            yield f"{first} to {last}, {pace} rows"
            with suppress(Whole):
                yield from lines(bander, first, last, Flow(pace, pace))


def cases() -> Iterator[tuple[str, Iterator[str]]]:
    """Name and lines."""
    for seed in (1, 3):
        yield f"shares {seed}", shares(test_cluster.model(seed))
    for op in (Lstm(), Gru()):
        yield f"shares {op.kind()}", shares(test_cluster.cell(op, 64, 44), target.load("riscv-xcv"))
    yield "tiles", tiles(test_stage.layers())
    b = Builder(4, "single")
    x = b.conv(b.input(1, 10, 8, 8), 24, 1)
    yield "tiles of many pixels", tiles(b.graph(b.conv(b.add(b.conv(x, 24, 1), x), 16, 1)))
    yield "memory", memory(band_graph(8, "single", layers=7))
    yield "bands rvv", bands(band_graph(10, "single"), target.load("riscv-v"))
    for seed in (2, 5, 8):
        yield f"bands {seed}", bands(band_graph(seed, ("single", "tflm")[seed % 2]))
    yield "bands half", bands(halved(band_graph(9, "single")))
    b = Builder(8, "single")
    y = b.depthwise(b.conv(b.input(1, 30, 12, 4), 6, 3, stride=2, pads=(0, 0, 1, 1)))
    yield "bands fed", bands(b.graph(b.conv(b.add(b.conv(y, 6, 3, pads=(1, 1, 1, 1)), y), 5, 3, stride=2)))


def many() -> Iterator[tuple[str, Iterator[str]]]:
    """Name and lines of programs whose decisions are kept as a number."""
    small = target.load("cortex-m4")
    spreads = ((2, 6000), (3, 0), (5, 2048), (7, 1024), (16, 3000), (1, 2000), (1, 700))
    for seed in range(20, 35):
        yield f"many bands {seed}", bands(band_graph(seed, ("single", "tflm")[seed % 2], layers=12))
        yield f"many tall {seed}", bands(tall(seed))
        yield f"many places {seed}", places(random_graph(seed, layers=10) if seed % 2 else band_graph(seed), HOST if seed % 5 else small)
        yield f"many shares {seed}", shares(test_cluster.model(seed) if seed % 3 == 0 else heads(seed), HOST, spreads)
    for seed in range(20, 80):
        yield f"many lines {seed}", every(band_graph(seed, "single"))
    for seed in range(20, 24):
        yield f"many memory {seed}", memory(band_graph(seed, layers=7))
        yield f"many tiles {seed}", tiles(test_stage.layers(seed=seed))
        units, depth = (int(n) for n in np.random.default_rng(seed).integers(5, 24, 2))
        for op in (Lstm(), Gru()):
            yield f"many {op.kind()} {seed}", shares(test_cluster.cell(op, 4 * units, depth), target.load("riscv-xcv"), spreads)


def text() -> str:
    """What plans.txt holds."""
    words = "".join(f"# {name}\n" + "".join(f"{line}\n" for line in found) for name, found in cases())
    lines = ((name, list(found)) for name, found in many())
    return words + "# many\n" + "".join(f"{name}: {len(x)} lines, {zlib.crc32(chr(10).join(x).encode()):08x}\n" for name, x in lines)


def difference() -> list[str]:
    """What differs from what is kept, as a unified diff."""
    kept, now = FILE.read_text(encoding="ascii").splitlines(), text().splitlines()
    return list(difflib.unified_diff(kept, now, "plans.txt", "now", lineterm="", n=1))


if __name__ == "__main__":
    if sys.argv[1:] == ["--bless"]:
        FILE.write_text(text(), encoding="ascii")
    elif sys.argv[1:]:
        print("\n".join(line for name, found in many() if name == " ".join(sys.argv[1:]) for line in found))
    else:
        print("\n".join(difference()))
