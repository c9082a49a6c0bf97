"""The front end in numpy: twin of c/stft.c, the same float32 operations in the same order, hence the same bytes.

400 samples under a Hann window, 100 new ones per frame, 512-point real transform; back through the same window and
overlap-add. A frame goes in and out every 6.25 ms; what comes out is 300 samples old.

Scaling lies in powers of two, which are exact: the window holds 2^-16 (2^-15 makes int16 samples -1...1, 1/2 is owed by the
real transform), so that `magnitude` is that of samples in -1...1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW, HOP, POINTS = 400, 100, 512
HALF, BINS = POINTS // 2, POINTS // 2 + 1
DELAY = WINDOW - HOP
Array = NDArray[Any]
F = np.float32

# sin(2 pi k / 512), exactly symmetric and exactly 0 and 1 where it is; the cosine is 128 entries further on.
_QUARTER = np.sin(2 * np.pi * np.arange(POINTS // 4 + 1) / POINTS)
_QUARTER[-1] = 1
_SINE = np.concatenate([_QUARTER[:-1], _QUARTER[:0:-1]])
SINE = np.concatenate([_SINE, -_SINE]).astype(F)
# The periodic Hann window times 2^-16. Its squares at a distance of 100 add up to 1.5.
HANN = ((0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)) * 2.0**-16).astype(F)
# 2^15 makes int16, 2^16 is in the window, 2^-9 is owed by the transform, 1.5 by the windows.
OUTPUT_SCALE = F(2.0**22 / 1.5)


def frames(pcm: Array) -> Array:
    """int16 [N] -> int16 [T, 400]: the window after each 100 new samples, zeros before the first and after the last.

    T is such that every sample comes out of `overlap_add` again: ceil((N + 300) / 100).
    """
    count = -(-(len(pcm) + DELAY) // HOP)
    padded = np.zeros(count * HOP + DELAY, np.int16)
    padded[DELAY : DELAY + len(pcm)] = pcm
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]


def _cosine(k: Array) -> Array:
    return SINE[k + POINTS // 4]


def _transform(re: Array, im: Array) -> tuple[Array, Array]:
    """Complex transform of 256 points, float32 [T, 256] each: four stages of radix 4, in Stockham's order."""
    count = len(re)
    for stage in range(4):
        quarter, run = 64 >> 2 * stage, 1 << 2 * stage
        a, b, c, d = ((re.reshape(count, 4, quarter, run)[:, k], im.reshape(count, 4, quarter, run)[:, k]) for k in range(4))
        s = a[0] + c[0], a[1] + c[1]
        t = a[0] - c[0], a[1] - c[1]
        u = b[0] + d[0], b[1] + d[1]
        v = b[0] - d[0], b[1] - d[1]
        parts = [(s[0] + u[0], s[1] + u[1])]
        turned = ((t[0] + v[1], t[1] - v[0]), (s[0] - u[0], s[1] - u[1]), (t[0] - v[1], t[1] + v[0]))
        for k, (x, y) in enumerate(turned, 1):
            at = 2 * k * run * np.arange(quarter)
            wc, ws = _cosine(at)[:, None], SINE[at][:, None]
            parts.append((x * wc + y * ws, y * wc - x * ws))
        re, im = (np.stack([p[i] for p in parts], 2).reshape(count, HALF) for i in (0, 1))
    return re, im


_K = np.arange(1, HALF // 2 + 1)
_M = HALF - _K


def analyse(windows: Array) -> tuple[Array, Array]:
    """int16 [T, 400] -> real and imaginary part of the spectrum, float32 [T, 257] each."""
    x = np.zeros((len(windows), POINTS), F)
    x[:, :WINDOW] = windows.astype(F) * HANN
    zr, zi = _transform(x[:, ::2], x[:, 1::2])
    re, im = np.zeros((len(x), BINS), F), np.zeros((len(x), BINS), F)
    er, ei = zr[:, _K] + zr[:, _M], zi[:, _K] - zi[:, _M]
    odd_r, odd_i = zi[:, _K] + zi[:, _M], zr[:, _M] - zr[:, _K]
    wc, ws = _cosine(_K), SINE[_K]
    tr, ti = odd_r * wc + odd_i * ws, odd_i * wc - odd_r * ws
    re[:, _K], im[:, _K] = er + tr, ei + ti
    re[:, _M], im[:, _M] = er - tr, ti - ei
    re[:, 0], re[:, HALF] = (zr[:, 0] + zi[:, 0]) * F(2), (zr[:, 0] - zi[:, 0]) * F(2)
    return re, im


def magnitude(re: Array, im: Array) -> Array:
    """float32 of the spectrum's shape; the root is correctly rounded on both sides."""
    return np.sqrt(re * re + im * im)


def synthesise(re: Array, im: Array, mask: Array) -> Array:
    """The spectrum times the mask, back in time and under the window: float32 [T, 400]."""
    re, im = re * mask, im * mask
    er, ei = re[:, _K] + re[:, _M], im[:, _K] - im[:, _M]
    dr, di = re[:, _K] - re[:, _M], im[:, _K] + im[:, _M]
    wc, ws = _cosine(_K), SINE[_K]
    odd_r, odd_i = dr * wc - di * ws, di * wc + dr * ws
    zr, zi = np.zeros((len(re), HALF), F), np.zeros((len(re), HALF), F)
    zr[:, _K], zi[:, _K] = er - odd_i, ei + odd_r
    zr[:, _M], zi[:, _M] = er + odd_i, odd_r - ei
    zr[:, 0], zi[:, 0] = re[:, 0] + re[:, HALF], re[:, 0] - re[:, HALF]
    zi, zr = _transform(zi, zr)
    x = np.stack([zr, zi], 2).reshape(len(re), POINTS)[:, :WINDOW]
    return x * HANN


def overlap_add(pieces: Array) -> Array:
    """float32 [T, 400] -> int16 [T * 100]: the sums of frames that overlap, oldest first, scaled, rounded, halves to even."""
    padded = np.zeros((len(pieces) + 3, WINDOW), F)
    padded[3:] = pieces
    total = padded[: len(pieces), 300:]
    for k in (1, 2, 3):
        total = total + padded[k : len(pieces) + k, 300 - 100 * k : 400 - 100 * k]
    return np.clip(np.rint(total * OUTPUT_SCALE), -32768, 32767).astype(np.int16).reshape(-1)


def denoise(pcm: Array, mask: Array) -> Array:
    """int16 [N] through masks [T, 257] of its frames: int16 [N], aligned with the input."""
    return overlap_add(synthesise(*analyse(frames(pcm)), mask))[DELAY : DELAY + len(pcm)]
