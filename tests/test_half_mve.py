"""Half precision on Helium: what vectors make of subnormal numbers never shows, on a desktop that does as they do, and on the chip."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeq import floats, target
from edgeq.build import COMMON_FLAGS, toolchain
from edgeq.ir import Array, DType, TensorType
from edgeq.ops.activations import Sigmoid, Silu, Tanh
from edgeq.ops.mathematics import Exp
from edgeq.process import run_tool
from edgeq.resources import resource

sys.path.append(str(Path(__file__).parent / "ops"))

from harness import check_on_chip

F = np.float32
FUNCTIONS = {"exp": Exp(), "sigmoid": Sigmoid(), "silu": Silu(), "tanh": Tanh()}
SOURCE = """
#include "eq_half_mve_functions.h"

void {name}(const float *x, float *y, int32_t n)
{{
    for (int32_t i = 0; i < n; i += 4) eq_mve_store4_f32(y + i, eq_mve_{name}4(eq_mve_load4_f32(x + i)));
}}
"""
FUSED = """
void fused(const uint16_t *a, const uint16_t *b, uint16_t *c, int32_t n)
{
    for (int32_t i = 0; i < n; i++) c[i] = eq_half_fused(a[i], b[i], c[i]);
}
"""


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The vector functions as plain C, zeros in place of subnormal numbers and all, by the compiler that edgeq brings."""
    folder = tmp_path_factory.mktemp("mve")
    (folder / "mve.c").write_text("".join(SOURCE.format(name=n) for n in FUNCTIONS) + FUSED, encoding="ascii")
    include = f"-I{resource('templates') / 'runtime'}"
    chain = toolchain(target.load("host"))
    flags = [*chain.flags, *COMMON_FLAGS, "-O2", "-shared", "-fPIC", "-fno-builtin", "-include", "eq_numerics.h", include]
    run_tool([*chain.command, *flags, str(folder / "mve.c"), "-o", str(folder / "mve.so")], "test")
    return ctypes.CDLL(str(folder / "mve.so"))


def compute(library: ctypes.CDLL, name: str, *arrays: Array) -> None:
    getattr(library, name)(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), ctypes.c_int32(len(arrays[0])))


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_gates_are_the_fpus_for_every_float(vectors: ctypes.CDLL, name: str) -> None:
    """Patterns from all over the floats, dense around subnormal ones and where powers of two become small."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 2**20, np.uint32)
    small = rng.integers(0, 2**25, 2**18, np.uint32) | rng.integers(0, 2, 2**18, np.uint32) << 31
    x = np.concatenate([bits.view(F), small.view(F), rng.uniform(-90, 90, 2**20).astype(F)])
    x = np.ascontiguousarray(x[np.isfinite(x)][: len(x) // 8 * 8 - 2**15])
    y = np.empty_like(x)
    compute(vectors, name, x, y)
    with np.errstate(all="ignore"):
        want = getattr(floats, name)(x)
    assert np.array_equal(y.view(np.uint32), want.view(np.uint32)), x[y != want][:4]


def test_fused_steps_round_once(vectors: ctypes.CDLL) -> None:
    """Against exact rational arithmetic of another kind: integers in units of 2^-48; and all kinds of halves against the simulator's."""
    rng = np.random.default_rng(6)
    a, b, sums = (rng.integers(0, 2**16, 2**20, np.uint16) for _ in range(3))
    near = rng.normal(0, 1, (3, 2**20)).astype(np.float16).view(np.uint16)
    a, b, sums = (np.concatenate(both) for both in zip((a, b, sums), near, strict=True))
    finite = np.logical_and.reduce([np.isfinite(v.view(np.float16)) for v in (a, b, sums)])
    a, b, sums = (np.ascontiguousarray(v[finite]) for v in (a, b, sums))
    x, w, start = (v.view(np.float16) for v in (a, b, sums))
    with np.errstate(over="ignore"):
        want = (x.astype(np.float64) * w.astype(np.float64) + start.astype(np.float64)).astype(np.float16)
    got = sums.copy()
    compute(vectors, "fused", a, b, got)
    assert np.array_equal(got, want.view(np.uint16))
    for i in range(0, len(a), 4001):
        if np.isfinite(want[i]) and want[i] != 0:
            assert want[i] == _nearest(int(float(x[i]) * 2**24) * int(float(w[i]) * 2**24) + int(float(start[i]) * 2**48))


def _nearest(units: int) -> np.float16:
    """The half nearest to so many 2^-48, of a tie the even one, by integers."""
    size = abs(units)
    shift = max(size.bit_length() - 11, 24)
    mantissa, rest = size >> shift, size & ((1 << shift) - 1)
    mantissa += rest > 1 << (shift - 1) or (rest == 1 << (shift - 1) and mantissa & 1)
    return np.float16(np.copysign(float(mantissa) * 2.0 ** (shift - 48), units))


HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = np.where(np.isfinite(HALVES), HALVES, np.float16(0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_every_half_on_the_chip(name: str, tmp_path: Path) -> None:
    t = TensorType((2**13,), DType.FLOAT16)
    check_on_chip(FUNCTIONS[name], t, t, FINITE.reshape(8, -1), "cortex-m55", tmp_path / "model")
