"""Simulate, run, compare: what a model answers, on the simulator and on runners."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from edgeq import folder as folders
from edgeq import graphfile
from edgeq import target as targets
from edgeq.api import keywords
from edgeq.api.building import OPTIMIZE, artifact, build
from edgeq.api.devices import evaluate
from edgeq.api.models import Progress, is_quantized, random_inputs, read_inputs, refuse, stage
from edgeq.api.proving import How, damage_of, prove, recorded
from edgeq.api.recipe import Reading, read
from edgeq.api.samples import Samples
from edgeq.compare import Comparison
from edgeq.errors import EdgeqError
from edgeq.faults import Damage, FaultMap
from edgeq.files import temporary_folder
from edgeq.ir import Array, Graph
from edgeq.record import Manifest, Measured, check_unchanged, note
from edgeq.record import manifest as read_manifest
from edgeq.record import measured as read_measured
from edgeq.run.ports import Port
from edgeq.simulate import Run, fit_inputs, real_array
from edgeq.simulate import simulate as run_simulator
from edgeq.target import Target

VECTORS = 16
Source = Samples


@dataclass(frozen=True, eq=False)
class Outcome:
    """What `simulate`, `run` and `compare` return.

    Attributes:
        graph: the quantized graph.
        made: the manifest of the emitted model, or what makes it.
        measured: what was measured on it.
        run: outputs, steps and counts of the runner.
        comparison: with the simulator, None where it was not asked for.
        damage: the bit errors under which both ran.
        changed: files of the folder that were not as edgeq wrote them, where it was trusted all the same.
    """

    graph: Graph
    made: Manifest | Callable[[], Manifest]
    measured: Measured
    run: Run
    comparison: Comparison | None = None
    damage: Damage | None = None
    changed: tuple[str, ...] = ()

    @functools.cached_property
    def manifest(self) -> Manifest:
        """Of the emitted model; of one that was only simulated it is made when it is asked for."""
        return self.made if isinstance(self.made, Manifest) else self.made()

    @property
    def vectors(self) -> int:
        return len(next(iter(self.run.outputs.values())))

    @property
    def code_bytes(self) -> int | None:
        """Flash of the code without weights, None where it was not compiled or the target has no such measure."""
        return self.measured.build.code_bytes if self.measured.build else None

    def outputs(self, *, real: bool = False) -> dict[str, Array]:
        """Per graph output ``[V, *shape]`` in the stored dtype, or dequantized to float32."""
        return {n: real_array(a, self.graph.type(n)) if real else a for n, a in self.run.outputs.items()}


def contract(outcome: Outcome) -> dict[str, Any]:
    """The JSON of ``edgeq simulate`` and ``edgeq run``: counts per inference, None where unknown."""
    m, r = outcome.manifest, outcome.run
    counts = r.step_instructions or (None,) * len(m.steps)
    cycles = (r.cycles.steps if r.cycles else None) or (None,) * len(m.steps)
    return {
        "target": m.target, "law": m.law, "vectors": outcome.vectors,
        **({"faults": flipped(outcome.damage)} if outcome.damage else {}),
        **({"changed": list(outcome.changed)} if outcome.changed else {}),
        "bit_exact": None if outcome.comparison is None else outcome.comparison.bit_exact,
        "instructions": r.instructions,
        "cycles": None if r.cycles is None else {"total": r.cycles.total, "low": r.cycles.low, "high": r.cycles.high},
        "arena_bytes": m.arena_bytes, "io_bytes": m.io_bytes,
        "state_bytes": m.state_bytes, "stack_bytes": r.stack,
        "flash": {"code": outcome.code_bytes, "weights": m.weight_bytes},
        "steps": [
            {"name": s.name, "op": s.op, "kernel": s.kernel, "macs": s.macs, "instructions": n, "cycles": c}
            for s, n, c in zip(m.steps, counts, cycles, strict=True)
        ],
    }  # fmt: skip


def flipped(damage: Damage) -> dict[str, Any]:
    """Bit errors as JSON values."""
    m = damage.faults
    return {"map": m.kind, "p": m.p, "seed": m.seed, "bits": damage.bits, "tables": sorted(damage.flips)}


def require_quantized(graph: Graph, where: str) -> None:
    """Refuse a float graph where integers are executed.

    Raises:
        EdgeqError: the graph is float.
    """
    if not is_quantized(graph):
        raise EdgeqError("the model is float", where=where, fix="quantize it first: `edgeq build` or `edgeq quantize` with --calib")


def is_emitted(model: str | Path | Graph) -> bool:
    """Whether `model` is a folder that `build` wrote."""
    return not isinstance(model, Graph) and (Path(model) / "manifest.json").is_file()


def require_firmware(model: str | Path | Graph, *others: str | None) -> None:
    """Refuse what no board's firmware was built from.

    Args:
        others: target, runner, tool chain and optimization, where they can be chosen.

    Raises:
        EdgeqError: it is no emitted folder, or one of the others was chosen too.
    """
    if any(o is not None for o in others):
        raise EdgeqError("a port takes the place of target, runner, tool chain and optimization", fix="leave them out")
    if not is_emitted(model):
        where = model.name if isinstance(model, Graph) else str(model)
        raise EdgeqError("no emitted folder", where=where, fix="give the folder that the board's firmware was built from")


def vectors_of(graph: Graph, inputs: Source | None, vectors: int) -> dict[str, Array]:
    """Fitted vectors: the given ones (all of them), or `vectors` random ones.

    Raises:
        EdgeqError: the arrays do not fit.
    """
    if inputs is None:
        if vectors < 1:
            raise EdgeqError(f"{vectors} vectors", fix="give 1 or more")
        return fit_inputs(graph, random_inputs(graph, vectors))
    return fit_inputs(graph, read_inputs(inputs, graph))


@keywords.verb
def simulate(
    model: str | Path | Graph,
    inputs: Source | None = None,
    *,
    target: str | None = None,
    vectors: int = VECTORS,
    steps: bool = False,
    device: str | None = None,
    progress: Progress | None = None,
    **reading: Unpack[Reading],
) -> Outcome:
    """Run the simulator: the meaning of a quantized model, bit for bit.

    Args:
        model: a quantized model file, graph file, folder or graph.
        inputs: arrays by input name, one array or tensor, an iterable of samples or batches, or an .npz; first axis = vectors; stored
            dtype, or float32 (quantized on entry). Default: `vectors` random ones.
        target: whose kernels and memory plan the outcome describes (default: the folder's, else ``host``).
        steps: keep every intermediate tensor in ``outcome.run.steps``.
        device: let another compute the simulator's bytes, for many vectors: ``cpu``, ``gpu`` or ``interpreter`` (see
            `edgeq.api.devices.evaluate`); outputs alone.
        reading: see `Reading`.

    Raises:
        EdgeqError: the model is float, the inputs do not fit, or there is no such device.
    """
    graph = read(model, reading)
    require_quantized(graph, graph.name if isinstance(model, Graph) else str(model))
    measured, found = Measured(), read_manifest(Path(str(model))) if is_emitted(model) else None
    chip = None if target is None and found is not None else targets.load(target or "host")
    data: Manifest | Callable[[], Manifest]
    if found is not None and (chip is None or chip.name == found.target):
        measured, data = read_measured(Path(str(model)), found.sources_sha256), found
    else:
        assert chip is not None
        data = functools.partial(_manifest, graph, chip)
    fitted = vectors_of(graph, inputs, vectors)
    if device is not None:
        if steps:
            raise EdgeqError("a device gives outputs alone", where=device, fix="leave steps or device out")
        return Outcome(graph, data, measured, evaluate(device, graph, fitted, progress))
    return Outcome(graph, data, measured, run_simulator(graph, fitted, steps=steps, progress=stage(progress, "simulate")))


def _manifest(graph: Graph, chip: Target) -> Manifest:
    return artifact(graph, chip, graph.name).manifest


@contextmanager
def emitted(
    model: str | Path | Graph,
    target: str | None,
    toolchain: str | None,
    optimize: str | None,
    reading: Reading,
    progress: Progress | None,
    hardened: bool,
    trust: bool,
) -> Iterator[tuple[Path, Graph, Target]]:
    """The model's folder for a target: the given one if it was built for it, else one in a temporary place, `hardened` or not.

    Raises:
        EdgeqError: its files were changed after edgeq wrote them, and nobody says `trust`.
    """
    if is_emitted(model):
        folder = Path(str(model))
        data = read_manifest(folder)
        own = data.target
        if target is None or targets.load(target).name == own:
            refuse(f"{folder}, which edgeq wrote", reading)
            if not trust:
                check_unchanged(folder, data)
            yield folder, graphfile.load(folder), targets.load(target or own)
            return
    graph = read(model, reading)
    require_quantized(graph, graph.name if isinstance(model, Graph) else str(model))
    with temporary_folder() as work:
        built = build(
            graph, output=Path(work) / "model", target=target or "host", name=graph.name, toolchain=toolchain,
            optimize=optimize or OPTIMIZE, vectors=0, check=False, hardened=hardened, progress=progress,
        )  # fmt: skip
        yield built.folder, built.graph, built.target


@keywords.verb
def run(
    model: str | Path | Graph,
    inputs: Source | None = None,
    *,
    target: str | None = None,
    runner: str | None = None,
    vectors: int = VECTORS,
    steps: bool | None = None,
    check: bool = True,
    toolchain: str | None = None,
    optimize: str | None = None,
    port: Port | None = None,
    faults: FaultMap | None = None,
    trust: bool = False,
    progress: Progress | None = None,
    **reading: Unpack[Reading],
) -> Outcome:
    """Run the emitted C, on this computer, on an emulated chip or on a board, and compare it with the simulator.

    What came out is noted in the measurements.json of the folder, if that is writable and there were no faults.

    Args:
        model: an emitted folder; or a quantized model, which is built in a temporary folder.
        inputs, vectors: see `simulate`.
        target: default: the folder's own, else ``host``. Another than the folder's builds it again.
        runner: ``host``, ``unicorn`` or ``qemu`` (default: the target's first).
        steps: compare, keep and count every step too; None does where the runner counts instructions.
        check: False leaves the comparison out.
        toolchain, optimize: default: what the folder was built with.
        port: of a board with the firmware of the folder `model` (docs/link.md); takes the place of target and runner.
        faults: bit errors in the stored weights, in the C and in the simulator; a folder must have been built `hardened`.
        trust: compile and run a folder's C although it was changed after edgeq wrote it.
        reading: of a model, see `Reading`.

    Raises:
        EdgeqError: the model is float, the inputs do not fit, a tool is missing, or the program failed; the folder was not built
            for faults; the board is none that runs this folder's firmware, or was unplugged or restarted.
    """
    if port is not None:
        require_firmware(model, target, runner, toolchain, optimize)
    hardened = faults is not None
    with emitted(model, target, toolchain, optimize, reading, progress, hardened, trust) as (folder, graph, chip):
        data = read_manifest(folder)
        fitted = vectors_of(graph, inputs, vectors)
        measured = read_measured(folder, data.sources_sha256)
        built = measured.build
        damage = damage_of(data, graph, chip, faults, str(model.name if isinstance(model, Graph) else model))
        chain, level = (built.toolchain, built.optimize) if built else (None, OPTIMIZE)
        how = How(chip, runner, toolchain or chain, optimize or level, port, damage)
        counted = port is None and (runner or chip.runners[0]) != "host"
        proof = prove(folder, graph, fitted, how, steps=counted if steps is None else steps, check=check, progress=progress)
        altered = tuple(folders.changed(folder, data.files)) if trust else ()
        differs = proof.comparison is not None and not proof.comparison.bit_exact
        if faults is None and (differs or not altered) and is_emitted(model) and folder == Path(str(model)) and os.access(folder, os.W_OK):
            measured = recorded(measured, graph, proof, how, real=inputs is not None)
            note(folder, measured)
        return Outcome(graph, data, measured, proof.run, proof.comparison, damage, altered)


@keywords.as_verb(run, "steps", "check")
def compare(model: str | Path | Graph, inputs: Source | None = None, **options: Any) -> Outcome:
    """Compare every step of the emitted C with the simulator, byte for byte: `run` with ``steps=True``."""
    return run(model, inputs, steps=True, check=True, **options)
