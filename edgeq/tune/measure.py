"""What every step of a program takes, off the emulated chip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgeq import board
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Array
from edgeq.plan import plan
from edgeq.program import Program
from edgeq.run import run
from edgeq.simulate import Run
from edgeq.target import Target
from edgeq.timing import timing


def executed(
    program: Program, target: Target, inputs: Mapping[str, Array], toolchain: str | None, optimize: str
) -> tuple[Run, tuple[int, ...]]:
    """Build and run a program; the run, and the instructions of each call.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        optimize: ``s``, ``2`` or ``3``.

    Raises:
        EdgeqError: the target's first runner counts no instructions; or what building and running raise.
    """
    with temporary_folder() as work:
        folder = Path(work) / "model"
        write(emit(program, plan(program), "model"), folder)
        ran = run(folder, target, inputs, steps=True, chain=toolchain, optimize=f"-O{optimize}")
    if ran.step_instructions is None:
        raise EdgeqError(f"runner {ran.runner} counts no instructions", where=target.name, fix="choose a chip, not the host")
    return ran, ran.step_instructions


def costs(ran: Run) -> tuple[str, tuple[int, ...]]:
    """What to choose kernels by: cycles of each call where the core has a model of them, else instructions; and which it is.

    Raises:
        EdgeqError: the runner counts neither.
    """
    if ran.cycles is not None and ran.cycles.steps is not None:
        return "cycles", ran.cycles.steps
    if ran.step_instructions is None:
        raise EdgeqError(f"runner {ran.runner} counts no instructions", fix="choose a chip, not the host")
    return "instructions", ran.step_instructions


def unit(target: Target) -> str:
    """What `costs` finds on a target."""
    return "cycles" if has_cycles(target) else "instructions"


def has_cycles(target: Target) -> bool:
    """Whether the target's first runner or the core's model counts cycles."""
    return target.runners[:1] == ("iss",) or timing(target, board.load(target)) is not None
