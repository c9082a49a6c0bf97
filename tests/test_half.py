"""Half precision and the float32 sequences: both twins against each other, exhaustively, and against float64."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import need_programs
from scipy import special

from edgeq import floats, half
from edgeq.build import COMMON_FLAGS
from edgeq.ir import Array, DType, TensorType
from edgeq.ops.cast import Cast
from edgeq.resources import resource

sys.path.append(str(Path(__file__).parent / "ops"))

from harness import check_on_chip

HALVES = np.arange(2**16, dtype=np.uint16)
CHUNK = 2**23
F = np.float32
PARAMETERS: dict[str, tuple[float, ...]] = {
    "hard_sigmoid": (0.2, 0.5), "leaky_relu": (0.01,), "thresholded_relu": (1.0,), "elu": (1.3,), "selu": (1.67326, 1.0507), "celu": (0.7,),
    "power": (3.0, 1.0), "clamp_float": (-1.5, 6.0), "step": (0.5,),
}  # fmt: skip
REAL: dict[str, Callable[[Array], Any]] = {  # on float64
    "exp": lambda x: np.exp(np.clip(x, -80, 80)), "expm1": lambda x: np.expm1(np.clip(x, -80, 80)), "sigmoid": special.expit,
    "tanh": np.tanh, "silu": lambda x: x * special.expit(x), "erf": special.erf, "gelu": lambda x: x * special.ndtr(x),
    "gelu_tanh": lambda x: x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)), "log": np.log,
    "softplus": lambda x: np.logaddexp(x, 0), "mish": lambda x: x * np.tanh(np.logaddexp(x, 0)), "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(0.2 * x + 0.5, 0, 1), "hard_swish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x), "thresholded_relu": lambda x: np.where(x > 1, x, 0),
    "elu": lambda x: np.where(x > 0, x, 1.3 * np.expm1(x)), "selu": lambda x: 1.0507 * np.where(x > 0, x, 1.67326 * np.expm1(x)),
    "celu": lambda x: np.where(x > 0, x, 0.7 * np.expm1(x / 0.7)), "opposite": lambda x: -x, "absolute": np.abs, "square": np.square,
    "sqrt": lambda x: np.sqrt(np.maximum(x, 0)), "rsqrt": lambda x: 1 / np.sqrt(np.maximum(x, 0)), "reciprocal": lambda x: 1 / x,
    "power": lambda x: x**3, "sin": np.sin, "cos": np.cos, "nearest": np.rint, "floor": np.floor, "ceil": np.ceil, "sign": np.sign,
    "clamp_float": lambda x: np.clip(x, -1.5, 6), "tan": np.tan, "sinh": lambda x: np.sinh(np.clip(x, -80, 80)),
    "cosh": lambda x: np.cosh(np.clip(x, -80, 80)), "atan": np.arctan, "asin": lambda x: np.arcsin(np.clip(x, -1, 1)),
    "acos": lambda x: np.arccos(np.clip(x, -1, 1)), "asinh": np.arcsinh, "acosh": lambda x: np.arccosh(np.maximum(x, 1)),
    "atanh": lambda x: np.arctanh(np.clip(x, -1, 1)), "step": lambda x: np.heaviside(x, 0.5), "is_zero": lambda x: x == 0,
}  # fmt: skip
SOURCE = """
#include "eq_f16.h"
#include "eq_float_functions.h"

void to_float(const uint16_t *x, float *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_float_from_half(x[i]); }}
void from_float(const float *x, uint16_t *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_half_from_float(x[i]); }}
void order(const uint16_t *x, int32_t *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_half_order(x[i]); }}
void clamped(const uint16_t *x, uint16_t *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_half_clamp(x[i], -16000, 17000); }}
void positive(const uint16_t *x, uint16_t *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_half_positive(x[i]); }}
void product(const uint16_t *x, float *y, int32_t n)
{{
    for (int32_t i = 0; i < n; i++) y[i] = eq_add_product(eq_half_input(x[i]), eq_half_weight(x + (i + 1) % n), 0.0f);
}}
{functions}
"""


@pytest.fixture(scope="module", params=["gcc", "clang"])
def c(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The headers as a library of functions on arrays."""
    need_programs(request.param)
    folder = tmp_path_factory.mktemp("half")
    text = ""
    for name in REAL:
        given = "".join(f", {float(F(v)).hex()}f" for v in PARAMETERS.get(name, ()))
        text += f"void {name}(const float *x, float *y, int32_t n) {{ for (int32_t i = 0; i < n; i++) y[i] = eq_{name}(x[i]{given}); }}\n"
    (folder / "half.c").write_text(SOURCE.format(functions=text), encoding="ascii")
    flags = [*COMMON_FLAGS, "-O3", "-shared", "-fPIC", "-fno-builtin"]
    library = folder / "half.so"
    include = f"-I{resource('templates') / 'runtime'}"
    subprocess.run([request.param, *flags, include, str(folder / "half.c"), "-o", str(library)], check=True, timeout=120)
    return ctypes.CDLL(str(library))


def call(c: ctypes.CDLL, name: str, x: Array, dtype: Any) -> Array:
    x = np.ascontiguousarray(x)
    y = np.empty(len(x), dtype)
    getattr(c, name)(ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data), ctypes.c_int32(len(x)))
    return y


def same(a: Array, b: Array) -> bool:
    """Equal bits, every not-a-number being one."""
    nan = np.isnan(a) & np.isnan(b)
    bits = f"u{a.dtype.itemsize}"
    return bool(((a.view(bits) == b.view(bits)) | nan).all())


def test_every_half_becomes_the_same_float(c: ctypes.CDLL) -> None:
    h = HALVES.view(np.float16)
    assert same(call(c, "to_float", HALVES, F), half.to_float(h))
    assert np.array_equal(call(c, "order", HALVES, np.int32), half.order(h))
    assert np.array_equal(half.of_order(half.order(h)).view(np.uint16), HALVES)
    assert np.array_equal(call(c, "clamped", HALVES, np.uint16), half.clamped(h, -16000, 17000).view(np.uint16))
    assert np.array_equal(call(c, "positive", HALVES, np.uint16), half.clamped(h, 0, half.ORDER_MAX).view(np.uint16))
    finite = np.random.default_rng(0).permutation(HALVES[np.isfinite(h)])
    x = half.to_float(finite.view(np.float16))
    assert same(call(c, "product", finite, F), x * np.roll(x, -1) + F(0))


@pytest.mark.parametrize("c", ["gcc"], indirect=True)
def test_a_hundred_million_floats_become_the_same_half(c: ctypes.CDLL) -> None:
    """All floats around and below the smallest normal half, of both signs in turn, and every 61st of all 2^32."""
    first = np.arange(100 * CHUNK, 115 * CHUNK, CHUNK, dtype=np.int64)
    for start in first:
        bits = np.arange(start, start + CHUNK, dtype=np.uint32)
        bits |= np.uint32(2**31 if (start // CHUNK) % 2 else 0)
        _check_floats(c, bits)
    _check_floats(c, np.arange(0, 2**32, 61, dtype=np.uint64).astype(np.uint32))


def _check_floats(c: ctypes.CDLL, bits: Array) -> None:
    x = bits.view(F)
    want, got = half.from_float(x).view(np.uint16), call(c, "from_float", x, np.uint16)
    assert np.array_equal(want, got), [hex(b) for b in bits[want != got][:4]]


def test_rounding_is_to_nearest_even() -> None:
    """Against float64 arithmetic of another kind: the nearer of the two neighbours, the even one of a tie."""
    h = HALVES[:0x7BFF].view(np.float16).astype(np.float64)
    middle = (h[:-1] + h[1:]) / 2
    for x, odd in ((middle, None), (np.nextafter(middle.astype(F), F(0)), 0), (np.nextafter(middle.astype(F), F(1e9)), 1)):
        got = half.from_float(x.astype(F)).view(np.uint16)
        below = HALVES[: len(middle)]
        assert np.array_equal(got, below + (below % 2 if odd is None else odd))
    assert half.from_float(np.array([65519.996, 65520, -1e9], F)).view(np.uint16).tolist() == [0x7BFF, 0x7C00, 0xFC00]


@pytest.mark.parametrize("name", REAL)
def test_functions(c: ctypes.CDLL, name: str) -> None:
    """Twins bit for bit on all halves and on floats; the half nearest to the result is at most one step off."""
    h = HALVES.view(np.float16)
    parameters = tuple(F(v) for v in PARAMETERS.get(name, ()))
    function = getattr(floats, name)
    wide = np.random.default_rng(1).normal(0, 8, 200_000).astype(F)
    with np.errstate(all="ignore"):
        for x in (half.to_float(h), wide):
            got = function(x, *parameters)
            assert got.dtype == F and same(call(c, name, x, F), got), name
        x = h[np.isfinite(h)].astype(np.float64)
        real, got = REAL[name](x), function(x.astype(F), *parameters)
        want, rounded = half.from_float(real.astype(F)), half.from_float(got)
    ok = ~np.isnan(want) & (np.abs(want) < np.inf)
    ulps = np.abs(half.order(want[ok]) - half.order(rounded[ok] + np.float16(0)))
    negative_zero = (want[ok] == 0) & (rounded[ok] == 0)
    worst = int(np.where(negative_zero, 0, ulps).max())
    assert worst <= 1, f"{name} at {x[ok][ulps.argmax()]}: {real[ok][ulps.argmax()]} against {got[ok][ulps.argmax()]}"
    normal = ok & (np.abs(real) > 2**-14) & (name not in ("sin", "cos", "hard_sigmoid"))
    error = np.abs(got[normal] - real[normal]) / np.abs(real[normal])
    assert error.max(initial=0) < floats.ACCURACY, f"{name}: {error.max()} at {x[normal][error.argmax()]}"


def test_products_are_sequential() -> None:
    rng = np.random.default_rng(2)
    x, w = rng.normal(0, 1, (3, 5, 40)).astype(np.float16), rng.normal(0, 1, (40, 7)).astype(np.float16)
    start = rng.normal(0, 1, 7).astype(F)
    got = half.products(x, w, start)
    for at in np.ndindex(3, 5, 7):
        total = start[at[2]]
        for k in range(40):
            total = F(total + F(F(x[*at[:2], k]) * F(w[k, at[2]])))
        assert got[at] == total
    many = half.products(x[:, :, None, :], np.broadcast_to(w, (3, 1, 40, 7)))
    assert np.array_equal(many[..., 0, :], half.products(x, w))


@pytest.mark.parametrize("block", [1, 3000, 2**18])
@pytest.mark.parametrize(("rows", "k", "n"), [(1, 300, 1), (5, 300, 1), (1, 300, 2), (1, 257, 9), (70, 33, 1), (70, 33, 16), (2, 900, 40)])
def test_products_are_sequential_in_any_shape(rows: int, k: int, n: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """numpy sums some shapes up pairwise."""
    monkeypatch.setattr(half, "BLOCK", block)
    rng = np.random.default_rng(k + n)
    x, w = rng.normal(0, 1, (rows, k)).astype(np.float16), rng.normal(0, 1, (k, n)).astype(np.float16)
    start = rng.normal(0, 1, n).astype(F)
    total = np.broadcast_to(start, (rows, n))
    for i in range(k):
        total = total + x[:, i, None].astype(F) * w[i].astype(F)
    assert np.array_equal(half.products(x, w, start), total)


def test_sums_do_not_depend_on_subnormal_biases() -> None:
    tiny = np.array([1e-40, -1e-40, -0.0, 1e-37, 2.0], F)
    assert half.biases(tiny).view(np.uint32).tolist() == np.array([0.0, 0.0, 0.0, 1e-37, 2.0], F).view(np.uint32).tolist()


@pytest.mark.parametrize("chip", ["cortex-m4", "cortex-m55", "riscv-f", "riscv"])
def test_conversions_on_the_chip(chip: str, tmp_path: Path) -> None:
    """Every half; every float in the middle of two halves and its neighbours, and 2^18 others of all sizes."""
    size = 2**13
    half_type, real_type = TensorType((size,), DType.FLOAT16), TensorType((size,))
    halves = HALVES.view(np.float16)
    finite = np.where(np.isfinite(halves), halves, np.float16(0))
    check_on_chip(Cast(), half_type, real_type, finite.reshape(-1, size), chip, tmp_path / "real")
    h = halves[:0x7C00].astype(F)
    middle = (h + np.append(h[1:], F(65536))) / F(2)
    near = np.concatenate([np.nextafter(middle, F(0)), middle, np.nextafter(middle, F(np.inf))])
    bits = np.random.default_rng(9).integers(0, 2**32, 2**18, np.uint32).view(F)
    x = np.concatenate([near, -near, bits[np.isfinite(bits)]])
    check_on_chip(Cast(), real_type, half_type, x[: len(x) // size * size].reshape(-1, size), chip, tmp_path / "half")
