"""Prove: run an emitted folder, compare it with the simulator, and note in measurements.json what came out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq import measurements
from edgeq import target as targets
from edgeq.api.models import Progress, stage
from edgeq.compare import Comparison, compare
from edgeq.errors import EdgeqError
from edgeq.faults import Damage, FaultMap, hardened, tables
from edgeq.ir import Array, Graph
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

    def json(self) -> dict[str, Any]:
        """As measurements.json notes it."""
        return {"target": self.target.name, "toolchain": self.toolchain, "optimize": self.optimize}


@dataclass(frozen=True, eq=False)
class Proof:
    """A run and, where it was asked for, the simulator's run and their comparison."""

    run: Run
    truth: Run | None
    comparison: Comparison | None


def damage_of(manifest: Mapping[str, Any], graph: Graph, target: Target, faults: FaultMap | None, where: str) -> Damage | None:
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
    if not manifest.get("hardened") or checks != list(manifest["tables"].values()):
        why = "its kernels rely on bounds of the model's own weights"
        raise EdgeqError("bit errors would make the C compute something else", where=where, why=why, fix="`edgeq build --hardened`")
    return damage


def prove(
    folder: Path, graph: Graph, inputs: Mapping[str, Array], how: How, *, steps: bool, check: bool, progress: Progress | None = None
) -> Proof:
    """Run fitted vectors and compare them with the simulator.

    Raises:
        EdgeqError: a tool is missing, or the program failed.
    """
    ran = execute(folder, inputs, how, steps, stage(progress, "run"))
    if not check:
        return Proof(ran, None, None)
    parameters = None if how.damage is None else how.damage.parameters
    truth = simulate(graph, inputs, steps=steps, parameters=parameters, progress=stage(progress, "simulate"))
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


def activations(graph: Graph, truth: Run) -> dict[str, Any]:
    """What the simulator's tensors took up of their ranges on real inputs: the ``activations`` of measurements.json.

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
        tensors.append({"name": name, "low": low, "high": high, "saturated": round(share, 6)})
    return {"vectors": len(next(iter(truth.outputs.values()))), "tensors": tensors}


def record(folder: Path, sources: str | None, graph: Graph, proof: Proof, how: How, *, real: bool) -> None:
    """Note a run, and what it was compared with, in the folder's measurements.

    A run without step counts does not replace one with them, nor an equal comparison one of more values.

    Args:
        sources: the manifest's ``sources_sha256``.
        real: the inputs were data, not noise: the ranges of the tensors mean something.
    """
    before, ran, key = measurements.read(folder, sources), proof.run, how.json()
    values = {
        **key, "vectors": len(next(iter(ran.outputs.values()))), "instructions": ran.instructions, "constant_time": ran.constant_time,
        "stack_bytes": ran.stack_bytes, "step_instructions": None if ran.step_instructions is None else list(ran.step_instructions),
    }  # fmt: skip
    old = before.get("runs", {}).get(ran.runner, {})
    if values["step_instructions"] or not old.get("step_instructions") or any(old.get(k) != v for k, v in key.items()):
        measurements.update(folder, sources, "runs", values, ran.runner)
    if proof.comparison is not None:
        old, new = before.get("comparisons", {}).get(ran.runner, {}), proof.comparison
        stronger = old.get("bit_exact") and new.bit_exact and old["values"] > new.values and old["target"] == how.target.name
        if not stronger:
            measurements.update(folder, sources, "comparisons", {**key, **compared(new)}, ran.runner)
    if real and proof.truth is not None and proof.truth.steps:
        measurements.update(folder, sources, "activations", activations(graph, proof.truth))


def compared(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    d = comparison.difference
    return {
        "vectors": comparison.vectors, "tensors": comparison.tensors, "values": comparison.values, "bit_exact": comparison.bit_exact,
        "difference": None if d is None else {
            "tensor": d.tensor, "vector": d.vector, "index": list(d.index), "expected": d.expected, "actual": d.actual,
            "count": d.count, "total": d.total,
        },
    }  # fmt: skip
