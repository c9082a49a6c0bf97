"""Windows, Fourier transforms, band levels, cosine transforms, PCEN: near their formulas, and the same bytes in C and on chips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sanitized
from harness import Case, _Bench, _check_equal, with_vectors
from installed import need_emulator, need_programs, uncounted

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, QParams, Tensor, TensorType
from edgeq.ops.energy_normalization import EnergyNormalization
from edgeq.ops.filter_bank import FilterBankRoot
from edgeq.ops.fourier import Irfft, Rfft
from edgeq.ops.spectrum import MODES, ApplyWindow, BandLevels, CosineTransform
from edgeq.run import gpu, host, qemu, run

F32, F16, S8, S16, S32 = DType.FLOAT32, DType.FLOAT16, DType.INT8, DType.INT16, DType.INT32
RNG = np.random.default_rng(0)
STARTS, COUNTS, WEIGHTS = np.int16([0, 2, 3, 7]), np.int16([3, 4, 5, 1]), RNG.uniform(0, 1, 13).astype(np.float32)
FIXED = {S16: (0.01, 0), S8: (0.7, -20)}  # scale and zero point of levels
LENGTHS = ((64, 64), (512, 400), (480, 480), (60, 50), (2, 2))


def constant(data: Array) -> Tensor:
    dtype = next(d for d in DType if d.numpy == data.dtype)
    return Tensor("", TensorType(data.shape, dtype), data)


def uniform(*shape: int) -> Tensor:
    return constant(RNG.uniform(-1, 1, shape).astype(np.float32))


def bands(name: str, x: TensorType, power: int, mode: str, floor: float, output: TensorType | None = None) -> Case:
    more = (TensorType((2,), S32),) if x.dtype is S32 else ()
    return Case(name, BandLevels(power, mode, floor, 4.0, 1.0), (x, *map(constant, (STARTS, COUNTS, WEIGHTS)), *more), output, ("single",))


def cases() -> list[Case]:
    found = []
    for d in (F32, F16):
        found += [Case(f"window_{d.value}", ApplyWindow(), (TensorType((2, 9), d), uniform(9)), laws=("single",))]
        found += [Case(f"frames_{d.value}", ApplyWindow(20, 3, 4, 2), (TensorType((1, 21), d), uniform(9)), laws=("single",))]
        found += [Case(f"cosines_{d.value}", CosineTransform(), (TensorType((2, 9), d), uniform(4, 9)), laws=("single",))]
        found += [bands(f"bands_{d.value}_{p}_{m}", TensorType((2, 16), d), p, m, 0.01) for p in (1, 2) for m in MODES]
    samples = TensorType((2, 9), S16, QParams((1 / 32768,)))
    found += [Case("window_block", ApplyWindow(20), (samples, uniform(9)), TensorType((2, 9), S32), ("single",))]
    samples = TensorType((1, 21), S16, QParams((1 / 32768,)))
    found += [Case("frames_block", ApplyWindow(20, 3, 4, 2), (samples, uniform(9)), TensorType((1, 3, 9), S32), ("single",))]
    for d, (scale, zero) in FIXED.items():
        output = TensorType((2, 4), d, QParams((scale * 10,), zero))
        inputs = TensorType((2, 9), S16, QParams((0.01,))), uniform(4, 9)
        found += [Case(f"cosines_block_{d.value}", CosineTransform(), inputs, output, ("single",))]
        for p, m in ((p, m) for p in (1, 2) for m in MODES):
            q = QParams((scale * (10000 if m == "linear" else 1),), zero)
            found.append(bands(f"bands_block_{d.value}_{p}_{m}", TensorType((2, 16), S32), p, m, 1e-6, TensorType((2, 4), d, q)))
    found += [Case("pcen", EnergyNormalization(0.025), (TensorType((3, 5)), TensorType((5,))), laws=("single",))]
    found.append(bands("bands_block_s32", TensorType((2, 16), S32), 2, "max", 2.0**-40, TensorType((2, 4), S32)))
    for d in (S16, S8):
        output, inputs = TensorType((3, 5), d, QParams((20 / 2 ** (8 * d.bytes),), 7)), (TensorType((3, 5), S32), TensorType((5, 2), S32))
        found += [Case(f"pcen_{d.value}", EnergyNormalization(0.025), inputs, output, ("single",))]
    for n in (64, 60, 256):
        found += [Case(f"inverse_{d.value}_{n}", Irfft(n), (TensorType((2, n + 2), d),), laws=("single",)) for d in (F32, F16, S16)]
    for n, k in LENGTHS:
        found += [Case(f"fourier_{d.value}_{n}", Rfft(n), (TensorType((2, k), d),), laws=("single",)) for d in (F32, F16, S16)]
        found += [Case(f"fourier_block_{n}", Rfft(n, True), (TensorType((2, k), S32),), laws=("single",))]
    return found


@pytest.fixture(scope="module")
def bench() -> _Bench:
    made = _Bench(cases(), "single")
    for name, a in made.data.items():
        if name.startswith("fourier_block"):
            made.data[name] = a >> 12
        elif "_f32_" in name and not name.startswith("inverse_f32_60"):
            a[5] *= np.float32(1e-39)  # subnormal, and near it
            a[4] *= np.float32(1e-34)
        elif name.startswith("bands_block"):
            made.data[name] = a >> 3 if name.endswith("x0") else np.abs(a) % 16 + 5
        elif name == "pcen_x0":
            made.data[name] = np.abs(a)
        elif name == "pcen_x1":  # a mean of 0 is the start; small ones keep their digits, and none becomes 0
            made.data[name] = np.abs(a) * np.float32([1, 0, 1e-6, 1e-20, 1.2e-38])
        elif name.startswith("pcen_s") and name.endswith("x0"):
            made.data[name] = a >> 9
        elif name.startswith("pcen_s"):
            made.data[name] = np.where(np.arange(2), np.abs(a) >> 11, a).astype(np.int32)
    return made


def test_integers_are_near_their_formulas(bench: _Bench) -> None:
    """Spectra to 100 dB, levels to a step."""
    for case in bench.cases:
        got, x = bench.expected.outputs[f"{case.name}_y"].astype(float), bench.data[f"{case.name}_x0"].astype(float)
        if case.name.startswith("fourier_block"):
            want = case.op.real(x)
            assert ((got - want) ** 2).sum() <= 1e-10 * (want**2).sum(), case.name
        elif case.name == "bands_block_s32":
            want = case.op.real(x * 2.0 ** (-14 - bench.data[f"{case.name}_x4"][..., None]), STARTS, COUNTS, WEIGHTS)
            assert np.abs(got / 2**16 - (want - 1) / 4 / np.log(2)).max() < 1e-3
        elif case.name.startswith("bands_block"):
            want = case.op.real(x * 2.0 ** (-14 - bench.data[f"{case.name}_x4"][..., None]), STARTS, COUNTS, WEIGHTS)
            info = np.iinfo(case.output_type.dtype.numpy)
            steps = np.clip(want / case.output_type.scale + case.output_type.zero_point, info.min, info.max)
            assert np.abs(got - steps).max() < 0.6, case.name


def test_floats_are_near_their_formulas(bench: _Bench) -> None:
    for case in bench.cases:
        if not case.name.endswith("_f32") and "_f32_" not in case.name:
            continue
        inputs = [i.data if isinstance(i, Tensor) else bench.data[f"{case.name}_x{k}"] for k, i in enumerate(case.inputs)]
        want = case.op.real(*inputs)
        got = bench.expected.outputs[f"{case.name}_y"]
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5 * np.abs(want).max(), err_msg=case.name)


@pytest.mark.parametrize("chain", ["gcc", "clang"])
def test_c_computes_the_same(bench: _Bench, chain: str, tmp_path: Path) -> None:
    _check_equal(bench.expected, host.run(bench.folder(bench.program("host"), tmp_path / "m"), bench.data, steps=True, chain=chain))


@pytest.mark.parametrize("isa", ["armv7em", "mve", "rvv", "zvfh"])
def test_vectors_stay_inside(bench: _Bench, isa: str, tmp_path: Path) -> None:
    """What the kernels of an instruction set read and write, on this computer under the sanitizers."""
    need_programs("gcc")
    built = bench.on_host(isa)
    for done in sanitized.run(built.folder(tmp_path / "m"), built.bench.data):
        _check_equal(built.bench.expected, done)


@pytest.mark.parametrize("chip", ["cortex-m4", "riscv", "cortex-m55", "riscv-v", "riscv-vh"])
def test_chips_compute_the_same(bench: _Bench, chip: str, tmp_path: Path) -> None:
    need_emulator(chip)
    few, expected = bench.first(6)
    _check_equal(expected, run(bench.folder(bench.program(chip), tmp_path / "m"), uncounted(chip), few, steps=True))


@pytest.mark.parametrize("chip", ["host", "cortex-m4", "riscv"])
def test_roots_are_to_nearest(chip: str, tmp_path: Path) -> None:
    """Around squares, and around the squares of halves, where float32 alone would be one too low or too high."""
    need_emulator(chip)
    n = np.arange(0, 65536, 64)[:, None] + np.array([0, 1, 31, 63])
    near = np.stack([n * n - 1, n * n, n * n + 1, n * n + n - 1, n * n + n, n * n + n + 1], -1).clip(0, 2**32 - 1)
    x = np.stack([near, np.zeros_like(near)], -1).astype(np.uint32).view(np.int32).reshape(8, -1, 2)
    bench = _Bench([Case("roots", FilterBankRoot(), (TensorType(x.shape[1:], S32), TensorType((), S32)), laws=("single",))], "single")
    bench.data |= {"roots_x0": np.resize(x, bench.data["roots_x0"].shape), "roots_x1": np.zeros_like(bench.data["roots_x1"])}
    few, expected = bench.first(8)
    got = run(bench.folder(bench.program(chip), tmp_path / "m"), uncounted(chip), few, steps=True)
    _check_equal(expected, got)
    assert (expected.outputs["roots_y"][:8].ravel() == np.minimum(np.rint(np.sqrt(near.ravel().astype(np.longdouble))), 65535)).all()


@pytest.mark.parametrize(("chip", "bits"), [("riscv-v", 512), ("riscv-vh", 256)])
def test_bytes_do_not_depend_on_the_length_of_a_vector(bench: _Bench, chip: str, bits: int, tmp_path: Path) -> None:
    need_programs("qemu-system-riscv32")
    few, expected = bench.first(6)
    _check_equal(expected, qemu.run(bench.folder(bench.program(chip), tmp_path / "m"), with_vectors(chip, bits), few, steps=True))


def test_the_gpus_kernels_compute_the_same(bench: _Bench) -> None:
    for module in ("triton", "torch"):
        pytest.importorskip(module)
    few, expected = bench.first(6)
    _check_equal(expected, gpu.run(bench.program("host"), few, steps=True, device="interpreter"))


COMPILED = ("window_f32", "window_block", "bands_f32_1_max", "bands_block_s16_1_add", "bands_block_s8_2_linear", "cosines_f16", "pcen",
            "pcen_s16", "fourier_f32_60", "fourier_block_480", "fourier_s16_512", "inverse_f32_60")  # fmt: skip
test_the_gpus_kernels_compute_the_same.cases = [c for c in cases() if c.name in COMPILED]  # type: ignore[attr-defined]


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(EdgeqError, match="has the factor 7"):
        Rfft(28).infer(TensorType((28,)))
    with pytest.raises(EdgeqError, match="longer than"):
        Rfft(64).infer(TensorType((65,)))
    with pytest.raises(EdgeqError, match="does not fit"):
        CosineTransform().infer(TensorType((1, 9)), TensorType((4, 8)))
    with pytest.raises(EdgeqError, match="power 1 or 2"):
        BandLevels(3).infer(TensorType((1, 16)), TensorType((4,)), TensorType((4,)), TensorType((13,)))
    wide = (Tensor("x", TensorType((1, 10))), *map(constant, (STARTS, COUNTS, WEIGHTS)))
    with pytest.raises(EdgeqError, match="bands reach over"):
        BandLevels().bind("single", "here", wide, TensorType((1, 4)))
