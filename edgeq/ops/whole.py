"""Arithmetic of integers that are numbers themselves, without a scale: what a model counts and indexes with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.elementwise import _Binary, broadcast
from edgeq.ops.traits import Traits, same

LEAST, MOST = -(2**31), 2**31 - 1


def _divided(a: Array, b: Array) -> Array:
    """a / b toward zero; 0 where b is."""
    quotient = np.abs(a) // np.maximum(np.abs(b), 1)
    return np.where(b == 0, 0, np.where((a < 0) != (b < 0), -quotient, quotient))


FUNCTIONS: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": _divided, "minimum": np.minimum, "maximum": np.maximum,
}  # fmt: skip


@dataclass(frozen=True)
class Whole(_Binary):
    """a, b int32 -> their combination, modulo 2^32, within limits. A quotient is cut towards zero; by zero it is 0."""

    traits: ClassVar[Traits] = replace(_Binary.traits, words=True)

    function: str = "add"

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray(FUNCTIONS[self.function](a, b))

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        if self.function not in FUNCTIONS:
            raise EdgeqError(f"'{self.function}' is no function of two integers")
        return replace(a, shape=broadcast(a.shape, b.shape))

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        for t in (*(i.type for i in inputs), output):
            if t.dtype is not DType.INT32 or t.q is not None:
                raise EdgeqError(f"whole numbers are int32 without a scale, not {t}", where=where)
        divisor = inputs[1].data
        if self.function == "div" and (divisor is None or not divisor.all()):
            raise EdgeqError("a division of integers by a computed number or by 0", where=where, fix="divide by constants")
        walk = self._walk(inputs[0].type, inputs[1].type, output)
        low, high = (int(min(max(c, LEAST), MOST)) for c in self.clamp)
        scalars = {**walk.scalars, "function": self.function, "act_min": low, "act_max": high}
        return Params(law, {**scalars, "limited": int((low, high) != (LEAST, MOST))}, dict(walk.tables))

    def reference(self, params: Params, *x: Array) -> Array:
        y = self.combine(x[0].astype(np.int64), x[1].astype(np.int64))
        y = ((y + 2**31) & (2**32 - 1)) - 2**31
        return np.asarray(np.clip(y, params.act_min, params.act_max), np.int32)

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        raise EdgeqError("whole numbers are not computed in half precision", where=where)


@dataclass(frozen=True)
class WholeCast(Op):
    """x int8, int16 or int32 without a scale -> the same numbers in another of these types `to`, modulo its range."""

    traits: ClassVar[Traits] = Traits("cast", elementwise=True, channels=same, words=True)

    to: str

    def infer(self, *types: TensorType) -> TensorType:
        dtypes = {d.value: d for d in (DType.INT8, DType.INT16, DType.INT32)}
        if self.to not in dtypes or types[0].dtype not in dtypes.values() or types[0].q is not None:
            raise EdgeqError(f"{types[0]} is not cast to {self.to}")
        return TensorType(types[0].shape, dtypes[self.to])

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0], np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        if output.dtype.value != self.to or output.dtype is inputs[0].type.dtype or output.q is not None:
            raise EdgeqError(f"{inputs[0].type} is not cast to {output}", where=where)
        return Params(law, {"size": output.size, "bytes": output.dtype.bytes})

    def reference(self, params: Params, *x: Array) -> Array:
        return x[0].astype(f"i{params.bytes}")
