"""A window that slides along a stream: the oldest rows fall out, the new ones come in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops.move import _Moving
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Slide(_Moving):
    """New rows x ``[..., n, ...]``, window before ``[..., L, ...]``, n < L -> its last L - n rows and then x, along `axis`."""

    traits: ClassVar[Traits] = Traits("move", words=True)

    axis: int

    def infer(self, *types: TensorType) -> TensorType:
        x, before = types
        fits = len(x.shape) == len(before.shape) and 0 <= self.axis < len(x.shape) and x.shape[self.axis] < before.shape[self.axis]
        if not fits or any(m != n for i, (m, n) in enumerate(zip(x.shape, before.shape, strict=True)) if i != self.axis):
            raise EdgeqError(f"{x} does not slide into a window {before} along axis {self.axis}")
        return replace(x, shape=before.shape)

    def real(self, *x: Array) -> Array:
        new, before = x
        window = np.broadcast_to(before, (len(new), *before.shape[-new.ndim + 1 :]))
        kept = np.split(window, [new.shape[self.axis + 1]], self.axis + 1)[1]
        return np.concatenate([kept, new], self.axis + 1)

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x, before = (t.type for t in inputs)
        if not (x.dtype, x.q) == (before.dtype, before.q) == (output.dtype, output.q):
            raise EdgeqError("new rows of another type than the window's", where=where, why=f"{x} into {before}")
        row = math.prod(x.shape[self.axis + 1 :])
        new = x.shape[self.axis] * row
        return Params(law, {"outer": math.prod(x.shape[: self.axis]), "new": new, "kept": output.shape[self.axis] * row - new})
