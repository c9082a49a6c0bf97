"""Sound files: mono, 16 kHz, int16 inside; any rate and 8, 16, 24 or 32 bit integers or floats in a .wav on entry."""

from __future__ import annotations

from math import gcd
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile
from scipy.signal import resample_poly

RATE = 16000
Array = NDArray[Any]


def to_rate(x: Array, rate: int) -> Array:
    """Resample float samples from `rate` Hz to 16 kHz (polyphase, Kaiser window)."""
    if rate == RATE:
        return x
    common = gcd(RATE, rate)
    return np.asarray(resample_poly(x, RATE // common, rate // common))


def to_pcm(x: Array) -> Array:
    """Samples in -1...1 as int16, rounded and limited."""
    return np.clip(np.rint(np.asarray(x, np.float64) * 32768), -32768, 32767).astype(np.int16)


def read_wav(path: Path | IO[bytes]) -> Array:
    """The first channel of a .wav file: float64 [N] in -1...1 at 16 kHz.

    Raises:
        ValueError: not a .wav file of PCM or float samples.
    """
    rate, data = wavfile.read(path)
    return to_rate(_real(data if data.ndim == 1 else data[:, 0]), rate)


def _real(data: Array) -> Array:
    """Samples as stored to -1...1."""
    if data.dtype.kind == "f":
        return data.astype(np.float64)
    if data.dtype == np.uint8:
        return (data.astype(np.float64) - 128) / 128
    return data.astype(np.float64) / -float(np.iinfo(data.dtype).min)


def write_wav(path: Path, pcm: Array) -> None:
    """int16 [N] as a 16 kHz mono .wav file."""
    if pcm.dtype != np.int16:
        raise ValueError(f"samples of {pcm.dtype}, int16 wanted: use to_pcm")
    path.parent.mkdir(parents=True, exist_ok=True)
    wavfile.write(path, RATE, pcm)
