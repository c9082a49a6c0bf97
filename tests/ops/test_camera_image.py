"""Frames of cameras: near bilinear interpolation in float, and the same bytes in C and on chips, from every format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import sanitized
from harness import Case, _Bench, _check_equal
from installed import need_emulator, need_programs

from edgeq import target
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, QParams, Tensor, TensorType
from edgeq.ops.camera_image import LAYOUTS, METHODS, WORDS, CameraImage, components
from edgeq.run import host, run

HEIGHT, WIDTH, CROP = 10, 12, (2, 2, 8, 10)


def frame(format: str) -> TensorType:
    if format in WORDS:
        return TensorType((HEIGHT, WIDTH), DType.INT16)
    layout = LAYOUTS[format]
    return TensorType((HEIGHT * layout.rows, WIDTH * layout.step), DType.INT8)


def constant(*values: object) -> Tensor:
    data = np.array(values, np.float32)
    return Tensor("", TensorType(data.shape), data)


def case(format: str, method: str, gray: bool, size: tuple[int, int] = (5, 7)) -> Case:
    """Results that leave int8 on both sides, and are limited before on one of them."""
    count, rng = components(format), np.random.default_rng(3)
    matrix = rng.uniform(-0.01, 0.02, (1 if gray else 3, count))
    if count == (1 if gray else 3):
        matrix = np.diag([0.012, -0.011, 0.014][:count]) * (8 if format in WORDS else 1)
    offset, limits = [0.1, 1.5, -0.5][: len(matrix)], [(-1.0, 1.2), (-9.0, 9.0), (-0.7, 9.0)][: len(matrix)]
    inputs = frame(format), constant(*matrix), constant(*offset), constant(*limits)
    name = f"{format}_{method}_{len(matrix)}_{size[0]}"
    return Case(name, CameraImage(format, size, CROP, method), inputs, QParams((0.01,), 5), ("single",))


def cases() -> list[Case]:
    found = [case(f, m, g) for f in (*WORDS, *LAYOUTS) for m in METHODS for g in (False, True) if not (f == "gray8" and not g)]
    more = ("rgb565", "bilinear", False, (13, 23)), ("yuyv", "bilinear", True, (17, 3)), ("gray8", "nearest", True, (1, 1))
    return [*found, *(case(*m) for m in more)]


@pytest.fixture(scope="module")
def bench() -> _Bench:
    return _Bench(cases(), "single")


def test_results_are_the_interpolation_in_float(bench: _Bench) -> None:
    """To half a step, and what positions in eighths (packed pixels) or 32nds make of the largest difference of neighbours."""
    for c in cases():
        op, (matrix, offset, limits) = c.op, (np.asarray(t.data, float) for t in c.inputs[1:])
        assert isinstance(op, CameraImage)
        pixels = op._pixels(bench.data[f"{c.name}_x0"]).astype(float)
        want = np.clip(sampled(pixels, op) @ matrix.T + offset, limits[:, 0], limits[:, 1])
        t = c.output_type
        got = (bench.expected.outputs[f"{c.name}_y"][:, 0].astype(float) - t.zero_point) * t.scale
        share = 0 if op.method == "nearest" else 0.16 if op.format in WORDS else 0.04
        allowed = (np.abs(matrix) * op._largest(matrix.shape[1])).sum(1) * share + 0.0075 + 0.005 * (op.narrowed > 0)
        assert (np.abs(got - np.clip(want, -133 * t.scale, 122 * t.scale)).max((0, 1, 2)) < allowed).all(), c.name


def sampled(pixels: Array, op: CameraImage) -> Array:
    for axis in (0, 1):
        first, length, out = op.crop[axis], op.crop[axis + 2], op.size[axis]
        at = (np.arange(out) + 0.5) * length / out
        if op.method == "nearest":
            pixels = pixels.take(first + np.floor(at).astype(int), axis + 1)
            continue
        at = np.clip(at - 0.5, 0, length - 1)
        low = np.minimum(np.floor(at).astype(int), length - 2)
        share = (at - low).reshape([-1 if i == axis + 1 else 1 for i in range(4)])
        pixels = pixels.take(first + low, axis + 1) * (1 - share) + pixels.take(first + low + 1, axis + 1) * share
    return pixels


def test_c_computes_the_same(bench: _Bench, tmp_path: Path) -> None:
    need_programs("gcc")
    _check_equal(bench.expected, host.run(bench.folder(bench.program("host"), tmp_path / "m"), bench.data, steps=True, chain="gcc"))


def test_c_stays_within_its_bounds(bench: _Bench, tmp_path: Path) -> None:
    need_programs("gcc")
    for done in sanitized.run(bench.folder(bench.program("host"), tmp_path / "m"), bench.data):
        _check_equal(bench.expected, done)


@pytest.mark.parametrize("chip", ["cortex-m0", "cortex-m4", "riscv"])
def test_chips_compute_the_same(bench: _Bench, chip: str, tmp_path: Path) -> None:
    need_emulator(chip)
    few, expected = bench.first(3)
    _check_equal(expected, run(bench.folder(bench.program(chip), tmp_path / "m"), target.load(chip), few, steps=True))


def test_what_does_not_fit_is_refused() -> None:
    matrix = TensorType((3, 3))
    with pytest.raises(EdgeqError, match="whole pixels of yuyv"):
        CameraImage("yuyv", (2, 2), (0, 0, 4, 4)).infer(TensorType((4, 10), DType.INT8), matrix)
    with pytest.raises(EdgeqError, match="format rgb565"):
        CameraImage("rgb565", (2, 2), (0, 0, 4, 4)).infer(TensorType((4, 4), DType.INT8), matrix)
    with pytest.raises(EdgeqError, match="4 x 4 at 1, 0 of 4 x 4"):
        CameraImage("rgb565", (2, 2), (1, 0, 4, 4)).infer(TensorType((4, 4), DType.INT16), matrix)
    with pytest.raises(EdgeqError, match="for pixels of 4 numbers"):
        CameraImage("bayer_rggb", (2, 2), (0, 0, 2, 2)).infer(TensorType((4, 4), DType.INT8), matrix)
