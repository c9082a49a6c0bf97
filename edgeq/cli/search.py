"""edgeq search: try options of quantization, and show the Pareto front."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import ConstOption, JsonOption, ModelArgument, ShapeOption, SignatureOption, TargetOption
from edgeq.cli.options import takes_float_models
from edgeq.files import check_place, json_text, write_bytes
from edgeq.text import count, size

if TYPE_CHECKING:
    from edgeq.api.searching import Searched

DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data", "-d", metavar="PATH", show_default=False,
        help="Labelled samples as of `edgeq accuracy`: right answers judge. Without them the float model's outputs do, by half of --calib.",
    ),
]  # fmt: skip
VaryOption = Annotated[
    list[str] | None,
    typer.Option(
        "--vary", metavar="NAME=A,B", show_default=False,
        help="An option and the values to try, the usual one first: recipe=int8,mixed or weights=int8,int4. May be repeated. Default: "
        "weights, method, rounding, equalize, bias_correction.",
    ),
]  # fmt: skip


@takes_float_models
def search(
    model: ModelArgument,
    data: DataOption = None,
    target: TargetOption = None,
    vary: VaryOption = None,
    trials: Annotated[int, typer.Option("--trials", "-n", min=1, help="Make at most N trials.")] = 24,
    workers: Annotated[
        str,
        typer.Option(metavar="N", help="Processes that make trials, or HOST:PORT of a Dask scheduler (pip install 'edgeq\\[cluster]')."),
    ] = "1",
    unseen: Annotated[
        bool,
        typer.Option("--unseen", help="Do not let every second judging sample choose; show each trial's result on these separately."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.json", help="Write all trials.", show_default=False)
    ] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw all trials and the front.", show_default=False)] = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Try options of quantization on a float model, learn what each adds, and show the Pareto front.

    An interrupted run continues where it stopped.
    """
    from edgeq import api
    from edgeq.report import pareto

    common.check_svg(plot)
    check_place(output, json_text({"": 0}).encode())
    with common.bars() as progress:
        found = api.search(
            model, data, target=target or "", vary=parse_vary(vary), trials=trials, workers=parse_workers(workers),
            shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature, progress=progress,
            unseen=unseen, **chosen,
        )  # fmt: skip
    if output is not None:
        write_bytes(output, json_text(found.record()).encode())
    if plot is not None:
        write_bytes(plot, pareto.trials(found.record()).encode())
    if as_json:
        common.print_json(found.record())
    else:
        show(found)


def parse_vary(texts: list[str] | None) -> dict[str, list[str]] | None:
    """``NAME=A,B`` options by name.

    Raises:
        typer.BadParameter: a text is none.
    """
    found: dict[str, list[str]] = {}
    for text in texts or ():
        name, _, values = text.partition("=")
        if not name or not values:
            raise typer.BadParameter(f"'{text}' names no values; write weights=int8,int4", param_hint="--vary")
        found[name.replace("-", "_")] = values.split(",")
    return found or None


def parse_workers(text: str) -> int | str:
    """A number of processes, or an address.

    Raises:
        typer.BadParameter: it is neither.
    """
    if text.isascii() and text.isdigit() and 0 < int(text) <= 1024:
        return int(text)
    if ":" not in text:
        raise typer.BadParameter(f"'{text}' is no number from 1 to 1024, and no HOST:PORT", param_hint="--workers")
    return text


def show(found: Searched) -> None:
    """The front, what each value adds, and the next command."""
    from edgeq.api.searching import flags

    names = list(found.front[0].costs)
    fit, judged, unseen = found.samples
    kept = [("not seen", "right")] if unseen else []
    columns = [("quality", "right"), *kept, *((n, "right") for n in names), ("options", "text")]
    rows = []
    for t in found.front:
        costs = [(size if n == "flash" else count)(t.costs[n]) for n in names]
        told = [f"{q:.2f} {found.unit}" for q in (t.quality, t.unseen) if q is not None]
        rows.append((*told, *costs, flags(found.space.named(t.point))))
    title = f"{len(found.trials)} of {len(found.space)} points tried, fitted to {fit} samples, judged by {judged}"
    common.table(columns, rows, title=title + (f", {unseen} not seen by either" if unseen else ""))
    added = [
        (name, value, f"{e['quality']:+.2f} {found.unit}", *(f"{100 * (e[n] - 1):+.0f} %" for n in names))
        for name, values in found.effects().items() for value, e in values.items() if value != found.space.options[name][0]
    ]  # fmt: skip
    common.table(["option", "instead", ("adds", "right"), *((n, "right") for n in names)], added, title="What each value adds, as learned")
    refused = [t for t in found.trials if t.refused]
    if refused:
        common.table([("refused", "text"), ("why", "text")], [(flags(found.space.named(t.point)), t.refused) for t in refused])


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq search m.onnx --calib samples.npz --vary weights=int8,int4 --vary method=mse,kl")(search)
