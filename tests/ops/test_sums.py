"""Sums are requantized in float64 where that is exact, and then the integers are those of `numerics.requantize`."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.ir import Array, Params
from edgeq.ops import linear

CHANNELS = 24


def layer(rng: np.random.Generator, law: str, reach: int, clamp: bool) -> Params:
    """A layer's constants: multipliers of many and of few bits, so that there are halves; shifts of all sizes."""
    multiplier = rng.integers(2**30, 2**31, CHANNELS)
    multiplier[::3] &= -(2 ** int(rng.integers(20, 31)))
    offset = int(rng.integers(-128, 128))
    limits = {"out_offset": offset, "act_min": offset if clamp else -128, "act_max": int(rng.integers(offset, 128)) if clamp else 127}
    if law == "tflm":
        shift, left = rng.integers(-2, rng.choice([12, 22]), CHANNELS), 0
    else:
        shift, left = rng.integers(1, rng.choice([12, 31]), CHANNELS), int(rng.integers(0, max(1, 31 - reach.bit_length())))
    bias = rng.integers(-reach // 2, reach // 2 + 1, CHANNELS).astype(np.int32)
    tables: dict[str, Array] = {"multiplier": multiplier.astype(np.int32), "shift": shift.astype(np.int8), "bias": bias}
    return Params(law, {**limits, "left": left}, tables)


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_sums_are_finished_as_the_law_says(law: str) -> None:
    rng, quick, halves = np.random.default_rng(5), 0, 0
    for trial in range(300):
        reach = int(2 ** rng.uniform(4, 24))
        params = layer(rng, law, reach, bool(trial % 2))
        bound = np.full(CHANNELS, reach)
        sums = rng.integers(-reach, reach + 1, (40, CHANNELS))
        sums[:2] = [[-reach], [reach]]
        near = np.ldexp(1.0, 31 - np.abs(params.shift.astype(int))) / 1.5  # where results are small
        sums[10:] = np.clip(np.rint(rng.normal(0, 1, (30, CHANNELS)) * near) - params.bias, -reach, reach)
        wanted = linear.apply_output_stage(params, sums + params.bias)
        for dtype in (np.float32, np.float64, np.int64):
            given = sums if dtype is np.int64 or reach < 2**24 else sums.astype(np.float64)
            np.testing.assert_array_equal(linear.finish_sums(params, given.astype(dtype), bound), wanted)
        factors = linear._factors(params, bound)
        quick += bool(factors.size)
        if factors.size:
            exact = (sums + params.bias) * np.float64(1) * factors[0] * 2
            halves += int(((exact == np.floor(exact)) & (exact % 2 == 1)).sum())
    assert quick > 100 and halves > 100


def test_products_in_parts_are_the_same() -> None:
    rng = np.random.default_rng(6)
    for rows, depth, width in ((1, 3, 5), (5000, 40, 64), (4099, 64, 64), (70, 900, 300), (0, 4, 4)):
        a, b = rng.integers(-128, 128, (rows, depth)), rng.integers(-127, 128, (depth, width))
        for bound in (depth * 2.0**14, 2.0**40):
            np.testing.assert_array_equal(linear.exact_products(a, b, bound), a @ b)


def test_a_bias_that_wraps_is_finished_in_integers() -> None:
    params = layer(np.random.default_rng(7), "tflm", 100, False)
    wild = Params("tflm", params.scalars, {**params.tables, "bias": np.full(CHANNELS, 2**31 - 1, np.int32)})
    sums, bound = np.arange(3 * CHANNELS).reshape(3, CHANNELS), np.full(CHANNELS, 100)
    assert not linear._factors(wild, bound).size
    np.testing.assert_array_equal(linear.finish_sums(wild, sums, bound), linear.apply_output_stage(wild, sums + wild.bias.astype(np.int64)))
