"""TensorFlow Lite Micro's operators on frames of int16 samples: window, common exponent, energies, overlapping sums, stacks of frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Op, Params, Tensor, TensorType
from edgeq.ops.filter_bank import integers, whole
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class FrameWindow(Op):
    """x int16 ``[..., N]``, constant weights int16 ``[N]`` -> their products, shifted right by `shift`; int16, saturated."""

    traits: ClassVar[Traits] = Traits()

    shift: int

    parameters: ClassVar[tuple[int, ...]] = (1,)

    def infer(self, *types: TensorType) -> TensorType:
        x, w = types
        if not x.shape or len(w.shape) != 1 or x.size % w.size or not 0 <= self.shift < 32:
            raise EdgeqError(f"a window {w} with a shift of {self.shift} on {x}")
        return x

    def real(self, *x: Array) -> Array:
        return np.asarray(x[0] * x[1] / 2**self.shift, np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT16, DType.INT16), inputs[0].type, output)
        weights = integers(inputs[1], "a window")
        return Params(law, {"rows": output.size // len(weights), "length": len(weights), "shift": self.shift}, {"weights": weights})

    def reference(self, params: Params, *x: Array) -> Array:
        products = x[0].astype(np.int64).reshape(len(x[0]), params.rows, params.length) * params.weights >> params.shift
        return np.asarray(np.clip(products, -32768, 32767).reshape(x[0].shape), np.int16)


@dataclass(frozen=True)
class AutoScale(Op):
    """x int16 -> x * 2^bits, int16, and the bits, int32 ``[]``: as many as the largest magnitude leaves free.

    A magnitude of 32768 starts the search again, as in TFLM.
    """

    traits: ClassVar[Traits] = Traits()

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        return types[0], TensorType((), DType.INT32)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a common exponent has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT16, DType.INT16), inputs[0].type, output)
        return Params(law, {"size": output.size})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        data = x[0].reshape(len(x[0]), -1).astype(np.int64)
        largest = np.abs(data).max(1)
        for v in np.flatnonzero(data.min(1) == -32768):
            most = 0
            for value in data[v].tolist():
                if value > most:
                    most = value
                elif -value > most:
                    most = -32768 if value == -32768 else -value
            largest[v] = most
        bits = np.where(largest > 0, 14 - np.floor(reals.log2(np.maximum(largest, 1))).astype(np.int64), 0)
        y = (data << bits[:, None]).astype(np.int16).reshape(x[0].shape)
        return y, bits.astype(np.int32)


@dataclass(frozen=True)
class SpectrumEnergy(Op):
    """A spectrum int16 ``[2 N]`` -> the squared magnitudes of bins `start` ... `end` - 1, int32 ``[N]``; the others are 0."""

    traits: ClassVar[Traits] = Traits()

    start: int
    end: int

    def infer(self, *types: TensorType) -> TensorType:
        x = types[0]
        if len(x.shape) != 1 or x.size % 2 or not 0 <= self.start <= self.end <= x.size // 2:
            raise EdgeqError(f"energies of bins {self.start} to {self.end} of {x}")
        return TensorType((x.size // 2,), DType.INT32)

    def real(self, *x: Array) -> Array:
        parts = x[0].reshape(len(x[0]), -1, 2)
        return np.asarray((parts**2).sum(-1), np.float32)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT16, DType.INT32), inputs[0].type, output)
        return Params(law, {"bins": output.size, "start": self.start, "end": self.end})

    def reference(self, params: Params, *x: Array) -> Array:
        parts = x[0].astype(np.int64).reshape(len(x[0]), -1, 2)
        y = (parts**2).sum(-1)
        y[:, : params.start], y[:, params.end :] = 0, 0
        return np.asarray(y.astype(np.uint32).view(np.int32))


@dataclass(frozen=True)
class OverlapAdd(Op):
    """Frames int16 ``[..., F, N]``, sums before ``[..., N]`` -> sums ``[..., F step]``, sums after.

    Of the sums after each frame the first `step` are complete. They are saturated.
    """

    traits: ClassVar[Traits] = Traits("recurrent")

    step: int

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, before = types
        if len(x.shape) < 2 or before.shape != (*x.shape[:-2], x.shape[-1]) or not 1 <= self.step <= x.shape[-1]:
            raise EdgeqError(f"overlapping frames {x} with sums {before} and a step of {self.step}")
        return TensorType((*x.shape[:-2], x.shape[-2] * self.step), x.dtype), before

    def real(self, *x: Array) -> Array:
        raise EdgeqError("overlapping sums of integers have no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT16,) * 3, inputs[0].type, inputs[1].type, output)
        *lead, frames, size = inputs[0].type.shape
        return Params(law, {"rows": int(np.prod(lead)), "frames": frames, "size": size, "step": self.step})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        frames = x[0].astype(np.int64)
        sums = np.array(np.broadcast_to(x[1], (*frames.shape[:-2], frames.shape[-1])), np.int64)
        parts = []
        for i in range(params.frames):
            sums = np.clip(sums + frames[..., i, :], -32768, 32767)
            parts.append(sums[..., : params.step])
            sums = np.concatenate([sums[..., params.step :], np.zeros_like(parts[-1])], -1)
        return np.concatenate(parts, -1).astype(np.int16), sums.astype(np.int16)


@dataclass(frozen=True)
class FrameCount(Op):
    """x int32 ``[]`` -> x + `step`, at most `most`; and int8 ``[]``, 1 where that reaches `least`."""

    traits: ClassVar[Traits] = Traits()

    step: int
    least: int
    most: int

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        return types[0], TensorType((), DType.INT8)

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a count has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT32, DType.INT32), inputs[0].type, output)
        return Params(law, {"step": self.step, "least": self.least, "most": self.most})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        after = np.minimum(x[0].astype(np.int64) + params.step, params.most)
        return after.astype(np.int32), (after >= params.least).astype(np.int8)


@dataclass(frozen=True)
class FrameStack(Op):
    """x int16 ``[C]``, frames before ``[W C]``, seen int32 ``[]`` -> the last W = left + right + 1 frames; int8 ``[]``, 1 where they
    count; and one more than how many of them are new.

    Before the first frame it stands `left` times. Every `step`-th stack counts, the first with `right` frames behind its own.
    """

    traits: ClassVar[Traits] = Traits("recurrent")

    left: int
    right: int
    step: int

    @property
    def window(self) -> int:
        return self.left + self.right + 1

    def infer(self, *types: TensorType) -> TensorType:
        return self.infer_all(*types)[0]

    def infer_all(self, *types: TensorType) -> tuple[TensorType, ...]:
        x, before, seen = types
        if min(self.left, self.right) < 0 or not 1 <= self.step <= self.window or len(x.shape) != 1:
            raise EdgeqError(f"a stack of {self.left} + 1 + {self.right} frames {x}, every {self.step}")
        if before.shape != (self.window * x.size,) or seen.shape:
            raise EdgeqError(f"a stack of {self.window} frames {x} with {before} and {seen}")
        return before, TensorType((), DType.INT8), seen

    def real(self, *x: Array) -> Array:
        raise EdgeqError("a stack of frames that counts them has no float meaning")

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        whole(where, self, (DType.INT16, DType.INT16, DType.INT32, DType.INT16), *(t.type for t in inputs), output)
        size = inputs[0].type.size
        return Params(law, {"size": size, "left": self.left, "window": self.window, "step": self.step})

    def reference(self, params: Params, *x: Array) -> Array:
        return self.reference_all(params, *x)[0]

    def reference_all(self, params: Params, *x: Array) -> tuple[Array, ...]:
        data, before, seen = x
        p, old = params, np.broadcast_to(before, (len(data), before.shape[-1]))
        y = np.concatenate([old[:, p.size :], data], 1)
        first = np.broadcast_to(np.asarray(seen).reshape(-1), (len(data),)) == 0
        y[first, (p.window - 1 - p.left) * p.size :] = np.tile(data[first], (1, p.left + 1))
        count = np.where(first, p.left + 1, np.asarray(seen).reshape(-1)).astype(np.int64)
        valid = count >= p.window
        return y, valid.astype(np.int8), (np.where(valid, count - p.step, count) + 1).astype(np.int32)
