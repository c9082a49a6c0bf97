"""Build: model -> folder of C for a target, measured and held against its limits, or nothing at all."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from edgeq import board, graphfile
from edgeq import folder as folders
from edgeq import target as targets
from edgeq.api import budget as budgets
from edgeq.api import keywords
from edgeq.api.budget import Budget
from edgeq.api.calibration import calibration_samples
from edgeq.api.layout import Layout, spreads_of
from edgeq.api.models import Arrays, Progress, random_inputs
from edgeq.api.proving import How, Proof, prove, recorded
from edgeq.api.quantizing import PRECISION, Quantized, goal_of, on_stream, quantized
from edgeq.api.recipe import Recipe, read
from edgeq.build import Program, Toolchain, build_library, build_programs, check_level, section_sizes
from edgeq.build import toolchain as find_toolchain
from edgeq.emit import Artifact, emit, write
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import Graph
from edgeq.latency import latency
from edgeq.lower import lower, portable_only
from edgeq.plan.fit import Way, ways
from edgeq.record import BuildRecord, InstructionsRecord, Manifest, Measured, measured
from edgeq.record import manifest as read_manifest
from edgeq.run import missing
from edgeq.simulate import Run, fit_inputs, simulate
from edgeq.target import Target
from edgeq.text import first_of
from edgeq.tune import costs

LOG = logging.getLogger("edgeq")
TEST_VECTORS = 4
OPTIMIZE = "s"
LEVELS = ("s", "2", "3")


@dataclass(frozen=True, eq=False)
class Built:
    """What `build` made.

    Attributes:
        folder: the emitted folder.
        graph: the quantized graph; `graph.law` is its requantization law.
        target: what it was built for.
        manifest: what was emitted (manifest.json).
        measured: what was measured on it (measurements.json).
        not_run: why the code was not run although it should have been: what to install first. Empty where it was.
    """

    folder: Path
    graph: Graph
    target: Target
    manifest: Manifest
    measured: Measured
    not_run: str = ""

    @property
    def code_bytes(self) -> int | None:
        """Flash of the code without weights; None where the target has no such measure (host)."""
        return self.measured.build.code_bytes if self.measured.build else None


def choices_for(tuning: str | Path | None, key: str, hardened: bool) -> dict[str, str] | None:
    """The kernels that a tuning file chooses; None without a file.

    Args:
        key: what it was made with, see `costs.key_of`.

    Raises:
        EdgeqError: it cannot be read, was made with other options, or kernels are hardened.
    """
    if tuning is None:
        return None
    if hardened:
        raise EdgeqError("a tuning file and hardened kernels", why="both choose the kernels", fix="give one of them")
    return costs.read(Path(tuning)).choices(key)


def artifact(
    graph: Graph, target: Target, name: str, vectors: Arrays | None = None, layout: Layout | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Artifact:  # fmt: skip
    """Lower, plan and emit a quantized graph; the graph itself and the files `beside` it travel in the folder."""
    layout = layout or Layout()
    program, memory = layout.of(graph, target)
    for form, layers in portable_only(program).items():
        names = first_of([f"'{n}'" for n in layers])
        LOG.warning(
            "%s: portable kernels, as %s has no others for weights in %s. Fix: store them in int4 or int8", names, target.name, form
        )  # fmt: skip
    emitted = emit(program, memory, name, vectors)
    stored = graphfile.dumps(graph)
    more = {**(beside or {}), graphfile.NAME: stored}
    named = dict(sorted({**emitted.manifest.files, **folders.digests(more)}.items()))
    manifest = replace(emitted.manifest, graph_sha256=folders.digest(stored), files=named)
    manifest = replace(manifest, weights_in=layout.weights_in, decode=layout.decode)
    files = {**emitted.files, **more, folders.MANIFEST: manifest.text().encode()}
    return Artifact(emitted.name, dict(sorted(files.items())), manifest)


@dataclass(frozen=True, eq=False)
class Vectors:
    """Fitted inputs, and what the simulator makes of them: every tensor."""

    inputs: Arrays
    truth: Run

    @property
    def arrays(self) -> dict[str, Any]:
        """All of them by tensor."""
        return {**self.truth.steps, **self.inputs, **self.truth.outputs}


def test_vectors(graph: Graph, inputs: Arrays, limit: int) -> Vectors | None:
    """The first `limit` vectors; None for 0."""
    if limit == 0:
        return None
    fitted = {n: a[:limit] for n, a in fit_inputs(graph, inputs).items()}
    return Vectors(fitted, simulate(graph, fitted, steps=True))


def default_name(model: str | Path | Graph, graph: Graph) -> str:
    """The name of a model that was given none: that of the folder's model, of the graph, or of the file."""
    if isinstance(model, Graph):
        return graph.name
    path = Path(model)
    if (path / folders.MANIFEST).is_file():
        return read_manifest(path).model
    return graph.name if path.is_dir() else path.stem


def inherited(model: str | Path | Graph, step: Quantized) -> Quantized:
    """What a folder of edgeq's knows about how its graph was quantized goes along with the graph."""
    if step.files or isinstance(model, Graph) or not Path(model).is_dir():
        return step
    folder = Path(model)
    sources = read_manifest(folder).sources_sha256 if (folder / folders.MANIFEST).is_file() else None
    record = measured(folder, sources).quantization
    file = folder / PRECISION
    return Quantized(step.graph, record or step.record, {PRECISION: file.read_bytes()} if record and file.is_file() else {})


def measure(emitted: Artifact, step: Quantized, how: How, limit: Budget, vectors: Vectors | None, progress: Progress | None) -> Measured:
    """Compile in a temporary folder, measure, hold against the limits and prove. One compilation serves all of it.

    Args:
        vectors: to run and compare, None to leave that out.

    Raises:
        EdgeqError: it does not compile, does not fit, or does not compute what the simulator says.
    """
    manifest, chain = emitted.manifest, find_toolchain(how.target, how.toolchain)
    found = Measured(sources_sha256=manifest.sources_sha256, quantization=step.record)
    with temporary_folder() as work:
        folder = Path(work) / emitted.name
        write(emitted, folder)
        with reported(progress, "compile"):
            if vectors is None:
                code = code_size(folder, Path(work), how.target, chain, how.optimize)
            else:
                proof = prove(folder, step.graph, vectors.inputs, how, steps=True, check=True, truth=vectors.truth, progress=progress)
                code = proof.run.code_bytes
        budgets.check_flash(manifest, code, limit)
        if vectors is not None:
            require_equal(proof, emitted.name, f"{proof.run.runner}, {chain.name} -O{how.optimize}")
            budgets.check_ram(manifest, limit, proof.run.stack)
            if limit.cycles is not None and proof.run.cycles is not None:
                budgets.check_cycles(latency(proof.run.cycles, board.load(how.target)), limit)
            found = recorded(found, step.graph, proof, how, real=False)  # the diagnosis knows more of the ranges
    return replace(found, build=BuildRecord(chain.name, how.optimize, code, manifest.weight_bytes))


def counted(emitted: Artifact, found: Measured) -> Artifact:
    """With what the manifest says of instructions."""
    (runner, ran) = next(iter(found.runs.items()), ("", None))
    if ran is None or ran.constant_time is None:
        return emitted
    said = InstructionsRecord(ran.constant_time, ran.vectors, runner, ran.toolchain, ran.optimize)
    manifest = replace(emitted.manifest, instructions=said)
    return replace(emitted, files={**emitted.files, folders.MANIFEST: manifest.text().encode()}, manifest=manifest)


def require_equal(proof: Proof, where: str, why: str) -> None:
    """Refuse what does not compute the simulator's bytes.

    Raises:
        EdgeqError: names the first difference.
    """
    if proof.comparison is not None and proof.comparison.difference is not None:
        raise EdgeqError(
            f"the compiled code does not compute what the simulator says: {proof.comparison.difference}", where=where, why=why,
            fix="--no-check writes the folder anyway",
        )  # fmt: skip


@contextmanager
def reported(progress: Progress | None, stage: str) -> Iterator[None]:
    """Tell a stage's beginning and end."""
    if progress:
        progress(stage, 0, 1)
    yield
    if progress:
        progress(stage, 1, 1)


def code_size(folder: Path, work: Path, target: Target, chain: Toolchain, optimize: str) -> int | None:
    """Bytes of the model's code on the target, without its weights; None on the host, which only compiles it."""
    if not target.bsp:
        build_library(folder, work / "model.so", target, chain, f"-O{optimize}")
        return None
    program = Program("bench")
    products = work / "products"
    products.mkdir()
    return section_sizes(build_programs(folder, target, chain, [program], products, f"-O{optimize}")[program])["code"]


@keywords.verb
def build(
    model: str | Path | Graph | Quantized,
    *,
    output: str | Path,
    target: str = "host",
    name: str | None = None,
    toolchain: str | None = None,
    optimize: str = OPTIMIZE,
    budget: Mapping[str, float] | None = None,
    vectors: int = TEST_VECTORS,
    check: bool = True,
    tuning: str | Path | None = None,
    hardened: bool = False,
    feed: str = "",
    stream: str = "",
    weights_stream: str | int | None = None,
    weights_in: str = "auto",
    decode: str = "call",
    cores: int | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **recipe: Unpack[Recipe],
) -> Built:
    """Turn a model into a folder of C for a target.

    Args:
        model: a model file, a graph file, an emitted folder, a graph, or what `quantize` gave. A float one is quantized first.
        output: the folder to write; what edgeq wrote there before is replaced, and nothing else may lie there.
        target: a name from ``edgeq targets``.
        name: prefix of the C symbols (default: the file's name).
        toolchain: ``zig`` (default), ``gcc`` or ``clang``.
        optimize: ``s``, ``2`` or ``3``.
        budget: ``flash`` and ``ram`` in bytes; they replace the target's. ``cycles`` of an inference, or ``latency`` in seconds,
            by the model of the core. Where whole tensors need more RAM, calls run by bands of rows, as
            few of them as that takes; 0 bytes of RAM are as few as there can be. With recipe ``auto`` also what `goal_of` says.
        vectors: how many test vectors to put beside the code, 0 for none.
        check: run the test vectors on the target's first runner and compare every step with the simulator. Where the only one is QEMU
            and it is not installed, the folder is written all the same and `Built.not_run` says so.
        tuning: a file that `tune` made for this target, tool chain and level: the kernels that took the fewest instructions.
        hardened: take portable kernels, which compute the simulator's bytes whatever bit errors make of the weights (see `run`).
        feed: ``rows``: the C has functions that take the input row by row, and keep no more of it than they need; "": it is given whole.
        stream: one step per new frame of a network that looks at a window of them: the axis, see `edgeq.api.streaming.parse`; "": as it is.
        weights_stream: bytes of fast memory (``"64K"``) that the tables of a step are copied to while the step before runs; 0: they are
            read where they are stored; None: as the target has it. A step whose tables take more than half is read where it is
            stored, or runs by tiles where its output is one vector.
        weights_in: where an inference reads weights: ``flash``, where they are stored; ``ram``: they are copied there when the program
            starts, and need as much of it beside the arena; ``auto``: flash, with some rows copied to what the arena has left where
            that saves cycles by the model of the core.
        decode: when weights are decoded that no kernel reads as they are stored (storage codes, code books, few bits): ``call``, by tiles
            or whole before each call; ``start``: once, by the reset of the state, where they lie from then on as int8.
        cores: among which steps are divided, 1 to 16; None: as many as the target has.
        force: other files in `output` stay; what edgeq wrote there is replaced although it was changed since.
        progress: called with (stage, done, total).
        recipe: how the model is read, and a float one quantized, see `Recipe`.

    Raises:
        EdgeqError: anything that keeps the model from the target; nothing is left behind then.
    """
    chip = targets.load(target)
    known, model = (model, model.graph) if isinstance(model, Quantized) else (None, model)
    check_level(optimize, LEVELS)
    if vectors < 0:
        raise EdgeqError(f"{vectors} test vectors", fix="give 0 or more")
    chain = find_toolchain(chip, toolchain)
    choices = choices_for(tuning, costs.key_of(target, chain.name, optimize), hardened)
    layout = Layout(choices, hardened, None, feed, spreads_of(chip, cores, weights_stream, hardened), weights_in, decode)
    with folders.claimed(Path(output), force=force) as place:
        source, how = read(model, recipe), How(chip, None, chain.name, optimize)
        samples = calibration_samples(source, recipe)
        goal = goal_of(budget, target, recipe.get("recipe"), chain.name, optimize)
        step = known or inherited(model, quantized(source, samples, recipe, progress, goal))
        if stream:
            step, samples = on_stream(step, stream, samples)
        graph = step.graph
        tests = test_vectors(graph, random_inputs(graph, vectors) if samples is None else samples, vectors)
        limit = budgets.budget(chip, {key: n for key, n in (budget or {}).items() if key in ("flash", "ram", *budgets.SPEED)})
        proven, not_run = to_run(tests if check else None, chip, limit)
        beside = sum(graph.type(a).bytes for a, _ in graph.states)
        beside += sum(t.data.nbytes for t in graph.tensors.values() if t.data is not None) if weights_in == "ram" else 0
        layout = replace(layout, arena=limit.arena(beside + layout.decoded_bytes(graph, chip)))
        emitted = artifact(graph, chip, name or default_name(model, graph), tests.arrays if tests else None, layout, step.files)
        budgets.check_ram(emitted.manifest, limit)
        budgets.check_flash(emitted.manifest, None, limit)
        found = measure(emitted, step, how, limit, proven, progress)
        emitted = counted(emitted, found)
        folders.write(place, {**emitted.files, folders.MEASUREMENTS: found.text().encode()}, force=force)
        return Built(Path(output), graph, chip, emitted.manifest, found, not_run)


def to_run(tests: Vectors | None, chip: Target, limit: Budget) -> tuple[Vectors | None, str]:
    """Which of the test vectors, None where nobody wants them to run, run on the target; and why none does although they should.

    Raises:
        EdgeqError: none runs, and there is a budget of cycles.
    """
    not_run = missing(chip) if tests else ""
    if limit.cycles is not None and (tests is None or not_run):
        why = not_run or "cycles are counted where the test vectors run"
        fix = "leave out --no-check, and give test vectors"
        raise EdgeqError("a budget of cycles or latency for code that is not run", why=why, fix=fix)
    return (tests if chip.runners and not not_run else None), not_run


@keywords.verb
def memory_ways(
    model: str | Path | Graph, *, target: str = "host", stream: str = "", progress: Progress | None = None, **recipe: Unpack[Recipe]
) -> list[Way]:
    """What RAM a model takes on a target: as whole tensors, in bands of rows with less and less memory, and fed by rows. Arguments as of
    `build`; nothing is compiled."""
    source = read(model, recipe)
    samples = calibration_samples(source, recipe)
    step = quantized(source, samples, recipe, progress, goal_of(None, target, recipe.get("recipe")))
    if stream:
        step, _ = on_stream(step, stream, samples)
    return ways(lower(step.graph, targets.load(target)))
