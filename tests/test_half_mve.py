"""Half precision on Helium: what vectors make of subnormal numbers never shows, on a desktop that does as they do, and on the chip."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeq import floats, half, target
from edgeq.build import COMMON_FLAGS
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.activations import Sigmoid, Silu, Tanh
from edgeq.ops.cast import Cast
from edgeq.ops.lstm import Lstm
from edgeq.ops.mathematics import Exp
from edgeq.plan import plan
from edgeq.resources import resource
from edgeq.run import run
from edgeq.simulate import simulate

TESTS = Path(__file__).parent
sys.path += [str(TESTS.parent), str(TESTS / "ops")]

import test_fully_connected  # noqa: E402
import test_recurrent  # noqa: E402
from harness import _Bench, halved, summed_in_halves  # noqa: E402

from benchmarks.measure import measure  # noqa: E402

F = np.float32
FUNCTIONS = {"exp": Exp(), "sigmoid": Sigmoid(), "silu": Silu(), "tanh": Tanh()}
SOURCE = """
#include "eq_half_mve_functions.h"

void {name}(const float *x, float *y, int32_t n)
{{
    for (int32_t i = 0; i < n; i += 4) eq_store4_f32(y + i, eq_{name}4(eq_load4_f32(x + i)));
}}
"""
FUSED = """
void fused(const uint16_t *a, const uint16_t *b, uint16_t *c, int32_t n)
{
    for (int32_t i = 0; i < n; i++) c[i] = eq_half_fused(a[i], b[i], c[i]);
}
"""


@pytest.fixture(scope="module")
def c(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The vector functions as plain C, zeros in place of subnormal numbers and all."""
    folder = tmp_path_factory.mktemp("mve")
    (folder / "mve.c").write_text("".join(SOURCE.format(name=n) for n in FUNCTIONS) + FUSED, encoding="ascii")
    include = f"-I{resource('templates') / 'runtime'}"
    flags = [*COMMON_FLAGS, "-O2", "-shared", "-fPIC", "-fno-builtin", "-include", "eq_numerics.h", include]
    subprocess.run(["gcc", *flags, str(folder / "mve.c"), "-o", str(folder / "mve.so")], check=True, timeout=120)
    return ctypes.CDLL(str(folder / "mve.so"))


def call(c: ctypes.CDLL, name: str, *arrays: Array) -> None:
    getattr(c, name)(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), ctypes.c_int32(len(arrays[0])))


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_gates_are_the_fpus_for_every_float(c: ctypes.CDLL, name: str) -> None:
    """Patterns from all over the floats, dense around subnormal ones and where powers of two become small."""
    rng = np.random.default_rng(5)
    bits = rng.integers(0, 2**32, 2**20, np.uint32)
    small = rng.integers(0, 2**25, 2**18, np.uint32) | rng.integers(0, 2, 2**18, np.uint32) << 31
    x = np.concatenate([bits.view(F), small.view(F), rng.uniform(-90, 90, 2**20).astype(F)])
    x = np.ascontiguousarray(x[np.isfinite(x)][: len(x) // 8 * 8 - 2**15])
    y = np.empty_like(x)
    call(c, name, x, y)
    with np.errstate(all="ignore"):
        want = getattr(floats, name)(x)
    assert np.array_equal(y.view(np.uint32), want.view(np.uint32)), x[y != want][:4]


def test_fused_steps_round_once(c: ctypes.CDLL) -> None:
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
    call(c, "fused", a, b, got)
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


def test_sums_do_not_depend_on_subnormal_biases() -> None:
    tiny = np.array([1e-40, -1e-40, -0.0, 1e-37, 2.0], F)
    assert half.biases(tiny).view(np.uint32).tolist() == np.array([0.0, 0.0, 0.0, 1e-37, 2.0], F).view(np.uint32).tolist()


def one_operator(op: Op, x: TensorType, y: TensorType) -> Graph:
    return Graph("one", (Node("node", op, ("x",), ("y",)),), {"x": Tensor("x", x), "y": Tensor("y", y)}, ("x",), ("y",))


def check(graph: Graph, x: Array, chip: str, folder: Path, chain: str | None = None) -> None:
    machine = target.load(chip)
    if machine.runners[0] == "qemu" and shutil.which("qemu-system-arm") is None:
        pytest.skip("not installed: qemu-system-arm")
    program = lower(graph, machine)
    write(emit(program, plan(program), "one"), folder / "model")
    result = compare(simulate(graph, {"x": x}), run(folder / "model", machine, {"x": x}, **({"chain": chain} if chain else {})))
    assert result.bit_exact, result.difference


HALVES = np.arange(2**16, dtype=np.uint16).view(np.float16)
FINITE = np.where(np.isfinite(HALVES), HALVES, np.float16(0))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_every_half_on_the_chip(name: str, tmp_path: Path) -> None:
    t = TensorType((2**13,), DType.FLOAT16)
    check(one_operator(FUNCTIONS[name], t, t), FINITE.reshape(8, -1), "cortex-m55", tmp_path)


@pytest.mark.parametrize("chip", ["cortex-m4", "cortex-m55", "riscv-f", "riscv"])
def test_conversions_on_the_chip(chip: str, tmp_path: Path) -> None:
    """Every half; every float in the middle of two halves and its neighbours, and 2^18 others of all sizes."""
    size = 2**13
    half_type, real_type = TensorType((size,), DType.FLOAT16), TensorType((size,))
    check(one_operator(Cast(), half_type, real_type), FINITE.reshape(-1, size), chip, tmp_path / "real")
    h = HALVES[:0x7C00].astype(F)
    middle = (h + np.append(h[1:], F(65536))) / F(2)
    near = np.concatenate([np.nextafter(middle, F(0)), middle, np.nextafter(middle, F(np.inf))])
    bits = np.random.default_rng(9).integers(0, 2**32, 2**18, np.uint32).view(F)
    x = np.concatenate([near, -near, bits[np.isfinite(bits)]])
    check(one_operator(Cast(), real_type, half_type), x[: len(x) // size * size].reshape(-1, size), chip, tmp_path / "half")


@pytest.mark.parametrize(("name", "most"), [("lstm", 0.8), ("lstm_a16", 0.42), ("lstm_s8", 0.25), ("dense", 0.72), ("dense_a16", 0.33)])
def test_instructions_per_product(name: str, most: float) -> None:
    """128 units, or 256 channels, of as many inputs, on Cortex-M55; the same number for every input."""
    if shutil.which("qemu-system-arm") is None:
        pytest.skip("not installed: qemu-system-arm")
    found = test_recurrent.case("lstm", Lstm(), 128, 128) if name.startswith("lstm") else test_fully_connected.case("dense", (1,), 256, 256)
    found = found if name.endswith("s8") else summed_in_halves(found) if name.endswith("a16") else halved(found)
    row = measure(name, _Bench([replace(found, laws=("single",))], "single").graph, "cortex-m55", "zig", "3")
    assert row.constant_time and row.instructions <= most * row.macs, row.instructions / row.macs
