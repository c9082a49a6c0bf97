"""Operators of sound features: windows, levels of bands of a spectrum, cosine transforms.

On float32 every sum and product is rounded once, in the order written; halves are computed in float32 and rounded at the end. On
integers a frame of int16 becomes int32 with a common exponent, every band has one of its own, and levels are int16 or int8 with a scale.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import floats, half, matrices, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.filter_bank import square_roots
from edgeq.ops.fourier import BLOCK_BITS
from edgeq.ops.traits import Shape, Sliding, Traits, last_alone

FLOATS = (DType.FLOAT32, DType.FLOAT16)
PARTS, Q = 64, 16  # of an octave in the table of logarithms; bits behind the point of levels in octaves
SOFT, DEEP = 8, 20  # steps of an octave, and octaves, of the table of log2(1 + 2^-d)
MODES = ("linear", "max", "add")


def _floats_only(op: Op, where: str, x: TensorType, output: TensorType) -> None:
    if x.dtype not in FLOATS or output.dtype is not x.dtype:
        fix = "compute features in float32, half or int16"
        raise EdgeqError(f"{op.kind()} of {x} giving {output} is not computed", where=where, fix=fix)


def _data(tensor: Tensor, where: str) -> Array:
    if tensor.data is None:
        raise EdgeqError(f"'{tensor.name}' must be constant", where=where)
    return tensor.data


class _Halves(Op):
    """Operators whose meaning on halves is that on float32, rounded."""

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self.bind(half.LAW, where, inputs, output)

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return half.from_float(self.reference(params, *(half.to_float(a) for a in x)))


def _frame_slides(op: ApplyWindow, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """Frames along their axis; other axes but the last are left alone."""
    last = len(shapes[0]) - 1
    if axis != last:
        return Sliding(axis, lambda *rows: op)
    if not op.frames:
        return None
    return Sliding(axis, lambda rows, *around: replace(op, frames=rows), op.step, 0, op.start + shapes[1][0])


@dataclass(frozen=True)
class ApplyWindow(_Halves):
    """x ``[..., N]``, constant weights float32 ``[N]`` in [-1, 1] -> their products; of int16 int32 ``[..., N]`` and shifts ``[...]``.

    On int16 with a scale, a shift s makes the largest magnitude use `bits` bits: results are x w 2^(s - 1), rounded down.
    With `frames`, x is one row ``[1, K]``, and of the results ``[1, F, N]`` frame f is of the samples from ``start + f * step`` on.
    """

    traits: ClassVar[Traits] = Traits(slides=_frame_slides, float32="kept")

    bits: int = 20
    frames: int = 0
    step: int = 0
    start: int = 0

    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, w = types
        length = w.shape[0] if len(w.shape) == 1 else 0
        needed = self.start + max(self.frames - 1, 0) * self.step + length
        least, most = (needed, 2**31) if self.frames else (length, length)
        single = not self.frames or x.size == x.shape[-1]
        if not x.shape or not length or not single or not least <= x.shape[-1] <= most or not 2 <= self.bits <= 28:
            raise EdgeqError(f"a window {w} on {x}" + (f" of {self.frames} frames every {self.step} samples" if self.frames else ""))
        shape = (*x.shape[:-1], *((self.frames,) if self.frames else ()), length)
        if x.dtype is not DType.INT16:
            return (replace(x, shape=shape),)
        return TensorType(shape, DType.INT32), TensorType(shape[:-1], DType.INT32)

    def _rows(self, x: Array, length: int) -> Array:
        """The samples of each frame: a view."""
        if not self.frames:
            return x
        taken = x[..., self.start : self.start + (self.frames - 1) * self.step + length]
        return np.lib.stride_tricks.sliding_window_view(taken, length, -1)[..., :: max(self.step, 1), :]

    def real(self, *x: Array) -> Array:
        return np.asarray(self._rows(x[0], len(x[1])) * x[1], np.float32)

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        return (self.real(*x),)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, weights = inputs[0].type, np.asarray(_data(inputs[1], where), np.float32)
        length, rows = len(weights), self.frames or x.size // x.shape[-1]
        scalars = {"rows": rows, "length": length, "framed": int(self.frames > 0), "step": self.step, "start": self.start}
        if x.dtype is not DType.INT16:
            _floats_only(self, where, x, output)
            return Params(law, scalars, {"weights": weights})
        if output.dtype is not DType.INT32 or np.abs(weights).max() > 1:
            raise EdgeqError(f"a window of {x} giving {output}, of weights to {np.abs(weights).max():g}", where=where)
        fixed = np.clip(np.rint(weights.astype(np.float64) * 2**31), -(2**31), 2**31 - 1).astype(np.int32)
        return Params(law, {**scalars, "bits": self.bits + 1}, {"weights": fixed})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        if "bits" not in params.scalars:
            return (np.asarray(self._rows(x[0], params.length) * params.weights, np.float32),)
        data = self._rows(x[0], params.length).astype(np.int64)
        shift = params.bits - _bits((data ^ data >> 63).max(-1))
        return ((data << shift[..., None]) * params.weights.astype(np.int64) >> 32).astype(np.int32), shift.astype(np.int32)

    def reference_half_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        return (self.reference_half(params, *x),)


def _bits(x: Array) -> Array:
    """How many bits non-negative integers below 2^62 need; int64, 0 of 0."""
    n = np.frexp(x.astype(np.float64))[1].astype(np.int64)
    return np.asarray(n - ((x > 0) & (x >> np.maximum(n - 1, 0) == 0)))


def logarithms() -> Array:
    """log2(1 + t) in Q16 for t in 64ths."""
    return np.asarray(np.rint(reals.log2(1 + np.arange(PARTS + 1) / PARTS) * 2**Q), np.int32)


def soft_steps() -> Array:
    """log2(1 + 2^-d) in Q16 for d in eighths, to 20 octaves."""
    return np.asarray(np.rint(reals.log2(1 + 2.0 ** -(np.arange(SOFT * DEEP + 1) / SOFT)) * 2**Q), np.int32)


def octaves_of(x: Array, table: Array) -> Array:
    """log2 of positive int64 in Q16 by `logarithms`, straight lines in between; of 0 that of 1."""
    octave = np.maximum(_bits(x) - 1, 0)
    part = np.where(octave > Q, x >> np.maximum(octave - Q, 0), x << np.maximum(Q - octave, 0)) & (1 << Q) - 1
    at, rest, table = part >> Q - 6, part & (1 << Q - 6) - 1, table.astype(np.int64)
    return np.asarray((octave << Q) + table[at] + ((table[at + 1] - table[at]) * rest >> Q - 6))


def softly(apart: Array, table: Array) -> Array:
    """How far log2(2^a + 2^b) lies above the larger of a and b, by their distance in Q16 and `soft_steps`."""
    apart, table = np.minimum(apart, (DEEP << Q) - 1), table.astype(np.int64)
    place, over = apart >> Q - 3, apart & (1 << Q - 3) - 1
    return np.asarray(table[place] + ((table[place + 1] - table[place]) * over >> Q - 3))


@dataclass(frozen=True)
class BandLevels(_Halves):
    """A spectrum ``[..., 2 N]``, constant first bins, counts int16 ``[M]`` and weights float32 ``[W]`` of bands -> levels ``[..., M]``.

    A band is v = sum of weight * magnitude^power. Its level is v (``linear``), or offset + factor ln max(v, floor) (``max``), or offset +
    factor ln(v + floor) (``add``). An int32 spectrum of int16 samples with its shifts as the last input becomes int16 or int8 with a
    scale: bands are normalized one by one, logarithms looked up with straight lines in between (error below 2^-14 octaves). With mode
    ``max`` it may become int32 without a scale: octaves of max(v, floor) in Q16.
    """

    traits: ClassVar[Traits] = Traits("dense", slides=last_alone, float32="kept")

    power: int = 2
    mode: str = "linear"
    floor: float = 1e-10
    factor: float = 1.0
    offset: float = 0.0

    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def infer(self, *types: TensorType) -> TensorType:
        x, starts, counts = types[:3]
        fits = len(x.shape) >= 1 and x.shape[-1] % 2 == 0 and len(starts.shape) == 1 and starts.shape == counts.shape
        if not fits or self.power not in (1, 2) or self.mode not in MODES or not (self.floor > 0 and self.factor > 0):
            raise EdgeqError(f"bands {starts} of a spectrum {x}", why="power 1 or 2, floor and factor above 0")
        return replace(x, shape=(*x.shape[:-1], starts.size))

    def macs(self, *types: TensorType) -> int:
        return types[0].size // types[0].shape[-1] * types[3].size

    def real(self, *x: Array) -> Array:
        parts, (starts, counts, weights) = x[0].astype(np.float64).reshape(*x[0].shape[:-1], -1, 2), x[1:4]
        energy = (parts**2).sum(-1) ** (self.power / 2)
        matrix = np.zeros((len(starts), energy.shape[-1]))
        at = 0
        for row, start, count in zip(matrix, starts.astype(int).tolist(), counts.astype(int).tolist(), strict=True):
            row[start : start + count] = weights[at : at + count]
            at += count
        v = matrices.matmul(energy, matrix.T, True)
        if self.mode == "linear":
            return np.asarray(v, np.float32)
        limited = np.maximum(v, self.floor) if self.mode == "max" else v + self.floor
        return np.asarray(self.offset + self.factor * reals.log(limited), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        starts, counts, weights = (_data(t, where) for t in inputs[1:4])
        ends = starts.astype(np.int64) + counts
        if starts.min(initial=0) < 0 or counts.min(initial=1) < 1 or ends.max() > x.shape[-1] // 2 or counts.sum() != weights.size:
            raise EdgeqError("bands reach over the spectrum or their weights", where=where)
        scalars: dict[str, int | str] = {
            "rows": x.size // x.shape[-1], "width": x.shape[-1], "bands": len(starts), "power": self.power, "mode": self.mode,
        }  # fmt: skip
        tables = {"starts": starts.astype(np.int16), "counts": counts.astype(np.int16)}
        if x.dtype in FLOATS:
            _floats_only(self, where, x, output)
            constants = np.array([self.floor, self.factor, self.offset], np.float32)
            return Params(law, scalars, {**tables, "weights": weights.astype(np.float32), "constants": constants})
        own, values = self._fixed(where, inputs, output)
        return Params(law, {**scalars, **own}, {**tables, **values})

    def _fixed(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> tuple[dict[str, int | str], dict[str, Array]]:
        x, counts, weights = inputs[0].type, _data(inputs[2], where), np.asarray(_data(inputs[3], where), np.float64)
        octaves = output.dtype is DType.INT32 and output.q is None and self.mode == "max"
        known = len(inputs) == 5 and (octaves or (output.dtype in (DType.INT16, DType.INT8) and output.q is not None))
        if x.dtype is not DType.INT32 or not known or weights.min() < 0:
            why = "int16 or int8 with a scale, of weights that are not negative"
            raise EdgeqError(f"levels {output} of a spectrum {x}", where=where, why=why)
        starts = np.cumsum(counts.astype(np.int64)) - counts
        peaks = np.maximum(np.maximum.reduceat(weights, starts), 1e-30)
        short = np.rint(weights / np.repeat(peaks, counts) * 32767).astype(np.int16)
        end = 2 ** (8 * output.dtype.bytes - 1)
        scalars: dict[str, int | str] = {"zero": output.zero_point, "least": -end, "most": end - 1}
        if self.mode == "linear":
            multipliers, shifts = numerics.quantize_multipliers(peaks / 32767 / output.scale)
            return scalars, {"weights": short, "multipliers": multipliers, "shifts": (31 - shifts).astype(np.int8)}
        if octaves:
            tables = {"octaves": np.rint(reals.log2(peaks / 32767) * 2**Q).astype(np.int32), "logarithms": logarithms()}
            return {"floor": round(float(reals.log2(self.floor)) * 2**Q)}, {"weights": short, **tables}
        step = self.factor * math.log(2)  # of a level by an octave
        offset = self.offset / step
        multiplier, shift = (int(n) for n in numerics.quantize_multiplier(step / 2**Q / output.scale))
        places = np.rint((reals.log2(peaks / 32767) + offset) * 2**Q)
        floor = round((float(reals.log2(self.floor)) + offset) * 2**Q)
        if max(np.abs(places).max(), abs(floor)) >= 2**28 or not 1 <= 31 - shift <= 62:
            raise EdgeqError(f"levels {output.q} of a floor {self.floor:g} do not fit", where=where, fix="choose another output scale")
        tables = {"weights": short, "octaves": places.astype(np.int32), "logarithms": logarithms()}
        tables |= {"soft": soft_steps()} if self.mode == "add" else {}
        return {**scalars, "multiplier": multiplier, "shift": 31 - shift, "floor": floor}, tables

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        if "constants" not in p.tables:
            return self._levels(p, *x)
        data = np.asarray(x[0], np.float32)
        r, i = data[..., ::2], data[..., 1::2]
        energy = r * r + i * i
        energy = floats.sqrt(energy) if p.power == 1 else energy
        v = np.zeros((*data.shape[:-1], p.bands), np.float32)
        at = 0
        for band, (start, count) in enumerate(zip(p.starts.tolist(), p.counts.tolist(), strict=True)):
            for j in range(count):
                v[..., band] = v[..., band] + p.weights[at + j] * energy[..., start + j]
            at += count
        if p.mode == "linear":
            return v
        floor, factor, offset = p.constants
        limited = np.where(v > floor, v, floor) if p.mode == "max" else v + floor
        return np.asarray(floats.log(limited) * factor + offset, np.float32)

    def _levels(self, p: Params, spectrum: Array, shift: Array) -> Array:
        parts = spectrum.astype(np.int64).reshape(*spectrum.shape[:-1], -1, 2)
        result = np.zeros((*spectrum.shape[:-1], p.bands), np.int64)
        at = 0
        for band, (start, count) in enumerate(zip(p.starts.tolist(), p.counts.tolist(), strict=True)):
            own = parts[..., start : start + count, :]
            k = np.int64(BLOCK_BITS + 1) - _bits((own ^ own >> 63).max((-1, -2)))
            scaled = own << k[..., None, None]
            energy = (scaled * scaled >> 32).sum(-1)
            if p.power == 1:
                energy = square_roots(energy.astype(np.uint64)).astype(np.int64)
            total = (energy * p.weights[at : at + count].astype(np.int64)).sum(-1)
            exponent = p.power * (k + shift - 2)  # v = total * 2^-exponent * what the tables hold
            result[..., band] = self._linear(p, band, total, exponent) if p.mode == "linear" else self._level(p, band, total, exponent)
            at += count
        if "zero" not in p.scalars:
            return result.astype(np.int32)
        return np.asarray(np.clip(result + p.zero, p.least, p.most), np.int16 if p.most > 127 else np.int8)

    def _linear(self, p: Params, band: int, total: Array, exponent: Array) -> Array:
        t = np.maximum(_bits(total) - 31, 0)
        n = int(p.shifts[band]) - t + exponent
        product = (total >> t) * int(p.multipliers[band])
        near = np.clip(n, 1, 62)
        y = np.minimum((product + (np.int64(1) << near - 1)) >> near, 2**20)
        return np.where((n > 62) | (product == 0), 0, np.where(n < 1, 2**20, y))

    def _level(self, p: Params, band: int, total: Array, exponent: Array) -> Array:
        level = octaves_of(total, p.logarithms) - (exponent << Q) + int(p.octaves[band])
        level = np.where(total > 0, level, p.floor)
        higher = np.maximum(level, p.floor)
        if "multiplier" not in p.scalars:
            return np.asarray(higher)
        if p.mode == "add":
            higher = np.where(total > 0, higher + softly(np.abs(level - p.floor), p.soft), higher)
        return np.asarray((higher * p.multiplier + (1 << p.shift - 1)) >> p.shift)


@dataclass(frozen=True)
class CosineTransform(_Halves):
    """x ``[..., M]``, constant matrix float32 ``[K, M]`` -> their products ``[..., K]``; also int16 without zero point -> int16 or int8."""

    traits: ClassVar[Traits] = Traits("dense", slides=last_alone, float32="kept")

    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        x, w = types
        if not x.shape or len(w.shape) != 2 or w.shape[1] != x.shape[-1]:
            raise EdgeqError(f"a matrix {w} does not fit {x}")
        return replace(x, shape=(*x.shape[:-1], w.shape[0]))

    def macs(self, *types: TensorType) -> int:
        return types[0].size * types[1].shape[0]

    def real(self, *x: Array) -> Array:
        return np.asarray(matrices.matmul(x[0], x[1].T), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, w = inputs[0].type, np.asarray(_data(inputs[1], where), np.float64)
        scalars = {"rows": x.size // x.shape[-1], "depth": x.shape[-1], "count": len(w)}
        if x.dtype in FLOATS:
            _floats_only(self, where, x, output)
            return Params(law, scalars, {"weights": w.astype(np.float32)})
        if x.dtype is not DType.INT16 or x.q is None or output.q is None or x.zero_point or output.dtype not in (DType.INT16, DType.INT8):
            raise EdgeqError(f"a cosine transform of {x} giving {output} is not computed", where=where)
        ratio = w * (x.scale / output.scale)
        shift = int(np.clip(15 - math.frexp(np.abs(ratio).max())[1], 1, 62))
        end = 2 ** (8 * output.dtype.bytes - 1)
        fixed = np.clip(np.rint(ratio * 2.0**shift), -32768, 32767).astype(np.int16)
        return Params(law, {**scalars, "shift": shift, "zero": output.zero_point, "least": -end, "most": end - 1}, {"weights": fixed})

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        if "shift" in p.scalars:
            y = (x[0].astype(np.int64) @ p.weights.astype(np.int64).T + (1 << p.shift - 1) >> p.shift) + p.zero
            return np.asarray(np.clip(y, p.least, p.most), np.int16 if p.most > 127 else np.int8)
        data = np.asarray(x[0], np.float32)
        y = np.zeros((*data.shape[:-1], p.count), np.float32)
        for j in range(p.depth):
            y = y + data[..., j : j + 1] * p.weights[:, j]
        return np.asarray(y, np.float32)
