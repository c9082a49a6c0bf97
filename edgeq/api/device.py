"""Boards: compare one with the simulator over a data set, and measure it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeq import graphfile
from edgeq import target as targets
from edgeq.api import keywords
from edgeq.api.calibration import labelled
from edgeq.api.execution import Source, require_firmware, vectors_of
from edgeq.api.models import Arrays, Progress, random_arrays, select_inputs, stage
from edgeq.api.proving import damage_of
from edgeq.api.scoring import hits
from edgeq.board import load as load_board
from edgeq.compare import Comparison
from edgeq.compare import compare as compare_runs
from edgeq.errors import EdgeqError
from edgeq.faults import Damage, FaultMap
from edgeq.ir import Array, DType, Graph, Params
from edgeq.record import Interface, Manifest, convert
from edgeq.record import manifest as read_manifest
from edgeq.record import measured as measured_on
from edgeq.record.pairs import Pair
from edgeq.run import serial
from edgeq.run.device import Device, Statistics
from edgeq.run.layout import Layout
from edgeq.run.ports import Port
from edgeq.run.serial import Measured
from edgeq.simulate import fit_inputs, simulate

TRANSFER = 32768  # bytes that measure the line
CYCLE_COUNTER = "dwt_clock.c"  # the source of boards whose timer counts the core's cycles


@dataclass(frozen=True, eq=False)
class BoardComparison:
    """A board against the simulator.

    Attributes:
        outputs: compared in all vectors.
        steps: every tensor, in the vectors that were streamed step by step; None where none was.
        tables: constant tables whose CRC-32 on the board is another than the manifest's, or than what `damage` makes of it.
        labelled: how many vectors had labels; `right_simulator` and `right_board` of them were answered rightly. None without labels.
    """

    manifest: Manifest
    outputs: Comparison
    steps: Comparison | None
    tables: tuple[str, ...]
    measured: Measured
    statistics: Statistics
    labelled: int | None = None
    right_simulator: int | None = None
    right_board: int | None = None
    damage: Damage | None = None

    @property
    def bit_exact(self) -> bool:
        """No output, streamed tensor or table differs."""
        return self.outputs.bit_exact and (self.steps is None or self.steps.bit_exact) and not self.tables


@keywords.verb
def compare_board(
    folder: str | Path,
    port: Port,
    inputs: Source | None = None,
    *,
    data: str | Path | Arrays | None = None,
    vectors: int = 16,
    steps: int = 1,
    limit: int | None = None,
    faults: FaultMap | None = None,
    progress: Progress | None = None,
) -> BoardComparison:
    """Run a data set on a board and on the simulator.

    The outputs of all vectors are compared, and every step of the first few; where an output differs, the steps of the first such
    vector too, which names the step that goes wrong.

    Args:
        folder: what the board's firmware was built from.
        inputs, vectors: see `simulate`.
        data: labelled vectors instead (see `accuracy`), the first `limit` of them.
        steps: how many vectors to stream step by step.
        faults: bit errors in the weights, on both (see `run`); the board's are repaired at the end.

    Raises:
        EdgeqError: the vectors do not fit, the folder or the firmware is not for faults, or the board is none that runs this
            folder's firmware, or is lost on the way.
    """
    require_firmware(folder)
    graph, model, y, where = graphfile.load(Path(folder)), read_manifest(Path(folder)), None, ""
    if data is not None:
        where = str(data) if isinstance(data, (str, Path)) else ""
        arrays, y = labelled(data, graph, limit, {})
        fitted = fit_inputs(graph, select_inputs(graph, arrays, where))
    else:
        fitted = vectors_of(graph, inputs, vectors)
    damage = damage_of(model, graph, targets.load(model.target), faults, str(folder))
    parameters = None if damage is None else damage.parameters
    checks = [int(crc, 16) for crc in model.tables.values()] if damage is None else damage.checksums
    truth = simulate(graph, fitted, parameters=parameters, progress=stage(progress, "simulate"))
    with serial.connect(port, model) as device, device.damaged(b"" if damage is None else damage.block):
        wrong = tuple(n for n, crc, (found, _) in zip(model.tables, checks, device.checksums(), strict=True) if crc != found)
        measured = serial.measure(device, Layout(model), fitted, progress=stage(progress, "board"))
        outputs = compare_runs(truth, measured.run)
        chosen = chosen_vectors(len(next(iter(fitted.values()))), steps, outputs, bool(graph.states))
        stepped = compare_steps(device, graph, Layout(model), fitted, chosen, parameters, progress) if chosen else None
        result = BoardComparison(model, outputs, stepped, wrong, measured, device.statistics(), damage=damage)
    if y is None:
        return result
    right = (hits(graph, r.outputs, y, where) for r in (truth, measured.run))
    return replace(result, labelled=len(y), right_simulator=next(right), right_board=next(right))


def chosen_vectors(count: int, first: int, outputs: Comparison, consecutive: bool) -> list[int]:
    """Which vectors to stream step by step: the first few, and the first whose output differs.

    Args:
        consecutive: a state is carried from each to the next, so none may be left out.
    """
    chosen = set(range(min(first, count)))
    if outputs.difference is not None:
        chosen.add(outputs.difference.vector)
    return list(range(max(chosen) + 1)) if consecutive and chosen else sorted(chosen)


def compare_steps(
    device: Device,
    graph: Graph,
    layout: Layout,
    inputs: Mapping[str, Array],
    chosen: list[int],
    parameters: Mapping[str, Params] | None,
    progress: Progress | None,
) -> Comparison:
    """Compare every tensor of some vectors; `parameters` as `simulate` takes them."""
    subset = {n: a[chosen] for n, a in inputs.items()}
    truth = simulate(graph, subset, steps=True, parameters=parameters)
    found = compare_runs(truth, serial.measure(device, layout, subset, steps=True, progress=stage(progress, "steps")).run)
    at = found.difference
    return found if at is None else replace(found, difference=replace(at, vector=chosen[at.vector]))


@dataclass(frozen=True, eq=False)
class BoardBench:
    """What a board takes for an inference.

    Attributes:
        description: what the board tells of itself.
        measured: over random vectors.
        steps: per tensor that the model computes, its step and ticks.
        line: bytes per second of payload to the board and from it.
    """

    description: Mapping[str, Any]
    measured: Measured
    steps: list[tuple[int, int]]
    statistics: Statistics
    line: tuple[float, float]


@dataclass(frozen=True)
class Expected:
    """A pair that waits for its measurement.

    Attributes:
        pair: measured as estimated.
        cycles: in a tick of the board's timer.
    """

    pair: Pair
    cycles: float

    def measured(self, result: BoardBench) -> Pair:
        """With what the board took."""
        return replace(self.pair, measured=round(int(result.measured.ticks.max()) * self.cycles))


def bench_board(port: Port, folder: str | Path | None = None, *, vectors: int = 16, progress: Progress | None = None) -> BoardBench:
    """Measure latency, stack, arena and the line of a board, on random vectors.

    Args:
        folder: what its firmware must have been built from; None takes what is there.

    Raises:
        EdgeqError: no board answers, it runs another model, or is lost on the way.
    """
    if folder is not None:
        require_firmware(folder)
    with serial.connect(port, None if folder is None else read_manifest(Path(folder))) as device:
        layout = described(device)
        inputs = random_arrays({x.name: (DType(x.dtype), x.shape) for x in layout.inputs}, vectors)
        measured = serial.measure(device, layout, inputs, progress=stage(progress, "board"))
        ticks = serial.step_ticks(device)
        return BoardBench(device.description, measured, ticks, device.statistics(), serial.line_speed(device, TRANSFER))


def expected(folder: str | Path) -> Expected:
    """What the model of the core said of a folder's program, for a board that runs at the clock of its [estimate].

    Raises:
        EdgeqError: nothing was estimated in the folder, the board's timer or clock is not known, or the board runs at another clock.
    """
    model, target = read_manifest(Path(folder)), targets.load(read_manifest(Path(folder)).target)
    runs = measured_on(Path(folder), model.sources_sha256).runs.values()
    run = next((r for r in runs if r.cycles is not None and r.toolchain is not None), None)
    if run is None or run.cycles is None or run.toolchain is None:
        raise EdgeqError("no cycles were estimated", where=str(folder), fix="run it first, `edgeq run DIR`; its core needs a model")
    place = load_board(target)
    clock, timer = place.estimate.clock, 1000 * place.defines.get("EQ_TICKS_PER_MS", 0)
    if clock is None or timer == 0:
        raise EdgeqError(
            f"the clock of board {place.name} is not known", fix="give its bsp.toml `clock` under [estimate], and EQ_TICKS_PER_MS"
        )
    if CYCLE_COUNTER in place.sources and timer != clock:
        raise EdgeqError(
            f"board {place.name} runs at another clock", where=str(place.folder / "bsp.toml"),
            why=f"its start-up code leaves it at {timer / 1e6:g} MHz, [estimate] is for {clock / 1e6:g}: flash waits differ",
            fix=f"in a bsp.toml that inherits {place.name}, give start-up code that sets {clock / 1e6:g} MHz, and EQ_TICKS_PER_MS = "
            f"{clock // 1000}; or [estimate] clock = {timer} with the flash_waits of that clock. Build for that board, then `edgeq bench`",
        )  # fmt: skip
    return Expected(Pair(target.name, model.sources_sha256, run.toolchain, run.optimize, run.cycles.total, run.cycles.total), clock / timer)


def described(device: Device) -> Layout:
    """The layout of the model that a board says it runs; not checked against any folder.

    Raises:
        EdgeqError: it is none.
    """
    try:
        told = {k: device.description[k] for k in ("inputs", "outputs", "arena_bytes", "state_bytes")}
        layout = Layout(convert(told, Interface))
        for x in (*layout.inputs, *layout.outputs):
            if x.bytes != math.prod(x.shape) * DType(x.dtype).numpy.itemsize:
                raise ValueError(x)
        if (layout.input_bytes, layout.output_bytes) != (device.input_bytes, device.output_bytes):
            raise ValueError(layout.input_bytes)
    except (LookupError, TypeError, ValueError, AttributeError) as e:
        raise device.link.strange("a request for its description") from e
    return layout
