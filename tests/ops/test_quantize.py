"""Quantize, Dequantize: ties, saturation, both laws; against exact fractions and TensorFlow Lite Micro."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from harness import Case, activation, suite
from oracle import tflite_model, tflm

from edgeq import numerics
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.simulate import fit_inputs

REAL = TensorType((1, 7, 9))
HALF = TensorType((1, 7, 9), DType.FLOAT16)
SCALES = [(0.05, 3), (1 / 3, -128), (0.75, 127), (1e-6, 0), (700.0, 10), (2.0**-7, 0)]
CASES = [
    *(Case(f"q_{i}", Quantize(), (REAL,), activation(REAL.shape, s, z), tolerance=0.51) for i, (s, z) in enumerate(SCALES)),
    *(Case(f"d_{i}", Dequantize(), (activation(REAL.shape, s, z),)) for i, (s, z) in enumerate(SCALES)),
    *(Case(f"qh_{i}", Quantize(), (HALF,), activation(REAL.shape, s, z), tolerance=0.51) for i, (s, z) in enumerate(SCALES)),
    *(Case(f"dh_{i}", Dequantize(), (activation(REAL.shape, s, z),), HALF) for i, (s, z) in enumerate(SCALES)),
]
WORDS = [activation(REAL.shape, s, 0, DType.INT16) for s in (0.01, 1 / 3, 1e-6)]
CASES += [
    *(Case(f"qw_{i}", Quantize(), (REAL,), t, tolerance=0.51) for i, t in enumerate(WORDS)),
    *(Case(f"qhw_{i}", Quantize(), (HALF,), t, tolerance=0.51) for i, t in enumerate(WORDS)),
    *(Case(f"dw_{i}", Dequantize(), (t,)) for i, t in enumerate(WORDS)),
    *(Case(f"dhw_{i}", Dequantize(), (t,), HALF) for i, t in enumerate(WORDS)),
]
test_quantize = suite(CASES)


def wild(count: int, scale: float) -> np.ndarray:
    """Values of all magnitudes, with many ties and neighbours of ties of `scale`."""
    rng = np.random.default_rng(7)
    ties = ((rng.integers(-300, 300, count) + 0.5) * np.float32(scale)).astype(np.float32)
    near = np.nextafter(ties, rng.choice(np.float32([-np.inf, np.inf]), count))
    bits = rng.integers(0, 2**32, count, dtype=np.uint64).astype(np.uint32).view(np.float32)
    return np.concatenate([ties, near, bits[np.isfinite(bits)], np.float32([0.0, -0.0, 3.4e38, -3.4e38, 1e-45])])


def test_law_tflm_equals_tensorflow_lite_micro() -> None:
    rng = np.random.default_rng(1)
    for scale, zero in SCALES:
        x = np.concatenate([wild(2000, scale)[:4000], rng.normal(0, 100 * scale, 2000).astype(np.float32)])
        x = x[np.abs(x) < 2e9 * scale]  # beyond, TFLM's conversion to int32 is undefined
        real, stored = TensorType((1, x.size)), activation((1, x.size), scale, zero)
        model = tflite_model("QUANTIZE", ("QuantizeOptions", {}), [Tensor("x", real)], stored)
        params = Quantize().bind("tflm", "here", (Tensor("x", real),), stored)
        np.testing.assert_array_equal(Quantize().reference(params, x[None]), tflm(model, [x[None, None]])[0])
        q = np.arange(-128, 128, dtype=np.int8)[None]
        stored = activation((1, 256), scale, zero)
        model = tflite_model("DEQUANTIZE", ("DequantizeOptions", {}), [Tensor("x", stored)], TensorType((1, 256)))
        params = Dequantize().bind("tflm", "here", (Tensor("x", stored),), TensorType((1, 256)))
        np.testing.assert_array_equal(Dequantize().reference(params, q), tflm(model, [q[None]])[0])


@pytest.mark.parametrize(("scale", "zero"), SCALES)
def test_law_single_is_one_product_rounded_to_even(scale: float, zero: int) -> None:
    x = wild(500, scale)
    with np.errstate(all="ignore"):
        steps = x * np.float32(1 / np.float64(np.float32(scale)))
    bounded = np.clip(steps, -1000, 1000)
    want = [round(Fraction(float(s))) + zero for s in bounded]  # Python rounds fractions half to even
    np.testing.assert_array_equal(numerics.quantize("single", x, scale, zero, -128, 127), np.clip(want, -128, 127))


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_inputs_given_as_real_numbers_are_quantized_by_the_same_law(law: str) -> None:
    x = wild(300, 0.05)
    stored = activation((x.size,), 0.05, 3)
    node = Node("q", Quantize(), ("x",), ("y",))
    tensors = {"x": Tensor("x", TensorType((x.size,))), "y": Tensor("y", stored), "z": Tensor("z", stored)}
    graph = Graph("g", (node,), tensors, ("z",), ("y",), law)
    params = Quantize().bind(law, "here", (tensors["x"],), stored)
    np.testing.assert_array_equal(fit_inputs(graph, {"z": x[None]})["z"], Quantize().reference(params, x[None]))


def test_what_does_not_fit_is_refused() -> None:
    for op, x, y in (
        (Quantize(), activation((2,), 1.0), activation((2,), 1.0)),
        (Quantize(), TensorType((2,)), TensorType((2,))),
        (Quantize(), TensorType((2,)), activation((2,), 1e-45)),
        (Quantize(), TensorType((2,)), TensorType((2,), DType.INT8, QParams((1.0, 2.0), 0, 0))),
        (Dequantize(), TensorType((2,)), TensorType((2,))),
        (Dequantize(), activation((2,), 1.0), activation((2,), 1.0)),
    ):
        with pytest.raises(EdgeqError):
            op.bind("single", "here", (Tensor("x", x),), y)
