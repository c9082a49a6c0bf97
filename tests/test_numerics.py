"""The two twins of the arithmetic law against each other, on millions of values, and against exact integers.

The functions of eq_numerics.h are compiled under UBSan into a program that maps columns of int32 to a column of int32.
"""

from __future__ import annotations

import math
import random
import subprocess
from collections.abc import Callable, Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from edgeq import numerics
from edgeq.build import COMMON_FLAGS
from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.resources import resource

COUNT = 1_000_000
INT32 = np.iinfo(np.int32)
FUNCTIONS = {  # name -> arguments; c[k] is column k
    "clamp": "c[0], c[1], c[2]",
    "shift_left": "c[0], c[1]",
    "requantize_single": "c[0], c[1], c[2]",
    "high_mul_tflm": "c[0], c[1]",
    "high_mul": "c[0], c[1]",
    "high_mul_by_halves": "c[0], c[1]",
    "divide_by_pot": "c[0], c[1]",
    "requantize_tflm": "c[0], c[1], c[2]",
    "requantize_tflm_small": "c[0], c[1], c[2]",
    "rescale_single": "c[0], c[1], c[2], 2 * c[3] + 1",
    "rescale_tflm": "c[0], c[1], c[2], eq_rounding_tflm(c[3], c[2])",
    "requantize_tflm_fine": "c[0], c[1] >> 11, c[1] & 2047, c[2]",
    "one_over_one_plus_x": "c[0]",
    "leading_zeros": "(uint32_t)c[0]",
    "round_float": "as_float(c[0]), c[1]",
}
PROGRAM = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eq_numerics.h"

static float as_float(int32_t bits)
{{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}}

int main(int argc, char **argv)
{{
    const int function = atoi(argv[argc - 2]), columns = atoi(argv[argc - 1]);
    int32_t c[4];
    while (fread(c, sizeof *c, (size_t)columns, stdin) == (size_t)columns) {{
        int32_t y = 0;
        switch (function) {{
{cases}
        default:
            return 2;
        }}
        fwrite(&y, sizeof y, 1, stdout);
    }}
    return as_float(0) != 0;
}}
"""
Twin = Callable[..., Array]


def twins(folder: Path, *defines: str) -> Twin:
    """Calls a function of the header, by its name without `eq_`, on int32 columns."""
    cases = "\n".join(f"        case {i}:\n            y = eq_{n}({a});\n            break;" for i, (n, a) in enumerate(FUNCTIONS.items()))
    (folder / "twins.c").write_text(PROGRAM.format(cases=cases), encoding="ascii")
    flags = [*COMMON_FLAGS, "-O2", "-fsanitize=undefined", "-fno-sanitize-recover=all", *defines, f"-I{resource('templates') / 'runtime'}"]
    subprocess.run(["gcc", *flags, str(folder / "twins.c"), "-o", str(folder / "twins")], check=True, timeout=120)

    def call(name: str, *columns: Array | int) -> Array:
        table = np.stack(np.broadcast_arrays(*columns), axis=1)
        assert table.min() >= INT32.min and table.max() <= INT32.max
        command = [str(folder / "twins"), str(list(FUNCTIONS).index(name)), str(len(columns))]
        done = subprocess.run(command, input=table.astype("<i4").tobytes(), capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return np.frombuffer(done.stdout, "<i4").astype(np.int64)

    return call


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> Twin:
    return twins(tmp_path_factory.mktemp("twins"))


@pytest.fixture(scope="module", params=["", "__ARM_ARCH_6M__"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, c: Twin) -> Twin:
    """With products of 64 bits, and as on a Cortex-M0."""
    return twins(tmp_path_factory.mktemp("narrow"), f"-D{request.param}") if request.param else c


def values(seed: int, low: int = INT32.min, high: int = INT32.max, count: int = COUNT) -> Array:
    """int64 of every magnitude within [low, high], with the ends, zero, and powers of two and their neighbours."""
    rng = np.random.default_rng(seed)
    edges = np.array([s * (1 << k) + d for k in range(32) for d in (-1, 0, 1) for s in (1, -1)] + [0, low, high, low + 1, high - 1])
    uniform = rng.integers(low, high, count // 2, endpoint=True)
    narrow = rng.integers(INT32.min, INT32.max, count // 2, endpoint=True) >> rng.integers(0, 31, count // 2)
    found = np.concatenate([edges, uniform, narrow])
    return rng.permutation(np.clip(found, low, high))


def multipliers(seed: int) -> Array:
    """Normalized ones, their ends among them, and 0."""
    m = values(seed, 2**30, 2**31 - 1)
    m[::1001] = 0
    return m


def shifts(seed: int, low: int, high: int) -> Array:
    return np.random.default_rng(seed).integers(low, high, len(values(0)), endpoint=True)


def test_clamp(c: Twin) -> None:
    x, low = values(1, -(2**30), 2**30), values(2, -128, 127)
    high = np.maximum(low, values(3, -128, 127))
    np.testing.assert_array_equal(c("clamp", x, low, high), np.clip(x, low, high))


def test_shift_left(c: Twin) -> None:
    n = shifts(2, 0, 31)
    x = values(1) >> n
    np.testing.assert_array_equal(c("shift_left", x, n), x << n)


def test_requantize_single(both: Twin) -> None:
    x, m, n = values(1), multipliers(2), shifts(3, 1, 30)
    got = both("requantize_single", x, m, n)
    np.testing.assert_array_equal(got, numerics.requantize_single(x, m, -1 - n))
    offset = values(5, -255, 255)
    np.testing.assert_array_equal(both("rescale_single", x, m, n, offset), numerics.requantize_single(x, m, -1 - n) + offset)
    ties = values(4, -(2**30), 2**30) | 1  # x * 2^30 / 2^33 and the like: exactly between two integers
    for n in (1, 2, 7):
        tied = ties << (n + 1) if n == 1 else ties
        np.testing.assert_array_equal(
            both("requantize_single", np.clip(tied, INT32.min, INT32.max), 2**30, n),
            numerics.requantize_single(np.clip(tied, INT32.min, INT32.max), 2**30, -1 - n),
        )


def test_high_mul(both: Twin) -> None:
    x, m = values(1), values(2, INT32.min + 1)
    np.testing.assert_array_equal(both("high_mul_tflm", x, m), numerics.saturating_rounding_doubling_high_mul(x, m))


def test_high_mul_of_halves_is_that_of_64_bits(c: Twin) -> None:
    """On cores without a product of 64 bits; every pair of the ends of halves, and random ones."""
    ends = np.array([h + low for h in (-(2**31), -(2**16), 0, 2**16, 2**31 - 2**16) for low in (0, 1, 0x7FFF, 0x8000, 0xFFFF)])
    for x, m in ((values(1), values(2)), (np.repeat(ends, len(ends)), np.tile(ends, len(ends)))):
        for name in ("high_mul_by_halves", "high_mul"):
            np.testing.assert_array_equal(c(name, x, m), (x * m) >> 32)


def test_divide_by_pot(c: Twin) -> None:
    x, n = values(1), shifts(2, 0, 31)
    np.testing.assert_array_equal(c("divide_by_pot", x, n), numerics.rounding_divide_by_pot(x, n))


def test_requantize_tflm(both: Twin) -> None:
    m, n = multipliers(2), shifts(3, -29, 31)
    x = values(1) >> np.maximum(1 - n, 0) * (n < 0)
    np.testing.assert_array_equal(both("requantize_tflm", x, m, n), numerics.requantize_tflm(x, m, -n))
    x, n = values(4), np.abs(n)
    np.testing.assert_array_equal(both("requantize_tflm", x, m, n), numerics.requantize_tflm(x, m, -n))
    x, n = values(5, 1 - 2**30, 2**30 - 1), np.maximum(n, 1)
    np.testing.assert_array_equal(both("requantize_tflm_small", x, m, n), numerics.requantize_tflm(x, m, -n))
    x, n, offset = values(7, 1 - 2**29, 2**29 - 1), shifts(8, 1, 21), values(9, -255, 255)
    for narrow in (0, 8, 16, 24):
        got = both("rescale_tflm", x >> narrow, m, n, offset)
        np.testing.assert_array_equal(got, numerics.requantize_tflm(x >> narrow, m, -n) + offset)
    x = values(6, -511, 511)
    np.testing.assert_array_equal(both("requantize_tflm_fine", x, m, n), numerics.requantize_tflm(x << 20, m, -n))


def test_a_left_shift_that_does_not_fit_saturates_any_int8(c: Twin) -> None:
    x, m, n = values(1), values(2, 2**30, 2**31 - 1), shifts(3, -29, -1)
    beyond = np.abs(x) * 2.0**-n >= 2**31
    got = c("requantize_tflm", x, m, n)[beyond]
    assert beyond.mean() > 0.3
    np.testing.assert_array_equal(np.sign(got), np.sign(x[beyond]))
    assert np.abs(got).min() >= 2**28


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 4, 5])
def test_exp_on_negative_values(bits: int) -> None:
    x = values(1, INT32.min, 0)
    got = numerics.exp_on_negative_values(x, bits)
    assert np.abs(got / 2.0**31 - np.exp(x / 2.0 ** (31 - bits))).max() < 3e-7  # the polynomial's error


def test_one_over_one_plus_x(c: Twin) -> None:
    x = values(1, 0)
    got = c("one_over_one_plus_x", x)
    np.testing.assert_array_equal(got, numerics.one_over_one_plus_x(x))
    assert np.abs(got / 2.0**31 - 1 / (1 + x / 2.0**31)).max() < 1e-8


def test_leading_zeros(c: Twin) -> None:
    x = values(1)
    x = x[x != 0]
    np.testing.assert_array_equal(c("leading_zeros", x), [32 - int(v).bit_length() if v > 0 else 0 for v in x])


@pytest.mark.parametrize("to_even", [False, True])
def test_round_float(c: Twin, to_even: bool) -> None:
    halves = (np.arange(-200_000, 200_000) / 2).astype(np.float32)
    near = np.concatenate([np.nextafter(halves, np.float32(s)) for s in (-np.inf, np.inf)])
    special = np.float32([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, 1e-45, 4194303.5, 4194304, -4194303.5, 8388608])
    x = np.concatenate([values(1).astype(np.int32).view(np.float32), halves, near, special])
    got = c("round_float", x.view(np.int32).astype(np.int64), int(to_even))
    np.testing.assert_array_equal(got, numerics.round_float(x, to_even))
    for v, y in zip(halves[::1009].tolist(), got[COUNT + 197 :][: len(halves)][::1009].tolist(), strict=True):
        assert y == (round(v) if to_even else math.floor(abs(v) + 0.5) * (1 if v > 0 else -1))


def exact(seed: int, count: int = 20_000) -> Iterable[tuple[int, int, int]]:
    """x, M and shift as Python integers, half of them so that ties are common."""
    rng = random.Random(seed)
    for _ in range(count):
        m = rng.choice([2**30, 2**31 - 1, 3 * 2**29, rng.randrange(2**30, 2**31)])
        x = rng.choice([INT32.min, INT32.max, rng.randrange(-(2**31), 2**31), rng.randrange(-4096, 4096) << rng.randrange(12)])
        yield int(x), m, rng.randrange(-31, -1)


def half_away(x: Fraction) -> int:
    return (1 if x >= 0 else -1) * math.floor(abs(x) + Fraction(1, 2))


def test_law_single_is_the_nearest_integer_ties_up() -> None:
    x, m, shift = (np.array(column) for column in zip(*exact(1), strict=True))
    want = [math.floor(Fraction(a * b, 2 ** (31 - s)) + Fraction(1, 2)) for a, b, s in exact(1)]
    np.testing.assert_array_equal(numerics.requantize_single(x, m, shift), want)


def test_law_tflm_rounds_twice() -> None:
    x, m, shift = (np.array(column) for column in zip(*exact(2), strict=True))
    want = [half_away(Fraction(math.floor(Fraction(a * b, 2**31) + Fraction(1, 2)), 2**-s)) for a, b, s in exact(2)]
    np.testing.assert_array_equal(numerics.requantize_tflm(x, m, shift), want)


def test_high_mul_saturates_once() -> None:
    assert numerics.saturating_rounding_doubling_high_mul(np.array(INT32.min), INT32.min) == INT32.max


def test_quantize_multiplier_is_within_half_a_unit() -> None:
    rng = random.Random(3)
    for ratio in [2.0**-32, 0.5, 1.0, 1 - 2**-40, 2.0**28.9, *(math.exp(rng.uniform(-22, 20)) for _ in range(2000))]:
        m, shift = numerics.quantize_multiplier(ratio)
        assert 2**30 <= m < 2**31
        assert abs(Fraction(m) - Fraction(ratio) * Fraction(2) ** (31 - shift)) <= Fraction(1, 2)
    assert numerics.quantize_multiplier(2.0**-33) == (0, -31)
    assert numerics.quantize_multiplier(0.0)[0] == 0
    assert numerics.quantize_multiplier(1 - 2.0**-40) == (2**30, 1)
    for ratio in (-1.0, math.nan, math.inf, 2.0**29):
        with pytest.raises(EdgeqError):
            numerics.quantize_multiplier(ratio)


def test_round_half_away_is_c_round() -> None:
    x = [0.49999999999999994, -0.49999999999999994, 0.5, -0.5, 1.5, 2.5, -2.5, 4503599627370497.0, -0.0, 1e300]
    assert numerics.round_half_away(np.array(x)).tolist() == [0, 0, 1, -1, 2, 3, -3, 4503599627370497.0, 0, 1e300]


def test_fixed_point_logistic_and_tanh_are_the_functions() -> None:
    x = values(1, count=50_000)
    real = x / 2.0**27
    np.testing.assert_allclose(numerics.logistic(x, 4) / 2.0**31, 1 / (1 + np.exp(-real)), atol=1e-7)
    np.testing.assert_allclose(numerics.tanh(x, 4) / 2.0**31, np.tanh(real), atol=2e-7)


def test_the_accumulator_bound_is_demanded() -> None:
    numerics.check_accumulator("layer", np.array([0, 2**31 - 1]))
    with pytest.raises(EdgeqError, match="channel 1"):
        numerics.check_accumulator("layer", np.array([0, 2**31]))
