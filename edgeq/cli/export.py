"""edgeq export: emitted folder -> what another build system takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import FolderArgument, JsonOption


def export(
    folder: FolderArgument,
    form: Annotated[str, typer.Option("--format", "-f", help="c, cmake, cmsis-pack, zephyr, arduino or esp-idf.", show_default=False)],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="PATH", help="Folder or archive to write.", show_default=False)],
    trust: Annotated[bool, typer.Option("--trust", help="Export the folder's C even if it was changed after edgeq wrote it.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Export also if the folder is for other cores, or files of an older export were changed.")
    ] = False,
    annotate: Annotated[
        str,
        typer.Option("--annotate", metavar="acsl", help="acsl: loop bounds as comments, for Frama-C's value analysis.", show_default=False),
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Export a folder of `edgeq build` as plain C, CMake library, CMSIS-Pack, Zephyr module, Arduino library or ESP-IDF component."""
    from edgeq import api

    written = api.export(folder, form=form, output=output, trust=trust, force=force, annotate=annotate)
    if as_json:
        common.print_json({"written": str(written), "format": form})
    else:
        typer.echo(str(written))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq export out --format zephyr -o kws_module")(export)
