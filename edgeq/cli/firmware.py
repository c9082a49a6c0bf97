"""edgeq firmware: emitted folder -> program for a board."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import FolderArgument, JsonOption, OptimizeOption, ToolchainOption, TrustOption
from edgeq.text import size

BoardOption = Annotated[str, typer.Option("--board", "-b", help="Target with a board, see `edgeq targets`.", show_default=False)]

APPS = (
    "What it does: serve answers `edgeq run`, `compare` and `bench --port`; selftest runs the test vectors and prints PASS or FAIL; "
    "mlperf answers the MLPerf Tiny runner."
)


def firmware(
    folder: FolderArgument,
    board: BoardOption,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="ELF file to write.", show_default=False)],
    app: Annotated[str, typer.Option("--app", help=APPS)] = "selftest",
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="flash|ram",
            help="Where weights are at run time; in ram a host can inject faults (serve). Default: as the folder was built.",
            show_default=False,
        ),
    ] = None,
    bootloader: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write edgeq's bootloader for the board, to be put there once.", show_default=False),
    ] = None,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    trust: TrustOption = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compile even if the folder was built for a core with other instructions.")
    ] = False,
    slots: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=2,
            help="Slots of edgeq's bootloader; 2: the old program stays until the new one works (default: 2 if it fits).",
            show_default=False,
        ),
    ] = None,
    version: Annotated[
        str, typer.Option("--image-version", metavar="X.Y.Z", help="Version of the program; boards refuse lower ones.")
    ] = "0.0.0",
    as_json: JsonOption = False,
) -> None:
    """Compile a folder that edgeq wrote into a program for a board, ready for `edgeq flash`."""
    from edgeq import api

    made = api.firmware(
        folder,
        board=board,
        output=output,
        app=app,
        weights=weights,
        bootloader=bootloader,
        toolchain=toolchain,
        optimize=optimize or "s",
        trust=trust,
        force=force,
        slots=slots,
        version=version,
    )
    if as_json:
        common.print_json(
            {
                "elf": str(made.elf),
                "origin": made.origin,
                "bytes": made.bytes,
                "bootloader": made.bootloader and str(made.bootloader),
                "slots": made.slots,
                "version": made.version,
            }
        )
        return
    common.facts(
        f"{app} for {board}",
        {
            "program": f"{made.elf}, {size(made.bytes)} at {made.origin:#x}",
            "bootloader": str(made.bootloader or ""),
            "slots": {0: "", 1: "one: a failed update leaves no program", 2: "two: a failed update leaves the old program"}[made.slots],
            "next": f"edgeq flash {shlex.quote(str(made.elf))} --board {board} --port PORT",
        },
    )


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq firmware out --board mps2-an386 -o fw.elf --bootloader boot.elf")(firmware)
