"""edgeq faults: what bit errors in stored weights cost."""

from __future__ import annotations

import io
import math
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import (
    BudgetOption,
    ConstOption,
    JsonOption,
    LabelledOption,
    LimitOption,
    ModelArgument,
    ShapeOption,
    SignatureOption,
)
from edgeq.cli.options import takes_float_models
from edgeq.files import check_place, write_bytes
from edgeq.text import count, short

if TYPE_CHECKING:
    from edgeq.api.robustness import Robustness

BETWEEN = 8  # rates of LOW..HIGH


class Device(StrEnum):
    """Where patterns are run."""

    CPU = "cpu"
    SIMULATOR = "simulator"
    GPU = "gpu"
    INTERPRETER = "interpreter"


def parse_rates(text: str) -> list[float]:
    """``0.1%,1%``, or ``0.01%..5%``: eight, evenly spread over the logarithm.

    Raises:
        typer.BadParameter: they are no rates.
    """
    low, dots, high = text.partition("..")
    if not dots:
        return [common.parse_rate(part) for part in text.split(",")]
    a, b = common.parse_rate(low), common.parse_rate(high)
    if not 0 < a < b:
        raise typer.BadParameter(f"'{text}' is no range; write 0.01%..5%", param_hint="--p")
    return [float(f"{a * math.exp(i / (BETWEEN - 1) * math.log(b / a)):.3g}") for i in range(BETWEEN)]


@takes_float_models
def faults(
    model: ModelArgument,
    data: LabelledOption,
    p: Annotated[str, typer.Option("--p", metavar="LOW..HIGH", help="Bit error rates: a list, or a range.")] = "0.01%..5%",
    patterns: Annotated[int, typer.Option(min=1, help="Fault patterns per rate; pattern i has seed i.")] = 50,
    kind: Annotated[
        str,
        typer.Option(
            "--map",
            metavar="MAP",
            help="random; columns: weak columns of a memory; stuck[:SHARE]: cells stuck, SHARE of them at 0; asymmetric[:RATIO]: a 1 flips "
            "RATIO times as often as a 0; or a JSON file of faults.",
        ),
    ] = "random",
    device: Annotated[
        Device,
        typer.Option(help="cpu: the emitted C on all cores; simulator; gpu: Triton kernels; interpreter: those without a GPU, slowly."),
    ] = Device.CPU,
    layers: Annotated[bool, typer.Option("--layers/--no-layers", help="Also put errors into one layer at a time.")] = True,
    limit: LimitOption = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw errors over rates (.svg, .png).", show_default=False)] = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    budget: BudgetOption = None,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Flip stored bits of weights and biases and measure the accuracy, at every rate over many patterns.

    A pattern stands for one chip: a bit that is faulty at some rate is faulty at every higher one. A float MODEL is quantized with --calib.
    """
    from edgeq.api.budget import parse
    from edgeq.api.robustness import robustness

    rates = parse_rates(p)
    if plot is not None:
        _check_plot(plot)
    with common.bars() as progress:
        result = robustness(
            model, data, rates=rates, patterns=patterns, kind=kind, device_name=device.value, layers=layers, limit=limit,
            shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature, progress=progress,
            budget=parse(budget) if budget else None, **chosen,
        )  # fmt: skip
    if as_json:
        common.print_json(result.record())
    else:
        show(result)
    if plot is not None:
        draw(result, plot)


def show(result: Robustness) -> None:
    """The tables at the end."""
    common.table(
        [("p", "right"), ("V / Vmin", "right"), ("energy", "right"), ("error", "right"), ("worst", "right"), ("of seed", "right")],
        [
            (
                f"{100 * x.p:g} %", f"{x.voltage:.3f}", f"{100 * (result.energy(x) - 1):+.0f} %", f"{x.mean:.2f} ± {x.std:.2f} %",
                f"{max(x.errors):.2f} %", x.worst,
            )
            for x in result.points
        ],
        title=f"{result.model}, code {result.code}, {result.kind} errors, {result.samples} vectors; without errors {result.clean:.2f} %; "
        f"energy: {result.stored:.2f} times plain int8's bits",
    )  # fmt: skip
    if result.layers:
        common.table(
            [("layer", "text"), ("bits", "right"), ("error", "right"), ("noise predicted", "right"), ("injected", "right")],
            [
                (
                    f"{x.step} {short(x.name, common.name_room())}", count(x.bits), f"{x.mean:.2f} ± {x.std:.2f} %",
                    "-" if x.predicted is None else f"{x.predicted:.4g}", f"{x.injected:.4g}",
                )
                for x in result.layers
            ],
            title=f"errors at p = {100 * result.layer_p:g} % in one layer alone; noise: variance of its weights, in squares of their step",
        )  # fmt: skip
    best = result.operating_point
    if best is None:
        typer.echo("every rate costs more than 1 point")
    else:
        energy = 100 * (result.energy(best) - 1)
        more = "more" if energy > 0 else "less"
        typer.echo(f"p = {100 * best.p:g} % costs at most 1 point: {abs(energy):.0f} % {more} energy, at {best.voltage:.3f} Vmin")


def _check_plot(path: Path) -> None:
    """Refuse a plot before long work where it cannot be drawn."""
    from edgeq.errors import EdgeqError

    check_place(path, b"<?xml" if path.suffix.lower() == ".svg" else b"\x89PNG")
    if path.suffix.lower() not in (".svg", ".png"):
        raise EdgeqError("a plot is an .svg or .png file", where=str(path), fix=f"write --plot {path.with_suffix('.svg')}")
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise EdgeqError("matplotlib is not installed", fix="pip install matplotlib, or leave --plot out") from e


def draw(result: Robustness, path: Path) -> None:
    """Errors over rates, with the energy above.

    Raises:
        EdgeqError: the file cannot be written.
    """
    from matplotlib.figure import Figure

    x = [100 * point.p for point in result.points]
    mean, std = [point.mean for point in result.points], [point.std for point in result.points]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.errorbar(x, mean, yerr=std, marker="o", capsize=3, label="mean ± std")
    axes.plot(x, [max(point.errors) for point in result.points], "v:", label="worst pattern")
    axes.axhline(result.clean, color="gray", linewidth=1, label="without errors")
    axes.set(xscale="log", xlabel="bit error rate p, %", ylabel="error, %", title=f"{result.model}, code {result.code}, {result.kind}")
    energy = axes.twinx()
    energy.plot(x, [100 * result.energy(point) for point in result.points], "k--", linewidth=1)
    energy.set_ylabel("energy, % of plain int8 at Vmin (dashed)")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lower()[1:])
    write_bytes(path, content.getvalue())


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq faults q --data test.npz --p 0.01%..5% --plot faults.svg")(faults)
