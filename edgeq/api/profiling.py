"""Profile: where the cycles of an emitted model go."""

from __future__ import annotations

from pathlib import Path

from edgeq import graphfile
from edgeq import target as targets
from edgeq.api.building import OPTIMIZE
from edgeq.api.execution import VECTORS, vectors_of
from edgeq.api.samples import Samples
from edgeq.errors import EdgeqError
from edgeq.record import check_unchanged, manifest, measured
from edgeq.run.iss.profile import Function, Line, Profile
from edgeq.run.iss.profile import profile as run_profile

__all__ = ["Function", "Line", "Profile", "profile"]


def profile(
    folder: str | Path,
    inputs: Samples | None = None,
    *,
    runner: str = "iss",
    vectors: int = VECTORS,
    toolchain: str | None = None,
    optimize: str | None = None,
    trust: bool = False,
) -> Profile:
    """Run an emitted folder on the instruction-set simulator and say where its cycles go, per function and per instruction.

    Args:
        folder: that `build` wrote, for a target with the runner ``iss``.
        inputs, vectors: see `simulate`.
        runner: ``iss``, the only one that counts each instruction.
        toolchain, optimize: default: what the folder was built with.
        trust: compile and run the folder's C although it was changed after edgeq wrote it.

    Raises:
        EdgeqError: the target has no such runner, the inputs do not fit, or the program fails.
    """
    place = Path(folder)
    data = manifest(place)
    chip = targets.load(data.target)
    if runner != "iss":
        raise EdgeqError(f"runner '{runner}' does not count single instructions", fix="choose iss")
    if runner not in chip.runners:
        fix = "`edgeq run` shows the instructions of each step; build for riscv to profile"
        raise EdgeqError(f"target {chip.name} has no runner '{runner}'", where=str(place), fix=fix)
    if not trust:
        check_unchanged(place, data)
    built = measured(place, data.sources_sha256).build
    chain, level = (built.toolchain, built.optimize) if built else (None, OPTIMIZE)
    fitted = vectors_of(graphfile.load(place), inputs, vectors)
    return run_profile(place, chip, fitted, chain=toolchain or chain, optimize=f"-O{optimize or level}")
