"""TensorFlow Lite Micro's filter banks on integers: energies to channels, their roots, noise taken away, gain control, logarithms.

Unsigned numbers of 32 bits are kept in int32; those of 64 bits in two of them, the low word first. All sums are exact, or wrap as in C.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.traits import Traits

GAINS = 125  # entries of a table of gains: 3 numbers for each of 32 octaves, every fourth unused
SNR_BITS, PCAN_BITS = 12, 6  # behind the point, of a ratio of signal to noise and of what is made of it
LOG_SEGMENTS, LN2 = 128, 45426  # parts of an octave; the natural logarithm of 2 in Q16


def unsigned(x: Array) -> Array:
    """int32 as the unsigned number of its bits; uint64."""
    return np.ascontiguousarray(x).view(np.uint32).astype(np.uint64)


def stored(x: Array) -> Array:
    """Numbers modulo 2^32 as int32 of the same bits."""
    return np.ascontiguousarray(x.astype(np.uint64).astype(np.uint32)).view(np.int32)


def whole(where: str, op: Op, dtypes: tuple[DType, ...], *types: TensorType) -> None:
    """Refuse tensors that are not integers without a scale, of these types in turn.

    Raises:
        EdgeqError: names the first that is not.
    """
    for t, dtype in zip(types, dtypes, strict=True):
        if t.dtype is not dtype or t.q is not None:
            raise EdgeqError(f"{op.kind()} wants {dtype.value} without a scale, not {t}", where=where)


def integers(tensor: Tensor, what: str, size: int | None = None) -> Array:
    """The values of a constant list of int16.

    Raises:
        EdgeqError: it is computed, or of another type or size.
    """
    if tensor.data is None or tensor.type.dtype is not DType.INT16 or len(tensor.type.shape) != 1:
        raise EdgeqError(f"{what} must be a constant list of int16, not {tensor.type}", where=tensor.name)
    if size is not None and tensor.type.size < size:
        raise EdgeqError(f"{what} have {tensor.type.size} entries", where=tensor.name, why=f"{size} are needed")
    return tensor.data


@dataclass(frozen=True)
class FilterBank(Op):
    """Energies int32 ``[N]``; constant weights, unweights ``[W]``, first energy, first weight and width of each of channels + 1 bands
    -> int32 ``[channels, 2]``.

    A band's energies count by their weights in its own channel and by their unweights in the next; the first has no channel.
    """

    traits: ClassVar[Traits] = Traits("dense")

    channels: int

    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5)

    def infer(self, *types: TensorType) -> TensorType:
        if len(types[0].shape) != 1 or not 1 <= self.channels <= 2**12:
            raise EdgeqError(f"{self.channels} channels of energies {types[0]}")
        return TensorType((self.channels, 2), DType.INT32)

    def macs(self, *types: TensorType) -> int:
        return 2 * types[1].size

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a filter bank on words has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32, DType.INT32), inputs[0].type, output)
        count = self.channels + 1
        weights, unweights = (integers(t, "weights") for t in inputs[1:3])
        starts, places, widths = (integers(t, what, count)[:count].astype(np.int64) for t, what in zip(
            inputs[3:], ("first energies", "first weights", "widths of bands"), strict=True
        ))  # fmt: skip
        used = widths > 0
        ends = (starts + widths)[used], (places + widths)[used]
        fits = len(weights) == len(unweights) and (starts[used] >= 0).all() and (places[used] >= 0).all()
        if not fits or ends[0].max(initial=0) > inputs[0].type.size or ends[1].max(initial=0) > len(weights):
            raise EdgeqError("bands reach over the energies or the weights", where=where, why="the file is damaged")
        tables = {"weights": weights, "unweights": unweights, "starts": starts, "places": places, "widths": widths}
        return Params(law, {"channels": self.channels}, {n: t.astype(np.int16) for n, t in tables.items()})

    def reference(self, params: Params, *x: Array) -> Array:
        energies, p = unsigned(x[0]), params
        result = np.zeros((len(energies), p.channels, 2), np.int32)
        last = np.zeros(len(energies), np.uint64)
        for i in range(p.channels + 1):
            at, here = int(p.places[i]), int(p.starts[i])
            width = max(0, int(p.widths[i]))
            part = energies[:, here : here + width]
            own, other = (t[at : at + width].astype(np.int64).view(np.uint64) for t in (p.weights, p.unweights))
            total = last + (part * own).sum(1, dtype=np.uint64)
            last = (part * other).sum(1, dtype=np.uint64)
            if i:
                result[:, i - 1, 0], result[:, i - 1, 1] = stored(total & np.uint64(2**32 - 1)), stored(total >> np.uint64(32))
        return result


def square_roots(x: Array) -> Array:
    """Roots of uint64, to nearest but where they would take a bit more than half of those of x; uint64."""
    r = np.floor(np.sqrt(x.astype(np.float64))).astype(np.uint64)
    r = np.minimum(r, np.uint64(2**32 - 1))
    r -= (r * r > x).astype(np.uint64)
    r += ((x - r * r > r + r) & (r < np.uint64(2**32 - 1))).astype(np.uint64)
    cap = np.where(x >> np.uint64(32), np.uint64(2**32 - 1), np.uint64(2**16 - 1))
    return np.asarray(r + ((x - r * r > r) & (r != cap)))


@dataclass(frozen=True)
class FilterBankRoot(Op):
    """int32 ``[channels, 2]``, bits int32 ``[]`` -> their square roots, shifted right by the bits; int32 ``[channels]``."""

    traits: ClassVar[Traits] = Traits()

    def infer(self, *types: TensorType) -> TensorType:
        if len(types[0].shape) != 2 or types[0].shape[1] != 2 or types[1].size != 1:
            raise EdgeqError(f"roots of {types[0]} shifted by {types[1]}")
        return TensorType(types[0].shape[:1], DType.INT32)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("roots of words have no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32,) * 3, inputs[0].type, inputs[1].type, output)
        return Params(law, {"channels": output.size})

    def reference(self, params: Params, *x: Array) -> Array:
        words, bits = x
        numbers = unsigned(words[..., 0]) | unsigned(words[..., 1]) << np.uint64(32)
        shift = np.asarray(bits, np.int64).reshape(-1, 1) & 31
        return stored(square_roots(numbers) >> shift.astype(np.uint64))


@dataclass(frozen=True)
class SpectralSubtraction(Op):
    """x int32 ``[channels]``, noise before -> x less its noise, and the noise: a running mean of x * 2^bits.

    Attributes:
        smoothing: weights of x in the mean, of even and odd channels, in units of 2^-fraction; `keeping`: of the noise before.
        least: part of x that stays at least, in the same units.
        bits: bits behind the point of the noise.
        clamping: the noise is never above x.
    """

    traits: ClassVar[Traits] = Traits("recurrent")

    smoothing: tuple[int, int]
    keeping: tuple[int, int]
    least: int
    bits: int
    fraction: int
    clamping: bool

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, noise = types
        settings = (*self.smoothing, *self.keeping, self.least)
        if x.shape != noise.shape or len(x.shape) != 1 or not (0 <= self.bits < 32 and 0 <= self.fraction < 32):
            raise EdgeqError(f"spectral subtraction of {x} with noise {noise}, {self.bits} and {self.fraction} bits")
        if not all(-(2**31) <= n < 2**31 for n in settings):
            raise EdgeqError("spectral subtraction with weights beyond 32 bits")
        return TensorType(x.shape, DType.INT32), TensorType(x.shape, DType.INT32)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("spectral subtraction on words has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32,) * 3, *(t.type for t in inputs), output)
        scalars = {
            "channels": output.size, "even": self.smoothing[0], "odd": self.smoothing[1], "even_rest": self.keeping[0],
            "odd_rest": self.keeping[1], "least": self.least, "bits": self.bits, "fraction": self.fraction, "clamping": int(self.clamping),
        }  # fmt: skip
        return Params(law, scalars)

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        p, mask = params, np.uint64(2**32 - 1)
        signal, before = unsigned(x[0]), np.broadcast_to(unsigned(x[1]), x[0].shape)
        odd = np.arange(p.channels) % 2
        weights = (p.even, p.odd), (p.even_rest, p.odd_rest)
        own, rest = (np.array(pair, np.int64).view(np.uint64)[odd] & mask for pair in weights)
        fraction, bits = np.uint64(p.fraction), np.uint64(p.bits)
        scaled = signal << bits & mask
        noise = (scaled * own + before * rest) >> fraction & mask
        taken = np.minimum(noise, scaled)
        floor = signal * np.uint64(p.least & 2**32 - 1) >> fraction & mask
        return stored(np.maximum((scaled - taken) >> bits, floor)), stored(taken if p.clamping else noise)


@dataclass(frozen=True)
class FilterBankPcan(Op):
    """x, noise int32 ``[channels]``, constant gains int16 -> x times the gain for its noise, compressed (PCAN; Wang et al. 2017).

    The gain is a quadratic function of the noise in each octave.
    """

    traits: ClassVar[Traits] = Traits()

    shift: int

    parameters: ClassVar[tuple[int, ...]] = (2,)

    def infer(self, *types: TensorType) -> TensorType:
        if types[0].shape != types[1].shape or not 0 <= self.shift < 64:
            raise EdgeqError(f"gain control of {types[0]} with noise {types[1]} and a shift of {self.shift}")
        return TensorType(types[0].shape, DType.INT32)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("gain control on words has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32,) * 3, inputs[0].type, inputs[1].type, output)
        return Params(law, {"channels": output.size, "shift": self.shift}, {"gains": integers(inputs[2], "gains", GAINS)})

    def reference(self, params: Params, *x: Array) -> Array:
        gain = self._gain(params.gains.astype(np.int64), unsigned(x[1]).astype(np.int64)) & 2**32 - 1
        ratio = unsigned(x[0]) * gain.astype(np.uint64) >> np.uint64(params.shift) & np.uint64(2**32 - 1)
        small = (ratio * ratio & np.uint64(2**32 - 1)) >> np.uint64(2 + 2 * SNR_BITS - PCAN_BITS)
        large = (ratio >> np.uint64(SNR_BITS - PCAN_BITS)) - np.uint64(1 << PCAN_BITS)
        return stored(np.where(ratio < 2 << SNR_BITS, small, large))

    def _gain(self, gains: Array, noise: Array) -> Array:
        octave = np.floor(reals.log2(np.maximum(noise, 3))).astype(np.int64) + 1
        at = 4 * octave - 6
        part = np.where(octave < 11, noise << np.maximum(11 - octave, 0), noise >> np.maximum(octave - 11, 0)) & 0x3FF
        y = _wrapped((gains[at + 2] * part >> 5) + (gains[at + 1] << 5))
        y = (_wrapped(y * part) + (1 << 14)) >> 15
        y = (y + gains[at] + 2**15 & 2**16 - 1) - 2**15
        return np.where(noise <= 2, gains[np.minimum(noise, 2)], y)


def _wrapped(x: Array) -> Array:
    """int64 modulo 2^32 as a signed number."""
    return (x + 2**31 & 2**32 - 1) - 2**31


def log_table() -> Array:
    """How far log2(1 + t) lies above t in Q16, for t in 128ths; two zeros at the end."""
    t = np.arange(LOG_SEGMENTS + 1) / LOG_SEGMENTS
    return np.append(np.rint(65536 * (reals.log2(1 + t) - t)), 0).astype(np.int16)


@dataclass(frozen=True)
class FilterBankLog(Op):
    """x int32 -> the natural logarithm of x * 2^bits, times `scale`, at least 0; int16, saturated."""

    traits: ClassVar[Traits] = Traits()

    scale: int
    bits: int

    def infer(self, *types: TensorType) -> TensorType:
        if not (0 <= self.bits < 32 and 0 <= self.scale < 2**31):
            raise EdgeqError(f"a logarithm of x * 2^{self.bits} times {self.scale}")
        return TensorType(types[0].shape, DType.INT16)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a logarithm of words has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32, DType.INT16), inputs[0].type, output)
        return Params(law, {"channels": output.size, "scale": self.scale, "bits": self.bits}, {"segments": log_table()})

    def reference(self, params: Params, *x: Array) -> Array:
        number = (unsigned(x[0]) << np.uint64(params.bits) & np.uint64(2**32 - 1)).astype(np.int64)
        octave = np.floor(reals.log2(np.maximum(number, 1))).astype(np.int64)
        rest = number - (np.int64(1) << octave)
        rest = np.where(octave < 16, rest << np.maximum(16 - octave, 0), rest >> np.maximum(octave - 16, 0))
        at, table = np.clip(rest >> 9, 0, LOG_SEGMENTS), params.segments.astype(np.int64)
        log2 = (octave << 16) + rest + table[at] + ((table[at + 1] - table[at]) * (rest - (at << 9)) >> 16)
        natural = (LN2 * log2 + 32768 >> 16) * params.scale + 32768
        y = (natural & 2**32 - 1) >> 16
        return np.where(number > 1, np.minimum(y, 32767), 0).astype(np.int16)
