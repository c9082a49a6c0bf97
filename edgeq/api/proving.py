"""Prove: run an emitted folder, compare it with the simulator, and record what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edgeq import target as targets
from edgeq.api.models import Progress, stage
from edgeq.compare import Comparison, compare
from edgeq.errors import EdgeqError
from edgeq.faults import Damage, FaultMap, hardened, tables
from edgeq.ir import Array, Graph
from edgeq.record import (
    ActivationRecord,
    Activations,
    ComparisonRecord,
    CyclesRecord,
    DifferenceRecord,
    Manifest,
    Measured,
    RunRecord,
    finite,
)
from edgeq.run.ports import Port
from edgeq.simulate import Run, real_array, simulate
from edgeq.target import Target


@dataclass(frozen=True)
class How:
    """What a folder is compiled with and run on.

    Attributes:
        runner: None is the target's first.
        toolchain: None is the default one.
        optimize: ``s``, ``2`` or ``3``.
        port: of a board that runs the folder's firmware already; then nothing is compiled.
        damage: what bit errors do to the weights, on the runner and in the simulator.
    """

    target: Target
    runner: str | None
    toolchain: str | None
    optimize: str
    port: Port | None = None
    damage: Damage | None = None


@dataclass(frozen=True, eq=False)
class Proof:
    """A run and, where it was asked for, the simulator's run and their comparison."""

    run: Run
    truth: Run | None
    comparison: Comparison | None


def damage_of(manifest: Manifest, graph: Graph, target: Target, faults: FaultMap | None, where: str) -> Damage | None:
    """What a map does to an emitted folder; None without a map.

    Args:
        manifest, graph: of the folder, `target` what it was built for.

    Raises:
        EdgeqError: the folder's kernels are not for damaged weights, or it has no weights that faults could hit.
    """
    if faults is None:
        return None
    damage = Damage(hardened(graph, target), faults)
    if not tables(damage.program):
        raise EdgeqError("the model has no integer weights that faults could hit", where=where)
    checks = [f"{n:08x}" for n in Damage(damage.program, FaultMap()).checksums]
    if not manifest.hardened or checks != list(manifest.tables.values()):
        why = "its kernels rely on bounds of the model's own weights"
        raise EdgeqError("bit errors would make the C compute something else", where=where, why=why, fix="`edgeq build --hardened`")
    return damage


def prove(
    folder: Path,
    graph: Graph,
    inputs: Mapping[str, Array],
    how: How,
    *,
    steps: bool,
    check: bool,
    truth: Run | None = None,
    progress: Progress | None = None,
) -> Proof:
    """Run fitted vectors and compare them with the simulator.

    Args:
        truth: the simulator's run of them, where it is known.

    Raises:
        EdgeqError: a tool is missing, or the program failed.
    """
    ran = execute(folder, inputs, how, steps, stage(progress, "run"))
    if not check:
        return Proof(ran, None, None)
    parameters = None if how.damage is None else how.damage.parameters
    truth = truth or simulate(graph, inputs, steps=steps, parameters=parameters, progress=stage(progress, "simulate"))
    return Proof(ran, truth, compare(truth, ran))


def execute(folder: Path, inputs: Mapping[str, Array], how: How, steps: bool, progress: Callable[[int, int], None] | None) -> Run:
    """Run fitted vectors on this computer, an emulated chip or a board."""
    if how.port is not None:
        from edgeq.run import serial

        block = b"" if how.damage is None else how.damage.block
        return serial.run(folder, inputs, how.port, steps=steps, progress=progress, faults=block)
    from edgeq.run import run  # the emulators are imported where they are used

    machine = targets.load("host") if how.runner == "host" else how.target  # kernels of every ISA run here too
    return run(
        folder, machine, inputs, runner=how.runner, steps=steps, chain=how.toolchain, optimize=f"-O{how.optimize}", progress=progress,
        damage=how.damage,
    )  # fmt: skip


def activations(graph: Graph, truth: Run) -> Activations:
    """What the simulator's tensors took up of their ranges on real inputs.

    ``saturated`` is the share of values at an end of the stored range; an end that stands for zero does not count, for there
    a ReLU puts its zeros.
    """
    tensors = []
    for name, values in truth.steps.items():
        t = graph.type(name)
        if t.q is None:
            continue
        info = np.iinfo(t.dtype.numpy)
        ends = [e for e in (info.min, info.max) if e != t.zero_point]
        low, high = (float(x) for x in real_array(np.array([values.min(), values.max()], values.dtype), t))
        share = sum(int(np.count_nonzero(values == e)) for e in ends) / values.size
        tensors.append(ActivationRecord(name, low, high, round(share, 6)))
    return Activations(len(next(iter(truth.outputs.values()))), tuple(tensors))


def recorded(before: Measured, graph: Graph, proof: Proof, how: How, *, real: bool) -> Measured:
    """The measurements with a run, and with what it was compared with.

    A run without step counts does not replace one with them, nor an equal comparison one of more values.

    Args:
        real: the inputs were data, not noise: the ranges of the tensors mean something.
    """
    ran, after = proof.run, before
    run = RunRecord(
        how.target.name, how.toolchain, how.optimize, len(next(iter(ran.outputs.values()))), ran.instructions, ran.constant_time,
        ran.stack_bytes, ran.step_instructions, None if ran.cycles is None else CyclesRecord(**vars(ran.cycles)), ran.stack_bound,
    )  # fmt: skip
    old = before.runs.get(ran.runner)
    same = old is not None and (old.target, old.toolchain, old.optimize) == (run.target, run.toolchain, run.optimize)
    if run.step_instructions or old is None or not old.step_instructions or not same:
        after = after.with_run(ran.runner, run)
    if proof.comparison is not None:
        known, new = before.comparisons.get(ran.runner), compared(proof.comparison, how)
        stronger = known is not None and known.bit_exact and new.bit_exact and known.values > new.values and known.target == new.target
        if not stronger:
            after = after.with_comparison(ran.runner, new)
    if real and proof.truth is not None and proof.truth.steps:
        after = replace(after, activations=activations(graph, proof.truth))
    return after


def compared(comparison: Comparison, how: How) -> ComparisonRecord:
    """A comparison as a record."""
    return ComparisonRecord(
        how.target.name, how.toolchain, how.optimize, comparison.vectors, comparison.tensors, comparison.values, comparison.bit_exact,
        difference(comparison),
    )  # fmt: skip


def difference(comparison: Comparison) -> DifferenceRecord | None:
    """The first difference of a comparison as a record."""
    d = comparison.difference
    if d is None:
        return None
    return DifferenceRecord(d.tensor, d.vector, d.index, finite(d.expected), finite(d.actual), d.count, d.total)
