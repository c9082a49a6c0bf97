"""Programs to flash come from anybody: a small file must not become gigabytes."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from pathlib import Path

import pytest

from edgeq.errors import EdgeqError
from edgeq.flash import image

ALLOCATED, COMPRESSED = 2, 0x800


def elf(content: bytes, segments: int, sections: int, flags: int = ALLOCATED) -> bytes:
    """A program for Arm, of whose segments and sections each holds all of `content`."""
    start, count = 52 + 32 * segments + 40 * (sections + 1), len(content)
    head = b"\x7fELF\1\1\1".ljust(16, b"\0")
    head += struct.pack("<HHIIIIIHHHHHH", 2, 40, 1, 0, 52, 52 + 32 * segments, 0, 52, 32, segments, 40, sections + 1, 0)
    programs = struct.pack("<8I", 1, start, 0x8000000, 0x8000000, count, count, 5, 4) * segments
    headers = bytes(40) + struct.pack("<10I", 0, 1, flags, 0x8000000, start, count, 0, 0, 4, 0) * sections
    return head + programs + headers + content


def test_a_program_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf(b"program!", 1, 1))
    assert image.read(path).data == b"program!"


@pytest.mark.parametrize(("segments", "sections"), [(8, 32), (64, 4000)])
def test_sections_that_lie_in_one_place_are_not_all_read(segments: int, sections: int, tmp_path: Path) -> None:
    path = tmp_path / "a.elf"
    path.write_bytes(elf(bytes(2**20), segments, sections))
    tracemalloc.start()
    try:
        with pytest.raises(EdgeqError, match="damaged"):
            image.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * image.LARGEST
    finally:
        tracemalloc.stop()


def test_compressed_sections_are_refused(tmp_path: Path) -> None:
    path, size = tmp_path / "a.elf", 2**28
    packed = zlib.compressobj()
    small = b"".join(packed.compress(bytes(2**20)) for _ in range(size // 2**20)) + packed.flush()
    path.write_bytes(elf(struct.pack("<III", 1, size, 4) + small, 1, 1, ALLOCATED | COMPRESSED))
    tracemalloc.start()
    try:
        with pytest.raises(EdgeqError, match="damaged"):
            image.read(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()
