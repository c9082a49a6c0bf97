"""Description files, of sounds, pictures and sensors, and their graphs."""

from __future__ import annotations

from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.features.description import Description, parse
from edgeq.features.graph import build, join
from edgeq.features.image import IMAGE, ImageDescription, build_image, join_image, parse_image
from edgeq.features.sensor import KINDS, SensorDescription, build_sensor, join_sensor, parse_sensor
from edgeq.features.table import read_table
from edgeq.ir import Graph

AnyDescription = Description | ImageDescription | SensorDescription


def read(path: Path) -> AnyDescription:
    """A description file: of pictures where its kind is ``image``, of sensors where it is ``sensor`` or ``imu``, else of sounds.

    Raises:
        EdgeqError: it cannot be read, is no TOML, or says what cannot be.
    """
    table = read_table(path)
    try:
        kind = table.get("kind")
        return parse_image(table) if kind == IMAGE else parse_sensor(table) if kind in KINDS else parse(table)
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
        if isinstance(d, SensorDescription):
            return join_sensor(d, model, path.stem) if model is not None else build_sensor(d, path.stem)
        return join(d, model, path.stem) if model is not None else build(d, path.stem)
    except EdgeqError as e:
        raise EdgeqError(e.what, where=f"{path}: {e.where}" if e.where else str(path), why=e.why, fix=e.fix) from e
