"""edgeq build: model -> C."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common, execute
from edgeq.cli.common import (
    ConstOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    PlotOption,
    ShapeOption,
    SignatureOption,
    StateOption,
    StreamOption,
    ToolchainOption,
)
from edgeq.cli.options import takes_float_models
from edgeq.cli.quantize import EXACT_DB, show_record, unseen
from edgeq.files import write_bytes
from edgeq.text import count, many, short, size

if TYPE_CHECKING:
    from edgeq.api import Built
    from edgeq.plan.fit import Way


class Level(StrEnum):
    """Optimization levels."""

    S = "s"
    TWO = "2"
    THREE = "3"


@takes_float_models
def build(
    model: ModelArgument,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="Folder to write.", show_default=False)] = None,
    target: Annotated[str, typer.Option("--target", "-t", help="Target, see `edgeq targets`.")] = "host",
    toolchain: ToolchainOption = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    state: StateOption = None,
    signature: SignatureOption = None,
    name: Annotated[str | None, typer.Option(help="Prefix of the C symbols (default: from the file's name).", show_default=False)] = None,
    optimize: Annotated[Level, typer.Option("--optimize", "-O", help="Optimization level of the measured code.")] = Level.S,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="flash=256K,ram=64K,latency=20ms",
            help="Limits; those of memory replace the target's. cycles=2M or latency=20ms: by the model of the core, at the board's clock. "
            "With --recipe auto also instructions=2M, and drop=24dB or drop=1%.",
            show_default=False,
        ),
    ] = None,
    test_vectors: Annotated[int, typer.Option(min=0, help="Self-test vectors to emit, outputs by the simulator.")] = 4,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Run the test vectors on the target and compare every step.")] = True,
    tuning: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Kernels that `edgeq tune` found the fastest.", show_default=False)
    ] = None,
    hardened: Annotated[
        bool,
        typer.Option(
            "--hardened",
            help="Portable kernels only, which are safe with any bit error in the weights: for --faults of `run` and `compare`.",
        ),
    ] = False,
    feed: Annotated[
        str,
        typer.Option("--feed", metavar="rows", help="Emit functions that take the input row by row, as it arrives.", show_default=False),
    ] = "",
    stream: StreamOption = "",
    weights_stream: Annotated[
        str | None,
        typer.Option(
            metavar="64K",
            help="Fast memory that a step's weights are copied to while the previous step runs (docs/cluster.md), 0 for none; also "
            "--stream fast=64K. Default: the target's.",
            show_default=False,
        ),
    ] = None,
    weights_in: Annotated[
        str,
        typer.Option(
            "--weights-in",
            metavar="ram|flash|auto",
            help="Where an inference reads weights: ram, copied there at the start; flash; auto: flash, with copies of rows where the "
            "arena has room and that saves cycles (docs/timing.md).",
        ),
    ] = "auto",
    decode: Annotated[
        str,
        typer.Option(
            metavar="call|start",
            help="When weights are decoded that no kernel reads as they are stored: call, before each step; start, once, into the "
            "state, which takes a byte of RAM for each of them.",
        ),
    ] = "call",
    cores: Annotated[
        int | None, typer.Option(min=1, max=16, help="Cores among which steps are divided. Default: the target's.", show_default=False)
    ] = None,
    plan_only: Annotated[
        bool, typer.Option("--plan-only", help="Build nothing; show the RAM that the model takes with each way to use memory.")
    ] = False,
    plot: PlotOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Turn a model into a self-contained folder of C for a target, and measure it.

    A float model is quantized first. A model that does not fit the target or the budget is refused, and nothing is written.
    """
    from edgeq import api
    from edgeq.api.budget import parse

    stream, weights_stream = of_weights(stream, weights_stream)
    if plan_only:
        common.check_svg(plot)
    else:
        common.check_plot(plot, chosen.get("recipe"), chosen.get("precision"))
    shapes, consts, states = common.parse_shapes(shape), common.parse_consts(const), common.parse_states(state)
    if plan_only:
        if cores is not None or weights_stream is not None or weights_in != "auto" or decode != "call":
            why = "the ways are those of one core, weights in flash and decoded before each step: leave --cores, --weights-stream, "
            why += "--weights-in and --decode out"
            raise typer.BadParameter(why, param_hint="--plan-only")
        found = api.memory_ways(
            model, target=target, shapes=shapes, const=consts, states=states, signature=signature, stream=stream, **chosen
        )
        if plot is not None:
            from edgeq.report import pareto

            write_bytes(plot, pareto.memory(found).encode())
        show_ways(found, target, as_json)
        return
    if output is None:
        common.check_model(model)
        raise typer.BadParameter("the folder to write is missing: add -o DIR, or --plan-only", param_hint="--output")
    with common.bars() as progress:
        built = api.build(
            model, output=output, target=target, name=name, shapes=shapes, const=consts, states=states, signature=signature,
            toolchain=toolchain, optimize=optimize.value,
            budget=parse(budget) if budget else None, vectors=test_vectors, check=check,
            tuning=tuning, hardened=hardened, feed=feed, stream=stream, weights_stream=weights_stream, weights_in=weights_in,
            decode=decode, cores=cores, force=force, progress=progress, unseen=True, **chosen,
        )  # fmt: skip
    common.write_plot(plot, built.measured.quantization)
    if as_json:
        common.print_json(summary(built))
    else:
        show(built)


def of_weights(stream: str, given: str | None) -> tuple[str, str | None]:
    """``--stream fast=64K`` is ``--weights-stream 64K``: what is left of the first option, and the second one."""
    parts = [p.strip() for p in stream.split(",")]
    fast = [p.removeprefix("fast=") for p in parts if p.startswith("fast=")]
    if len(fast) + (given is not None) > 1:
        raise typer.BadParameter("the memory for weights is given twice", param_hint="--weights-stream")
    return ",".join(p for p in parts if not p.startswith("fast=")), fast[0] if fast else given


def show_ways(ways: list[Way], target: str, as_json: bool) -> None:
    """The table of ``--plan-only``."""
    if as_json:
        common.print_json({"target": target, "ways": [asdict(w) for w in ways]})
        return
    rows = [(w.name, size(w.arena), f"+{count(round(w.more))}" if w.bands else "", str(w.bands or "")) for w in ways]
    common.table(["memory", ("arena", "right"), ("instructions, about", "right"), ("bands", "right")], rows)


def summary(built: Built) -> dict[str, Any]:
    """The JSON of ``edgeq build``."""
    m, plain = built.manifest, asdict(built.measured)
    return {
        "model": m.model, "folder": str(built.folder), "target": m.target, "law": m.law,
        "flash": {"code": built.code_bytes, "weights": m.weight_bytes}, "weights_in": m.weights_in, "arena_bytes": m.arena_bytes,
        "arena_lower_bound": m.arena_lower_bound, "io_bytes": m.io_bytes, "state_bytes": m.state_bytes,
        "macs": m.macs, "steps": len(m.steps), "build": plain["build"],
        "runs": plain["runs"], "comparisons": plain["comparisons"],
        "not_run": built.not_run or None,
    }  # fmt: skip


def show(built: Built) -> None:
    """The table at the end."""
    from edgeq.latency import latency

    m, code, how = built.manifest, built.code_bytes, built.measured.build
    weights, bound = size(m.weight_bytes), size(m.arena_lower_bound)
    made = f" by {how.toolchain} -O{how.optimize}" if how else ""
    flash = f"{size(m.weight_bytes + (code or 0))}  (weights {weights}, code {size(code)}{made})"
    state = f", state {size(m.state_bytes)}" if m.state_bytes else ""
    runner, run = next(iter(built.measured.runs.items()), ("", None))
    stack = f", stack {size(run.stack)}" if run and run.stack is not None else ""
    in_ram = f", weights {weights}" if m.weights_in == "ram" else ""
    n = run.instructions if run else None
    proof = built.measured.comparisons.get(runner)
    common.facts(
        f"{m.model} for {m.target}, rounding {m.law}",
        {
            "flash": flash,
            "RAM": f"arena {size(m.arena_bytes)} with input and output (lower bound {bound}){state}{stack}{in_ram}",
            "bands": bands(built),
            "work": f"{count(m.macs)} MACs in {len(m.steps)} steps",
            "instructions": f"{count(n)} per inference, {n / m.macs:.2f} per MAC" if n and m.macs else "",
            "cycles": f"{latency(run.cycles, execute.place_of(m.target))} by the model of the core" if run and run.cycles else "",
            "bit-exact": f"{runner} = simulator in {proof.vectors} vectors, {proof.tensors} tensors, {count(proof.values)} values"
            if proof
            else f"NOT RUN. {built.not_run}. Then: edgeq compare {built.folder}"
            if built.not_run
            else "not checked",
            **quality(built),
            "folder": str(built.folder),
            "next": next_step(built),
        },
    )
    show_record(built.measured.quantization)


def bands(built: Built) -> str:
    """Which steps run by bands of rows."""
    found = built.manifest.bands
    named = (f"steps {b.first}-{b.last}" if b.first < b.last else f"step {b.first}" for b in found)
    lines = sum(x.bytes for b in found for x in b.lines)
    turns = sum(b.turns for b in found)
    return f"{', '.join(named)}, some rows at a time: {turns} turns, {size(lines)} of lines between them" if found else ""


def quality(built: Built) -> dict[str, str]:
    """How near the outputs are to the float model's, and the tensor that lost most, with what to do about it."""
    found = built.measured.quantization
    tensors = {t["name"]: t for t in found.get("tensors", ())}
    outputs = [float(tensors[n]["sqnr_db"]) for n in built.graph.results if n in tensors]
    if not outputs:
        return {}
    worst = min(tensors.values(), key=lambda t: float(t["sqnr_db"]))
    noise = min(outputs)
    told = ". ".join(x for x in (worst["cause"], worst["fix"]) if x)
    return {
        "output": f"{f'SQNR {noise:.1f} dB' if noise < EXACT_DB else 'exact'} against the float model, {many(found['samples'], 'sample')}",
        "noise": found.get("reason", ""),
        "not seen": unseen(found),
        "worst tensor": ""
        if worst["sqnr_db"] >= min(noise, EXACT_DB)
        else f"'{short(worst['name'])}' {worst['sqnr_db']:.1f} dB{f': {told}' if told else ''}",
        "other recipes": found.get("advice", ""),
    }


def next_step(built: Built) -> str:
    """Commands that go on from here."""
    folder = shlex.quote(str(built.folder))
    if not built.target.bsp:
        return f"edgeq report {folder}  or, for a chip:  edgeq build {folder} -t cortex-m4 -o DIR"
    board = built.target.name if built.target.bsp == built.target.name else "BOARD"
    return f"edgeq report {folder}  or  edgeq firmware {folder} -b {board} -o fw.elf  or  edgeq export {folder} -f cmake -o DIR"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq build digits.onnx --calib calib.npz --target riscv -o out")(build)
