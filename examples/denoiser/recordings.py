"""Pairs of clean and noisy sound: made by sound.py, or read from a folder.

A folder holds ``clean/*.wav`` and ``noisy/*.wav`` of the same names, and perhaps ``calibration/*.wav``, noisy (the layout of
the Edinburgh noisy speech corpus, for one); or .zip files or folders of .wav files of clean speech, to which noise is added.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from audio import RATE, read_wav, to_pcm
from numpy.typing import NDArray
from sound import gain_for, noise, pair, voice

Array = NDArray[Any]
SECONDS = 3.0
CALIBRATION_SEED, TEST_SEED = 1000, 2000  # training takes the seeds below


@dataclass(frozen=True)
class Utterance:
    """A recording: int16 [N] at 16 kHz each."""

    name: str
    clean: Array
    noisy: Array


def synthetic(seed: int, count: int, seconds: float = SECONDS) -> list[Utterance]:
    """Voices in noise at 0, 5 and 10 dB in turn."""
    made = [(f"seed{seed + i}", pair(seed + i, seconds, 5.0 * (i % 3))) for i in range(count)]
    return [Utterance(name, to_pcm(c), to_pcm(x)) for name, (c, x) in made]


def test_set(folder: Path | None, count: int) -> list[Utterance]:
    """Pairs to judge a network with.

    Raises:
        ValueError: the folder has no pairs.
    """
    if folder is None:
        return synthetic(TEST_SEED, count)
    found = [Utterance(p.stem, to_pcm(read_wav(p)), to_pcm(read_wav(folder / "noisy" / p.name))) for p in _pairs(folder)]
    if not found:
        raise ValueError(f"{folder} holds no clean/*.wav with a noisy/*.wav of the same name")
    return found[:count]


def calibration_set(folder: Path | None, count: int) -> list[Array]:
    """Noisy sound to calibrate with, int16 [N] each: the folder's calibration/*.wav, else synthetic."""
    files = sorted((folder / "calibration").glob("*.wav"))[:count] if folder else []
    return [to_pcm(read_wav(p)) for p in files] or [u.noisy for u in synthetic(CALIBRATION_SEED, count)]


def _pairs(folder: Path) -> list[Path]:
    return [p for p in sorted((folder / "clean").glob("*.wav")) if (folder / "noisy" / p.name).is_file()]


class Pool:
    """What training draws from: pieces of clean sound and of noise, float32, mixed afresh each time.

    Args:
        folder: of recordings that are used beside the synthetic sound, half and half; None: synthetic only.
        pieces: how many pieces of clean sound and of noise to make.
    """

    def __init__(self, rng: np.random.Generator, folder: Path | None, pieces: int, seconds: float) -> None:
        self.length = int(RATE * seconds)
        self.clean = [voice(rng, self.length) for _ in range(pieces)]
        self.noises = [noise(rng, self.length) for _ in range(pieces)]
        if folder is not None:
            clean, noises = _recordings(folder)
            self.clean += self._pieces(rng, clean, pieces)
            self.noises += self._pieces(rng, noises, pieces)

    def _pieces(self, rng: np.random.Generator, recordings: list[Array], count: int) -> list[Array]:
        """At most `count` pieces of the pool's length out of recordings laid end to end in random order."""
        if not recordings:
            return []
        joined = np.concatenate([recordings[i] for i in rng.permutation(len(recordings))])
        joined = np.resize(joined, max(len(joined), self.length))
        return [joined[i : i + self.length] for i in range(0, len(joined) - self.length + 1, self.length)][:count]

    def draw(self, rng: np.random.Generator) -> tuple[Array, Array]:
        """A piece of clean sound and what to add to it: -5 to 20 dB, any level, any slope of the microphone's, any moment."""
        clean, added = self.clean[rng.integers(len(self.clean))], self.noises[rng.integers(len(self.noises))]
        clean, added = (np.roll(x, rng.integers(self.length)) for x in (clean, added))
        level, slope = 10 ** rng.uniform(-0.9, 0.5), rng.uniform(-0.5, 0.3)
        clean = np.asarray(clean + slope * np.roll(clean, 1), np.float32) * np.float32(level)
        return clean, added * np.float32(gain_for(clean, added, rng.uniform(-5, 20)))


def _recordings(folder: Path) -> tuple[list[Array], list[Array]]:
    """Clean sounds, and noises (what a noisy recording has more than its clean one), float32.

    Raises:
        ValueError: there are none.
    """
    clean, noises = [], []
    for path in _pairs(folder):
        c, x = read_wav(path), read_wav(folder / "noisy" / path.name)
        clean.append(c)
        noises.append(x[: len(c)] - c[: len(x)])
    clean += list(_loose(folder))
    if not clean:
        raise ValueError(f"{folder} holds neither clean/ and noisy/ nor .wav or .zip files")
    return [x.astype(np.float32) for x in clean], [x.astype(np.float32) for x in noises]


def _loose(folder: Path) -> Iterator[Array]:
    """Every .wav file right in the folder and in the .zip files there."""
    for path in sorted(folder.glob("*.wav")):
        yield read_wav(path)
    for path in sorted(folder.glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for name in sorted(n for n in archive.namelist() if n.endswith(".wav")):
                yield read_wav(io.BytesIO(archive.read(name)))
