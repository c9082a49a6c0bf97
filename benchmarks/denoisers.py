"""The denoisers of 256 units on the simulated cluster, a frame at a time: writes the tables of docs/cluster.md beside a paper's figures.

python -m benchmarks.denoisers                       all (needs PyTorch; quantizes, minutes)
python -m benchmarks.denoisers GRU256 LSTM256        prints the rows of these

The networks have the shapes of examples/denoiser and weights drawn at random: cycles do not depend on their values.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.cluster import PAGE, replaced
from benchmarks.models import ROOT
from edgeq import api
from edgeq.ir import Graph
from edgeq.target import PATH
from edgeq.text import count

NETWORKS = ("LSTM256", "GRU256")
FRAME = 6.25e-3  # seconds of sound
POINTS = ((240e6, 0.65), (370e6, 0.8))  # hertz and volts of the paper
WIDTH = 8  # bytes a cycle that come from L2
COPIED = 0.8  # of a step's cycles: copies that take more bound it
ARENA = 105 << 10  # bytes of L1 beside stacks and what the program needs that measures
FRAMES = 300  # of noisy speech, to calibrate
BOARDS = {"l2": 'flash = [0x1C000000, "4M"]', "external": 'flash = [0x1C000000, "4M"]\n[cluster]\ncopy_width = 1'}
HEAD = (
    "| network | recipe | halves | tables in | kB of tables | cycles per frame | products a cycle | copies, of the cycles at least "
    "| fp16's tables, times | fp16's cycles, times | of real time at 240 MHz | at 370 MHz | energy |\n"
    "|---|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)
LAYERS = "| network | recipe | step | kernel | cycles | copies at least | bound by |\n|---|---|---|---|--:|--:|---|\n"


@dataclass(frozen=True)
class Way:
    """A recipe on a chip.

    Attributes:
        halves: how halves are computed: two in a register, one by the FPU, or by integer instructions.
        board: of `BOARDS`, or "" for the chip's own, whose L2 holds 1.5 MiB.
    """

    recipe: str
    halves: str
    board: str = ""

    @property
    def target(self) -> str:
        return f"{self.halves or 'int8'}-{self.board or 'own'}"

    @property
    def place(self) -> str:
        return {"": "L2", "l2": "L2 of 4 MiB", "external": "external memory"}[self.board]

    @property
    def width(self) -> int:
        """Bytes of tables that come in a cycle."""
        return 1 if self.board == "external" else WIDTH


WAYS = (
    Way("fp16", "packed", "external"), Way("fp16", "packed", "l2"), Way("fp16", "scalar", "l2"), Way("fp16", "soft", "l2"),
    Way("mixed", "packed"), Way("int8", ""),
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What a frame takes: bytes of tables, multiply-accumulates, cycles, and of each step its name, kernel, bytes of tables and cycles."""

    weights: int
    macs: int
    cycles: int
    steps: tuple[tuple[str, str, int, int], ...]


def write_targets(folder: Path) -> None:
    """The targets of `WAYS`, and their boards."""
    (folder / "targets").mkdir()
    for name, text in BOARDS.items():
        board = folder / "firmware" / "bsp" / name
        board.mkdir(parents=True)
        (board / "bsp.toml").write_text(f'inherits = "pulp-cluster"\n[memory]\n{text}\n')
    for way in WAYS:
        parent = "pulp-cluster" if way.halves == "soft" else "pulp-cluster-half"
        lines = [f'inherits = "{parent}"', *([f'bsp = "{way.board}"', 'flash = "4M"'] if way.board else [])]
        lines += ['isa = ["xcv", "rv32im", "c"]'] if way.halves == "scalar" else []
        (folder / "targets" / f"{way.target}.toml").write_text("\n".join(lines) + "\n")


@cache
def quantized(name: str, recipe: str) -> Graph:
    """A network of a shape by a recipe."""
    sys.path.append(str(ROOT / "examples" / "denoiser"))
    import torch
    from deploy import read  # type: ignore[import-not-found]
    from model import NETWORKS as SHAPES  # type: ignore[import-not-found]
    from model import Denoiser, export
    from recordings import calibration_set  # type: ignore[import-not-found]

    torch.manual_seed(0)
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        path = Path(work) / f"{name}.onnx"
        export(Denoiser(SHAPES[name]), path)
        network = read(path)
    samples = {n: x[:FRAMES] for n, x in network.samples(calibration_set(None, 1)).items()}
    return api.quantize(network.graph, samples, recipe=recipe).graph


def measured(name: str, way: Way) -> Found:
    """A frame, whose bytes are the simulator's.

    Raises:
        EdgeqError: it does not build or run.
    """
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        built = api.build(
            quantized(name, way.recipe), output=Path(work) / "model", target=way.target, name="denoiser", toolchain="gcc", optimize="3",
            vectors=0, check=False, budget={"ram": ARENA},
        )  # fmt: skip
        done = api.run(built.folder, vectors=2, steps=True)
    assert done.comparison is not None and done.comparison.bit_exact and done.run.cycles is not None and done.run.cycles.steps is not None
    m, tables = done.manifest, done.manifest.table_bytes
    each = [sum(n for t, n in tables.items() if t.startswith(f"denoiser_s{i}_")) for i in range(len(m.steps))]
    steps = zip((s.name for s in m.steps), (s.kernel for s in m.steps), each, done.run.cycles.steps, strict=True)
    return Found(m.weight_bytes, m.macs, done.run.cycles.total, tuple(steps))


def energy(cycles: int) -> float:
    """Cycles times volts squared, at the lowest voltage that keeps up with the sound."""
    volts = next((v for hertz, v in POINTS if cycles <= hertz * FRAME), POINTS[-1][1])
    return cycles * volts**2


def line(name: str, way: Way, found: Found, base: Found) -> str:
    """A row; `base` is what other rows are compared with: fp16 from external memory."""
    copies = found.weights / way.width / found.cycles
    rates = " | ".join(f"{100 * found.cycles / hertz / FRAME:.0f} %" for hertz, _ in POINTS)
    return (
        f"| {name} | `{way.recipe}` | {way.halves} | {way.place} | {found.weights / 1000:.0f} | {count(found.cycles)} "
        f"| {found.macs / found.cycles:.2f} | {100 * copies:.0f} % | {base.weights / found.weights:.2f} | {base.cycles / found.cycles:.1f} "
        f"| {rates} | {energy(found.cycles) / energy(base.cycles):.2f} |\n"
    )


def layers(name: str, way: Way, found: Found) -> Iterator[str]:
    """Rows of the steps that have tables worth copying."""
    for step, kernel, size, cycles in found.steps:
        if size > 1000:
            copies = round(size / way.width)
            bound = "copies" if copies >= COPIED * cycles else "cores"
            yield f"| {name} | `{way.recipe}` | {step} | {kernel} | {count(cycles)} | {count(copies)} | {bound} |\n"


def main() -> None:
    rows, steps = list[str](), list[str]()
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        os.environ[PATH] = work
        write_targets(Path(work))
        for name in sys.argv[1:] or NETWORKS:
            base = None
            for way in WAYS:
                found = measured(name, way)
                base = base or found
                rows.append(line(name, way, found, base))
                print(rows[-1], end="", flush=True)
                steps += layers(name, way, found) if way.halves in ("packed", "") and way.board != "external" else []
    if not sys.argv[1:]:
        page = replaced(PAGE.read_text(encoding="utf-8"), "denoisers", HEAD + "".join(rows))
        PAGE.write_text(replaced(page, "layers", LAYERS + "".join(steps)), encoding="utf-8")


if __name__ == "__main__":
    main()
