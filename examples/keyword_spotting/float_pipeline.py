"""The float pipeline: the features of listen.toml by numpy, as librosa's melspectrogram and power_to_db without centring."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeq import features
from edgeq.features.description import mel_bank, weights

HERE = Path(__file__).parent


def log_mel(clips: list[NDArray[np.int16]]) -> NDArray[np.float32]:
    """Decibels of bands, float32 ``[N, 1, frames, bands]``, of clips one after the other; zeros stand before the first."""
    d = features.read(HERE / "listen.toml")
    samples = np.concatenate([np.zeros(d.length - d.hop_length), *clips]).astype(np.float32) / 32768
    frames = np.lib.stride_tricks.sliding_window_view(samples, d.length)[:: d.hop_length]
    window, bank = weights(d).astype(np.float32), mel_bank(d).T.astype(np.float32)
    levels = [np.abs(np.fft.rfft(part * window, d.n_fft)) ** 2 @ bank for part in np.array_split(frames, max(1, len(frames) // 4096))]
    decibels = 10 * np.log10(np.maximum(np.concatenate(levels), d.log_floor))
    return decibels.reshape(len(clips), 1, -1, d.n_mels).astype(np.float32)
