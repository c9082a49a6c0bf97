"""Windows of a Fourier transform, periodic, by the names and values of `scipy.signal.get_window`: the same bits on every computer."""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array

COSINES = {
    "boxcar": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.50, 0.08),
    "nuttall": (0.3635819, 0.4891775, 0.1365995, 0.0106411),
    "blackmanharris": (0.35875, 0.48829, 0.14128, 0.01168),
    "flattop": (0.21557895, 0.41663158, 0.277263158, 0.083578947, 0.006947368),
}  # factors of cos(k t), t from -pi to pi
NAMES = (*COSINES, "bartlett", "cosine")


def weights(name: str, length: int) -> Array:
    """The weights, float64 ``[length]``.

    Raises:
        EdgeqError: there is none of that name.
    """
    if name in COSINES:
        t = np.linspace(-np.pi, np.pi, length + 1)[:-1]
        return np.asarray(sum((factor * reals.cos(k * t) for k, factor in enumerate(COSINES[name])), np.zeros(length)))
    if name == "bartlett":
        return np.asarray(1 - np.abs(2 * np.arange(length) / length - 1))
    if name == "cosine":
        return reals.sin(np.pi / (length + 1) * (np.arange(length) + 0.5))
    raise EdgeqError(f"window = '{name}'", why="there is no window of that name", fix=", ".join(NAMES))
