"""The MLPerf Tiny reference models and inputs for them: real ones where there are, natural, random and extreme ones elsewhere."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeq.ir import Array

INT8 = {
    "kws": "kws_ref_model", "resnet8": "pretrainedResnet_quant", "vww": "vww_96_int8", "ad": "ad01_int8", "wake_word": "str_ww_ref_model",
}  # fmt: skip
FLOAT = {"kws": "kws_ref_model_float32", "resnet8": "pretrainedResnet", "vww": "vww_96_float", "ad": "ad01_fp32"}
SHAPES = {"kws": (1, 49, 10, 1), "resnet8": (1, 32, 32, 3), "vww": (1, 96, 96, 3), "ad": (1, 640), "wake_word": (1, 30, 1, 40)}
ZERO_POINTS = {"kws": 83, "resnet8": -128, "vww": -128, "ad": 89, "wake_word": -128}


def path(data: Path, file: str) -> Path:
    """A model file; the test is skipped where it is absent."""
    found = data / "mlperf_tiny" / f"{file}.tflite"
    if not found.is_file():
        pytest.skip(f"{found} is absent")
    return found


def keywords(data: Path) -> tuple[Array, Array]:
    """Keyword inputs int8 ``[500, 1, 49, 10, 1]`` and their labels."""
    with np.load(data / "mlperf_tiny" / "kws01_dev.npz") as file:
        return file["x"].reshape(-1, 1, 49, 10, 1), file["y"]


def images(data: Path, count: int) -> Array:
    """Photographs, uint8 ``[count, 32, 32, 3]``."""
    pillow = pytest.importorskip("PIL.Image")
    with zipfile.ZipFile(data / "cifar10" / "cifar10_jpeg.zip") as file:
        names = sorted(n for n in file.namelist() if "/test/" in f"/{n}" and n.endswith(".jpg"))
        chosen = names[:: max(1, len(names) // count)][:count]
        return np.stack([np.asarray(pillow.open(io.BytesIO(file.read(n))).convert("RGB")) for n in chosen])


def extremes(shape: tuple[int, ...], zero_point: int) -> Array:
    """Inputs at the ends of int8: constants, stripes, checkerboards, single spikes; int8 ``[16, *shape]``."""
    index = np.arange(int(np.prod(shape)))
    rows = [np.full(index.size, v) for v in (-128, -127, -1, 0, 1, 126, 127, zero_point)]
    rows += [np.where(index // period % 2, 127, -128) for period in (1, 2, 3, shape[-1], shape[-1] * 7)]
    rows += [np.where(index == i, 127, -128) for i in (0, index.size // 2, index.size - 1)]
    return np.stack(rows).astype(np.int8).reshape(len(rows), *shape)


def inputs(data: Path, model: str, count: int = 256) -> Array:
    """At least `count` inputs of a model, int8: real or natural, then random, then extreme ones."""
    rng = np.random.default_rng(list(INT8).index(model))
    shape, zero_point = SHAPES[model], ZERO_POINTS[model]
    edge = extremes(shape, zero_point)
    if model == "kws":
        return np.concatenate([keywords(data)[0], edge])
    if model == "wake_word":
        with np.load(data / "mlperf_tiny" / "calibration_samples.npz") as file:
            real = np.clip(np.rint(file["specs"] * 255 - 128), -128, 127).reshape(-1, *shape)
        noisy = [np.clip(real + rng.normal(0, s, real.shape), -128, 127) for s in (2, 8, 32)]
        natural = np.concatenate([real, *noisy]).astype(np.int8)
    elif model == "ad":
        walk = rng.normal(0, 6, (count // 2, *shape)).cumsum(-1)
        natural = np.clip(walk + rng.integers(-100, 100, (count // 2, 1, 1)), -128, 127).astype(np.int8)
    else:
        repeat = shape[1] // 32
        natural = (images(data, count // 2).astype(np.int16) - 128).astype(np.int8).repeat(repeat, 1).repeat(repeat, 2)[:, None]
    noise = rng.integers(-128, 128, (max(32, count - len(natural) - len(edge)), *shape)).astype(np.int8)
    return np.concatenate([natural, noise, edge])
