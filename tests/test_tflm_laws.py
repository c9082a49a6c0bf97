"""Law tflm over random scales, exhaustive over the inputs where 2^16 pairs are all there are: what single models cannot show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tflite_models import Options, Quantization, TfliteModel, tflm

from edgeq.errors import EdgeqError
from edgeq.frontends import load
from edgeq.ir import Array
from edgeq.simulate import simulate

EVERY = np.arange(-128, 128).astype(np.int8)
DRAWS = 12


def scale(rng: np.random.Generator, low: float = -9, high: float = 0) -> Quantization:
    """A scale between 2^low and 2^high and any zero point; one in four lies at an end of int8."""
    zero_point = int(rng.choice([-128, 127, 0, *rng.integers(-128, 128, 9)]))
    return float(np.float32(2 ** rng.uniform(low, high))), zero_point, 0


def differing(
    kind: str, inputs: Mapping[str, tuple[Array, Quantization]], constants: list[tuple[Array, Quantization]], shape: tuple[int, ...],
    out: Quantization, options: Options | None, folder: Path,
) -> tuple[int, int]:  # fmt: skip
    """Bytes that differ between the simulator and TensorFlow Lite Micro, and all bytes; inputs are ``[V, *shape]``."""
    m = TfliteModel()
    numbers = [m.input(name, a.shape[1:], "INT8", q) for name, (a, q) in inputs.items()]
    numbers += [m.constant(f"c{i}", a, q) for i, (a, q) in enumerate(constants)]
    y = m.tensor("y", shape, "INT8", out)
    m.operator(kind, numbers, [y], options)
    model = m.finish(y)
    (folder / "model.tflite").write_bytes(model)
    arrays = {name: a for name, (a, _) in inputs.items()}
    mine = simulate(load(folder / "model.tflite"), arrays).outputs["y"]
    theirs = tflm(model, list(arrays.values()))[0].reshape(mine.shape)
    return int((mine != theirs).sum()), mine.size


UNARY: dict[str, tuple[Options | None, Quantization | None]] = {
    "RELU": (None, None), "HARD_SWISH": (("HardSwishOptions", {}), None), "ABS": (("AbsOptions", {}), None), "ELU": (None, None),
    "LEAKY_RELU": (("LeakyReluOptions", {"alpha": 0.17}), None), "LOGISTIC": (None, (1 / 256, -128, 0)), "TANH": (None, (1 / 128, 0, 0)),
    "QUANTIZE": (("QuantizeOptions", {}), None), "RSQRT": (None, None),
}  # fmt: skip


@pytest.mark.parametrize("kind", UNARY)
def test_unary(kind: str, tmp_path: Path) -> None:
    options, fixed = UNARY[kind]
    rng = np.random.default_rng(len(kind))
    compared = 0
    for _ in range(4 * DRAWS):
        q = scale(rng, -7, 0)
        q = (q[0], -128, 0) if kind == "RSQRT" else q  # TFLM refuses what is below zero
        reach = -np.log2(q[0]) / 2 - 6 if kind == "RSQRT" else np.log2(q[0])
        out = fixed or scale(rng, reach - 1, reach + 2)
        try:
            wrong, n = differing(kind, {"x": (EVERY[None, None], q)}, [], (1, 256), out, options, tmp_path)
        except EdgeqError as e:
            assert "too fine" in str(e)
            continue
        assert wrong == 0, f"{wrong} of {n} with {q} -> {out}"
        compared += n
    assert compared > 20 * 256


@pytest.mark.parametrize("kind", ["ADD", "SUB", "MUL", "DIV", "SQUARED_DIFFERENCE"])
def test_every_pair(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    table = "".join(word.capitalize() for word in kind.split("_")) + "Options"
    for draw in range(DRAWS):
        a, b = scale(rng, -7, -1), scale(rng, -7, -1)
        reach = {"ADD": max(a[0], b[0]), "SUB": max(a[0], b[0]), "MUL": a[0] * b[0] * 60, "DIV": a[0] / b[0] / 8,
                 "SQUARED_DIFFERENCE": max(a[0], b[0]) ** 2 * 90}[kind]  # fmt: skip
        out = scale(rng, np.log2(reach) - 1, np.log2(reach) + 1)
        pair = {"a": (EVERY[None, :, None], a), "b": (EVERY[None, None, :], b)}
        if kind == "DIV":  # TFLM divides by zero where it meets one, and shifts quotients near zero by more than 31 bits
            large = EVERY[np.abs(EVERY.astype(int) - a[1]) >= 9]
            pair = {"a": (large[None, :, None], a), "b": (EVERY[b[1] != EVERY][None, None, :], b)}
        options = {} if kind == "SQUARED_DIFFERENCE" else {"fusedActivationFunction": draw % 4}
        wrong, n = differing(kind, pair, [], (pair["a"][0].size, pair["b"][0].size), out, (table, options), tmp_path)
        assert wrong == 0, f"{wrong} of {n} with {a}, {b} -> {out}"


def test_prelu(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    x = np.broadcast_to(EVERY[None, :, None], (1, 256, 256)).reshape(1, 1, 256, 1, 256).copy()
    for _ in range(DRAWS):
        q, slopes = scale(rng, -7, 0), scale(rng, -9, -6)
        out = scale(rng, np.log2(q[0]) - 1, np.log2(q[0]) + 1)
        wrong, n = differing("PRELU", {"x": (x, q)}, [(EVERY[None, None], slopes)], (1, 256, 1, 256), out, None, tmp_path)
        assert wrong == 0, f"{wrong} of {n} with {q}, {slopes} -> {out}"


def test_softmax(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    for draw in range(DRAWS):
        q, n = scale(rng, -7, 0), (2, 3, 10, 37)[draw % 4]
        x = (rng.integers(-128, 128, (200, 1, n)) // rng.integers(1, 9, (200, 1, 1))).astype(np.int8)
        options = ("SoftmaxOptions", {"beta": float(np.float32(rng.choice([1.0, 0.3, 2.0])))})
        wrong, size = differing("SOFTMAX", {"x": (x, q)}, [], (1, n), (1 / 256, -128, 0), options, tmp_path)
        assert wrong == 0, f"{wrong} of {size} with {q} and {n} classes"


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "AVERAGE_POOL_2D"])
def test_sums(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    for draw in range(DRAWS):
        h, w = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        q = scale(rng, -7, 0)
        x = np.clip(rng.normal(rng.uniform(-99, 99, (64, 1, 1, 1, 8)), 30, (64, 1, h, w, 8)), -128, 127).astype(np.int8)
        if kind == "AVERAGE_POOL_2D":
            names = {"filterHeight": h, "filterWidth": w, "strideH": 1, "strideW": 1, "padding": draw % 2}
            shape = (1, h, w, 8) if draw % 2 == 0 else (1, 1, 1, 8)
            wrong, n = differing(kind, {"x": (x, q)}, [], shape, q, ("Pool2DOptions", names), tmp_path)
        else:
            spread = h * w if kind == "SUM" else 1
            out = scale(rng, np.log2(q[0] * spread) - 1, np.log2(q[0] * spread) + 0.5)
            wrong, n = reduced(kind, x, q, out, (1, 2) if draw % 3 else (2,), tmp_path)
        assert wrong == 0, f"{wrong} of {n} with {h}x{w}, {q}"


def reduced(kind: str, x: Array, q: Quantization, out: Quantization, axes: tuple[int, ...], folder: Path) -> tuple[int, int]:
    m = TfliteModel()
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape[1:]))
    number, y = m.input("x", x.shape[1:], "INT8", q), m.tensor("y", shape, "INT8", out)
    m.operator(kind, [number, m.constant("axes", np.array(axes, np.int32))], [y], ("ReducerOptions", {"keepDims": True}))
    model = m.finish(y)
    (folder / "model.tflite").write_bytes(model)
    mine = simulate(load(folder / "model.tflite"), {"x": x}).outputs["y"]
    return int((mine != tflm(model, [x])[0]).sum()), mine.size


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("kind", ["FULLY_CONNECTED", "CONV_2D"])
def test_the_last_bits_of_a_multiplier(kind: str, per_channel: bool, tmp_path: Path) -> None:
    """Accumulators at the edge between two results, as large as the int32 bound allows: 2^-31 of the ratio shows."""
    rng = np.random.default_rng(5)
    n, conv = 1024, {"strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    for _ in range(6):
        s_x, s_w = (float(np.float32(v)) for v in rng.uniform(0.001, 0.1, 2))
        s_y = float(np.float32(s_x * s_w * 2**30 / 127))
        edges = np.rint((rng.integers(-126, 127, n) + 0.5) * s_y / (s_x * s_w)) + rng.integers(-60, 61, n)
        bias = np.clip(edges, -(2**31) + 2**10, 2**31 - 2**10).astype(np.int32)
        scales = np.full(n if per_channel else 1, s_w)
        zeros = np.zeros(len(scales), np.int64)
        leading: dict[str, Any] = {"FULLY_CONNECTED": (), "CONV_2D": (1, 1)}
        w = np.zeros((n, *leading[kind], 2), np.int8)
        x = rng.integers(-1, 2, (3, 1, *leading[kind], 2)).astype(np.int8)
        w[:, ..., 0] = 1
        constants = [(w, (scales, zeros, 0)), (bias, (np.float32(scales * s_x), zeros, 0))]
        options = ("FullyConnectedOptions", {}) if kind == "FULLY_CONNECTED" else ("Conv2DOptions", conv)
        wrong, size = differing(kind, {"x": (x, (s_x, 0, 0))}, constants, (1, *leading[kind], n), (s_y, 0, 0), options, tmp_path)
        assert wrong == 0, f"{wrong} of {size}"
