"""Arrays and pictures from files that nobody vouches for: small files that ask for much, passwords, and what is no array."""

from __future__ import annotations

import resource
import struct
import time
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from edgeq.errors import EdgeqError
from edgeq.files import read_arrays
from edgeq.frontends import torch_archive
from edgeq.ir import DType, Graph, Tensor, TensorType
from edgeq.quantize import images
from edgeq.quantize.samples import load_samples

MEBI = bytes(2**20)


def header(shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def archive(path: Path, member: str, parts: Iterable[bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method, compresslevel=1) as file, file.open(member, "w", force_zip64=True) as inside:
        for part in parts:
            inside.write(part)
    return path


def with_password(path: Path) -> Path:
    data = bytearray(archive(path, "x.npy", [header((1, 4)), bytes(16)]).read_bytes())
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    return path


CASES: dict[str, Callable[[Path], Path]] = {
    "zeros": lambda p: archive(p, "x.npy", [header((64 * 2**20, 4)), *[MEBI] * 300]),
    "a long header": lambda p: archive(p, "x.npy", [b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**30), *[b" " * 2**20] * 300]),
    "another method": lambda p: archive(p, "x.npy", [header((1, 4)), bytes(16)], zipfile.ZIP_BZIP2),
    "more than it holds": lambda p: archive(p, "x.npy", [header((2**36, 4))]),
    "a size that overflows": lambda p: archive(p, "x.npy", [header((2**62, 2**62))]),
    "a negative size": lambda p: archive(p, "x.npy", [header((-1, 4))]),
    "a header that nests": lambda p: archive(p, "x.npy", [b"\x93NUMPY\x01\x00" + struct.pack("<H", 8000) + b"(" * 7999 + b"\n"]),
    "a password": with_password,
}  # fmt: skip


def graph() -> Graph:
    t = TensorType((1, 4), DType.FLOAT32)
    return Graph("m", (), {"x": Tensor("x", t)}, ("x",), ("x",), "single")


@pytest.mark.parametrize("read", [read_arrays, lambda p: load_samples(p, graph())], ids=["arrays", "samples"])
@pytest.mark.parametrize("kind", CASES)
def test_archives_that_are_refused(kind: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    path = CASES[kind](tmp_path / "x.npz")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with warnings.catch_warnings(), pytest.raises(EdgeqError) as e:
        warnings.simplefilter("ignore")
        read(path)
    assert "\n" not in str(e.value)
    assert time.process_time() - start < 2 and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_what_numpy_packs_well_is_read(tmp_path: Path) -> None:
    x = np.zeros((2**20, 4), np.float32)
    np.savez_compressed(tmp_path / "x.npz", x=x)
    assert np.array_equal(read_arrays(tmp_path / "x.npz")["x"], x)


@pytest.mark.parametrize("name", ["m/data/weights/weight_0", "m/models/model.json"])
def test_an_archive_of_pytorch_that_unpacks_to_much(name: str, tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt2", name, [MEBI] * (300 if "weight" in name else 20))
    with pytest.raises(EdgeqError, match=r"unpacks to|graph is too large"):
        torch_archive.screened(path)


def test_a_picture_of_very_many_pixels(tmp_path: Path) -> None:
    """A PNG that says it has 2^15 x 2^12 pixels."""
    image = pytest.importorskip("PIL.Image")
    image.new("L", (1, 1)).save(tmp_path / "x.png")
    data = bytearray((tmp_path / "x.png").read_bytes())
    data[16:24] = struct.pack(">II", 2**15, 2**12)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "x.png").write_bytes(data)
    with pytest.raises(EdgeqError, match="cannot read this image"):
        images.picture(tmp_path / "x.png", "RGB", 4, 4)
