"""What sampling.h computes, in Python."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def chances(scale: float, temperature: float) -> NDArray[np.uint16]:
    """The weights of 256 distances of int8 scores of a scale."""
    return np.rint(65535 * np.exp(-scale / temperature * np.arange(256))).astype(np.uint16)


def largest(scores: NDArray[np.int8]) -> int:
    """The first of the largest scores."""
    return int(scores.argmax())


def top(scores: NDArray[np.int8], k: int, weights: NDArray[np.uint16], seed: int) -> tuple[int, int]:
    """One of the k largest scores by chance, and the next seed."""
    below = int(scores.max()) - scores.astype(np.int64)
    own = np.where(below <= np.sort(below)[min(k, len(below)) - 1], weights[below].astype(np.int64), 0)
    for shift in (13, -17, 5):
        seed ^= (seed << shift if shift > 0 else seed >> -shift) & 0xFFFFFFFF
    drawn = seed * int(own.sum()) >> 32
    return int(np.searchsorted(own.cumsum(), drawn, side="right")), seed


def header(weights: NDArray[np.uint16]) -> str:
    """The weights as C."""
    rows = "\n".join("    " + " ".join(f"{w}," for w in part) for part in weights.reshape(-1, 16).tolist())
    first = "/* Chances by how far an int8 score lies below the largest. Made by deploy.py. */"
    return f"{first}\nstatic const uint16_t chances[256] = {{\n{rows}\n}};\n"
