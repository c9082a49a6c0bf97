"""Sound features held against librosa and torchaudio on speech, in dB of signal to noise.

    pip install librosa torchaudio
    python -m benchmarks.front_ends [recording.wav]        # 16 kHz, int16; by default spoken digits of ../shared/data/fsdd

Neither is needed by edgeq; what is not installed is left out.
"""

from __future__ import annotations

import argparse
import io
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal

from edgeq import features
from edgeq.api.sounds import features_of
from edgeq.features.description import smoothing
from edgeq.features.sound import read_sound
from edgeq.ir import Array

DIGITS = Path(__file__).parents[2] / "shared" / "data" / "fsdd" / "fsdd_wav.zip"
PRECISIONS = ("float32", "half", "int16")
LIBROSA = {"n_fft": 512, "win_length": 400}
TORCHAUDIO = {"n_fft": 480, "hop_length": 240, "log": "ln", "log_mode": "add", "log_floor": 1e-6, "htk": True, "norm": "none"}


def speech() -> Array:
    """Two seconds of digits at 16 kHz, int16."""
    with zipfile.ZipFile(DIGITS) as archive:
        parts = []
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav"))[::97][:6]:
            with wave.open(io.BytesIO(archive.read(name))) as sound:
                parts.append(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
    return np.asarray(scipy.signal.resample_poly(np.concatenate(parts), 2, 1)[:32000].clip(-32768, 32767), np.int16)


def by_librosa(d: features.Description, samples: Array) -> Array:
    """The features, ``[frames, width]``; librosa puts a short window into the middle of a frame."""
    import librosa

    side = np.zeros((d.n_fft - d.length) // 2, np.float32)
    y = np.concatenate([side, samples, side])
    sizes: dict[str, Any] = {"n_fft": d.n_fft, "win_length": d.length, "hop_length": d.hop_length, "center": False}
    if d.kind == "stft":
        return np.asarray(np.abs(librosa.stft(y, **sizes)).T)
    bands = librosa.feature.melspectrogram(y=y, sr=d.sample_rate, n_mels=d.n_mels, **sizes)
    if d.kind == "pcen":
        start = np.full((d.n_mels, 1), 1 - smoothing(d))
        return np.asarray(librosa.pcen(bands, sr=d.sample_rate, hop_length=d.hop_length, zi=start).T)
    levels = librosa.power_to_db(bands, ref=1.0, amin=d.log_floor, top_db=None)
    return np.asarray((librosa.feature.mfcc(S=levels, n_mfcc=d.n_mfcc) if d.kind == "mfcc" else levels).T)


def by_torchaudio(d: features.Description, samples: Array) -> Array:
    """The features, ``[frames, width]``."""
    import torch
    from torchaudio import transforms

    x = torch.from_numpy(samples)
    sizes: dict[str, Any] = {"n_fft": d.n_fft, "win_length": d.length, "hop_length": d.hop_length, "center": False}
    if d.kind == "stft":
        return np.asarray(transforms.Spectrogram(power=1.0, **sizes)(x).T)
    if d.kind == "log_mel":
        return np.asarray((transforms.MelSpectrogram(d.sample_rate, n_mels=d.n_mels, **sizes)(x) + d.log_floor).log().T)
    made = transforms.MFCC(d.sample_rate, n_mfcc=d.n_mfcc, log_mels=True, melkwargs={"n_mels": d.n_mels, **sizes})
    return np.asarray(made(x).T)


PEERS: tuple[tuple[str, tuple[str, ...], dict[str, Any], Callable[[features.Description, Array], Array]], ...] = (
    ("librosa", ("stft", "log_mel", "mfcc", "pcen"), LIBROSA, by_librosa),
    ("torchaudio", ("stft", "log_mel", "mfcc"), TORCHAUDIO, by_torchaudio),
)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recording", nargs="?", type=Path, default=None)
    recording = parser.parse_args().recording
    samples = speech() if recording is None else read_sound(recording, 16000)
    print("| | features | " + " | ".join(PRECISIONS) + " |\n|---|---|---|---|---|")
    for peer, kinds, settings, compute in PEERS:
        for kind in kinds:
            cells = []
            for precision in PRECISIONS:
                d = features.parse({"kind": kind, "precision": precision, **settings, **({"power": 1} if kind == "stft" else {})})
                x = np.concatenate([np.zeros(d.length - d.hop_length), samples / 32768]).astype(np.float32)
                try:
                    want = compute(d, x).astype(np.float64)
                except (ImportError, OSError):
                    break
                got = features_of(d, samples).astype(np.float64)
                count = min(len(want), len(got))
                cells.append(f"{10 * np.log10((want[:count] ** 2).sum() / ((got[:count] - want[:count]) ** 2).sum()):.0f}")
            if cells:
                print(f"| {peer} | {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
