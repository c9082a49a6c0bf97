"""Where the files that travel with the package lie: templates, targets, firmware."""

from __future__ import annotations

from pathlib import Path


def resource(name: str) -> Path:
    """The folder `name`: inside an installed wheel, or beside the package in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "_data" / name
    return inside if inside.is_dir() else package.parent / name
