"""edgeq report: one HTML file about an emitted model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import FolderArgument, JsonOption


def report(
    folder: FolderArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write (default: DIR/report.html).", show_default=False)
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write one self-contained HTML file: graph, memory map, flash and RAM by layer, instructions, ranges, bit-exactness.

    It shows what build, run, compare and accuracy measured on this folder.
    """
    from edgeq.files import write_bytes
    from edgeq.report import render

    path = output or folder / "report.html"
    page = render(folder).encode()
    write_bytes(path, page)
    if path.resolve().parent == folder.resolve():  # the next build may replace it
        note_file(folder, path.resolve().name, page)
    if as_json:
        common.print_json({"report": str(path), "bytes": len(page)})
    else:
        typer.echo(str(path))


def note_file(folder: Path, name: str, content: bytes) -> None:
    """Record a file that was written into an emitted folder."""
    from edgeq import record
    from edgeq.folder import digest

    known = record.measured(folder, record.manifest(folder).sources_sha256)
    record.note(folder, replace(known, files={**known.files, name: digest(content)}))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq report out -o kws.html")(report)
