"""Runners: emitted folder x inputs -> Run, one file each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, Unpack

from edgeq.errors import EdgeqError

if TYPE_CHECKING:
    from edgeq.faults import Damage
    from edgeq.ir import Array
    from edgeq.simulate import Run
    from edgeq.target import Target


class Compiled(TypedDict, total=False):
    """How a folder is compiled to be run.

    chain: tool chain name (zig, gcc, clang); None is the default one.
    optimize: -O0, -O1, -O2, -O3, -Os, -Oz or -Og; without it the runner's own default.
    """

    chain: str | None
    optimize: str


RUNNERS = ("host", "unicorn", "qemu", "iss")


def missing(target: Target) -> str:
    """What to install before anything on this computer runs a target's programs; empty where something does, or nothing could."""
    if target.runners != ("qemu",):  # the host and unicorn come with edgeq
        return ""
    try:
        import_module("edgeq.run.qemu").emulation(target)
    except EdgeqError as e:
        return f"{e.what} ({e.why}): {e.fix}" if e.why else f"{e.what}: {e.fix}"
    return ""


def run(
    folder: Path,
    target: Target,
    inputs: Mapping[str, Array],
    *,
    runner: str | None = None,
    steps: bool = False,
    progress: Callable[[int, int], None] | None = None,
    damage: Damage | None = None,
    **compiled: Unpack[Compiled],
) -> Run:
    """Compile an emitted folder for a target and run every vector.

    Args:
        inputs: per input ``[V, *shape]`` in the stored dtype.
        runner: host, unicorn, qemu or iss; None is the first that the target prefers.
        steps: keep every step's output, and its instructions where the runner counts them.
        progress: called with (vectors done, vectors in all); the host runner is over too soon to call it.
        damage: what faults do to the folder's tables before the first vector.
        compiled: see `Compiled`.

    Raises:
        EdgeqError: the target has no such runner; or the runner's own failures.
    """
    name = runner or target.runners[0]
    if name not in RUNNERS or name not in target.runners:
        raise EdgeqError(f"target {target.name} has no runner '{name}'", fix=f"choose one of {', '.join(target.runners)}")
    module = import_module(f"edgeq.run.{name}")  # so that unicorn is loaded where it is used
    if name == "host":
        result: Run = module.run(folder, inputs, steps=steps, **compiled, flips=None if damage is None else damage.flips)
    else:
        faults = b"" if damage is None else damage.block
        result = module.run(folder, target, inputs, steps=steps, **compiled, progress=progress, faults=faults)
    return result
