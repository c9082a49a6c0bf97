"""Products and factors of matrices that are the same on every computer, whatever its BLAS, its processor and its threads.

BLAS sums up in an order of its own, which differs by processor and number of threads. Where both matrices hold integers times powers of
two, so small that no sum of products leaves float64's 53 bits, no sum is rounded and the order does not matter (Ozaki, Ogita, Oishi and
Rump, "Error-free transformations of matrix multiplication", 2012). So matrices are cut into such parts: of each row of the left one and
each column of the right one the leading bits, and what is left of them where that counts.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float = NDArray[np.float64]

DEPTH = 512  # products that are summed up at once: 53 - 9 bits are left for the two factors
BITS = 22  # of each factor then
ELEMENTS = 2**16  # of the left matrix that are cut at once: they stay in the cache
DROWNED, SHARE = 2.0**-10, 0.25  # a matrix is cut into two parts if in a row more than a share of what is not 0 is so small beside the peak
LARGE = 2**22  # elements of a right factor that is kept in float32
PANEL = 48  # columns that are factored before the others are told
SINGULAR = 1e-14  # of the largest pivot: smaller ones are taken for zero


class Singular(Exception):
    """A matrix is not positive definite, as far as float64 can tell."""


def _cut(a: Float, axis: int, peak: Float, bits: int) -> Float:
    """`a` rounded to multiples of 2^-bits of the power of two above the peak of each row (axis -1) or column (axis -2)."""
    _, exponent = np.frexp(peak)
    large = np.expand_dims(np.ldexp(1.5, 52 + exponent - bits), axis)  # added and taken away, it rounds
    head = a + large
    head -= large
    return np.asarray(head)


def _parts(a: Array, axis: int, bits: int, fine: bool) -> tuple[Float, ...]:
    """The leading bits of each row or column, and the next ones where they are asked for or where large values drown the others."""
    a = np.asarray(a, np.float64)
    size = np.abs(a)
    peak = size.max(axis=axis)
    head = _cut(a, axis, peak, bits)
    if not fine:
        some = size > 0
        small = np.count_nonzero(some & (size < np.expand_dims(peak * DROWNED, axis)), axis=axis)
        if not (small > SHARE * np.count_nonzero(some, axis=axis)).any():
            return (head,)
    rest = a - head
    return head, _cut(rest, axis, np.abs(rest).max(axis=axis), bits)


@dataclass(frozen=True, eq=False)
class Right:
    """The right factor of a product, cut: for a matrix that is multiplied again and again.

    Attributes:
        shape: ``[..., K, N]``.
        blocks: per `DEPTH` rows its parts, in float32 where that holds them and they are large.
    """

    shape: tuple[int, ...]
    blocks: tuple[tuple[Array, ...], ...]
    fine: bool


def right(b: Array, fine: bool = False) -> Right:
    """A right factor ``[..., K, N]`` of real numbers.

    Args:
        fine: the product is right to 44 bits of the largest terms, not to 22 (about float32's).
    """
    count = b.shape[-2]
    keep = _narrow if b.size > LARGE else tuple
    found = tuple(keep(_parts(b[..., k : k + DEPTH, :], -2, BITS, fine)) for k in range(0, count, DEPTH)) if b.size else ()
    return Right(b.shape, found, fine)


def _narrow(parts: tuple[Float, ...]) -> tuple[Array, ...]:
    """Parts in float32, which holds their bits but for the least exponents: half the memory of a matrix of many megabytes."""
    small = [part.astype(np.float32) for part in parts]
    return tuple(s if np.array_equal(s, part) else part for s, part in zip(small, parts, strict=True))


def times(a: Array, b: Right) -> Float:
    """``a @ b`` as float64; a ``[..., M, K]``."""
    rows, depth = a.shape[-2:]
    if not b.blocks or not a.size:
        return np.zeros((*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), rows, b.shape[-1]))
    if a.ndim > 2 and len(b.shape) == 2:
        return times(a.reshape(-1, depth), b).reshape(*a.shape[:-1], b.shape[-1])
    if a.ndim > 2:
        return _chunk(a, b)
    step = max(16, ELEMENTS // min(depth, DEPTH))
    if rows <= step:
        return _chunk(a, b)
    result = np.empty((*b.shape[:-2], rows, b.shape[-1]))
    for first in range(0, rows, step):
        result[..., first : first + step, :] = _chunk(a[first : first + step], b)
    return result


def _chunk(a: Array, b: Right, turned: bool = False) -> Float:
    """Their product, or its transpose; the parts' products are exact, and summed up in one order."""
    total: Float | None = None
    for i, parts in enumerate(b.blocks):
        own = _parts(a[..., i * DEPTH : (i + 1) * DEPTH], -1, BITS, b.fine)
        for left, head in enumerate(own):
            for part in parts[: len(parts) if left == 0 else 1]:
                factors = head, np.asarray(part, np.float64)
                product = np.matmul(factors[1].swapaxes(-2, -1), head.swapaxes(-2, -1)) if turned else np.matmul(*factors)
                total = product if total is None else np.add(total, product, out=total)
    assert total is not None
    return total


def matmul(a: Array, b: Array, fine: bool = False) -> Float:
    """``a @ b`` of real numbers, ``[..., M, K]`` by ``[..., K, N]``, as float64; see `right`."""
    return times(a, right(b, fine))


def turned(a: Array, b: Array) -> Float:
    """The transpose of `matmul`, ``[..., N, M]``, with the same bits and its own rows side by side; neither factor is empty."""
    return _chunk(a, right(b), True)


_KEPT: dict[int, tuple[weakref.ref[Array], Right]] = {}


def kept(w: Array) -> Right:
    """The transpose of a constant matrix ``[N, K]`` as a right factor, remembered as long as there is the array: nobody may change it."""
    found = _KEPT.get(id(w))
    if found is None or found[0]() is not w:
        key = id(w)
        found = _KEPT[key] = weakref.ref(w, lambda _: _KEPT.pop(key, None)), right(w.T)
    return found[1]


def whole(a: Array, b: Array) -> Float:
    """``a @ b`` of whole numbers of at most 8 bits on the left and real numbers on the right, which keep 30 bits."""
    bits, count = 53 - 8, b.shape[-2]
    parts = [slice(k, k + 4 * DEPTH) for k in range(0, count, 4 * DEPTH)]
    total: Float = np.zeros((*a.shape[:-1], b.shape[-1]))
    for part in parts:
        rows = np.asarray(b[..., part, :], np.float64)
        cut = _cut(rows, -2, np.abs(rows).max(axis=-2), bits - (4 * DEPTH - 1).bit_length())
        total += np.matmul(np.asarray(a[..., part], np.float64), cut)
    return total


def inverse_root(h: Float) -> Float:
    """The upper triangular u with ``inv(h) = u^T u``, of symmetric positive definite matrices ``[G, K, K]``.

    h = r r^T with r upper triangular, from the last column to the first, panel by panel; u is r's inverse.

    Raises:
        Singular: a pivot is not positive.
    """
    return _inverted(_factored(h))


def _factored(h: Float) -> Float:
    """r, upper triangular, with ``h = r r^T``."""
    left, count = h.copy(), h.shape[-1]
    r = np.zeros_like(h)
    least = SINGULAR * np.diagonal(h, axis1=1, axis2=2).max(axis=1)
    for last in range(count, 0, -PANEL):
        first = max(0, last - PANEL)
        for k in range(last - 1, first - 1, -1):
            pivot = left[:, k, k]
            if not (pivot > least).all():
                raise Singular
            r[:, : k + 1, k] = left[:, : k + 1, k] / np.sqrt(pivot)[:, None]
            left[:, : k + 1, first:k] -= r[:, : k + 1, k, None] * r[:, None, first:k, k]
        if first:
            panel = r[:, :first, first:last]
            left[:, :first, :first] -= matmul(panel, panel.transpose(0, 2, 1), True)
    return r


def _inverted(r: Float) -> Float:
    """The inverse of upper triangular matrices, panel by panel from the first columns on."""
    u, count = np.zeros_like(r), r.shape[-1]
    for first in range(0, count, PANEL):
        last = min(first + PANEL, count)
        above = -matmul(u[:, :first, :first], r[:, :first, first:last], True) if first else r[:, :0, first:last]
        for k in range(first, last):  # columns of [[u, above], [0, own]]: u_k = (e_k - sum over j of u_j r_jk) / r_kk
            own = u[:, first:last, first:k]
            u[:, :first, k] = above[:, :, k - first]
            if k > first:
                u[:, :first, k] -= (u[:, :first, first:k] * r[:, None, first:k, k]).sum(axis=-1)
                u[:, first:last, k] -= (own * r[:, None, first:k, k]).sum(axis=-1)
            u[:, k, k] += 1
            u[:, :last, k] /= r[:, k, k, None]
    return u
