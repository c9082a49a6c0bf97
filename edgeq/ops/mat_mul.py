"""Matrix product of two activations, batched, with broadcasting over the batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half, matrices, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import half_params
from edgeq.ops.linear import NO_CLAMP, apply_output_stage, exact_matmul, rescaling
from edgeq.ops.traits import Traits


def _reach(t: TensorType) -> int:
    """Largest magnitude of an int8 value less its zero point."""
    return max(127 - t.zero_point, 128 + t.zero_point)


@dataclass(frozen=True)
class MatMul(Op):
    """a ``[..., M, K]`` times b ``[..., K, N]`` -> ``[..., M, N]``; equal ranks, batch lengths equal or 1."""

    traits: ClassVar[Traits] = Traits("dense", file_words=True)

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        fits = len(a.shape) == len(b.shape) >= 2 and a.shape[-1] == b.shape[-2]
        if not fits or any(m != n and 1 not in (m, n) for m, n in zip(a.shape[:-2], b.shape[:-2], strict=True)):
            raise EdgeqError(f"cannot multiply {a} by {b}")
        batch = (max(m, n) for m, n in zip(a.shape[:-2], b.shape[:-2], strict=True))
        return replace(a, shape=(*batch, a.shape[-2], b.shape[-1]))

    def macs(self, *types: TensorType) -> int:
        return self.infer(*types).size * types[0].shape[-1]

    def real(self, *x: Array) -> Array:
        return np.asarray(matrices.matmul(x[0], x[1]), np.float32)

    def _loops(self, a: TensorType, b: TensorType, output: TensorType) -> Params:
        """Sizes, and per product of the batch which matrices of a and b it takes: ``matrices`` int32 ``[batches, 2]``."""
        batch = output.shape[:-2]
        matrices = [np.broadcast_to(np.arange(np.prod(t.shape[:-2], dtype=np.int64)).reshape(t.shape[:-2]), batch).ravel() for t in (a, b)]
        scalars = {"batches": len(matrices[0]), "rows": a.shape[-2], "depth": a.shape[-1], "columns": b.shape[-1]}
        return Params("", scalars, {"matrices": np.stack(matrices, 1).astype(np.int32)})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        loops = self._loops(inputs[0].type, inputs[1].type, output)
        return half_params(dict(loops.scalars), dict(loops.tables))

    def reference_half(self, params: Params, *x: Array) -> Array:
        return half.from_float(half.products(x[0], x[1]))

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        a, b = (t.type for t in inputs)
        if words.is_words(a):
            return self._bind_words(law, where, a, b, output)
        k = a.shape[-1]
        bound = k * _reach(a) * (128 + abs(b.zero_point))
        numerics.check_accumulator(where, np.array([bound]))
        ratio = float(np.float32(a.scale)) * float(np.float32(b.scale)) / float(np.float32(output.scale))
        stage = rescaling(law, where, *numerics.quantize_multipliers(np.array([ratio])), output, NO_CLAMP, bound)
        loops, zeros = self._loops(a, b, output), {"a_zero": a.zero_point, "b_zero": b.zero_point}
        return Params(law, {**loops.scalars, **zeros, **stage.scalars}, {**loops.tables, **stage.tables})

    def _bind_words(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        """TFLM's on int16: sums of 64 bits, one rounding by a multiplier of 15 bits."""
        words.require_tflm(law, where, self, a, b, output)
        scale = np.array([np.float64(np.float32(a.scale)) * np.float64(np.float32(b.scale))])
        multiplier, shift = words.short_multipliers(where, scale, output.scale)
        loops = self._loops(a, b, output)
        return Params(law, {**loops.scalars, "multiplier": int(multiplier[0]), "shift": int(shift[0])}, dict(loops.tables))

    def reference(self, params: Params, *x: Array) -> Array:
        if words.is_array(x[0]):
            sums = exact_matmul(x[0], x[1], params.depth * 2.0**30)
            return words.rescaled(sums, np.array(params.multiplier), np.array(params.shift)).astype(np.int16)
        a, b = x[0].astype(np.int64) - params.a_zero, x[1].astype(np.int64) - params.b_zero
        return apply_output_stage(params, exact_matmul(a, b, params.depth * 255.0 * 255.0))
