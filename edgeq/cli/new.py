"""edgeq new: a board to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption


def new(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="Name of the new board and target.", show_default=False)],
    core: Annotated[str, typer.Option("--core", "-c", help="Its chip: a target to inherit, cortex-m4 or riscv for example.")] = "cortex-m4",
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to write targets/ and firmware/ (default: the current folder).", show_default=False),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a target, a board and a UART driver to fill in; docs/boards.md describes the next steps."""
    from edgeq import api

    written = [str(path) for path in api.new(board, core=core, root=root)]
    if as_json:
        common.print_json({"board": board, "written": written})
    else:
        typer.echo("\n".join(written))
        common.note(f"fill them in, then: edgeq build MODEL -t {written[0]} -o DIR")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq new my-board --core cortex-m4")(new)
