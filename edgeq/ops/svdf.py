"""TFLite's SVDF layer on integers: two products in turn, of features and of time, over frames that it keeps (TFLM's arithmetic)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import matrices, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import require_tflm
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Svdf(Op):
    """x ``[B, I]``, features ``[F, I]``, time ``[F, M]``, bias ``[F / rank]``, state ``[B, M, F]`` -> y ``[B, F / rank]``, state.

    The oldest frame falls out of the state and the features of x come in; y sums the products along time of `rank` neighbouring
    filters. x, y and features are int8; time and state int8, or int16. A feature is saturated before the state's zero point is added,
    and wraps then, as in TFLM. Law ``tflm`` alone: in float it is built of other operators.
    """

    traits: ClassVar[Traits] = Traits("recurrent")

    rank: int = 1

    parameters: ClassVar[tuple[int, ...]] = (1, 2, 3)

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, features, time, bias, state = types
        fits = len(x.shape) == len(features.shape) == len(time.shape) == 2 and features.shape[1] == x.shape[1] and self.rank >= 1
        if not fits or features.shape[0] != time.shape[0] or features.shape[0] % self.rank:
            raise EdgeqError(f"weights {features} and {time} of rank {self.rank} do not fit input {x}")
        filters, memory = time.shape
        if bias.shape != (filters // self.rank,) or state.shape != (x.shape[0], memory, filters):
            raise EdgeqError(f"bias {bias} or state {state} does not fit weights {time} of rank {self.rank}")
        return TensorType((x.shape[0], filters // self.rank), x.dtype, x.q), state

    def macs(self, *types: TensorType) -> int:
        return types[0].shape[0] * (types[1].size + types[2].size)

    def real(self, *x: Array) -> Array:
        return self.real_all(*x)[0]

    def real_all(self, *x: Array) -> tuple[Array, ...]:
        data, features, time, bias, state = x
        before = np.broadcast_to(state, (len(data), *state.shape[-3:]))
        after = np.concatenate([before[:, :, 1:], matrices.matmul(data, features.T).astype(np.float32)[:, :, None]], axis=2)
        y = (after * time.T).sum(-2).reshape(*data.shape[:-1], -1, self.rank).sum(-1) + bias
        return np.asarray(y, np.float32), np.asarray(after, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, features, time, bias, state = inputs
        require_tflm(law, where, self)
        words = _require(where, x.type, features, time, bias, state.type, output)
        assert features.data is not None and time.data is not None and bias.data is not None
        first, second = (np.float32(a.scale) * np.float32(w.type.scale) / np.float32(b.scale) for a, w, b in (
            (x.type, features, state.type), (state.type, time, output)
        ))  # fmt: skip
        wide = features.data.astype(np.int64)
        folded = -x.type.zero_point * wide.sum(1)
        bound = np.abs(wide).sum(1) * 128 + np.abs(folded)
        reach = (32768 if words else 128) + abs(state.type.zero_point)
        sums = np.abs(time.data.astype(np.int64)).sum(1).reshape(-1, self.rank).sum(1) * reach
        stages: dict[str, int] = {}
        for name, factor, most in (("x", first, bound), ("y", second, sums + np.abs(bias.data.astype(np.int64)))):
            multiplier, shift = numerics.quantize_multiplier(float(factor))
            numerics.check_accumulator(where, most << max(shift, 0))
            stages |= {f"{name}_multiplier": multiplier, f"{name}_shift": -shift}
        (batches, in_c), (filters, memory) = x.type.shape, time.type.shape
        scalars = {
            "batches": batches, "in_c": in_c, "filters": filters, "memory": memory, "rank": self.rank, "words": words,
            "state_zero": state.type.zero_point, "out_offset": output.zero_point, **stages,
        }  # fmt: skip
        own = {"feature_weights": features.data, "feature_bias": folded.astype(np.int32)}
        tables = {**own, "time_weights": time.data, "bias": bias.data}
        return Params(law, scalars, tables)

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        p, (data, state) = params, x
        info = np.iinfo(np.int16 if p.words else np.int8)
        sums = _wrapped(data.astype(np.int64) @ p.feature_weights.astype(np.int64).T + p.feature_bias)
        new = np.clip(numerics.requantize_tflm(sums, p.x_multiplier, -p.x_shift), info.min, info.max) + p.state_zero
        before = np.broadcast_to(state, (len(data), *state.shape[-3:]))
        after = np.concatenate([before[:, :, 1:], new[:, :, None]], axis=2).astype(info.dtype)
        parts = ((after.astype(np.int64) - p.state_zero) * p.time_weights.astype(np.int64).T).sum(2)
        total = _wrapped(parts.reshape(*parts.shape[:2], -1, p.rank).sum(-1) + p.bias)
        y = numerics.requantize_tflm(total, p.y_multiplier, -p.y_shift) + p.out_offset
        return np.clip(y, -128, 127).astype(np.int8), after


def _wrapped(sums: Array) -> Array:
    """Sums as int32 holds them: faults in weights and biases alone make them larger."""
    return sums.astype(np.int32).astype(np.int64)


def _require(where: str, x: TensorType, features: Tensor, time: Tensor, bias: Tensor, state: TensorType, output: TensorType) -> int:
    """Check the types; 1 where time and state are int16.

    Raises:
        EdgeqError: they are none that the operator knows.
    """
    dtypes = x.dtype, features.type.dtype, bias.type.dtype, output.dtype
    words = state.dtype is DType.INT16
    single = all(t.q is not None and len(t.q.scale) == 1 for t in (x, features.type, time.type, state, output))
    known = state.dtype in (DType.INT8, DType.INT16) and state.dtype is time.type.dtype and single
    if dtypes != (DType.INT8, DType.INT8, DType.INT32, DType.INT8) or not known or features.type.zero_point or time.type.zero_point:
        raise EdgeqError(f"svdf on {x}, {features.type}, {time.type}, {state} is not supported", where=where)
    return int(words)
