"""Sample: one of the largest elements of each row by chance, as a language model chooses its next token."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import floats, half, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Traits

ONE = 65535  # the weight of the largest element
LONGEST = 65536  # elements of a row: the sum of their weights fits 32 bits


def drawn(number: Array) -> Array:
    """uint32 as random as the bits of a number can be mixed: the finalizer `lowbias32` (Wellons, 2018) of the number plus 2^32 / phi."""
    x = (np.asarray(number, np.int64) + 0x9E3779B9) & 0xFFFFFFFF
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    x = ((x ^ (x >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return np.asarray(x ^ (x >> 16))


def _first_beyond(weights: Array, number: Array) -> Array:
    """The first element of each row whose running sum of weights ``[V, R, N]`` exceeds what was drawn, int32 ``[V, R]``."""
    sums = weights.astype(np.int64).cumsum(-1)
    at = number.reshape(-1, 1).astype(np.int64) + np.arange(sums.shape[1])
    place = (drawn(at).astype(np.uint64) * sums[..., -1].astype(np.uint64)) >> np.uint64(32)
    return np.asarray((sums > place.astype(np.int64)[..., None]).argmax(-1), np.int32)


def _reaching(key: Array, top: int) -> Array:
    """bool: the `top` largest of each row, and those that equal the last of them."""
    least = np.sort(key, -1)[..., -min(top, key.shape[-1])]
    return np.asarray(key >= least[..., None])


@dataclass(frozen=True)
class Sample(Op):
    """Scores ``[..., N]``, a number int32 of one element -> int32 ``[...]``: one of the `top` largest elements of each row (and of those
    that equal the last of them) by chance, element i with a weight of ``exp((score_i - largest) / temperature)``.

    Chance is a function of the number alone: row r of the result takes ``number + r``. The same scores and number give the same
    result everywhere; who counts numbers up draws independently. Weights are integers, 65535 for the largest element: a table by
    distance on int8, on halves ``exp`` in float32.
    """

    traits: ClassVar[Traits] = Traits("pool", indices=(1,), counts_whole=True)

    top: int
    temperature: float = 1.0

    def infer(self, *types: TensorType) -> TensorType:
        scores, number = types
        if not scores.shape or scores.shape[-1] > LONGEST or number.size != 1:
            raise EdgeqError(f"sampling of {scores} by {number} wants rows of at most {LONGEST} elements and one number")
        if self.top < 1 or not 0 < self.temperature < math.inf:
            raise EdgeqError(f"sampling of the {self.top} largest at a temperature of {self.temperature:g}", fix="give positive numbers")
        return TensorType(scores.shape[:-1], DType.INT32)

    def _rows(self, x: Array) -> Array:
        return x.reshape(len(x), -1, x.shape[-1])

    def real(self, *x: Array) -> Array:
        scores = self._rows(x[0]).astype(np.float64)
        weights = reals.exp(np.maximum((scores - scores.max(-1, keepdims=True)) / self.temperature, -80.0))
        weights = np.rint(ONE * weights) * _reaching(scores, self.top)
        return np.asarray(_first_beyond(weights, x[1]).reshape(x[0].shape[:-1]), np.float32)

    def _sizes(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> dict[str, int | str]:
        scores, number = (t.type for t in inputs)
        if number.dtype is not DType.INT32 or output.dtype is not DType.INT32:
            raise EdgeqError(f"sampling by {number} does not give {output}: both are int32", where=where)
        count = scores.shape[-1]
        return {"rows": scores.size // count, "count": count, "top": min(self.top, count)}

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        sizes, scores = self._sizes(where, inputs, output), inputs[0].type
        if scores.dtype is not DType.INT8:
            raise EdgeqError(f"sampling of {scores} is not supported", where=where, fix="give int8 or halves")
        step = float(np.float32(scores.scale)) / self.temperature
        weights = np.rint(ONE * reals.exp(np.maximum(-step * np.arange(256), -80.0))).astype(np.uint16)
        return Params(law, sizes, {"weights": weights})

    def reference(self, params: Params, *x: Array) -> Array:
        scores = self._rows(x[0]).astype(np.int64)
        weights = params.weights.astype(np.int64)[scores.max(-1, keepdims=True) - scores] * _reaching(scores, params.top)
        return _first_beyond(weights, x[1]).reshape(x[0].shape[:-1])

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        rate = np.array([1 / self.temperature], np.float32)
        return half_params(self._sizes(where, inputs, output), {"rate": rate})

    def reference_half(self, params: Params, *x: Array) -> Array:
        rank = half.rank(self._rows(x[0]))
        largest = rank.max(-1, keepdims=True)
        with np.errstate(all="ignore"):
            e = floats.exp(floats.number((half.to_float(half.of_rank(rank)) - half.to_float(half.of_rank(largest))) * params.rate[0]))
            near = floats.limited(e, np.float32(1)) * np.float32(ONE) + np.float32(0.5)
            weights = np.where(rank == largest, ONE, near.astype(np.int64))
        return _first_beyond(weights * _reaching(rank, params.top), x[1]).reshape(x[0].shape[:-1])
