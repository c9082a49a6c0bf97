"""edgeq quantize: float model -> quantized graph and its reviewable precision."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import (
    CalibrationLimitOption,
    CalibrationOption,
    EqualizeOption,
    JsonOption,
    LawOption,
    MethodOption,
    ModelArgument,
    PixelsOption,
    PrecisionOption,
    RecipeOption,
    RoundingOption,
    ShapeOption,
    StateOption,
    StoredOption,
)
from edgeq.text import short

if TYPE_CHECKING:
    from edgeq.api.quantizing import Quantized

SHOWN = 12
EXACT_DB = 150.0


def quantize(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write, or a file *.eqg.", show_default=False)],
    recipe: RecipeOption = None,
    calib: CalibrationOption = None,
    calib_limit: CalibrationLimitOption = None,
    stored: StoredOption = None,
    pixels: PixelsOption = None,
    method: MethodOption = None,
    law: LawOption = None,
    rounding: RoundingOption = None,
    equalize: EqualizeOption = False,
    precision: PrecisionOption = None,
    shape: ShapeOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Quantize a float model to int8 or half precision and say how well each tensor survived.

    DIR gets graph.eqg, which every verb reads, and precision.toml, to review, edit and feed back with --precision.
    """
    from edgeq import api

    chosen = common.recipe(
        calib, calib_limit, stored, pixels, method=method, law=law, rounding=rounding, equalize=equalize, precision=precision,
        recipe=recipe,
    )  # fmt: skip
    with common.bars() as progress:
        shapes, states = common.parse_shapes(shape), common.parse_states(state)
        result = api.write_quantized(model, output, shapes=shapes, states=states, progress=progress, **chosen)
    if as_json:
        common.print_json({"output": str(output), "law": result.graph.law, **result.record})
    else:
        show(result, output)


def show(result: Quantized, output: Path) -> None:
    """The table at the end: the tensors that lost most."""
    record = result.record
    rows = sorted(record["tensors"], key=lambda t: float(t["sqnr_db"]))[:SHOWN]
    common.table(
        [("tensor", "text"), ("SQNR dB", "right"), ("saturated", "right"), ("suspected cause and fix", "text")],
        [
            (
                short(t["name"], common.name_room()),
                "exact" if t["sqnr_db"] >= EXACT_DB else f"{t['sqnr_db']:.1f}",
                f"{100 * (t['saturated'] or 0):.2f} %",
                ". ".join(x for x in (t["cause"], t["fix"]) if x),
            )
            for t in rows
        ],
        title=f"{result.graph.name}, law {result.graph.law}, {record['samples']} samples: the tensors that lost most",
    )
    typer.echo(str(output))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq quantize model.onnx --calib calib.npz -o q && edgeq build q --target riscv -o out")(quantize)
