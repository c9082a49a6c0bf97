"""edgeq new: a board to fill in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def new(
    board: Annotated[str, typer.Argument(metavar="BOARD", help="Name of the new board and target.", show_default=False)],
    core: Annotated[str, typer.Option("--core", "-c", help="Its chip: a target to inherit, cortex-m4 or riscv for example.")] = "cortex-m4",
    root: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where targets/ and firmware/ lie (default: edgeq's own).", show_default=False),
    ] = None,
) -> None:
    """Write a target, a board and a UART driver to fill in; docs/boards.md says how to go on."""
    from edgeq import api

    for path in api.new(board, core=core, root=root):
        typer.echo(str(path))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq new my-board --core cortex-m4")(new)
