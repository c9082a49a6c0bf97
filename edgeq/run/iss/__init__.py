"""The iss runner: the board's own firmware on edgeq's instruction-set simulator, with the cycles of a CV32E40P."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeq import board
from edgeq.ir import Array
from edgeq.run import bench
from edgeq.run.bench import Execution, Progress, Received
from edgeq.run.iss.machine import Machine
from edgeq.simulate import Run
from edgeq.target import Target

BOUNDS = (0.999, 1.001)  # of whole programs; docs/iss.md says what they were compared with
SHARED = (0.9, 1.1)  # of a cluster, whose memories were compared with no hardware (docs/cluster.md)


def execute(elf: Path, target: Target, vectors: bytes = b"", *, timeout: float = 600.0, received: Received = lambda n: None) -> Execution:
    """Run a program of a target's board to its end.

    Args:
        elf: as `build_firmware` made it.
        vectors: bytes placed where the board keeps test vectors.
        timeout: seconds.
        received: called with the number of bytes sent so far.

    Raises:
        EdgeqError: the program is none of the board's, faults or does not end in time.
    """
    with Machine.of(elf, board.load(target), vectors) as machine:
        code = machine.run(timeout, received)
        return Execution(bytes(machine.sent), code, machine.clock())


def run(
    folder: Path,
    target: Target,
    inputs: Mapping[str, Array],
    *,
    steps: bool = False,
    chain: str | None = None,
    optimize: str = "-O3",
    progress: Progress | None = None,
    timeout: float = 600.0,
    faults: bytes = b"",
) -> Run:
    """Build `folder` for the target's board and run every vector on a simulated core.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        steps: keep every step's output, instructions and cycles.
        chain: tool chain name (zig, gcc, clang).
        optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og.
        progress: called with (vectors done, vectors in all).
        timeout: seconds for each run of the simulator.
        faults: a map (`faults.block`) that hits the model's tables first; the folder's program must be `hardened`.

    Raises:
        EdgeqError: the build fails, the program faults or does not end in time, or its results arrive damaged.
    """

    def emulator(elf: Path, vectors: bytes, received: Received) -> Execution:
        return execute(elf, target, vectors, timeout=timeout, received=received)

    return bench.bench(
        "iss", folder, target, inputs, emulator, 1.0, steps=steps, chain=chain, optimize=optimize, progress=progress, faults=faults,
        bounds=SHARED if board.load(target).cluster else BOUNDS,
    )  # fmt: skip
