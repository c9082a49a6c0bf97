"""TFLM's signal operators and whole numbers on the GPU and on chips: the simulator's bytes, which test_tflite_signal.py holds to TFLM's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from harness import Case, _Bench, _check_equal
from installed import need_emulator, uncounted

from edgeq.ir import DType, Op, Tensor, TensorType
from edgeq.ops.filter_bank import GAINS, FilterBank, FilterBankLog, FilterBankPcan, FilterBankRoot, SpectralSubtraction
from edgeq.ops.frames import AutoScale, FrameCount, FrameStack, FrameWindow, OverlapAdd, SpectrumEnergy
from edgeq.ops.whole import FUNCTIONS, Whole, WholeCast
from edgeq.run import gpu, run

RNG = np.random.default_rng(0)
S8, S16, S32 = DType.INT8, DType.INT16, DType.INT32
VECTORS = 12


def numbers(dtype: DType, *shape: int) -> TensorType:
    return TensorType(shape, dtype)


def listed(*values: int) -> Tensor:
    return Tensor("", TensorType((len(values),), S16), np.array(values, np.int16))


def chance(low: int, count: int) -> Tensor:
    return listed(*RNG.integers(low, 32767, count).tolist())


def case(name: str, op: Op, *inputs: TensorType | Tensor) -> Case:
    return Case(name, op, inputs, laws=("single",))


BANDS = chance(0, 17), chance(0, 17), listed(1, 4, 8, 10), listed(0, 4, 8, 12), listed(3, 4, 0, 5)
WORDS, PAIRS, COUNT = numbers(S32, 11), numbers(S32, 2, 3), numbers(S32)
CASES = [
    case("window", FrameWindow(12), numbers(S16, 2, 30), chance(-32768, 30)), case("scale", AutoScale(), numbers(S16, 50)),
    case("energy", SpectrumEnergy(2, 15), numbers(S16, 34)), case("bank", FilterBank(3), numbers(S32, 16), *BANDS),
    case("root", FilterBankRoot(), numbers(S32, 9, 2), COUNT), case("log", FilterBankLog(64, 3), WORDS),
    case("log_large", FilterBankLog(160000, 0), WORDS), case("gain", FilterBankPcan(6), WORDS, WORDS, chance(-9000, GAINS)),
    *(case(f"noise_{int(c)}", SpectralSubtraction((409, 983), (15975, 15401), 819, 10, 14, c), WORDS, WORDS) for c in (False, True)),
    case("wrapped", SpectralSubtraction((-5, 70000), (2**31 - 1, -9), -3, 3, 14, False), WORDS, WORDS),
    case("overlap", OverlapAdd(4), numbers(S16, 2, 3, 10), numbers(S16, 2, 10)), case("count", FrameCount(3, 7, 9), COUNT),
    *(case(f"stack_{n[2]}", FrameStack(*n), numbers(S16, 5), numbers(S16, 5 * (n[0] + n[1] + 1)), COUNT) for n in ((2, 1, 1), (1, 3, 3))),
    *(case(f"whole_{f}", Whole(function=f), PAIRS, numbers(S32, 1, 3)) for f in FUNCTIONS if f != "div"),
    case("whole_div", Whole((-9, 1000), "div"), PAIRS, Tensor("", numbers(S32, 1, 3), np.array([[7, -3, 2**31 - 1]], np.int32))),
    *(case(f"cast_{a.value}_{b.value}", WholeCast(b.value), numbers(a, 7)) for a in (S8, S16, S32) for b in (S8, S16, S32) if a != b),
]  # fmt: skip


@pytest.fixture(scope="module")
def bench() -> _Bench:
    """Loud and quiet numbers, and counts of a few."""
    made = _Bench(CASES, "single")
    for name, a in made.data.items():
        quieter = np.arange(len(a)) * (3 if a.dtype == np.int32 else 1) % (8 * a.itemsize)
        quieter[:5] = 0
        made.data[name] = a >> quieter.reshape(-1, *[1] * (a.ndim - 1)).astype(a.dtype)
        if a.ndim == 1:
            made.data[name] = np.arange(len(a), dtype=a.dtype) % 6
    return made


def test_the_gpus_kernels_compute_the_same(bench: _Bench) -> None:
    for module in ("triton", "torch"):
        pytest.importorskip(module)
    few, expected = bench.first(VECTORS)
    _check_equal(expected, gpu.run(bench.program("host"), few, steps=True, device="interpreter"))


test_the_gpus_kernels_compute_the_same.cases = CASES  # type: ignore[attr-defined]


@pytest.mark.parametrize("chip", ["host", "cortex-m4", "riscv"])
def test_chips_compute_the_same(bench: _Bench, chip: str, tmp_path: Path) -> None:
    need_emulator(chip)
    few, expected = bench.first(VECTORS)
    _check_equal(expected, run(bench.folder(bench.program(chip), tmp_path / "m"), uncounted(chip), few, steps=True))
