"""Description files, of sounds and of pictures, and their graphs."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.features.description import Description, parse, read_table
from edgeq.features.graph import build, join
from edgeq.features.image import IMAGE, ImageDescription, build_image, join_image, parse_image
from edgeq.ir import Graph


def read(path: Path) -> Description | ImageDescription:
    """A description file: of pictures where its kind is ``image``, else of sounds.

    Raises:
        EdgeqError: it cannot be read, is no TOML, or says what cannot be.
    """
    table = read_table(path)
    try:
        return parse_image(table) if table.get("kind") == IMAGE else parse(table)
    except EdgeqError as e:
        raise EdgeqError(e.what, where=str(path), why=e.why, fix=e.fix) from e


def of_file(path: Path, model: Graph | None = None) -> Graph:
    """The graph of a description file, with the model that it names, if any.

    Raises:
        EdgeqError: the description or the model does not fit.
    """
    d = read(path)
    try:
        if isinstance(d, ImageDescription):
            return join_image(d, model, path.stem) if model is not None else build_image(d, path.stem)
        return join(d, model, path.stem) if model is not None else build(d, path.stem)
    except EdgeqError as e:
        raise EdgeqError(e.what, where=f"{path}: {e.where}" if e.where else str(path), why=e.why, fix=e.fix) from e
