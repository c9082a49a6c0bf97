"""edgeq firmware: emitted folder -> program for a board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import FolderArgument, JsonOption, OptimizeOption, ToolchainOption
from edgeq.text import size

BoardOption = Annotated[str, typer.Option("--board", "-b", help="Target with a board, see `edgeq targets`.", show_default=False)]


def firmware(
    folder: FolderArgument,
    board: BoardOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="ELF file to write.", show_default=False)],
    app: Annotated[str, typer.Option("--app", help="What it does: selftest runs the test vectors and prints PASS or FAIL.")] = "selftest",
    bootloader: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write edgeq's bootloader for the board, to be put there once.", show_default=False),
    ] = None,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compile a folder of edgeq's into a program for a board, ready for `edgeq flash`."""
    from edgeq import api

    made = api.firmware(
        folder, board=board, output=output, app=app, bootloader=bootloader, toolchain=toolchain, optimize=optimize or "s"
    )
    if as_json:
        common.print_json(
            {"elf": str(made.elf), "origin": made.origin, "bytes": made.bytes, "bootloader": made.bootloader and str(made.bootloader)}
        )
        return
    common.facts(
        f"{app} for {board}",
        {
            "program": f"{made.elf}, {size(made.bytes)} at {made.origin:#x}",
            "bootloader": str(made.bootloader or ""),
            "next": f"edgeq flash {made.elf} --board {board} --port PORT",
        },
    )


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq firmware out --board mps2-an386 -o fw.elf --bootloader boot.elf")(firmware)
