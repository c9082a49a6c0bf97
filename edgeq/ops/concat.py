"""Concatenation along one axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.move import size_limit
from edgeq.ops.requantize import Requantize
from edgeq.ops.traits import Axes, Rows, Shape, Tie, Traits, channel_count, same


def _ties(op: Any, inputs: Sequence[Shape | None], output: Shape) -> list[Tie] | None:
    """Channels one after the other where the last axis is joined."""
    if None in inputs:
        return None
    if op.axis != len(output) - 1:
        return same(op, inputs, output)
    ties, start = [], 0
    for i, shape in enumerate(inputs):
        own = np.arange(channel_count(shape or ()))
        ties.append(Tie(i, own, start + own))
        start += len(own)
    return ties


def _firsts(op: Any, shapes: Sequence[Shape], output: Shape) -> list[Array]:
    """Of each element."""
    runs = [math.prod(s[op.axis :]) for s in shapes]
    at = np.arange(math.prod(output))
    outer, place = at // sum(runs), at % sum(runs)
    return [outer * run + np.clip(place - sum(runs[:k]), 0, run) for k, run in enumerate(runs)]


@dataclass(frozen=True)
class Concat(Op):
    """x0, x1, ... -> the inputs one after the other along `axis`; an input in another scale than the output's is rescaled."""

    traits: ClassVar[Traits] = Traits(
        "move",
        merges=True,
        axes=Axes(single=("axis",)),
        channels=_ties,
        monotone="increasing",
        firsts=_firsts,
        rows=lambda op, shapes: Rows() if op.axis > 1 else None,
        float32="able",
    )

    axis: int

    variadic: ClassVar[bool] = True

    def infer(self, *types: TensorType) -> TensorType:
        if not types or not 0 <= self.axis < len(types[0].shape):
            raise EdgeqError(f"{len(types)} tensors cannot be concatenated along axis {self.axis}")
        first = types[0].shape
        for t in types:
            if len(t.shape) != len(first) or any(m != n for i, (m, n) in enumerate(zip(t.shape, first, strict=True)) if i != self.axis):
                raise EdgeqError(f"{types[0]} and {t} cannot be concatenated along axis {self.axis}")
        shape = tuple(sum(t.shape[i] for t in types) if i == self.axis else n for i, n in enumerate(first))
        size_limit(shape)
        return replace(types[0], shape=shape)

    def _join(self, parts: list[Array]) -> Array:
        """Constants, which have no vectors axis, are repeated for every vector."""
        rank = max(a.ndim for a in parts)
        vectors = next(len(a) for a in parts if a.ndim == rank)
        full = [a if a.ndim == rank else np.broadcast_to(a, (vectors, *a.shape)) for a in parts]
        return np.concatenate(full, axis=self.axis + 1)

    def real(self, *x: Array) -> Array:
        return self._join(list(x))

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        if any(t.type.dtype is not output.dtype for t in inputs):
            raise EdgeqError("inputs of different types cannot be concatenated", where=where)
        runs = np.array([math.prod(t.type.shape[self.axis :]) for t in inputs], np.int32)
        scalars = {"count": len(inputs), "outer": math.prod(output.shape[: self.axis]), "rescaled": 0}
        if all(t.type.q == output.q for t in inputs):
            return Params(law, scalars, {"runs": runs})
        if output.dtype is not DType.INT8:
            raise EdgeqError(f"inputs of {output.dtype.value} in different scales cannot be concatenated", where=where)
        tables = [Requantize().bind(law, where, (t,), output).values for t in inputs]
        return Params(law, {**scalars, "rescaled": 1}, {"runs": runs, "values": np.stack(tables)})

    def reference(self, params: Params, *x: Array) -> Array:
        if not params.rescaled:
            return self._join(list(x))
        return self._join([params.values[i][a.astype(np.int16) + 128] for i, a in enumerate(x)])

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        return self.bind(half.LAW, where, inputs, output)

    def reference_half(self, params: Params, *x: Array) -> Array:
        return self.reference(params, *x)
