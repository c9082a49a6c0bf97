"""edgeq compare: every step of the emitted C against the simulator."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from edgeq.cli import common, execute
from edgeq.cli.common import (
    InputOption,
    JsonOption,
    ModelArgument,
    OptimizeOption,
    ShapeOption,
    TargetOption,
    ToolchainOption,
    VectorsOption,
)


def compare(
    model: ModelArgument,
    inputs: InputOption = None,
    target: TargetOption = None,
    runner: Annotated[
        list[str] | None, typer.Option("--runner", "-r", help="host, unicorn or qemu; repeatable (default: the target's first).")
    ] = None,
    vectors: VectorsOption = 16,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    shape: ShapeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare every step with the simulator, byte for byte, and print the first difference.

    Exit code 1 if there is one. The result is kept in the folder for `edgeq report`.
    """
    from edgeq import api

    outcomes: list[api.Outcome] = []
    names: list[str | None] = list(runner or []) or [None]
    for name in names:
        with common.bars() as progress:
            outcome = api.compare(
                model, inputs, target=target, runner=name, vectors=vectors, toolchain=toolchain,
                optimize=optimize, shapes=common.parse_shapes(shape), progress=progress,
            )  # fmt: skip
        outcomes.append(outcome)
        if not as_json:
            typer.echo(execute.stamp(outcome))
    exact = all(o.comparison is not None and o.comparison.bit_exact for o in outcomes)
    if as_json:
        common.print_json({"bit_exact": exact, "comparisons": [record(o) for o in outcomes]})
    if not exact:
        raise typer.Exit(1)


def record(outcome: Any) -> dict[str, Any]:
    """One runner's comparison as JSON values."""
    from edgeq.api.proving import compared

    return {"runner": outcome.run.runner, "target": outcome.manifest["target"], **compared(outcome.comparison)}


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq compare out --runner host --runner unicorn --vectors 16")(compare)
