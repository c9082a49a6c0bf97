"""What the elementwise operators on two tensors share: broadcasting, collapsed to a few loops, and the clamp."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.halves import finish, half_params
from edgeq.ops.linear import NO_CLAMP, Clamp
from edgeq.ops.loops import Shape, nest, outer_loops, strides
from edgeq.ops.traits import Traits, same


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of an elementwise result.

    Raises:
        EdgeqError: ranks differ, or two lengths differ and neither is 1.
    """
    if len(a) != len(b) or any(m != n and 1 not in (m, n) for m, n in zip(a, b, strict=True)):
        raise EdgeqError(f"shapes {list(a)} and {list(b)} do not broadcast", why="ranks must be equal, lengths equal or 1")
    return tuple(max(m, n) for m, n in zip(a, b, strict=True))


def require_int8(where: str, op: Op, *types: TensorType) -> None:
    """Refuse tensors that are not int8 with one scale.

    Raises:
        EdgeqError: names the first that is not.
    """
    for t in types:
        if t.dtype is not DType.INT8 or t.q is None or len(t.q.scale) != 1:
            fix = "quantize the model" if t.dtype is DType.FLOAT32 else ""
            raise EdgeqError(f"{op.kind()} is computed on int8 with one scale, not on {t}", where=where, fix=fix)


def require_tflm(law: str, where: str, op: Op) -> None:
    """Refuse another rounding than that of TensorFlow Lite Micro, for operators that no other defines on integers.

    Raises:
        EdgeqError: the graph has another.
    """
    if law != "tflm":
        raise EdgeqError(f"{op.kind()} has integers of rounding tflm alone", where=where, why=f"the graph has rounding {law}")


def require_output(where: str, what: str, output: TensorType, scale: float, zero: int) -> None:
    """Refuse another output than the one that rounding ``tflm`` defines an operator with.

    Raises:
        EdgeqError: says which it must be.
    """
    if (output.scale, output.zero_point) != (scale, zero):
        text = f"{what}'s output must have scale 1/{round(1 / scale)} and zero point {zero}"
        raise EdgeqError(text, where=where, why="rounding tflm")


def reach(t: TensorType) -> int:
    """The largest magnitude of a centred int8 or int16 value."""
    info = np.iinfo(t.dtype.numpy)
    return max(int(info.max) - t.zero_point, t.zero_point - int(info.min))


@dataclass(frozen=True)
class _Binary(Op):
    """a, b -> their elementwise combination, clamped. Equal ranks, lengths equal or 1; either may be constant."""

    traits: ClassVar[Traits] = Traits("sum", elementwise=True, channels=same)

    clamp: Clamp = NO_CLAMP

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        return replace(a, shape=broadcast(a.shape, b.shape))

    def combine(self, a: Array, b: Array) -> Array:
        """The float meaning before the clamp."""
        raise NotImplementedError

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        """The numbers of one element's arithmetic."""
        raise NotImplementedError

    def real(self, *x: Array) -> Array:
        return np.asarray(np.clip(self.combine(*x), *self.clamp), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        a, b = (t.type for t in inputs)
        if self.traits.file_words and words.is_words(a):
            words.require_tflm(law, where, self, a, b, output)
        else:
            require_int8(where, self, a, b, output)
        own, walk = self.constants(law, where, a, b, output), self._walk(a, b, output)
        return Params(law, {**own.scalars, **walk.scalars}, {**own.tables, **walk.tables})

    def _walk(self, a: TensorType, b: TensorType, output: TensorType) -> Params:
        """The loops of `kernels/binary.c.j2`."""
        inner, (a_step, b_step), table = nest(output.shape, strides(a.shape), strides(b.shape))
        return Params("", {"inner": inner, "a_step": a_step, "b_step": b_step, "axes": outer_loops(table)}, {"loops": table})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        walk = self._walk(inputs[0].type, inputs[1].type, output)
        return half_params({**walk.scalars, **self.attributes()}, dict(walk.tables), self.clamp)

    def attributes(self) -> dict[str, int]:
        """Scalars that tell operators apart which share a kernel."""
        return {}

    def reference_half(self, params: Params, *x: Array) -> Array:
        with np.errstate(all="ignore"):
            return finish(params, self.combine(half.to_float(x[0]), half.to_float(x[1])))
