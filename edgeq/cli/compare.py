"""edgeq compare: every step of the emitted C against the simulator."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common, execute
from edgeq.cli.common import (
    BaudOption,
    ConstOption,
    FaultRateOption,
    FaultsOption,
    InputOption,
    JsonOption,
    ModelArgument,
    OptimizeOption,
    PortOption,
    SeedOption,
    ShapeOption,
    SignatureOption,
    TargetOption,
    TimeoutOption,
    ToolchainOption,
    TrustOption,
    VectorsOption,
)
from edgeq.run.ports import BAUD, SILENCE
from edgeq.text import count

if TYPE_CHECKING:
    from edgeq.api import BoardComparison
    from edgeq.compare import Comparison
    from edgeq.run.ports import Port


def compare(
    model: ModelArgument,
    inputs: InputOption = None,
    target: TargetOption = None,
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help="host, unicorn, qemu or iss; repeatable (default: the target's first).")
    ] = None,
    vectors: VectorsOption = 16,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    port: PortOption = None,
    baud: BaudOption = BAUD,
    timeout: TimeoutOption = SILENCE,
    faults: FaultsOption = None,
    p: FaultRateOption = None,
    seed: SeedOption = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", "-d", help="With --port: labelled .npz, x and y; shows the accuracy of both.", show_default=False),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="With --data: use the first N vectors.", show_default=False)] = None,
    steps: Annotated[int, typer.Option(min=0, help="With --port: stream every step of the first N vectors.")] = 1,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare every step with the simulator, byte for byte, and print the first difference.

    With --port a board is compared: the outputs of all vectors, every step of the first few and of the first that differs, and its
    weights. Exit code 1 if there is a difference. An emulator's result is kept in the folder for `edgeq report`.
    """
    from edgeq import api

    chosen = common.fault_map(faults, p, seed)
    if (board := common.board_port(port, baud, timeout)) is not None:
        if target or runner or toolchain or optimize:
            raise typer.BadParameter("it takes the place of --target, --runner, --toolchain and --optimize", param_hint="--port")
        compare_port(model, board, as_json, faults=chosen, inputs=inputs, data=data, vectors=vectors, steps=steps, limit=limit)
        return
    if data is not None:
        raise typer.BadParameter("needs --port; for emulators see `edgeq accuracy`", param_hint="--data")
    outcomes: list[api.Outcome] = []
    names: list[str | None] = list(runner or []) or [None]
    for name in names:
        with common.bars() as progress:
            outcome = api.compare(
                model, inputs, target=target, runner=name, vectors=vectors, toolchain=toolchain,
                optimize=optimize, shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature,
                faults=chosen, trust=trust, progress=progress,
            )  # fmt: skip
        outcomes.append(outcome)
        if not as_json:
            typer.echo(execute.stamp(outcome) + (f"; with {outcome.damage}" if outcome.damage else ""))
    exact = all(o.comparison is not None and o.comparison.bit_exact for o in outcomes)
    if as_json:
        common.print_json({"bit_exact": exact, "comparisons": [record(o) for o in outcomes]})
    if not exact:
        raise typer.Exit(1)


def compared(comparison: Comparison) -> dict[str, Any]:
    """A comparison as JSON values."""
    from edgeq.api.proving import difference

    first = difference(comparison)
    return {
        "vectors": comparison.vectors, "tensors": comparison.tensors, "values": comparison.values, "bit_exact": comparison.bit_exact,
        "difference": None if first is None else asdict(first),
    }  # fmt: skip


def compare_port(model: Path, port: Port, as_json: bool, **options: Any) -> None:
    """Compare a board with the simulator; exit code 1 if they differ."""
    from edgeq import api

    with common.bars() as progress:
        result = api.compare_board(model, port, progress=progress, **options)
    if as_json:
        common.print_json(board_record(result))
    else:
        show_board(result)
    if not result.bit_exact:
        raise typer.Exit(1)


def board_record(result: BoardComparison) -> dict[str, Any]:
    """A board's comparison as JSON values."""
    from edgeq.api.execution import flipped

    m = result.measured
    return {
        "bit_exact": result.bit_exact, "target": result.manifest.target, "outputs": compared(result.outputs),
        "steps": None if result.steps is None else compared(result.steps), "damaged_tables": list(result.tables),
        **({"faults": flipped(result.damage)} if result.damage else {}),
        "labelled": result.labelled, "right": {"simulator": result.right_simulator, "board": result.right_board},
        "instructions": m.run.instructions, "ticks": {"least": int(m.ticks.min()), "most": int(m.ticks.max())},
        "seconds_per_inference": float(m.seconds.mean()), "stack_bytes": m.run.stack_bytes, "retries": m.retries,
    }  # fmt: skip


def show_board(result: BoardComparison) -> None:
    """What came of comparing a board, for people."""
    m, y = result.measured, result.labelled
    scores = {"simulator": result.right_simulator, "board": result.right_board}
    share = {n: f"{100 * r / y:.2f} %, {r} of {y}" for n, r in scores.items() if y and r is not None}
    state = "as the map leaves them" if result.damage else "intact"
    instructions = f", {count(m.run.instructions)} instructions" if m.run.instructions is not None else ""
    common.facts(
        f"{result.manifest.model} on a board against the simulator",
        {
            "outputs": execute.verdict(result.outputs),
            "steps": "" if result.steps is None else execute.verdict(result.steps),
            "faults": str(result.damage or ""),
            "weights": f"DAMAGED: {', '.join(result.tables)}" if result.tables else f"all {len(result.manifest.tables)} tables {state}",
            **{f"top-1 {n}": text for n, text in share.items()},
            "latency": f"{count(int(m.ticks.max()))} ticks at most{instructions}; {1000 * m.seconds.mean():.1f} ms with transfer",
            "line": f"{m.retries} requests repeated" if m.retries else "",
        },
    )


def record(outcome: Any) -> dict[str, Any]:
    """One runner's comparison as JSON values."""
    from edgeq.api.execution import flipped

    faults = {"faults": flipped(outcome.damage)} if outcome.damage else {}
    return {"runner": outcome.run.runner, "target": outcome.manifest.target, **compared(outcome.comparison), **faults}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq compare out --runner host --runner unicorn --vectors 16")(compare)
