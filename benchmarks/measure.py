"""One row of the table: a model built for a target and run on its emulator."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edgeq import api
from edgeq.ir import Graph

TARGETS = (
    "riscv", "riscv-b", "riscv-f", "riscv-v", "riscv-xcv",
    "cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m85",
)  # fmt: skip
LARGE_TARGETS = ("riscv", "riscv-v", "riscv-xcv", "cortex-m4", "cortex-m55")
TOOLCHAINS = ("zig", "gcc")


@dataclass(frozen=True)
class Row:
    """What one build costs: instructions of one inference (per step also its multiply-accumulates), bytes of flash and RAM."""

    model: str
    law: str
    target: str
    toolchain: str
    optimize: str
    macs: int
    instructions: int
    code: int
    weights: int
    arena: int
    stack: int
    constant_time: bool
    steps: dict[str, tuple[int, int]]
    cycles: int | None = None  # by the core's model, with its bounds
    low: float | None = None
    high: float | None = None

    @property
    def key(self) -> str:
        return f"{self.model}/{self.law}/{self.target}/{self.toolchain}/O{self.optimize}"

    def json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if k not in ("model", "law", "target", "toolchain", "optimize")}


def measure(name: str, graph: Graph, target: str, toolchain: str, optimize: str, vectors: int = 2) -> Row:
    """Build a quantized graph, run it on the target's first emulator, and insist on bit-exactness.

    Raises:
        EdgeqError: it does not build or run.
    """
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        built = api.build(
            graph, output=Path(work) / "model", target=target, name=name, toolchain=toolchain, optimize=optimize,
            vectors=0, check=False, budget={"flash": 1 << 30, "ram": 1 << 30},
        )  # fmt: skip
        outcome = api.run(built.folder, vectors=vectors, steps=True)
    ran, manifest = outcome.run, outcome.manifest
    assert outcome.comparison is not None and outcome.comparison.bit_exact, f"{name} on {target}: {outcome.comparison}"
    assert ran.instructions is not None and ran.step_instructions is not None and ran.stack_bytes is not None
    assert built.code_bytes is not None and ran.constant_time is not None
    return Row(
        name, graph.law, target, toolchain, optimize, manifest.macs, ran.instructions, built.code_bytes, manifest.weight_bytes,
        manifest.arena_bytes, ran.stack_bytes, ran.constant_time,
        {f"{i} {s.kernel}": (n, s.macs) for i, (s, n) in enumerate(zip(manifest.steps, ran.step_instructions, strict=True))},
        *((ran.cycles.total, ran.cycles.low, ran.cycles.high) if ran.cycles else ()),
    )  # fmt: skip
