"""Softmax over the last axis: TensorFlow Lite Micro's fixed-point algorithm under both laws.

An int8 input differs from the largest of its row by 0 to 255: the exponentials are a table, computed when the
operator is bound, and the C holds no exponential function.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np

from edgeq import floats, half, numerics, reals
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Op, Params, Tensor, TensorType
from edgeq.ops import word_softmax, words
from edgeq.ops.halves import half_params
from edgeq.ops.traits import Axes, Natural, Shape, Traits

DIFFERENCE_BITS = 5  # integer bits of x - max: Q5.26
SUM_BITS = 12  # integer bits of the sum of exponentials: Q12.19
FEW = 256  # elements: a table is cut that so many or fewer look up, for an index that is kept within it takes instructions


class Differences(NamedTuple):
    """Elements so far below their row's largest, 0 to 255.

    Attributes:
        multiplier, left: what scales one step to Q5.26.
        lowest: the last difference, not positive, whose exponential is not 0.
        scaled: differences in Q5.26, those below `lowest` as it.
        exponentials: of the differences, Q0.31.
    """

    multiplier: int
    left: int
    lowest: int
    scaled: Array
    exponentials: Array


def differences(where: str, step: float) -> Differences:
    """TFLM's exponentials of differences in steps of a size.

    Raises:
        EdgeqError: the size is out of range.
    """
    scaled = step * 2 ** (31 - DIFFERENCE_BITS)
    if not 1 < scaled < math.inf:
        raise EdgeqError(f"softmax cannot scale its input by {step}", where=where, fix="check the input's scale")
    multiplier, left = numerics.quantize_multiplier(min(scaled, 2.0**31 - 1.0) / 4)
    left += 2
    lowest = -math.floor(((1 << DIFFERENCE_BITS) - 1) * 2 ** (31 - DIFFERENCE_BITS) / 2**left)
    difference = -np.arange(256, dtype=np.int64)
    steps = numerics.saturating_rounding_doubling_high_mul(np.maximum(difference, lowest) << left, multiplier)
    exponentials = np.where(difference >= lowest, numerics.exp_on_negative_values(steps, DIFFERENCE_BITS), 0)
    return Differences(multiplier, left, lowest, steps, exponentials)


@dataclass(frozen=True)
class Softmax(Op):
    """exp(beta * x) / sum(exp(beta * x)) along the last axis; int8 output has scale 1/256 and zero point -128.

    An int8 input may give int16, of scale 2^-16 (within a thousandth, as in TFLM) and zero point -32768.
    """

    traits: ClassVar[Traits] = Traits(
        "normal", axes=Axes(last=True), natural=Natural(1 / 256, -128, "demanded"), near=lambda op, x: op.near(x),
        file_words=True,
    )  # fmt: skip

    beta: float = 1.0

    def near(self, x: Shape) -> tuple[tuple[int, ...], float]:
        """The last axis, and where all that lies lower gives less than half a step of 1/256 together."""
        return (len(x) - 1,), math.log(512 * x[-1]) / self.beta if self.beta > 0 else math.inf

    def infer(self, *types: TensorType) -> TensorType:
        if not types[0].shape:
            raise EdgeqError("softmax of a scalar")
        return types[0]

    def real(self, *x: Array) -> Array:
        e = reals.exp(np.float32(self.beta) * (x[0] - x[0].max(-1, keepdims=True)))
        result: Array = (e / e.sum(-1, keepdims=True)).astype(np.float32)
        return result

    def bind(self, law: str, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        x = inputs[0].type
        if words.is_words(x):
            words.require_tflm(law, where, self, x)
            return word_softmax.bind(where, x, output, self.beta)
        bits = 8 * output.dtype.bytes
        if abs(output.scale * 2**bits - 1) > 1e-3 * (bits == 16) or output.zero_point != -(2 ** (bits - 1)):
            found, wanted = f"{output.scale} and {output.zero_point}", f"1/{2**bits} and zero point {-(2 ** (bits - 1))}"
            raise EdgeqError(f"softmax gives scale {wanted}, not {found}", where=where, fix="requantize after it")
        depth = x.shape[-1]
        numerics.check_accumulator(where, np.array([(depth + 1) << (31 - SUM_BITS)]))
        exponentials = differences(where, float(np.float32(self.beta)) * float(np.float32(x.scale))).exponentials
        if x.size <= FEW:  # what rounds to 0 in the sum is less than 2^-20 of the result, and 0 there, too
            exponentials = exponentials[: 1 + int((exponentials >= 2 ** (SUM_BITS - 1)).sum())]
        scalars = {"rows": x.size // depth, "depth": depth, "last": len(exponentials) - 1, **({"words": 1} if bits == 16 else {})}
        return Params(law, scalars, {"exponentials": exponentials.astype(np.int32)})

    def bind_half(self, where: str, inputs: tuple[Tensor, ...], output: TensorType) -> Params:
        depth = output.shape[-1]
        return half_params({"rows": output.size // depth, "depth": depth}, {"beta": np.array([self.beta], np.float32)})

    def reference_half(self, params: Params, *x: Array) -> Array:
        largest = half.of_order(half.order(x[0]).max(-1, keepdims=True))
        with np.errstate(all="ignore"):
            e = floats.exp(floats.number((half.to_float(x[0]) - half.to_float(largest)) * params.beta[0]))
            return half.from_float(e * (np.float32(1) / half.running_sum(e)[..., None]))

    def reference(self, params: Params, *x: Array) -> Array:
        if "reciprocals" in params.tables:
            return word_softmax.reference(params, x[0])
        data = x[0].astype(np.int64)
        e = params.exponentials.astype(np.int64)[np.minimum(data.max(-1, keepdims=True) - data, params.last)]
        total = numerics.rounding_divide_by_pot(e, SUM_BITS).sum(-1, keepdims=True)
        zeros = 32 - np.frexp(total.astype(np.float64))[1].astype(np.int64)  # leading zeros of the 32-bit sum
        reciprocal = numerics.one_over_one_plus_x((total << zeros) - (1 << 32) + (1 << 31))
        bits = 16 if "words" in params.scalars else 8
        exponent = SUM_BITS + 31 - bits - zeros
        y = numerics.rounding_divide_by_pot(numerics.saturating_rounding_doubling_high_mul(reciprocal, e), np.minimum(exponent, 31))
        unsigned = np.clip(np.where(exponent <= 31, y, 0), 0, 2**bits - 1)
        return np.asarray(unsigned - 2 ** (bits - 1), np.int16 if bits == 16 else np.int8)
