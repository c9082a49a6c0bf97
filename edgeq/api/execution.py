"""Simulate, run, compare: what a model answers, on the simulator and on runners."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeq import graphfile, measurements
from edgeq import target as targets
from edgeq.api.building import OPTIMIZE, artifact, build
from edgeq.api.models import Arrays, Progress, Shapes, is_quantized, load, random_inputs, read_inputs, stage
from edgeq.build import manifest as read_manifest
from edgeq.build import temporary_folder
from edgeq.compare import Comparison
from edgeq.compare import compare as compare_runs
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph
from edgeq.simulate import Run, dequantize_array, fit_inputs
from edgeq.simulate import simulate as run_simulator
from edgeq.target import Target

VECTORS = 16
Source = str | Path | Arrays


@dataclass(frozen=True, eq=False)
class Outcome:
    """What `simulate`, `run` and `compare` return.

    Attributes:
        graph: the quantized graph.
        manifest: of the emitted model.
        measured: its measurements.json ("build" is there where the model was compiled).
        run: outputs, steps and counts of the runner.
        comparison: with the simulator, None where it was not asked for.
    """

    graph: Graph
    manifest: Mapping[str, Any]
    measured: Mapping[str, Any]
    run: Run
    comparison: Comparison | None = None

    @property
    def vectors(self) -> int:
        return len(next(iter(self.run.outputs.values())))

    def outputs(self, *, real: bool = False) -> dict[str, Array]:
        """Per graph output ``[V, *shape]`` in the stored dtype, or dequantized to float32."""
        return {n: real_values(self.graph, n, a) if real else a for n, a in self.run.outputs.items()}


def real_values(graph: Graph, name: str, values: Array) -> Array:
    """A tensor's values dequantized to float32; float ones as they are."""
    t = graph.type(name)
    return values if t.q is None else dequantize_array(values, t.scale, t.zero_point)


def contract(outcome: Outcome) -> dict[str, Any]:
    """The JSON of ``edgeq simulate`` and ``edgeq run``: counts per inference, None where unknown."""
    m, r = outcome.manifest, outcome.run
    counts = r.step_instructions or (None,) * len(m["steps"])
    return {
        "target": m["target"], "law": m["law"], "vectors": outcome.vectors,
        "bit_exact": None if outcome.comparison is None else outcome.comparison.bit_exact,
        "instructions": r.instructions, "arena_bytes": m["arena_bytes"], "io_bytes": m["io_bytes"],
        "state_bytes": m["state_bytes"], "stack_bytes": r.stack_bytes,
        "flash": {"code": outcome.measured.get("build", {}).get("code_bytes"), "weights": m["weight_bytes"]},
        "steps": [
            {"name": s["name"], "op": s["op"], "kernel": s["kernel"], "macs": s["macs"], "instructions": n}
            for s, n in zip(m["steps"], counts, strict=True)
        ],
    }  # fmt: skip


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


def simulate(
    model: str | Path | Graph,
    inputs: Source | None = None,
    *,
    target: str | None = None,
    vectors: int = VECTORS,
    shapes: Shapes | None = None,
    steps: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run the simulator: the meaning of a quantized model, bit for bit.

    Args:
        model: a quantized model file, graph file, folder or graph.
        inputs: arrays by input name or their .npz; first axis = vectors; stored dtype, or float32
            (quantized on entry). Default: `vectors` random ones.
        target: whose kernels and memory plan the outcome describes (default: the folder's, else ``host``).
        steps: keep every intermediate tensor in ``outcome.run.steps``.

    Raises:
        EdgeqError: the model is float, or the inputs do not fit.
    """
    graph = model if isinstance(model, Graph) else load(model, shapes=shapes)
    require_quantized(graph, graph.name if isinstance(model, Graph) else str(model))
    measured: Mapping[str, Any] = {}
    if is_emitted(model) and target in (None, read_manifest(Path(str(model)))["target"]):
        data = read_manifest(Path(str(model)))
        measured = measurements.read(Path(str(model)), data.get("sources_sha256"))
    else:
        data = dict(artifact(graph, targets.load(target or "host"), graph.name).manifest)
    fitted = vectors_of(graph, inputs, vectors)
    return Outcome(graph, data, measured, run_simulator(graph, fitted, steps=steps, progress=stage(progress, "simulate")))


@contextmanager
def emitted(
    model: str | Path | Graph,
    target: str | None,
    toolchain: str | None,
    optimize: str | None,
    shapes: Shapes | None,
    progress: Progress | None,
) -> Iterator[tuple[Path, Graph, Target]]:
    """The model's folder for a target: the given one if it was built for it, else one in a temporary place."""
    if is_emitted(model):
        folder = Path(str(model))
        own = read_manifest(folder)["target"]
        if target in (None, own):
            yield folder, graphfile.load(folder), targets.load(own)
            return
    graph = model if isinstance(model, Graph) else load(model, shapes=shapes)
    require_quantized(graph, graph.name if isinstance(model, Graph) else str(model))
    with temporary_folder() as work:
        built = build(
            graph, output=Path(work) / "model", target=target or "host", name=graph.name, toolchain=toolchain,
            optimize=optimize or OPTIMIZE, vectors=0, progress=progress,
        )  # fmt: skip
        yield built.folder, built.graph, built.target


def run(
    model: str | Path | Graph,
    inputs: Source | None = None,
    *,
    target: str | None = None,
    runner: str | None = None,
    vectors: int = VECTORS,
    steps: bool = False,
    check: bool = True,
    toolchain: str | None = None,
    optimize: str | None = None,
    shapes: Shapes | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Run the emitted C, on this computer or on an emulated chip, and compare it with the simulator.

    Args:
        model: an emitted folder; or a quantized model, which is built in a temporary folder.
        inputs, vectors: see `simulate`.
        target: default: the folder's own, else ``host``. Another than the folder's builds it anew.
        runner: ``host``, ``unicorn`` or ``qemu`` (default: the target's first).
        steps: compare, and keep, every intermediate tensor too.
        check: False leaves the comparison out.
        toolchain, optimize: default: what the folder was built with.

    Raises:
        EdgeqError: the model is float, the inputs do not fit, a tool is missing, or the program failed.
    """
    from edgeq.run import run as run_folder  # the emulators are imported where they are used

    with emitted(model, target, toolchain, optimize, shapes, progress) as (folder, graph, chip):
        data = read_manifest(folder)
        fitted = vectors_of(graph, inputs, vectors)
        measured = measurements.read(folder, data.get("sources_sha256"))
        built = measured.get("build", {})
        level, chain = optimize or built.get("optimize") or OPTIMIZE, toolchain or built.get("toolchain")
        machine = targets.load("host") if runner == "host" else chip  # portable C and emulated SIMD run here whatever the target
        ran = run_folder(
            folder, machine, fitted, runner=runner, steps=steps, chain=chain, optimize=f"-O{level}", progress=stage(progress, "run")
        )  # fmt: skip
        comparison, ranges = None, None
        if check:
            truth = run_simulator(graph, fitted, steps=steps, progress=stage(progress, "simulate"))
            comparison = compare_runs(truth, ran)
            ranges = activations(graph, truth) if steps and inputs is not None else None
        if is_emitted(model) and folder == Path(str(model)):
            record(folder, data, ran, {"target": chip.name, "toolchain": chain, "optimize": level}, comparison)
            if ranges is not None:
                measurements.update(folder, data.get("sources_sha256"), "activations", ranges)
            measured = measurements.read(folder, data.get("sources_sha256"))
        return Outcome(graph, data, measured, ran, comparison)


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
        low, high = (float(x) for x in real_values(graph, name, np.array([values.min(), values.max()], values.dtype)))
        share = sum(int(np.count_nonzero(values == e)) for e in ends) / values.size
        tensors.append({"name": name, "low": low, "high": high, "saturated": round(share, 6)})
    return {"vectors": len(next(iter(truth.outputs.values()))), "tensors": tensors}


def record(folder: Path, data: Mapping[str, Any], ran: Run, how: Mapping[str, Any], comparison: Comparison | None) -> None:
    """Note a run, and what it was compared with, in the folder's measurements.

    A run without step counts does not replace one with them, nor an equal comparison one of more values.
    """
    sources = data.get("sources_sha256")
    before = measurements.read(folder, sources)
    values = {
        **how, "vectors": len(next(iter(ran.outputs.values()))), "instructions": ran.instructions, "constant_time": ran.constant_time,
        "stack_bytes": ran.stack_bytes, "step_instructions": None if ran.step_instructions is None else list(ran.step_instructions),
    }  # fmt: skip
    old = before.get("runs", {}).get(ran.runner, {})
    if values["step_instructions"] or not old.get("step_instructions") or any(old.get(k) != v for k, v in how.items()):
        measurements.update(folder, sources, "runs", values, ran.runner)
    if comparison is not None:
        old = before.get("comparisons", {}).get(ran.runner, {})
        stronger = old.get("bit_exact") and comparison.bit_exact and old["values"] > comparison.values and old["target"] == how["target"]
        if not stronger:
            measurements.update(folder, sources, "comparisons", {**how, **compared(comparison)}, ran.runner)


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


def compare(model: str | Path | Graph, inputs: Source | None = None, **options: Any) -> Outcome:
    """Compare every step of the emitted C with the simulator, byte for byte: `run` with ``steps=True``."""
    return run(model, inputs, **{**options, "steps": True, "check": True})
