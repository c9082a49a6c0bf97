"""edgeq report: one HTML file about an emitted model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import FolderArgument, JsonOption


def report(
    folder: FolderArgument,
    other: Annotated[Path | None, typer.Argument(metavar="[DIR]", help="A second folder to compare it with.", show_default=False)] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (default: DIR/report.html).", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML file: graph, memory map, flash and RAM by layer, instructions, ranges, bit-exactness.

    It shows what build, run, compare and accuracy measured on this folder; of two folders, their differences step by step.
    """
    from edgeq import api

    path = api.report(folder, output, other=other)
    if as_json:
        common.print_json({"report": str(path), "bytes": path.stat().st_size if path.is_file() else None})
    else:
        typer.echo(str(path))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq report out -o kws.html")(report)
