"""The iss runner: the board's own firmware on edgeq's instruction-set simulator, with the cycles of a CV32E40P."""

from __future__ import annotations

from pathlib import Path

from edgeq import board
from edgeq.run.bench import Execution, Received, Runner
from edgeq.run.iss.machine import Machine
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


run = Runner("iss", execute, bounds=lambda target: SHARED if board.load(target).cluster else BOUNDS)
