"""Tensors whose data lie in a file beside the model (``m.onnx`` + ``m.onnx.data``, PyTorch's default export) take them in.

Only regular files in the model's own folder are opened, without following links, and nothing is read before its offset and
length have been held against the tensor's shape and the file's size.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto

from edgeq.errors import EdgeqError

FIX = "save the model as one file (onnx.save with save_as_external_data=False)"
MAX_BYTES = 2**30  # of all external data together


def is_external(tensor: TensorProto) -> bool:
    return bool(tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data))


def take_in(tensors: Iterable[TensorProto], folder: Path, where: str, bits: dict[int, int]) -> None:
    """Put every external tensor's bytes into the tensor.

    Args:
        folder: of the model file.
        bits: element type -> its width.

    Raises:
        EdgeqError: a location outside the folder or behind a link, an offset or length that contradicts the file or the shape,
            or more than `MAX_BYTES` in all.
    """
    left = MAX_BYTES
    for tensor in tensors:
        if not is_external(tensor):
            continue
        name = "".join(c if c.isprintable() else "?" for c in tensor.name[:80])
        try:
            entries = {e.key: e.value for e in tensor.external_data}
            size = _size(tensor, bits)
            left -= size
            if left < 0:
                raise EdgeqError("the external data are too large", why=f"at most {MAX_BYTES} bytes are read")
            data = _bytes(folder, entries, size)
        except EdgeqError as e:
            raise EdgeqError(f"tensor '{name}' lies in another file and cannot be read: {e.what}", where=where, why=e.why, fix=FIX) from e
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
        tensor.raw_data = data


def _size(tensor: TensorProto, bits: dict[int, int]) -> int:
    """Bytes that the shape needs."""
    if min(tensor.dims, default=0) < 0 or tensor.data_type not in bits:
        raise EdgeqError("its shape or type is damaged")
    return int(math.prod(tensor.dims) * bits[tensor.data_type] + 7) // 8


def _bytes(folder: Path, entries: dict[str, str], size: int) -> bytes:
    numbers = {}
    for key in ("offset", "length"):
        text = entries.get(key, "")
        if text and not (text.isascii() and text.isdigit() and len(text) < 19):
            raise EdgeqError(f"its {key} is no number")
        numbers[key] = int(text or 0)
    if entries.get("length") and numbers["length"] != size:
        raise EdgeqError(f"it has {numbers['length']} bytes there", why=f"its shape needs {size}")
    path = _path(folder, entries.get("location", ""))
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(path, flags), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise EdgeqError(f"'{path.name}' is no regular file")
            if numbers["offset"] + size > status.st_size:
                why = f"bytes {numbers['offset']} to {numbers['offset'] + size} are wanted"
                raise EdgeqError(f"'{path.name}' has {status.st_size} bytes", why=why)
            file.seek(numbers["offset"])
            data = file.read(size)
    except OSError as e:
        raise EdgeqError(f"'{path.name}' cannot be opened", why=e.strerror or type(e).__name__) from e
    if len(data) != size:
        raise EdgeqError(f"'{path.name}' ends early")
    return data


def _path(folder: Path, location: str) -> Path:
    """The file of a location, which must lie in the model's folder and be reached without links."""
    shown = "".join(c if c.isprintable() else "?" for c in location[:80])
    parts = PurePosixPath(location).parts
    windows = PureWindowsPath(location)
    if not parts or "\0" in location or "\\" in location or ".." in parts or parts[0] == "/" or windows.drive or windows.root:
        raise EdgeqError(f"its location '{shown}' is not inside the model's folder")
    path = folder
    for part in parts:
        path = path / part
        if path.is_symlink():
            raise EdgeqError(f"'{shown}' is reached through a link")
    return path
