"""Fourier transforms of real frames, in the arithmetic and order of KISS FFT, which TensorFlow Lite Micro computes with.

A transform of an even length n is a complex one of n / 2, of radix 4, 2, 3 and 5, decimated in time, and one more pass.
Integers are divided by each radix on the way, so that the result is the transform divided by n. Float32 is not divided,
and every sum and product is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq import half, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits, last_alone

RADICES = (4, 2, 3, 5)
MAX_LENGTH = 2**14
Complex = tuple[Array, Array]  # real and imaginary parts


def _divided(n: int) -> tuple[list[int], int]:
    """The radices that divide a positive n, outermost first, and what is left."""
    found = []
    for radix in RADICES:
        while n % radix == 0:
            found.append(radix)
            n //= radix
    return found, n


def factors(n: int) -> list[int]:
    """The radices of a complex transform of length n, outermost first.

    Raises:
        EdgeqError: n has a prime factor above 5.
    """
    found, left = _divided(n)
    if left != 1:
        why = f"it has the factor {left}"
        raise EdgeqError(f"a Fourier transform of length {2 * n} is not computed", why=why, fix="take a power of two")
    return found


def is_computed(length: int) -> bool:
    """Whether there is a transform of real frames of that length, of 4 samples at least."""
    return 4 <= length <= MAX_LENGTH and length % 2 == 0 and _divided(length // 2)[1] == 1


def permutation(radices: list[int]) -> Array:
    """Where the elements of the input stand when the innermost transforms begin."""
    order = np.arange(math.prod(radices))
    for depth, radix in enumerate(radices):
        lead = math.prod(radices[:depth])
        order = order.reshape(lead, -1, radix).swapaxes(1, 2).reshape(-1)
    return order


@dataclass(frozen=True)
class Numbers:
    """How a transform computes with one type of numbers. Integers are kept as int64, wrapped where C stores them."""

    dtype: np.dtype[np.generic]
    fraction: int  # bits of a twiddle; 0: floats
    block: bool = False  # integers of a common exponent: high words of products, doubled, none by 1; no division, no overflow

    @property
    def most(self) -> int:
        return (1 << self.fraction) - 1

    def kept(self, x: Array) -> Array:
        return x.astype(self.dtype).astype(np.int64) if self.fraction and not self.block else x

    def rounded(self, x: Array) -> Array:
        return self.kept((x + (1 << self.fraction - 1)) >> self.fraction) if self.fraction else x

    def scaled(self, x: Array, by: Any) -> Array:
        if self.block:
            return np.asarray((x * by >> 32) * 2)
        return self.rounded(x * by)

    def divided(self, x: Complex, by: int) -> Complex:
        """Each part divided by a radix, rounded; floats as they are."""
        if self.block or not self.fraction:
            return x
        return self.scaled(x[0], self.most // by), self.scaled(x[1], self.most // by)

    def add(self, a: Complex, b: Complex) -> Complex:
        return self.kept(a[0] + b[0]), self.kept(a[1] + b[1])

    def sub(self, a: Complex, b: Complex) -> Complex:
        return self.kept(a[0] - b[0]), self.kept(a[1] - b[1])

    def mul(self, a: Complex, w: Complex) -> Complex:
        if self.block:
            turned = ((a[0] * w[0] >> 32) - (a[1] * w[1] >> 32)) * 2, ((a[0] * w[1] >> 32) + (a[1] * w[0] >> 32)) * 2
            one = (w[0] == self.most) & (w[1] == 0)
            return np.where(one, a[0], turned[0]), np.where(one, a[1], turned[1])
        return self.rounded(a[0] * w[0] - a[1] * w[1]), self.rounded(a[0] * w[1] + a[1] * w[0])

    def halved(self, x: Array) -> Array:
        return x >> 1 if self.fraction else x * np.float32(0.5)

    def twiddles(self, phases: Array) -> Array:
        """e^(i phase) ``[N, 2]`` in the stored type."""
        both = np.stack([reals.cos(phases), reals.sin(phases)], axis=-1)
        return (np.floor(0.5 + self.most * both) if self.fraction else both).astype(self.dtype)


NUMBERS = {
    DType.INT16: Numbers(np.dtype(np.int16), 15), DType.INT32: Numbers(np.dtype(np.int32), 31),
    DType.FLOAT32: Numbers(np.dtype(np.float32), 0), DType.FLOAT16: Numbers(np.dtype(np.float32), 0),
}  # fmt: skip


BLOCK = Numbers(np.dtype(np.int32), 31, True)
BLOCK_BITS = 29  # of the largest bin of a spectrum with a common exponent


def _turned(a: Complex, inverse: bool) -> Complex:
    """a times -i, or i in an inverse transform."""
    return (-a[1], a[0]) if inverse else (a[1], -a[0])


def _radix2(n: Numbers, x: list[Complex], tw: list[Complex], inverse: bool, root: list[Complex]) -> list[Complex]:
    t = n.mul(x[1], tw[1])
    return [n.add(x[0], t), n.sub(x[0], t)]


def _radix4(n: Numbers, x: list[Complex], tw: list[Complex], inverse: bool, root: list[Complex]) -> list[Complex]:
    s0, s1, s2 = (n.mul(x[q], tw[q]) for q in (1, 2, 3))
    s5, first, s3 = n.sub(x[0], s1), n.add(x[0], s1), n.add(s0, s2)
    s4 = _turned(n.sub(s0, s2), inverse)
    return [n.add(first, s3), n.add(s5, s4), n.sub(first, s3), n.sub(s5, s4)]


def _radix3(n: Numbers, x: list[Complex], tw: list[Complex], inverse: bool, root: list[Complex]) -> list[Complex]:
    s1, s2 = (n.mul(x[q], tw[q]) for q in (1, 2))
    s3, s0 = n.add(s1, s2), n.sub(s1, s2)
    middle = n.sub(x[0], (n.halved(s3[0]), n.halved(s3[1])))
    s0 = n.scaled(s0[0], root[1][1]), n.scaled(s0[1], root[1][1])
    turned = -s0[1], s0[0]
    return [n.add(x[0], s3), n.add(middle, turned), n.sub(middle, turned)]


def _radix5(n: Numbers, x: list[Complex], tw: list[Complex], inverse: bool, root: list[Complex]) -> list[Complex]:
    ya, yb = root[1], root[2]
    s1, s2, s3, s4 = (n.mul(x[q], tw[q]) for q in (1, 2, 3, 4))
    s7, s10, s8, s9 = n.add(s1, s4), n.sub(s1, s4), n.add(s2, s3), n.sub(s2, s3)
    m = n.scaled
    first = n.kept(x[0][0] + (s7[0] + s8[0])), n.kept(x[0][1] + (s7[1] + s8[1]))
    s5 = tuple(n.kept(x[0][i] + m(s7[i], ya[0]) + m(s8[i], yb[0])) for i in (0, 1))
    s6 = n.kept(m(s10[1], ya[1]) + m(s9[1], yb[1])), n.kept(-m(s10[0], ya[1]) - m(s9[0], yb[1]))
    s11 = tuple(n.kept(x[0][i] + m(s7[i], yb[0]) + m(s8[i], ya[0])) for i in (0, 1))
    s12 = n.kept(-m(s10[1], yb[1]) + m(s9[1], ya[1])), n.kept(m(s10[0], yb[1]) - m(s9[0], ya[1]))
    a, b = (s5[0], s5[1]), (s11[0], s11[1])
    return [first, n.sub(a, s6), n.add(b, s12), n.sub(b, s12), n.add(a, s6)]


Butterfly = Callable[[Numbers, list[Complex], list[Complex], bool, list[Complex]], list[Complex]]
BUTTERFLIES: dict[int, Butterfly] = {2: _radix2, 3: _radix3, 4: _radix4, 5: _radix5}


def transform(n: Numbers, x: Complex, radices: list[int], twiddles: Array, inverse: bool) -> Complex:
    """A complex transform along the last axis.

    Args:
        x: real and imaginary parts ``[..., N]``, float32 or int64.
        twiddles: ``[N, 2]`` as `Numbers.twiddles` makes them.
    """
    shape, count = x[0].shape, len(twiddles)
    order = permutation(radices)
    z = x[0][..., order], x[1][..., order]
    table = twiddles.astype(np.int64) if n.fraction else twiddles
    m = 1
    for radix in reversed(radices):
        stride = count // (m * radix)
        parts = [part.reshape(*shape[:-1], stride, radix, m) for part in z]
        points = [n.divided((parts[0][..., q, :], parts[1][..., q, :]), radix) for q in range(radix)]
        tw = [(table[:: stride * q][:m, 0], table[:: stride * q][:m, 1]) if q else (table[:1, 0], table[:1, 1]) for q in range(radix)]
        root = [(table[stride * m * q % count, 0], table[stride * m * q % count, 1]) for q in range(radix)]
        results = BUTTERFLIES[radix](n, points, tw, inverse, root)
        z = np.stack([r[0] for r in results], -2).reshape(shape), np.stack([r[1] for r in results], -2).reshape(shape)
        m *= radix
    return z


@dataclass(frozen=True)
class _Transform(Op):
    """What `Rfft` and `Irfft` share."""

    traits: ClassVar[Traits] = Traits("dense", slides=last_alone)

    length: int
    block: bool = False

    inverse: ClassVar[bool] = False

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if x.dtype not in NUMBERS or output.dtype is not x.dtype or (x.q is None) != (output.q is None):
            fix = "--recipe mixed or fp16: a spectrum spans more than int8 holds"
            raise EdgeqError(f"{self.kind()} of {x} giving {output} is not computed", where=where, fix=fix)
        if self.block and x.dtype is not DType.INT32:
            raise EdgeqError(f"a common exponent of {x}", where=where, why="int32 has one")
        numbers, count = NUMBERS[x.dtype], self.length // 2
        radices, sign = factors(count), 1 if self.inverse else -1
        phases = sign * 2 * math.pi * np.arange(count) / count
        between = sign * math.pi * ((np.arange(count // 2) + 1) / count + 0.5)
        scalars: dict[str, int | str] = {
            "rows": x.size // x.shape[-1], "in_length": x.shape[-1], "count": count, "stages": len(radices),
            "inverse": int(self.inverse), "block": int(self.block),
            "length": output.shape[-1],
            **{f"radix{r}": int(r in radices) for r in RADICES},
        }  # fmt: skip
        tables: dict[str, Array] = {
            "order": permutation(radices).astype(np.int16), "radices": np.array(radices[::-1], np.int8),
            "twiddles": numbers.twiddles(phases), "between": numbers.twiddles(between) if count > 1 else numbers.twiddles(np.zeros(1)),
        }  # fmt: skip
        return Params(law, scalars, tables)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self.bind(half.LAW, where, inputs, output)

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return half.from_float(self.reference(params, half.to_float(x[0])))


def _check_length(length: int) -> None:
    if length < 2 or length % 2 or length > MAX_LENGTH:
        raise EdgeqError(f"a Fourier transform of length {length} is not computed", why=f"it must be even and at most {MAX_LENGTH}")
    factors(length // 2)


def _numbers(params: Params) -> Numbers:
    return BLOCK if params.block else next(n for n in NUMBERS.values() if n.dtype == params.twiddles.dtype)


@dataclass(frozen=True)
class Rfft(_Transform):
    """x ``[..., K]``, K <= length, zeros behind -> spectrum ``[..., 2 (length / 2 + 1)]``, real and imaginary parts in turn.

    On int16 and int32 the transform divided by `length`; on float32 the transform; halves are computed in float32. With `block` the
    transform of int32 whose largest magnitude times `length` is below 2^29, undivided.
    """

    traits: ClassVar[Traits] = replace(_Transform.traits, float32="kept")

    def infer(self, *types: TensorType) -> TensorType:
        _check_length(self.length)
        shape = types[0].shape
        if not shape or shape[-1] > self.length:
            raise EdgeqError(f"a frame {types[0]} is longer than the Fourier transform of length {self.length}")
        return replace(types[0], shape=(*shape[:-1], self.length + 2))

    def macs(self, *types: TensorType) -> int:
        return types[0].size // types[0].shape[-1] * self.length * max(1, round(float(reals.log2(self.length))))

    def real(self, *x: Array) -> Array:
        spectrum = np.fft.rfft(np.asarray(x[0], np.float64), self.length)
        return np.stack([spectrum.real, spectrum.imag], -1).reshape(*x[0].shape[:-1], -1).astype(np.float32)

    def reference(self, params: Params, *x: Array) -> Array:
        n, p = _numbers(params), params
        frames = np.zeros((*x[0].shape[:-1], 2 * p.count), np.int64 if n.fraction else np.float32)
        frames[..., : p.in_length] = x[0]
        radices = [int(r) for r in p.radices[::-1]]
        z = transform(n, (frames[..., ::2], frames[..., 1::2]), radices, p.twiddles, False)
        result = np.zeros((*x[0].shape[:-1], p.count + 1, 2), frames.dtype)
        first = n.divided((z[0][..., :1], z[1][..., :1]), 2)
        result[..., :1, 0], result[..., p.count :, 0] = n.kept(first[0] + first[1]), n.kept(first[0] - first[1])
        k = np.arange(1, p.count // 2 + 1)
        w = p.between.astype(frames.dtype)[: len(k)]
        here, there = n.divided((z[0][..., k], z[1][..., k]), 2), n.divided((z[0][..., p.count - k], -z[1][..., p.count - k]), 2)
        even, odd = n.add(here, there), n.mul(n.sub(here, there), (w[:, 0], w[:, 1]))
        result[..., k, 0], result[..., k, 1] = n.halved(even[0] + odd[0]), n.halved(even[1] + odd[1])
        result[..., p.count - k, 0], result[..., p.count - k, 1] = n.halved(even[0] - odd[0]), n.halved(odd[1] - even[1])
        return result.astype(n.dtype).reshape(*x[0].shape[:-1], -1)


@dataclass(frozen=True)
class Irfft(_Transform):
    """Spectrum ``[..., 2 (length / 2 + 1)]`` -> frames ``[..., length]``: the inverse of the transform. Integers are divided by
    each radix, floats by `length`."""

    inverse: ClassVar[bool] = True

    def infer(self, *types: TensorType) -> TensorType:
        _check_length(self.length)
        shape = types[0].shape
        if not shape or shape[-1] != self.length + 2:
            raise EdgeqError(f"{types[0]} is no spectrum of frames of length {self.length}")
        return replace(types[0], shape=(*shape[:-1], self.length))

    def macs(self, *types: TensorType) -> int:
        return types[0].size // types[0].shape[-1] * self.length * max(1, round(float(reals.log2(self.length))))

    def real(self, *x: Array) -> Array:
        parts = np.asarray(x[0], np.float64).reshape(*x[0].shape[:-1], -1, 2)
        return np.asarray(np.fft.irfft(parts[..., 0] + 1j * parts[..., 1], self.length), np.float32)

    def reference(self, params: Params, *x: Array) -> Array:
        n, p = _numbers(params), params
        f = x[0].reshape(*x[0].shape[:-1], -1, 2)
        f = f.astype(np.int64) if n.fraction else f
        z = np.zeros((*f.shape[:-2], p.count, 2), f.dtype)
        first = n.kept(f[..., :1, 0] + f[..., p.count :, 0]), n.kept(f[..., :1, 0] - f[..., p.count :, 0])
        z[..., :1, 0], z[..., :1, 1] = n.divided(first, 2)
        k = np.arange(1, p.count // 2 + 1)
        w = p.between.astype(f.dtype)[: len(k)]
        here, there = n.divided((f[..., k, 0], f[..., k, 1]), 2), n.divided((f[..., p.count - k, 0], -f[..., p.count - k, 1]), 2)
        even, odd = n.add(here, there), n.mul(n.sub(here, there), (w[:, 0], w[:, 1]))
        z[..., k, 0], z[..., k, 1] = n.add(even, odd)
        back = n.sub(even, odd)
        z[..., p.count - k, 0], z[..., p.count - k, 1] = back[0], n.kept(-back[1])
        radices = [int(r) for r in p.radices[::-1]]
        y = np.stack(transform(n, (z[..., 0], z[..., 1]), radices, p.twiddles, True), -1).reshape(*x[0].shape[:-1], -1)
        return y.astype(n.dtype) if n.fraction else y / np.float32(self.length)
