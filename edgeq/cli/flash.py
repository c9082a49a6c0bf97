"""edgeq flash: program -> board."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption


def flash(
    firmware: Annotated[
        Path | None,
        typer.Argument(metavar="FIRMWARE", help="ELF file of `edgeq firmware`, or a folder of `edgeq build`.", show_default=False),
    ] = None,
    board: Annotated[str | None, typer.Option("--board", "-b", help="Board, see `edgeq targets`.", show_default=False)] = None,
    port: Annotated[
        str | None,
        typer.Option("--port", "-p", help="Serial port, socket://HOST:PORT, or a drive's folder.", show_default=False),
    ] = None,
    programmer: Annotated[
        str | None,
        typer.Option(help="an3155, esptool, mcumgr, pyocd, copy or command (default: the board's).", show_default=False),
    ] = None,
    baud: Annotated[int | None, typer.Option(min=300, help="Bits per second (default: the board's).", show_default=False)] = None,
    command: Annotated[
        str | None,
        typer.Option(metavar="LINE", help="Your own programmer: {elf}, {bin}, {port}, {origin} are filled in.", show_default=False),
    ] = None,
    start: Annotated[bool, typer.Option("--start/--no-start", help="Start the firmware after it is written.")] = True,
    listen: Annotated[float, typer.Option(metavar="SECONDS", help="Then print what the board sends, until it is silent for SECONDS.")] = 0,
    allow_downgrade: Annotated[bool, typer.Option("--allow-downgrade", help="Flash even if the board runs a higher version.")] = False,
    key: Annotated[
        Path | None,
        typer.Option(metavar="PEM", help="Private key that signs the image for MCUboot (default: a hash alone).", show_default=False),
    ] = None,
    app: Annotated[str, typer.Option("--app", help="Application to build from a folder: serve, selftest or mlperf.")] = "serve",
    version: Annotated[str, typer.Option("--image-version", metavar="X.Y.Z", help="Version of a folder's program.")] = "0.0.0",
    list_ports: Annotated[bool, typer.Option("--list", help="List ports, drives and what seems to be connected.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a firmware to a board, verify it there and start it.

    A firmware for another core, or one that does not fit, is refused. If flashing is interrupted, the board's bootloader
    remains and starts no incomplete program, and the next attempt starts from the beginning. A board with two slots keeps
    the previous program until the new one has confirmed that it works.
    """
    from edgeq import api

    if list_ports:
        show_ports(as_json)
        return
    if firmware is None or board is None:
        raise typer.BadParameter("give FIRMWARE and --board, or --list")
    said = bytearray()
    with common.bars() as progress:
        done = api.flash(
            firmware, board=board, port=port, programmer=programmer, baud=baud, command=command, start=start, listen=listen,
            heard=said.extend, progress=progress, allow_downgrade=allow_downgrade, key=key, app=app,
            version=version,
        )  # fmt: skip
    text = said.decode("utf-8", "replace")
    if as_json:
        common.print_json({"board": board, "done": done, "said": text})
    else:
        typer.echo(f"{board}: {done}\n{text}".rstrip())


def show_ports(as_json: bool) -> None:
    """What is connected."""
    from edgeq.flash import ports

    found = ports.connected()
    if as_json:
        common.print_json([{"port": p.port, "what": p.what, "programmer": p.programmer, "boards": list(p.boards)} for p in found])
    elif found:
        rows = [(p.port, p.what, p.programmer, ", ".join(p.boards)) for p in found]
        common.table(["port", ("what it is", "text"), "programmer", "boards"], rows)
    else:
        typer.echo("Neither serial ports nor drives of boards are connected.")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq flash fw.elf --board mps2-an386 --port /dev/ttyACM0")(flash)
