"""Recordings of all kinds: what is read, and how what cannot be read is refused."""

from __future__ import annotations

import os
import struct
import wave
from pathlib import Path

import numpy as np
import pytest

from edgeq.errors import EdgeqError
from edgeq.features.sound import read_sound

SAMPLES = np.array([0, 1, -1, 32767, -32768, 5], "<i2")


def recording(
    data: bytes = SAMPLES.tobytes(), *, tag: int = 1, channels: int = 1, rate: int = 16000, bits: int = 16, size: int | None = None,
    sub: int | None = None, before: bytes = b"",
) -> bytes:  # fmt: skip
    """A .wav file; `size` is what it says of its samples, `sub` the kind of an extensible one, `before` stands before the samples."""
    step = channels * bits // 8
    kind = struct.pack("<HHIIHH", 0xFFFE if sub else tag, channels, rate, rate * step, step, bits)
    if sub:
        kind += struct.pack("<HHIH", 22, bits, 4, sub) + bytes.fromhex("000000001000800000aa00389b71")
    said = len(data) if size is None else size
    body = b"WAVE" + struct.pack("<4sI", b"fmt ", len(kind)) + kind + before + struct.pack("<4sI", b"data", said) + data
    return struct.pack("<4sI", b"RIFF", min(2**32 - 1, len(body) - len(data) + said)) + body


READ = {
    "plain": recording(),
    "extensible": recording(sub=1),
    "with other chunks": recording(before=struct.pack("<4sI", b"LIST", 3) + b"abc\0") + struct.pack("<4sI", b"id3 ", 2) + b"ab",
    "of a pipe by ffmpeg": recording(size=2**32 - 1),
    "of a pipe by sox": recording(size=0x7FFFF000),
    "of a pipe, cut": recording(SAMPLES.tobytes() + b"\1", size=2**32 - 1),
}
REFUSED = {
    "24 bits": (
        recording(bytes(12), bits=24),
        r"16000 Hz, 24 bits, 1 channels \(samples are int16, one channel\). Fix: convert",
    ),
    "8 bits": (recording(bits=8), "8 bits"),
    "stereo": (recording(channels=2), "2 channels"),
    "floats": (recording(tag=3, bits=32), r"32 bits \(floats\)"),
    "half floats": (recording(tag=3), r"16 bits \(floats\)"),
    "extensible floats": (recording(sub=3, bits=32), r"32 bits \(floats\)"),
    "mu-law": (recording(tag=7, bits=8), r"\(mu-law\)"),
    "ADPCM": (recording(tag=17, bits=4), r"\(format 17\)"),
    "no channels": (recording(channels=0), "0 channels"),
    "truncated": (recording()[:-3], "ends after 4 of 6 samples"),
    "a huge header": (recording(size=2**30), "ends after 6 of 536870912 samples"),
    "half a sample": (recording(SAMPLES.tobytes() + b"\1"), "half sample"),
    "zero length": (recording(b""), "no samples"),
    "a pipe of nothing": (recording(b"", size=2**32 - 1), "no samples"),
    "no samples at all": (recording()[:36], "no .wav file, or damaged"),
    "half a header": (recording()[:30], "no .wav file, or damaged"),
    "big endian": (b"RIFX" + recording()[4:], "no .wav file"),
    "64 bits": (b"RF64" + recording()[4:], "no .wav file"),
    "empty": (b"", "no .wav file"),
    "text": (b"hello", "no .wav file"),
}


@pytest.mark.parametrize("kind", READ)
def test_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(READ[kind])
    found = read_sound(path, 16000)
    assert found.dtype == np.int16 and np.array_equal(found, SAMPLES)


def test_as_python_writes_it(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "x.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(SAMPLES.tobytes())
    assert np.array_equal(read_sound(tmp_path / "x.wav"), SAMPLES)


@pytest.mark.parametrize("kind", REFUSED)
def test_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    path.write_bytes(REFUSED[kind][0])
    with pytest.raises(EdgeqError, match=REFUSED[kind][1]):
        read_sound(path)


def test_neither_devices_nor_pipes_nor_folders(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    for path, why in (
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe.wav", "a named pipe"),
        (tmp_path, "directory"),
        (tmp_path / "no", "No"),
    ):
        with pytest.raises(EdgeqError, match=f"cannot read the recording.*{why}"):
            read_sound(path)


def test_cut_and_changed_anywhere(tmp_path: Path) -> None:
    """Whatever a file holds, it is read or refused."""
    rng, whole, path = np.random.default_rng(0), READ["extensible"], tmp_path / "x.wav"
    for i in range(400):
        content = bytearray(whole[: int(rng.integers(len(whole)))] if i % 2 else whole)
        for _ in range(int(rng.integers(4))):
            if content:
                content[int(rng.integers(len(content)))] = int(rng.choice([0, 1, 127, 128, 255]))
        path.write_bytes(content)
        try:
            assert read_sound(path).size
        except EdgeqError:
            continue
