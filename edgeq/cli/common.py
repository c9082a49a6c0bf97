"""What the verbs share: options, progress bars, tables, JSON."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.errors import EdgeqError
from edgeq.files import check_place, write_bytes

if TYPE_CHECKING:  # rich is imported where something is shown: `edgeq --help` needs none
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from edgeq.api.models import Progress as Report
    from edgeq.faults import FaultMap
    from edgeq.run.ports import Port

MODEL = "Model file (.tflite, .onnx, .pt2), graph file (.eqg), or a folder that edgeq wrote."

ModelArgument = Annotated[Path, typer.Argument(metavar="MODEL", help=MODEL, show_default=False)]
FolderArgument = Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `edgeq build` wrote.", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON on stdout, and nothing else there.")]
ShapeOption = Annotated[
    list[str] | None, typer.Option("--shape", metavar="NAME=1x2x3", help="Shape of an input that the file leaves open; repeatable.")
]
ConstOption = Annotated[
    list[str] | None,
    typer.Option(
        "--const", metavar="NAME=VALUE",
        help="Replace an input by a constant: one number, or several separated by commas (sr=16000); repeatable.",
    ),
]  # fmt: skip
SignatureOption = Annotated[
    str | None, typer.Option("--signature", metavar="NAME", help="Which signature of a .tflite file that has several.", show_default=False)
]
StateOption = Annotated[
    list[str] | None,
    typer.Option(
        "--state", metavar="IN=OUT", help="State: output OUT becomes input IN of the next inference; `none`: no state; repeatable."
    ),
]
StreamOption = Annotated[
    str,
    typer.Option(
        "--stream", metavar="time",
        help="Turn a network on a sliding window into one step per new frame: `time`, an axis or INPUT=AXIS; `,hop=4`: a result every "
        "4 frames; `,answer=stream`: layers that pad in time read the stream there, not the window's padding.", show_default=False,
    ),
]  # fmt: skip
TargetOption = Annotated[str | None, typer.Option("--target", "-t", help="Target, see `edgeq targets`.", show_default=False)]
ToolchainOption = Annotated[str | None, typer.Option("--toolchain", help="zig (default), gcc or clang.", show_default=False)]
RunnerOption = Annotated[
    str | None, typer.Option("--runner", "-r", help="host, unicorn, qemu or iss (default: the target's first).", show_default=False)
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Compute the simulator's bytes elsewhere, for many vectors: cpu (the emitted C on all cores), gpu (Triton kernels; "
        "pip install 'edgeq\\[gpu]'), or interpreter (those kernels without a GPU, slowly).",
        show_default=False,
    ),
]
TrustOption = Annotated[bool, typer.Option("--trust", help="Compile and run the folder's C even if it was changed after edgeq wrote it.")]
ForceOption = Annotated[
    bool,
    typer.Option("--force", help="Keep other files that lie in the output folder, and replace edgeq's own even if they were changed."),
]
OptimizeOption = Annotated[str | None, typer.Option("--optimize", "-O", help="Optimization level: s, 2 or 3.", show_default=False)]
PortOption = Annotated[
    str | None,
    typer.Option(
        "--port", "-p", metavar="PORT",
        help="Port of a board that runs `edgeq firmware --app serve`: /dev/ttyACM0, COM3, socket://HOST:PORT.", show_default=False,
    ),
]  # fmt: skip
BaudOption = Annotated[int, typer.Option("--baud", min=1, help="Of --port.")]
TimeoutOption = Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds after which a silent board at --port counts as lost.")]
FaultsOption = Annotated[
    str | None,
    typer.Option(
        "--faults", metavar="MAP",
        help="Bit errors in the stored weights, in the C and in the simulator: random, columns, stuck[:SHARE], asymmetric[:RATIO] or a "
        "JSON file, as of `edgeq faults`. A folder must be built with --hardened, a board's firmware with --weights ram.",
        show_default=False,
    ),
]  # fmt: skip
FaultRateOption = Annotated[str | None, typer.Option("--p", metavar="0.5%", help="Bit error rate of --faults.", show_default=False)]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Pattern of --faults (default 0).", show_default=False)
]
InputOption = Annotated[
    Path | None,
    typer.Option(
        "--input", "-i", show_default=False,
        help="Inputs, .npz by input name or .npy; first axis = vectors; stored dtype or float32; .wav for `samples`.",
    ),
]  # fmt: skip
OutputArraysOption = Annotated[Path | None, typer.Option("--output", "-o", help="Write the outputs here, .npz.", show_default=False)]
VectorsOption = Annotated[int, typer.Option("--vectors", "-n", min=1, help="How many random vectors where no --input is given.")]

LabelledOption = Annotated[
    Path,
    typer.Option(
        "--data", "-d", metavar="PATH", show_default=False,
        help="Labelled samples: .npz with x (or by input name) and y, a folder of class folders of images or arrays, or a .csv.",
    ),
]  # fmt: skip
LimitOption = Annotated[
    int | None,
    typer.Option("--limit", min=1, metavar="N", help="Use N vectors: the first, of folders evenly spread ones.", show_default=False),
]

BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", metavar="flash=256K,drop=24dB", help="Limits for --recipe auto, as in `edgeq quantize`.", show_default=False),
]
PlotOption = Annotated[
    Path | None,
    typer.Option(
        "--plot", metavar="FILE.svg", help="Draw what --recipe auto chose from; with --plan-only RAM over instructions.", show_default=False
    ),
]


def fault_map(text: str | None, p: str | None, seed: int | None) -> FaultMap | None:
    """What --faults, --p and --seed ask for.

    Raises:
        typer.BadParameter: --faults is missing, or the rate is.
        EdgeqError: there is no such map.
    """
    from edgeq.faults import parse

    if text is None:
        if p is not None or seed is not None:
            raise typer.BadParameter("needs --faults", param_hint="--seed" if p is None else "--p")
        return None
    found = parse(text)
    if p is None and found.kind != "list":
        raise typer.BadParameter("needs a bit error rate, --p 0.5%", param_hint="--faults")
    return replace(found, p=1.0 if p is None else parse_rate(p), seed=seed or 0)


def parse_rate(text: str, option: str = "--p") -> float:
    """``0.5%`` or ``0.005``.

    Raises:
        typer.BadParameter: it is no probability.
    """
    try:
        rate = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        rate = math.nan
    if not 0 <= rate <= 1:
        raise typer.BadParameter(f"'{text}' is no rate; write 0.5% or 0.005", param_hint=option)
    return rate


def console() -> Console:
    """Stdout for people; made again for each use, so that a redirected stdout is respected: there lines may be long."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 200)


def board_port(url: str | None, baud: int, timeout: float) -> Port | None:
    """The options about a port as the API takes them."""
    from edgeq.run.ports import Port

    return None if url is None else Port(url, baud, timeout)


def check_plot(plot: Path | None, recipe: str | None, precision: str | Path | None) -> None:
    """Refuse a plot that nothing would be drawn on.

    Raises:
        EdgeqError: nothing is chosen, or the file's name has another ending.
    """
    from edgeq.recipes import RECIPES

    if plot is not None and (recipe is None or recipe not in RECIPES or not RECIPES[recipe].budgeted or precision is not None):
        raise EdgeqError("nothing to plot", where=str(plot), why="no recipe chooses here", fix="--recipe auto, no --precision")
    check_svg(plot)


def check_model(path: Path) -> None:
    """Refuse a file that is missing or no model, before what is missing besides.

    Raises:
        EdgeqError: likewise.
    """
    if not path.is_dir() and path.suffix not in (".eqg", ".toml"):
        from edgeq.frontends import detect

        detect(path)


def check_svg(plot: Path | None) -> None:
    """Refuse a plot under another ending, or where it cannot be written.

    Raises:
        EdgeqError: likewise.
    """
    check_place(plot, b"<svg")
    if plot is not None and plot.suffix.lower() != ".svg":
        raise EdgeqError("a plot is an .svg file", where=str(plot), fix=f"write --plot {plot.with_suffix('.svg')}")


def write_plot(plot: Path | None, record: Mapping[str, Any]) -> None:
    """Draw the ``allocation`` of a quantization's record."""
    if plot is not None:
        from edgeq.report import pareto

        write_bytes(plot, pareto.svg(record["allocation"]).encode())


def parse_shapes(texts: Iterable[str] | None) -> dict[str, tuple[int, ...]] | None:
    """``NAME=1x2x3`` options by input name.

    Raises:
        typer.BadParameter: a text is no shape.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        parts = value.split("x")
        if (
            not name
            or not all(p.isascii() and p.isdigit() and 0 < int(p) < 2**31 for p in parts if len(p) < 12)
            or any(not p or len(p) > 11 for p in parts)
        ):
            raise typer.BadParameter(f"'{text}' is no shape; write NAME=1x2x3", param_hint="--shape")
        shapes[name] = tuple(int(p) for p in parts)
    return shapes or None


def parse_consts(texts: Iterable[str] | None) -> dict[str, list[float | int] | float | int] | None:
    """``NAME=VALUE`` options by input name; several values have commas between.

    Raises:
        typer.BadParameter: a value is no number.
    """
    consts: dict[str, list[float | int] | float | int] = {}
    for text in texts or ():
        name, _, value = text.rpartition("=")
        try:
            numbers = [int(part) if part.lstrip("+-").isdigit() else float(part) for part in value.split(",")]
        except ValueError:
            numbers = []
        if not name or not numbers or not all(map(math.isfinite, numbers)):
            raise typer.BadParameter(f"'{text}' is no value; write NAME=16000", param_hint="--const")
        consts[name] = numbers if "," in value else numbers[0]
    return consts or None


def parse_states(texts: Iterable[str] | None) -> dict[str, str] | None:
    """``IN=OUT`` options by input name; None without one.

    Raises:
        typer.BadParameter: a text is no pair.
    """
    texts = list(texts or ())
    if texts == ["none"]:
        return {}
    pairs = dict(text.partition("=")[::2] for text in texts)
    if any(not a or not b for a, b in pairs.items()):
        raise typer.BadParameter(f"'{texts[0]}' is no pair; write IN=OUT", param_hint="--state")
    return pairs or None


def parse_numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Finite numbers with commas between.

    Raises:
        typer.BadParameter: they are none.
    """
    if text is None:
        return None
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no number, nor numbers with commas between", param_hint=option) from None
    if not all(map(math.isfinite, found)):
        raise typer.BadParameter(f"'{text}' is not finite", param_hint=option)
    return found


def parse_pair(text: str | None, option: str) -> tuple[float, float] | None:
    """``A,B`` as two numbers.

    Raises:
        typer.BadParameter: they are none.
    """
    found = parse_numbers(text, option) if text is None or text.count(",") == 1 else ()
    if found is None:
        return None
    if len(found) != 2:
        raise typer.BadParameter(f"'{text}' is not two numbers with a comma between", param_hint=option)
    return found[0], found[1]


class _Bars:
    """One bar per stage, on stderr."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, total=total)
        self.progress.update(self.tasks[stage], completed=done, total=total)


@contextmanager
def bars() -> Iterator[Report | None]:
    """Progress bars for the API's callbacks; None where stderr is no terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:>14}"), BarColumn(32), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True, highlight=False), transient=True) as progress:
        yield _Bars(progress)


def warn(message: str) -> None:
    """A warning on stderr."""
    print(f"edgeq: warning: {message}", file=sys.stderr)


def note(message: str) -> None:
    """A remark on stderr."""
    print(f"edgeq: {message}", file=sys.stderr)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    print(json.dumps(value, indent=1, allow_nan=False))


def table(columns: Iterable[str | tuple[str, str]], rows: Iterable[Iterable[Any]], title: str | None = None) -> None:
    """Print a table. A column is a heading, or ``(heading, kind)``: kind ``right``, or ``text``, which may wrap. Cells are no markup."""
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.measure import Measurement
    from rich.table import Table

    grid = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        heading, kind = column if isinstance(column, tuple) else (column, "left")
        grid.add_column(heading, justify="right" if kind == "right" else "left", no_wrap=kind != "text", overflow="fold")
    for row in rows:
        grid.add_row(*(escape(str(cell)) for cell in row))
    out = console()
    out.width = max(out.width, Measurement.get(out, out.options.update(max_width=1000), grid).minimum)  # wrapped by the terminal, never cut
    out.print(grid)


def name_room() -> int:
    """Letters for a name in a table."""
    return 44 if console().width >= 130 else 22


def facts(title: str, values: Mapping[str, str]) -> None:
    """Print a heading and aligned `name value` lines; empty values are left out."""
    from rich.markup import escape

    out = console()
    out.print(f"[bold]{escape(title)}[/bold]")
    shown = {k: v for k, v in values.items() if v}
    width = max((len(k) for k in shown), default=0)
    for name, value in shown.items():
        out.print(f"  {name:<{width}}  {escape(value)}", soft_wrap=True)
