"""LayerNorm in half precision, and its float meaning against torch's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.half import LAW
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.numerics import LAWS
from edgeq.ops.layer_norm import LayerNorm

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
]
HALF = [case("image", (1, 4, 3, 5)), case("sequence", (1, 7, 64)), case("one", (3, 1)), case("coarse", (2, 33), 0.1)]
test_layer_norm = suite([*INT8, *HALF])


def test_real_equals_torch() -> None:
    torch = pytest.importorskip("torch")
    x, scale, bias = (RNG.normal(0, 2, s).astype(np.float32) for s in ((4, 3, 10), (10,), (10,)))
    want = torch.nn.functional.layer_norm(*(torch.from_numpy(x), (10,)), torch.from_numpy(scale), torch.from_numpy(bias), 1e-4)
    np.testing.assert_allclose(LayerNorm(1e-4).real(x, scale, bias), want.numpy(), rtol=1e-5, atol=1e-5)


def test_errors() -> None:
    with pytest.raises(EdgeqError, match="do not fit"):
        LayerNorm().infer(TensorType((2, 4)), TensorType((3,)), TensorType((4,)))
    with pytest.raises(EdgeqError, match="no use"):
        LayerNorm(0.0).infer(TensorType((2, 4)), TensorType((4,)), TensorType((4,)))
