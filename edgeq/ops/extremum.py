"""The smaller or larger of two tensors, element by element."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Params, Tensor, TensorType
from edgeq.ops import words
from edgeq.ops.elementwise import _Binary
from edgeq.ops.linear import clamp_limits
from edgeq.ops.requantize import Requantize
from edgeq.ops.traits import Traits


@dataclass(frozen=True)
class Maximum(_Binary):
    """max(a, b); an operand in another scale than the output's is rescaled first."""

    traits: ClassVar[Traits] = replace(_Binary.traits, merges=True, monotone="increasing", file_words=True)

    largest: ClassVar[int] = 1

    def kernel_op(self) -> str:
        return "extremum"

    def combine(self, a: Array, b: Array) -> Array:
        return np.asarray(np.maximum(a, b) if self.largest else np.minimum(a, b))

    def attributes(self) -> dict[str, int]:
        return {"largest": self.largest, "rescaled": 0}

    def reference_half(self, params: Params, *x: Array) -> Array:
        n = self.combine(half.order(x[0]), half.order(x[1]))
        return half.clamped(half.of_order(n), params.act_min, params.act_max)

    def constants(self, law: str, where: str, a: TensorType, b: TensorType, output: TensorType) -> Params:
        low, high = clamp_limits(self.clamp, output)
        scalars = {"largest": self.largest, "act_min": low, "act_max": high, "rescaled": int(not a.q == b.q == output.q)}
        if not scalars["rescaled"]:
            return Params(law, scalars)
        if words.is_words(output):
            raise EdgeqError(f"the ends of {self.kind()} on int16 have different scales", where=where, fix="convert the model again")
        tables = [Requantize().bind(law, where, (Tensor("", t),), output).values for t in (a, b)]
        return Params(law, scalars, {"a_values": tables[0], "b_values": tables[1]})

    def reference(self, params: Params, *x: Array) -> Array:
        a, b = x
        if params.rescaled:
            a, b = params.a_values[a.astype(np.int16) + 128], params.b_values[b.astype(np.int16) + 128]
        return np.asarray(np.clip(self.combine(a, b), params.act_min, params.act_max), x[0].dtype)


@dataclass(frozen=True)
class Minimum(Maximum):
    """min(a, b); an operand in another scale than the output's is rescaled first."""

    largest: ClassVar[int] = 0
