"""Report: one HTML file about an emitted folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeq import record
from edgeq.files import write_bytes
from edgeq.folder import digest
from edgeq.report import comparison, render

REPORT = "report.html"


def report(folder: str | Path, output: str | Path | None = None, *, other: str | Path | None = None) -> Path:
    """Write one self-contained HTML file about a folder that `build` wrote: what build, run, compare and accuracy measured on it.

    Args:
        output: the file to write; ``report.html`` in the folder without one.
        other: a second folder: the page compares the two step by step.

    Returns:
        its path.

    Raises:
        EdgeqError: the folder is none of edgeq's or damaged, or the file cannot be written.
    """
    folder = Path(folder)
    path = folder / REPORT if output is None else Path(output)
    page = (render(folder) if other is None else comparison.render(folder, Path(other))).encode()
    write_bytes(path, page)
    if path.resolve().parent == folder.resolve():  # the next build may replace it
        known = record.measured(folder, record.manifest(folder).sources_sha256)
        record.note(folder, replace(known, files={**known.files, path.resolve().name: digest(page)}))
    return path
