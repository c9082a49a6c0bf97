"""The GPU's kernels against the simulator and the emitted C: bytes and speed.

    python -m benchmarks.gpu                                             needs an NVIDIA GPU; writes gpu.md
    python -m benchmarks.gpu --device interpreter --inputs 2 --frames 2  tries the script without one; writes nothing

Every output of every input is compared with the simulator's, byte for byte: the MLPerf Tiny models over `--inputs` inputs, half of
them smooth, half noise, under `--patterns` fault patterns over a hundredth of them, too; the shipped denoiser over `--frames`
frames, in half precision and mixed. Speed is inferences per second, of each way once it is warm: compiled, its constants loaded.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import models
from edgeq import api, faults, target
from edgeq.api.devices import evaluate
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.faults import FaultMap
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.run import gpu
from edgeq.simulate import Run, fit_inputs, simulate

RESULT = Path(__file__).parent / "gpu.md"
DENOISER = models.ROOT / "examples" / "denoiser" / "denoiser.onnx"
RATE = 0.01  # of the fault patterns


@dataclass(frozen=True)
class Row:
    """A model's inferences per second; `exact` over all inputs and patterns."""

    name: str
    inputs: int
    patterns: int
    exact: bool
    device: float
    simulator: float
    host: float


def vectors(graph: Graph, count: int) -> dict[str, Array]:
    """int8 inputs: the first half random walks, the second noise over the whole range."""
    rng, t = np.random.default_rng(1), graph.type(graph.given[0])
    walk = rng.normal(0, 8, (count // 2, t.size)).cumsum(1) + rng.integers(-128, 128, (count // 2, 1))
    noise = rng.integers(-128, 128, (count - count // 2, t.size))
    both = np.concatenate([np.clip(walk, -128, 127), noise]).astype(np.int8)
    return {graph.given[0]: both.reshape(count, *t.shape)}


def timed(run: Callable[[], Run]) -> tuple[Run, float]:
    """A run and its seconds."""
    start = time.perf_counter()
    result = run()
    return result, time.perf_counter() - start


def patterns_equal(graph: Graph, inputs: Mapping[str, Array], count: int, device: gpu.Device) -> bool:
    """Whether every fault pattern gives the simulator's bytes."""
    clean = faults.hardened(graph, target.load("host"))
    programs = [faults.apply(clean, FaultMap(seed=s, p=RATE)) for s in range(count)]
    found = gpu.run_patterns(programs, inputs, device=device)
    expected = [simulate(graph, inputs, parameters=faults.parameters(p)).outputs for p in programs]
    return all(np.array_equal(found[n][i], a) for i, outputs in enumerate(expected) for n, a in outputs.items())


def measure(name: str, graph: Graph, inputs: Mapping[str, Array], patterns: int, device: gpu.Device) -> Row:
    """One model on all ways."""
    count = len(next(iter(inputs.values())))
    few = {n: a[: max(1, count // 100)] for n, a in inputs.items()}
    program = lower(graph, target.load("host"))
    gpu.run(program, few, device=device)
    found, seconds = timed(lambda: gpu.run(program, inputs, device=device))
    expected, simulated = timed(lambda: simulate(graph, inputs))
    host, emitted = timed(lambda: evaluate("cpu", graph, inputs))
    exact = compare(expected, found).bit_exact and compare(expected, host).bit_exact
    exact = exact and (not patterns or patterns_equal(graph, few, patterns, device))
    return Row(name, count, patterns, exact, count / seconds, count / simulated, count / emitted)


def rows(inputs: int, frames: int, patterns: int, device: gpu.Device) -> Iterator[Row]:
    """All models; those of the data folder where there is one."""
    for name in models.MLPERF:
        graph = models.mlperf(name)
        if graph is None:
            print(f"{name}: no data folder (set EDGEQ_DATA)", file=sys.stderr)
            continue
        yield measure(name, graph, vectors(graph, inputs), patterns, device)
    real = api.load(DENOISER)
    sound = np.abs(np.random.default_rng(2).normal(0, 1, (max(frames, 64), *real.type(real.given[0]).shape))).astype(np.float32)
    for recipe in ("fp16", "mixed"):
        graph = api.quantize(real, {real.given[0]: sound[:64]} if recipe == "mixed" else None, recipe=recipe).graph
        yield measure(f"denoiser, {recipe}", graph, fit_inputs(graph, {graph.given[0]: sound[:frames]}), 0, device)


def markdown(found: list[Row], device: gpu.Device) -> str:
    """The page."""
    lines = [
        "# The GPU runner", "",
        f"{device.title}, against {os.cpu_count()} cores, in inferences per second; the emitted C includes its compilation.",
        "Regenerate with `python -m benchmarks.gpu`.", "",
        "| model | inputs | fault patterns | bytes equal the simulator's | GPU | simulator | emitted C, all cores |",
        "|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for r in found:
        speeds = " | ".join(f"{s:,.0f}" for s in (r.device, r.simulator, r.host))
        lines.append(f"| {r.name} | {r.inputs:,} | {r.patterns} | {'yes' if r.exact else 'NO'} | {speeds} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=gpu.NAMES, default="gpu")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--frames", type=int, default=1_000)
    parser.add_argument("--patterns", type=int, default=16)
    arguments = parser.parse_args()
    try:
        device = gpu.find(arguments.device)
    except EdgeqError as error:
        sys.exit(f"benchmarks.gpu: {error}")
    found = []
    for row in rows(arguments.inputs, arguments.frames, arguments.patterns, device):
        print(row, file=sys.stderr)
        found.append(row)
    print(markdown(found, device), end="")
    if device.kind == "gpu" and not sys.argv[1:]:  # options are for trying
        RESULT.write_text(markdown(found, device))
    if not all(r.exact for r in found):
        sys.exit("benchmarks.gpu: bytes DIFFER from the simulator's")


if __name__ == "__main__":
    main()
