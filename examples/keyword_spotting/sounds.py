"""The Free Spoken Digit Dataset: ten words, six speakers, 8 kHz. Two speakers are kept for the test."""

from __future__ import annotations

import io
import wave
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "fsdd" / "fsdd_wav.zip"
HELD_OUT = ("george", "theo")
LENGTH = 64 * 128  # samples of a clip: a second, 64 frames


class Clip(NamedTuple):
    word: int
    speaker: str
    samples: NDArray[np.int16]


def clips(path: Path = DATA) -> list[Clip]:
    """All recordings, in order.

    Raises:
        SystemExit: the data are absent.
    """
    if not path.is_file():
        raise SystemExit(f"no recordings at {path}: get the Free Spoken Digit Dataset and zip its .wav files")
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav")):
            word, speaker, _ = Path(name).stem.split("_")
            with wave.open(io.BytesIO(archive.read(name))) as sound:
                found.append(Clip(int(word), speaker, np.frombuffer(sound.readframes(sound.getnframes()), "<i2").astype(np.int16)))
    return found


def placed(samples: NDArray[np.int16], at: int | None = None) -> NDArray[np.int16]:
    """A clip of `LENGTH` samples with the word at a place, in the middle without one; what is longer is cut."""
    kept = samples[:LENGTH]
    start = (LENGTH - len(kept)) // 2 if at is None else at % (LENGTH - len(kept) + 1)
    clip = np.zeros(LENGTH, np.int16)
    clip[start : start + len(kept)] = kept
    return clip
