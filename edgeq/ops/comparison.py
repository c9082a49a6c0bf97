"""Comparison of two int8 tensors with broadcasting, by TFLM's arithmetic: truth values are int8, 1 or 0, without a scale."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import _Binary, broadcast, reach, require_int8, require_tflm

LEFT = 8  # bits by which both are raised before they are brought to one scale
FUNCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "==": np.equal, "!=": np.not_equal, ">": np.greater, ">=": np.greater_equal, "<": np.less, "<=": np.less_equal,
}  # fmt: skip


@dataclass(frozen=True)
class Comparison(_Binary):
    """a, b int8 -> whether ``a function b``. Law ``tflm`` alone: in float it is built of other operators."""

    bind_half = Op.bind_half  # none

    function: str = "=="

    def infer(self, *types: TensorType) -> TensorType:
        if self.function not in FUNCTIONS:
            raise EdgeqError(f"'{self.function}' is no comparison")
        return TensorType(broadcast(types[0].shape, types[1].shape), DType.INT8)

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray(FUNCTIONS[self.function](a, b))

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        a, b = (t.type for t in inputs)
        require_int8(where, self, a, b)
        require_tflm(law, where, self)
        if (output.dtype, output.q) != (DType.INT8, None):
            raise EdgeqError(f"{output} is no truth value", where=where)
        walk = self._walk(a, b, output)
        scalars: dict[str, int | str] = {"function": self.function, "a_zero": a.zero_point, "b_zero": b.zero_point}
        for name, t in (("a", a), ("b", b)):
            multiplier, shift = numerics.quantize_multiplier(float(np.float32(t.scale)))
            numerics.check_accumulator(where, np.array([reach(t) << LEFT + max(shift, 0)]))
            scalars |= {f"{name}_multiplier": multiplier, f"{name}_right": -shift}
        return Params(law, {**scalars, **walk.scalars}, dict(walk.tables))

    def reference(self, params: Params, *x: Array) -> Array:
        p = params
        a, b = (np.asarray(v, np.int64) for v in x)
        a = numerics.requantize_tflm((a - p.a_zero) << LEFT, p.a_multiplier, -p.a_right)
        b = numerics.requantize_tflm((b - p.b_zero) << LEFT, p.b_multiplier, -p.b_right)
        return np.asarray(FUNCTIONS[str(p.function)](a, b), np.int8)
