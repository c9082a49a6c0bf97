"""Attention whose mask is computed: padding of a length that is known only then, biases of an input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import matrices, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Params, Tensor, TensorType
from edgeq.ops.attention import EXCLUDED, FARTHEST, LEAST, MASKED, Attention
from edgeq.ops.traits import Traits

STRIDES = ("batch_step", "head_step", "query_step")  # of the mask, in elements; 0 along axes of length 1


@dataclass(frozen=True)
class MaskedAttention(Attention):
    """`Attention` with a fourth input, a mask ``[1 or B, 1 or H, 1 or T, S]`` that is added to the scores, and perhaps its constant one.

    A value below -1000 excludes a key. A query without any key gives 0.

    On int8 the mask's code -128 excludes a key as well, whatever its scale says: the quantizer keeps it free for that. A table has what
    each code adds to a score.
    """

    traits: ClassVar[Traits] = Traits("dense", real=(4,), excludes=(3,))
    parameters: ClassVar[tuple[int, ...]] = (4,)

    def infer(self, *types: TensorType) -> TensorType:
        if len(types) not in (4, 5):
            raise EdgeqError("attention with a computed mask wants that mask")
        result, (b, t, h, _), s = super().infer(*types[:3], *types[4:]), types[0].shape, types[1].shape[1]
        mask = types[3].shape
        if len(mask) != 4 or mask[3] != s or any(m not in (1, n) for m, n in zip(mask, (b, h, t), strict=False)):
            raise EdgeqError(f"the mask {types[3]} does not fit attention of {types[0]} to {types[1]}")
        return result

    def real(self, *x: Array) -> Array:
        q, k, v = (a.swapaxes(-3, -2) for a in x[:3])
        k, v = (np.repeat(a, q.shape[-3] // k.shape[-3], axis=-3) for a in (k, v))
        given = x[3].astype(np.float64)
        own = x[4].astype(np.float64) if len(x) > 4 else np.zeros((1, q.shape[-2], k.shape[-2]))
        mask = self._excluding("attention", own) + np.where(given < MASKED, -np.inf, given)
        scores = self.scale * matrices.matmul(q, k.swapaxes(-1, -2)) + mask
        largest = scores.max(-1, keepdims=True)
        e = reals.exp(np.maximum(scores - np.where(np.isfinite(largest), largest, 0), LEAST)) * np.isfinite(scores)
        weights = e / np.maximum(e.sum(-1, keepdims=True), np.finfo(np.float64).tiny)
        return np.asarray(matrices.matmul(weights, v).swapaxes(-3, -2), np.float32)

    def _steps(self, mask: TensorType) -> dict[str, int]:
        steps, step = {}, mask.shape[3]
        for name, length in zip(STRIDES[::-1], mask.shape[2::-1], strict=True):
            steps[name] = step if length > 1 else 0
            step *= length
        return steps

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        params, mask = super().bind(law, where, (*inputs[:3], *inputs[4:]), output), inputs[3].type
        if mask.dtype is not DType.INT8:
            raise EdgeqError(f"a mask beside int8 is int8, not {mask}", where=where)
        step = float(np.float32(inputs[0].type.scale)) * float(np.float32(inputs[1].type.scale)) * self.scale
        values = (np.arange(-128, 128) - mask.zero_point) * float(np.float32(mask.scale))
        added = np.rint(np.clip(values / step, -FARTHEST, FARTHEST)).astype(np.int32)
        added[(values < MASKED) | (np.arange(256) == 0)] = EXCLUDED
        added = np.roll(added, 128)  # by the byte of a code
        return replace(params, scalars={**params.scalars, **self._steps(mask)}, tables={**params.tables, "added": added})

    def _given(self, params: Params, mask: Array) -> Array:
        return np.asarray(params.added.astype(np.int64)[mask.view(np.uint8)])

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        params = super().bind_half(where, (*inputs[:3], *inputs[4:]), output)
        return replace(params, scalars={**params.scalars, **self._steps(inputs[3].type)})
