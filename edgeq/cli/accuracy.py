"""edgeq accuracy: how many labelled vectors come out right."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import (
    BudgetOption,
    ConstOption,
    DeviceOption,
    JsonOption,
    LabelledOption,
    LimitOption,
    ModelArgument,
    RunnerOption,
    ShapeOption,
    SignatureOption,
    TargetOption,
    ToolchainOption,
    TrustOption,
)
from edgeq.cli.options import takes_float_models


@takes_float_models
def accuracy(
    model: ModelArgument,
    data: LabelledOption,
    float_model: Annotated[Path | None, typer.Option(help="Score this float model beside a quantized MODEL.", show_default=False)] = None,
    runner: RunnerOption = None,
    target: TargetOption = None,
    toolchain: ToolchainOption = None,
    device: DeviceOption = None,
    limit: LimitOption = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    trust: TrustOption = False,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Score top-1 accuracy on labelled data: of the simulator, of the float model if there is one, and of a runner if asked for.

    A float MODEL is quantized with --calib; without it the float model alone is scored.
    """
    from edgeq import api
    from edgeq.api.budget import parse

    with common.bars() as progress:
        result = api.accuracy(
            model, data, float_model=float_model, runner=runner, target=target, toolchain=toolchain, device=device, limit=limit,
            shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature, trust=trust, progress=progress,
            budget=parse(budget) if budget else None, **chosen,
        )  # fmt: skip
    scores = {"float model": result.real, "simulator": result.simulator, result.runner_name or "runner": result.runner}
    if as_json:
        named = {"float": result.real, "simulator": result.simulator, "runner": result.runner}
        common.print_json(
            {
                "samples": result.samples, "runner_name": result.runner_name, "bit_exact": result.bit_exact,
                "top1": {k: None if v is None else v / result.samples for k, v in named.items()}, "right": named,
            }
        )  # fmt: skip
    else:
        rows = [(k, f"{100 * v / result.samples:.2f} %", f"{v} of {result.samples}") for k, v in scores.items() if v is not None]
        common.table(["", ("top-1", "right"), ("right", "right")], rows)
        if result.bit_exact is not None:
            typer.echo(f"{result.runner_name} {'equals' if result.bit_exact else 'DIFFERS from'} the simulator")
    if result.bit_exact is False:
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq accuracy out --data test.npz --runner unicorn")(accuracy)
