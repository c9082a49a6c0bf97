"""Pad: more elements before and after each axis, constant, mirrored, repeated or from the other end."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.elementwise import require_int8
from edgeq.ops.loops import Shape, nest, outer_loops, strides
from edgeq.ops.move import Axis, _Move, same_values, size_limit
from edgeq.ops.traits import Axes, Sliding, Traits, whole

Mode = Literal["constant", "reflect", "edge", "wrap"]


def _slides(op: Pad, shapes: Sequence[Shape], axis: int) -> Sliding | None:
    """Rows with more before and after them, which are padding like that of convolutions if they are constant."""
    before, after = op.pads[axis]
    if (before or after) and op.mode != "constant":
        return None

    def of(_: int, before: int, after: int) -> Pad:
        return replace(op, pads=tuple((before, after) if i == axis else p for i, p in enumerate(op.pads)))

    return Sliding(axis, of, 1, before)


@dataclass(frozen=True)
class Pad(_Move):
    """x -> per axis ``(before, after)`` more elements.

    Mode ``constant`` fills with `value` (None: zero), ``reflect`` mirrors without the border element, ``edge`` repeats it,
    ``wrap`` goes on at the other end.
    """

    traits: ClassVar[Traits] = replace(
        _Move.traits,
        moves=False,
        axes=Axes(per_axis=(("pads", (0, 0)),)),
        channels=whole(lambda op, x: bool(op.pads[-1] == (0, 0))),
        slides=_slides,
    )

    pads: tuple[tuple[int, int], ...]
    value: float | None = None
    mode: Mode = "constant"

    def infer(self, *types: TensorType) -> TensorType:
        shape = types[0].shape
        if len(self.pads) != len(shape) or min((min(p) for p in self.pads), default=0) < 0 or self.mode not in get_args(Mode):
            raise EdgeqError(f"{self.mode} padding {self.pads} does not fit {types[0]}")
        if self.value is not None and math.isnan(self.value):
            raise EdgeqError("the padding value is not a number")
        if self.mode == "reflect" and any(max(p) >= n for p, n in zip(self.pads, shape, strict=True)):
            raise EdgeqError(f"padding {self.pads} reflects more than there is in {types[0]}")
        result = tuple(n + before + after for n, (before, after) in zip(shape, self.pads, strict=True))
        size_limit(result)
        return replace(types[0], shape=result)

    def axes(self, shape: Shape) -> list[Axis]:
        mode: Any = self.mode
        return [(i, np.pad(np.arange(n), p, mode=mode)) for i, (n, p) in enumerate(zip(shape, self.pads, strict=True))]

    def kernel_op(self) -> str:
        return "pad" if self.mode == "constant" else "copy"

    def real(self, *x: Array) -> Array:
        return self._filled(x[0], self.value or 0.0) if self.mode == "constant" else super().real(*x)

    def _filled(self, x: Array, value: float) -> Array:
        return np.pad(x, ((0, 0), *self.pads), constant_values=value)

    def _stored(self, params: Params) -> Any:
        """The filling element."""
        return np.array(params.fill, np.uint16).view(np.float16) if params.law == half.LAW else params.fill

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        if self.mode != "constant":
            return super().bind(law, where, inputs, output)
        if law != half.LAW:
            if output.dtype is DType.FLOAT32:
                _require_zero(self, where)
            elif words.is_words(output):
                words.require_int16(where, self, output)
            else:
                require_int8(where, self, output)
        same_values(law, where, inputs, output)
        steps = strides(output.shape)
        inner, (step,), table = nest(inputs[0].type.shape, steps)
        start = sum(before * s for s, (before, _) in zip(steps, self.pads, strict=True))
        scalars = {"size": output.size, "fill": fill(self.value, output), "start": start, "inner": inner, "step": step}
        return Params(law, {**scalars, "axes": outer_loops(table)}, {"loops": table})

    def reference(self, params: Params, *x: Array) -> Array:
        return self._filled(x[0], self._stored(params)) if self.mode == "constant" else super().reference(params, *x)


def _require_zero(op: Pad, where: str) -> None:
    if op.value:
        raise EdgeqError(f"padding with {op.value:g} in float32 is not computed", where=where, why="only zeros are", fix="pad with zeros")


def fill(value: float | None, output: TensorType) -> int:
    """A padding value, which may be infinite, as a stored integer; of halves the bits; float32 is padded with 0."""
    if output.dtype is DType.FLOAT32:
        return 0
    if output.dtype is DType.FLOAT16:
        return int(half.from_float(np.array([value or 0.0], np.float32)).view(np.uint16)[0])
    steps = 0.0 if value is None else min(max(float(np.float32(value)) / float(np.float32(output.scale)), -1e6), 1e6)
    info = np.iinfo(output.dtype.numpy)
    return min(max(int(numerics.round_half_away(steps)) + output.zero_point, int(info.min)), int(info.max))
