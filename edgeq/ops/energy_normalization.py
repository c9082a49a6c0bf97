"""Per-channel energy normalization (PCEN; Wang et al. 2017, as librosa.pcen): on float32, and on integers in octaves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import floats, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.spectrum import Q, logarithms, octaves_of, soft_steps, softly
from edgeq.ops.traits import Traits

MEAN_BITS = 40  # behind the point of a running mean
LOUDEST, HIGHEST = 22, 20  # octaves that bands and results are limited to
POWER_BITS, POWERS = 30, 64  # behind the point of 2^t, and how many t in its table
DIFFERENCE_BITS = 20  # behind the point of what is multiplied by the output's step
LEAST_MEAN = np.float32(2.0**-126)  # of floats, the smallest normal number
LN2 = math.log(2)


def _two_to(x: Array | float) -> Array:
    return np.asarray(reals.exp(np.asarray(x, np.float64) * LN2))


@dataclass(frozen=True)
class EnergyNormalization(Op):
    """x ``[F, M]`` in turn, mean before ``[M]`` -> x under per-channel energy normalization (PCEN), and the mean after.

    m = (1 - smoothing) m + smoothing x; y = (x / (eps + m)^gain + bias)^power - bias^power. On float32, where a mean of 0 stands for
    `initial` and means are at least 2^-126; or x in octaves, int32 in Q16, with a mean less `initial` of int32 ``[M, 2]`` (Q40, low
    words first) and y int16 or int8 with a scale.
    """

    traits: ClassVar[Traits] = Traits("recurrent")

    smoothing: float
    gain: float = 0.98
    bias: float = 2.0
    power: float = 0.5
    eps: float = 1e-6
    initial: float = 1.0

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, mean = types
        wanted = (*x.shape[1:], 2) if x.dtype is DType.INT32 else x.shape[1:]
        if len(x.shape) != 2 or mean.shape != wanted or not 0 < self.smoothing <= 1 or not (self.eps > 0 and self.bias > 0):
            raise EdgeqError(f"energy normalization of {x} by {mean}", why="smoothing in (0, 1], eps and bias above 0")
        return replace(x, q=None), mean

    def real(self, *x: Array) -> Array:
        return self.real_all(*x)[0]

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        return self.reference_all(self._params(x[0].shape[1:]), *x)

    def _params(self, shape: tuple[int, ...]) -> Params:
        s = np.float32(self.smoothing)
        values = [s, np.float32(1) - s, self.initial, self.eps, -self.gain, self.bias, self.power, self.bias**self.power]
        return Params("single", {"rows": shape[0], "channels": shape[1]}, {"constants": np.array(values, np.float32)})

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if {t.type.dtype for t in inputs} == {DType.INT32} and output.q is not None and output.dtype in (DType.INT16, DType.INT8):
            return self._fixed(where, x, output)
        if {t.type.dtype for t in inputs} | {output.dtype} != {DType.FLOAT32}:
            fix = "compute it in float32 or int16"
            raise EdgeqError(f"energy normalization of {x} giving {output} is not computed", where=where, fix=fix)
        return self._params(x.shape)

    def largest(self, loudest: float) -> float:
        """The largest y of energies to `loudest`: a band that was silent, and one at the start."""
        octaves = np.linspace(-MEAN_BITS, float(reals.log2(loudest)), 2000)
        ratio = octaves - self.gain * reals.log2(self.eps + self.smoothing * _two_to(octaves))
        most = self.power * reals.log2(_two_to(ratio).max() + self.bias)
        return float(_two_to(most)) - self._less()

    def _less(self) -> float:
        return float(_two_to(self.power * float(reals.log2(self.bias))))

    def _fixed(self, where: str, x: TensorType, output: TensorType) -> Params:
        limits = (0 < self.gain <= 4, 0 < self.power <= 2, 2**-10 <= self.bias <= 2**10, 2.0**-MEAN_BITS <= self.eps <= 2**-10)
        if not all(limits) or self._less() > 2**10 or not 0 <= self.initial <= 2**16:
            why = f"gain {self.gain:g}, power {self.power:g}, bias {self.bias:g}, eps {self.eps:g}, initial {self.initial:g}"
            fix = "gain to 4, power to 2, bias and bias^power to 1024, eps of 2^-40 to 2^-10; or float32"
            raise EdgeqError("energy normalization in integers does not hold these numbers", where=where, why=why, fix=fix)
        end, one = 2 ** (8 * output.dtype.bytes - 1), 2.0**MEAN_BITS
        ratio = 2.0**-DIFFERENCE_BITS / output.scale
        start = int(self.initial * one)
        shift = min(22 - math.frexp(ratio)[1], 62)
        if shift < 1:
            raise EdgeqError(f"levels {output.q} do not fit", where=where, fix="choose another output scale")
        scalars = {
            "rows": x.shape[0], "channels": x.shape[1], "share": min(round(self.smoothing * 2**31), 2**31 - 1),
            "gain": round(self.gain * 2**Q), "bias": round(float(reals.log2(self.bias)) * 2**Q), "power": round(self.power * 2**Q),
            "less": round(self._less() * 2**DIFFERENCE_BITS), "shift": shift,
            "multiplier": round(ratio * 2.0**shift), "eps": round(self.eps * one), "start_high": start >> 32,
            "start_low": start % 2**32 >> 1,
            "zero": output.zero_point, "least": -end, "most": end - 1,
        }  # fmt: skip
        powers = np.rint(_two_to(np.arange(POWERS + 1) / POWERS) * 2**POWER_BITS)
        tables = {"logarithms": logarithms(), "soft": soft_steps(), "powers": np.minimum(powers, 2**31 - 1).astype(np.int32)}
        return Params("single", scalars, tables)

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        if "share" in params.scalars:
            return self._in_octaves(params, *x)
        own, rest, initial, eps, gain, bias, power, less = params.constants
        data = np.asarray(x[0], np.float32)
        mean = np.array(np.broadcast_to(np.asarray(x[1], np.float32), (len(data), data.shape[-1])))
        mean[mean == 0] = initial
        rows = []
        for i in range(params.rows):
            now = data[:, i]
            mean = rest * mean + own * now
            mean = np.where(mean < LEAST_MEAN, LEAST_MEAN, mean)
            rows.append(floats.exp(floats.log(now * floats.exp(floats.log(mean + eps) * gain) + bias) * power) - less)
        return np.stack(rows, 1), mean

    def _in_octaves(self, p: Params, *x: Array) -> tuple[Array, ...]:
        levels = x[0].astype(np.int64)
        words = np.broadcast_to(np.asarray(x[1]), (len(levels), p.channels, 2))
        start = (p.start_high << 32) + (p.start_low << 1)
        mean = (words[..., 1].astype(np.int64) << 32) + np.ascontiguousarray(words[..., 0]).view(np.uint32).astype(np.int64) + start
        mean = np.clip(mean, 0, 1 << MEAN_BITS + LOUDEST)
        rows = []
        for i in range(p.rows):
            level = np.minimum(levels[:, i], LOUDEST << Q)
            energy = power_of(level + (MEAN_BITS << Q), p.powers)
            mean = mean - _part(mean, p.share) + _part(energy, p.share)
            octaves = octaves_of(mean + p.eps, p.logarithms) - (MEAN_BITS << Q)
            ratio = level - (octaves * p.gain >> Q)
            summed = np.maximum(ratio, p.bias) + softly(np.abs(ratio - p.bias), p.soft)
            y = power_of(np.minimum(summed * p.power >> Q, HIGHEST << Q) + (DIFFERENCE_BITS << Q), p.powers) - p.less
            rows.append(np.clip((y * p.multiplier + (1 << p.shift - 1) >> p.shift) + p.zero, p.least, p.most))
        after = mean - start
        stored = np.stack([(after & 2**32 - 1).astype(np.uint32).view(np.int32), (after >> 32).astype(np.int32)], -1)
        return np.stack(rows, 1).astype(np.int16 if p.most > 127 else np.int8), stored


def power_of(octaves: Array, table: Array) -> Array:
    """2^octaves, rounded down; of int64 in Q16, at most 62 octaves, straight lines between 64ths; 0 below 1."""
    table, whole, part = table.astype(np.int64), octaves >> Q, octaves & (1 << Q) - 1
    at, rest = part >> Q - 6, part & (1 << Q - 6) - 1
    value = table[at] + ((table[at + 1] - table[at]) * rest >> Q - 6)
    up, down = np.clip(whole - POWER_BITS, 0, 32), np.clip(POWER_BITS - whole, 0, 62)
    return np.asarray(value << up >> down)


def _part(x: Array, share: int) -> Array:
    """x * share / 2^31, rounded down; x non-negative."""
    return np.asarray((x >> 31) * share + ((x & 2**31 - 1) * share >> 31))
