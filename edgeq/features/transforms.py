"""Front ends of torchaudio's transforms, read from the objects that a network was trained with."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.features import windows
from edgeq.features.description import Description, parse

MFCC_FLOOR = 1e-6  # what torchaudio's MFCC adds with log_mels
FIX = "write a description (docs/features.md)"


def is_transform(module: object) -> bool:
    """Whether it is a transform of torchaudio, or a torch.nn.Sequential that begins with one."""
    first = next(iter(module), module) if _kind(module) == "Sequential" and isinstance(module, Iterable) else module
    return type(first).__module__.split(".")[0] == "torchaudio"


def of_transform(module: Any, **more: Any) -> Description:
    """The description of a Spectrogram, MelSpectrogram or MFCC, or of a Sequential of one of the first two and AmplitudeToDB.

    Args:
        more: what the transform does not say: `precision`, `frames`, of a Spectrogram `sample_rate`, …

    Raises:
        EdgeqError: another transform, or what a stream cannot compute, by its keyword.
    """
    parts = list(module) if _kind(module) == "Sequential" else [module]
    table = _first(parts[0])
    for part in parts[1:]:
        if _kind(part) != "AmplitudeToDB" or len(parts) > 2 or table["kind"] not in ("mel", "stft"):
            raise EdgeqError(f"{_kind(part)} after {_kind(parts[0])} is not supported", why="one AmplitudeToDB may follow", fix=FIX)
        if table["kind"] == "stft":
            raise EdgeqError("decibels of a Spectrogram are not supported", fix="use a MelSpectrogram")
        table |= {"kind": "log_mel", "log": "db", "log_mode": "max", "log_floor": float(part.amin), "top_db": part.top_db}
        if float(part.multiplier) != (10.0 if table["power"] == 2 else 20.0) or float(part.db_multiplier) != 0.0:
            why = f"power is {table['power']}, the multiplier {float(part.multiplier):g}"
            fix = "stype='power' for power=2, 'magnitude' for power=1"
            raise EdgeqError("AmplitudeToDB does not fit the spectrum before it", why=why, fix=fix)
    return parse(table | more)


def _kind(module: object) -> str:
    return type(module).__name__


def _first(part: Any) -> dict[str, Any]:
    """Of a transform that takes samples."""
    kind = _kind(part)
    if kind == "Spectrogram":
        return {"kind": "stft", **_spectrum(part)}
    if kind == "MelSpectrogram":
        bank = part.mel_scale
        bands = {"n_mels": int(bank.n_mels), "f_min": float(bank.f_min), "f_max": float(bank.f_max), "mel_scale": bank.mel_scale}
        rate = {"sample_rate": int(part.sample_rate), "norm": bank.norm or "none"}
        return {"kind": "mel", **_spectrum(part.spectrogram), **bands, **rate}
    if kind == "MFCC":
        if not part.log_mels:
            why = "a stream does not know the peak of the whole recording"
            raise EdgeqError("top_db = 80 of MFCC", why=why, fix="train with log_mels=True")
        if part.norm != "ortho":
            why = "coefficients are those of the orthonormal DCT-II"
            raise EdgeqError(f"norm = {part.norm!r} of MFCC", why=why, fix="train with norm='ortho'")
        levels = {"kind": "mfcc", "n_mfcc": int(part.n_mfcc), "dct_type": part.dct_type}
        return {**_first(part.MelSpectrogram), **levels, "log": "ln", "log_mode": "add", "log_floor": MFCC_FLOOR}
    raise EdgeqError(f"torchaudio's {kind} is not supported", why="Spectrogram, MelSpectrogram and MFCC are", fix=FIX)


def _spectrum(part: Any) -> dict[str, Any]:
    if part.pad:
        raise EdgeqError(f"pad = {part.pad}", why="a stream has no ends to pad", fix="train with pad=0")
    if part.power not in (1, 2):
        raise EdgeqError(f"power = {part.power} of a Spectrogram is not supported", why="1 and 2 are")
    own = np.asarray(part.window, np.float64)
    names = [name for name in windows.NAMES if np.allclose(windows.weights(name, len(own)), own, atol=1e-6)]
    if not names:
        raise EdgeqError(f"the window of {len(own)} samples is none of {', '.join(windows.NAMES)}", fix="train with one of those, periodic")
    sizes = {"n_fft": int(part.n_fft), "win_length": int(part.win_length), "hop_length": int(part.hop_length), "power": int(part.power)}
    return {**sizes, "window": names[0], "center": part.center, "normalized": part.normalized, "onesided": part.onesided}
