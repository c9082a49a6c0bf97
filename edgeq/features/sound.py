"""Recordings as samples."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.files import reason
from edgeq.ir import Array


def read_sound(path: Path, rate: int = 0) -> Array:
    """The int16 samples of a .wav file, of one channel and of this rate unless it is 0.

    Raises:
        EdgeqError: it cannot be read, or has another rate, width or number of channels.
    """
    try:
        with wave.open(str(path), "rb") as file:
            found, width, channels = file.getframerate(), file.getsampwidth(), file.getnchannels()
            data = file.readframes(file.getnframes())
    except (OSError, EOFError, wave.Error) as e:
        raise EdgeqError("cannot read the recording", where=str(path), why=reason(e), fix="give a .wav file") from e
    if (found, width, channels) != (rate or found, 2, 1):
        why = f"{f'the description says {rate} Hz, ' if rate else 'samples are '}int16, one channel"
        raise EdgeqError(f"a recording of {found} Hz, {8 * width} bits, {channels} channels", where=str(path), why=why, fix="convert it")
    return np.frombuffer(data, "<i2").astype(np.int16)
