"""LayerNorm in half precision, and its float meaning against torch's."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.half import LAW
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.numerics import LAWS
from edgeq.ops.layer_norm import LayerNorm, inverse_root

RNG = np.random.default_rng(5)


def case(name: str, shape: tuple[int, ...], epsilon: float = 1e-5) -> Case:
    scale, bias = (RNG.normal(m, 0.5, shape[-1:]).astype(np.float32) for m in (1, 0))
    constants = (Tensor("", TensorType(scale.shape), scale), Tensor("", TensorType(bias.shape), bias))
    half = TensorType(shape, DType.FLOAT16)
    return Case(name, LayerNorm(epsilon), (half, *constants), half, laws=(LAW,))


def int8_case(name: str, shape: tuple[int, ...], zero: int, output: QParams) -> Case:
    of_halves = case(name, shape)
    return replace(of_halves, inputs=(activation(shape, 0.05, zero), *of_halves.inputs[1:]), output=output, laws=LAWS)


INT8 = [
    int8_case("int8_sequence", (1, 7, 64), 5, QParams((0.03,), -7)),
    int8_case("int8_one", (3, 1), -128, QParams((0.01,), 0)),
    int8_case("int8_saturated", (2, 33), 127, QParams((0.002,), 20)),
    int8_case("int8_two", (5, 2), 0, QParams((0.02,), 3)),
    int8_case("int8_long", (2, 1500), 7, QParams((0.04,), -1)),
    replace(int8_case("int8_coarse", (4, 9), 0, QParams((0.02,), 0)), op=LayerNorm(3.0)),
]
HALF = [case("image", (1, 4, 3, 5)), case("sequence", (1, 7, 64)), case("one", (3, 1)), case("coarse", (2, 33), 0.1)]
CASES = [*INT8, *HALF]
test_layer_norm = suite(CASES)


def test_inverse_root_is_a_root() -> None:
    """Of every size, at powers of two and squares, within 2^-15; in exact integers of Python."""
    numbers = sorted({max(1, 2**k + d) for k in range(61) for d in (-1, 0, 1)} | {n * n for n in range(1, 70000, 977)})
    inverse, right = inverse_root(np.array(numbers, np.int64))
    for x, i, r in zip(numbers, inverse.tolist(), right.tolist(), strict=True):
        assert 2**15 <= i <= 2**16 and 0 <= r <= 31
        assert abs(i / 2**r * math.sqrt(x) / 2**16 - 1) < 2**-15


def test_a_row_of_one_value_gives_the_bias() -> None:
    scale, bias = Tensor("", TensorType((4,)), np.ones(4, np.float32)), Tensor("", TensorType((4,)), np.float32([-1, 0, 0.5, 2]))
    op, t, y = LayerNorm(), activation((4,), 0.1, 3), activation((4,), 0.05, -2)
    params = op.bind("single", "n", (Tensor("x", t), scale, bias), y)
    for value in (-128, 0, 127):
        assert op.reference(params, np.full((1, 4), value, np.int8)).tolist() == [[-22, -2, 8, 38]]
    assert not any(np.issubdtype(table.dtype, np.floating) for table in params.tables.values())


def test_real_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    x, scale, bias = (RNG.normal(0, 2, s).astype(np.float32) for s in ((4, 3, 10), (10,), (10,)))
    want = torch.nn.functional.layer_norm(*(torch.from_numpy(x), (10,)), torch.from_numpy(scale), torch.from_numpy(bias), 1e-4)
    np.testing.assert_allclose(LayerNorm(1e-4).real(x, scale, bias), want.numpy(), rtol=1e-5, atol=1e-5)


def test_errors() -> None:
    with pytest.raises(EdgeqError, match="do not fit"):
        LayerNorm().infer(TensorType((2, 4)), TensorType((3,)), TensorType((4,)))
    deep = int8_case("deep", (1, 2**15 + 1), 0, QParams((0.05,), 0))
    inputs = tuple(Tensor("x", i) if isinstance(i, TensorType) else i for i in deep.inputs)
    with pytest.raises(EdgeqError, match="could overflow"):
        deep.op.bind("single", "n", inputs, deep.output_type)
    with pytest.raises(EdgeqError, match="no use"):
        LayerNorm(0.0).infer(TensorType((2, 4)), TensorType((4,)), TensorType((4,)))
