"""Half precision: IEEE binary16 values, their sums of products, and their order.

Twin of `templates/runtime/eq_f16.h`. A sum of products is float32, from its start (the bias) through k = 0, 1, ..., one rounding per
step and one to binary16 at the end. The product of two halves is exact in float32, so that fused and unfused operations give the same
bits; only the order counts. Sums start at `biases`, never at -0, hence a product that is zero never changes one: taps in a layer's
padding may be added or left out. Products are multiples of 2^-48. A start below 2^-75 is lost in the first product that is not zero, and
one above is a multiple of 2^-98; so no sum is subnormal, and it does not count whether a chip knows subnormal numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import EdgeqError

Array = NDArray[Any]
LAW = "half"  # the law of parameters that are bound to halves
SUMS = "half-f16"  # the same with sums of products in halves
LAWS = (LAW, SUMS)
INFINITE = 0x7C00
LARGEST = 65504.0
ORDER_MIN, ORDER_MAX = -INFINITE - 1, INFINITE  # `order` of -inf and inf
BLOCK = 2**18  # products that are kept at once, for the cache
SUMS_BLOCK = 2**15  # sums, likewise


def to_float(h: Array) -> Array:
    """float16 to float32, exact."""
    return np.asarray(h, np.float32)


def from_float(x: Array) -> Array:
    """float32 to float16: to nearest, halves to even, subnormals kept, beyond 65519.99 infinity, not-a-number 0x7e00."""
    with np.errstate(all="ignore"):
        h = np.asarray(x, np.float32).astype(np.float16)
    h[np.isnan(h)] = np.float16(np.nan)
    return h


def order(h: Array) -> Array:
    """int32 that sort as the halves do; -0 lies below 0."""
    bits = np.ascontiguousarray(h).view(np.int16).astype(np.int32)
    return bits ^ ((bits >> 15) & 0x7FFF)


def of_order(n: Array) -> Array:
    """float16 of `order`."""
    n = np.asarray(n, np.int32)
    return np.ascontiguousarray((n ^ ((n >> 31) & 0x7FFF)).astype(np.uint16)).view(np.float16)


def rank(h: Array) -> Array:
    """int32 that sort as the numbers that halves are: -0 and 0 are equal."""
    n = order(h)
    return np.asarray(n - (n >> 31))


def of_rank(n: Array) -> Array:
    """float16 of `rank`, 0 for both zeros."""
    return of_order(n + (np.asarray(n, np.int32) >> 31))


def limits(clamp: tuple[float, float]) -> tuple[int, int]:
    """A fused activation as limits of `order`."""
    low, high = (int(order(from_float(np.array([c], np.float32)) + np.float16(0))[0]) for c in clamp)
    return low, high


def clamped(h: Array, low: int, high: int) -> Array:
    """Halves between limits of `order`; infinite limits are none, so that not-a-number passes them."""
    n = order(h)
    n = np.maximum(n, low) if low > ORDER_MIN else n
    return of_order(np.minimum(n, high) if high < ORDER_MAX else n)


def biases(b: Array) -> Array:
    """float32 that sums may start at: 0 in place of -0 and of subnormal numbers."""
    start = np.asarray(b, np.float32)
    return np.where(np.abs(start) < np.finfo(np.float32).tiny, np.float32(0), start)


def products(x: Array, w: Array, start: Array | float = 0.0) -> Array:
    """Sums of products, in order.

    Args:
        x: halves ``[..., K]``.
        w: halves or int8 ``[K, N]``, or ``[..., K, N]`` that broadcasts against x.
        start: float32, broadcasts to the result.

    Returns:
        float32 ``[..., N]``.
    """
    if w.ndim > 2:
        batch = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
        x, w = np.broadcast_to(x, (*batch, *x.shape[-2:])), np.broadcast_to(w, (*batch, *w.shape[-2:]))
        result = np.empty((*x.shape[:-1], w.shape[-1]), np.float32)
        for at in np.ndindex(*batch):
            result[at] = products(x[at], w[at], start)
        return result
    lead, (k, n) = x.shape[:-1], w.shape
    columns, rows = np.ascontiguousarray(to_float(x).reshape(-1, k).T), to_float(w)
    total = np.array(np.broadcast_to(np.float32(0) + np.asarray(start, np.float32), (*lead, n))).reshape(-1, n)
    step = max(1, BLOCK // max(1, k * n))
    terms = np.empty((k + 1, min(step, len(total)), n), np.float32)
    with np.errstate(all="ignore"):
        for first in range(0, len(total), step):
            block = total[first : first + step]
            terms[0, : len(block)] = block
            np.multiply(columns[:, first : first + step, None], rows[:, None], out=terms[1:, : len(block)])
            block[...] = _down(terms[:, : len(block)])
    return total.reshape(*lead, n)


def _down(terms: Array) -> Array:
    """float32 sums along the first axis, in order: numpy sums up pairwise along the last axis alone, and where there is no other."""
    return running_sum(terms, axis=0) if terms[0].size < 2 else np.asarray(np.add.reduce(terms, axis=0))


def fused(x: Array, w: Array, start: Array | float = 0.0) -> Array:
    """As `products`, of the law `SUMS`: halves ``[..., N]``, each step ``start + x w`` rounded once, to a half.

    float64 holds the product, and enough of the sum: where it rounds, what is lost lies far from the middle between two halves.

    Args:
        x: halves ``[..., K]``.
        w: halves ``[K, N]``.
        start: halves that are not -0, broadcasts to the result.
    """
    lead, (k, n) = x.shape[:-1], w.shape
    columns, rows = np.ascontiguousarray(x.reshape(-1, k).T, np.float64), w.astype(np.float64)
    total = np.array(np.broadcast_to(np.asarray(start, np.float16), (*lead, n))).reshape(-1, n)
    step = max(1, SUMS_BLOCK // n)
    with np.errstate(all="ignore"):
        for first in range(0, len(total), step):
            block = total[first : first + step]
            for i in range(k):
                block[...] = columns[i, first : first + step, None] * rows[i] + block.astype(np.float64)
    return total.reshape(*lead, n)


def summed(law: str, x: Array, w: Array, start: Array) -> Array:
    """Sums of products under a law of halves: `products`, or `fused`."""
    return fused(x, w, start) if law == SUMS else products(x, w, start)


def starts(where: str, law: str, b: Array) -> Array:
    """What the sums of a layer start at: `biases`, as halves that are not -0 in the law `SUMS`.

    Raises:
        EdgeqError: a bias is no finite half.
    """
    if law != SUMS:
        return biases(b)
    rounded = from_float(b) + np.float16(0)
    if not np.isfinite(rounded).all():
        raise EdgeqError(f"a bias of {np.abs(b).max():g}, half precision ends at {LARGEST:g}", where=where, fix="sum up in float32")
    return rounded


def running_sum(x: Array, axis: int = -1) -> Array:
    """The float32 sum of float32 along an axis, in order, from 0."""
    with np.errstate(all="ignore"):
        total: Array = np.add.accumulate(np.asarray(x, np.float32), axis=axis, dtype=np.float32).take(-1, axis=axis)
    return total + np.float32(0)
