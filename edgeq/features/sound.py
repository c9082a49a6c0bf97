"""Recordings as samples."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import read_bytes, reason
from edgeq.ir import Array

MOST = 2**30  # bytes of a recording that are read: nine hours of 16 kHz
INTEGERS, EXTENSIBLE = 1, 0xFFFE  # kinds of samples; the second says the kind further on
KINDS = {INTEGERS: "", 3: " (floats)", 6: " (A-law)", 7: " (mu-law)"}
UNKNOWN = 0x7FFFF000  # bytes of samples, or more: who wrote it into a pipe did not know the length, and it goes on to the end


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """The chunks of a RIFF file: name, bytes that it should have, and those that are there."""
    at = 12
    while at + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, at)
        yield name, size, content[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


def read_sound(path: Path, rate: int = 0) -> Array:
    """The int16 samples of a .wav file, of one channel and of this rate unless it is 0.

    Raises:
        EdgeqError: it cannot be read, is damaged or empty, or has another rate, width, kind of samples or number of channels.
    """
    try:
        content = read_bytes(path, MOST)
    except OSError as e:
        raise EdgeqError("cannot read the recording", where=str(path), why=reason(e), fix="give a .wav file") from e
    found = {name: (size, body) for name, size, body in reversed(list(_chunks(content)))}  # the first of each
    kind, data = found.get(b"fmt ", (0, b""))[1], found.get(b"data")
    if (content[:4], content[8:12]) != (b"RIFF", b"WAVE") or len(kind) < 16 or data is None:
        raise EdgeqError("cannot read the recording", where=str(path), why="it is no .wav file, or damaged", fix="give a .wav file")
    tag, channels, own, _, _, bits = struct.unpack_from("<HHIIHH", kind)
    if tag == EXTENSIBLE and len(kind) >= 26:
        (tag,) = struct.unpack_from("<H", kind, 24)
    if (tag, own, bits, channels) != (INTEGERS, rate or own, 16, 1):
        why = f"{f'the description says {rate} Hz, ' if rate else 'samples are '}int16, one channel"
        what = f"a recording of {own} Hz, {bits} bits{KINDS.get(tag, f' (format {tag})')}, {channels} channels"
        raise EdgeqError(what, where=str(path), why=why, fix="convert it")
    size, samples = data
    if len(samples) < size < UNKNOWN or (size < UNKNOWN and size % 2):
        what = (
            f"the recording ends after {len(samples) // 2} of {size // 2} samples"
            if size % 2 == 0
            else "the recording ends in a half sample"
        )
        raise EdgeqError(what, where=str(path), why="it is damaged", fix="copy it again")
    if len(samples) < 2:
        raise EdgeqError("the recording holds no samples", where=str(path), fix="give another one")
    return np.frombuffer(samples[: len(samples) // 2 * 2], "<i2").astype(np.int16)
