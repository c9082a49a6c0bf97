"""How good a denoised recording is; decibels, PESQ (ITU-T P.862.2, wide band) and STOI."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import numpy as np
from audio import RATE
from numpy.typing import NDArray

Array = NDArray[Any]


def decibels(signal: Array, error: Array) -> float:
    """Power of a signal over that of an error."""
    s, e = (float(np.sum(np.square(x, dtype=np.float64))) for x in (signal, error))
    return float(10 * np.log10((s + 1e-30) / (e + 1e-30)))


def mask_sqnr(reference: Array, masks: Array) -> float:
    """Of masks against those of the float network, in dB."""
    return decibels(reference, np.asarray(masks, np.float64) - reference)


def si_sdr(clean: Array, sound: Array) -> float:
    """Scale-invariant ratio of signal to distortion, dB (Le Roux et al. 2019)."""
    c, x = (a - np.mean(a) for a in (clean.astype(np.float64), sound.astype(np.float64)))
    part = float(x @ c) / (float(c @ c) + 1e-30) * c
    return decibels(part, x - part)


def missing() -> list[str]:
    """Which packages are not installed without which a score cannot be computed."""
    return [name for name in ("pesq", "pystoi") if find_spec(name) is None]


def pesq(clean: Array, sound: Array) -> float:
    """1.0 ... 4.6; not-a-number where package `pesq` is not installed or it finds no speech."""
    if find_spec("pesq") is None:
        return float("nan")
    from pesq import NoUtterancesError
    from pesq import pesq as compute

    try:
        return float(compute(RATE, clean, sound, "wb"))
    except NoUtterancesError:
        return float("nan")


def stoi(clean: Array, sound: Array) -> float:
    """Short-time objective intelligibility, 0 ... 1; not-a-number where package `pystoi` is not installed."""
    if find_spec("pystoi") is None:
        return float("nan")
    from pystoi import stoi as compute

    return float(compute(clean.astype(np.float64), sound.astype(np.float64), RATE))
