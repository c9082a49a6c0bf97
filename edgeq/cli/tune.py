"""edgeq tune: measure candidate kernels and tiles on the emulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.build import Level
from edgeq.cli.common import (
    BudgetOption,
    ConstOption,
    JsonOption,
    ModelArgument,
    ShapeOption,
    SignatureOption,
    ToolchainOption,
)
from edgeq.cli.options import takes_float_models
from edgeq.text import count, short

if TYPE_CHECKING:
    from edgeq.api import Tuned

TuningOutput = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Tuning file; one that exists is extended.")]


@takes_float_models
def tune(
    model: ModelArgument,
    target: Annotated[str, typer.Option("--target", "-t", help="Chip or board, see `edgeq targets`.", show_default=False)],
    output: TuningOutput = Path("edgeq-tuning.json"),
    toolchain: ToolchainOption = None,
    optimize: Annotated[Level, typer.Option("--optimize", "-O", help="Optimization level that builds will use.")] = Level.S,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Measure every kernel and tile that can compute a layer, and keep their costs for `edgeq build --tuning`.

    Costs are clock cycles where the core has a model of them, else executed instructions, the same each time. Layers of equal
    shapes share them, in any model; what the file knows is not measured again.
    """
    from edgeq import api
    from edgeq.api.budget import parse

    with common.bars() as progress:
        tuned = api.tune(
            model, output=output, target=target, toolchain=toolchain, optimize=optimize.value,
            shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature,
            progress=progress, budget=parse(budget) if budget else None, **chosen,
        )  # fmt: skip
    if as_json:
        common.print_json(summary(tuned))
    else:
        show(tuned)


def summary(tuned: Tuned) -> dict[str, Any]:
    """The JSON of ``edgeq tune``."""
    names = ("preferred", "chosen", f"preferred_{tuned.unit}", f"chosen_{tuned.unit}")
    layers = [{"name": name, **dict(zip(names, row, strict=True))} for name, row in tuned.layers.items()]
    return {
        "file": str(tuned.path), "key": tuned.key, "measured": tuned.measured, "unit": tuned.unit, "saved": tuned.saved, "layers": layers,
    }  # fmt: skip


def show(tuned: Tuned) -> None:
    """A line per layer that has a choice."""
    room = common.name_room()
    rows = [
        (short(name, room), plain, count(before), "=" if chosen == plain else chosen, "" if chosen == plain else count(after))
        for name, (plain, chosen, before, after) in tuned.layers.items()
    ]
    common.table([("layer", "text"), "preferred kernel", (tuned.unit, "right"), "fastest", (tuned.unit, "right")], rows)
    saved = f"saves {count(tuned.saved)} {tuned.unit} per inference" if tuned.saved else "the preferred kernels are the fastest"
    common.facts(f"{tuned.key}: {saved}", {"measured": f"{tuned.measured} kinds of layers now", "file": str(tuned.path)})


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq tune m.tflite -t cortex-m4 && edgeq build m.tflite -t cortex-m4 --tuning edgeq-tuning.json -o out")(
        tune
    )
