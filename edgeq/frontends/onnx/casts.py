"""Stand-ins for QuantizeLinear and DequantizeLinear while a graph is read; `integers.absorb` removes them all."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.ir import Array, Op, QParams, TensorType


@dataclass(frozen=True)
class _Cast(Op):
    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def real(self, *x: Array) -> Array:
        return x[0]


@dataclass(frozen=True)
class _ToInteger(_Cast):
    """Float to int8 of scale and zero point `q`."""

    q: QParams


@dataclass(frozen=True)
class _FromInteger(_Cast):
    """int8 to float."""


ToInteger, FromInteger = _ToInteger, _FromInteger
