"""MatMul: zero points on both sides, batch broadcasting, widths around the tile; equal to TensorFlow Lite Micro."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, constant, on_words, suite, vectors
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import QParams, Tensor
from edgeq.ops.mat_mul import MatMul


def case(name: str, a: tuple[int, ...], b: tuple[int, ...], za: int = 0, zb: int = 0, out: float = 0.0) -> Case:
    output = QParams((out or 0.05 * 0.03 * 74 * 74 * np.sqrt(a[-1]) / 60,), za // 3)
    return Case(name, MatMul(), (activation(a, 0.05, za), activation(b, 0.03, zb)), output)


CONSTANT = constant(np.arange(-10, 10, dtype=np.int8).reshape(1, 4, 5), 0.1)
CASES = [
    *(case(f"n{n}_k{k}", (3, k), (k, n), n, -k) for n in (1, 3, 4, 5, 8, 9) for k in (1, 4, 7)),
    *(case(f"n{n}_k{k}", (2, k), (k, n), n - 60, -k) for n in (31, 32, 33, 64, 65, 130) for k in (1, 9)),
    *(case(f"m{m}_n{n}_k{k}", (m, k), (k, n), k - 9, n) for m, n, k in ((2, 5, 2), (3, 6, 3), (4, 3, 11), (5, 17, 13), (6, 33, 10))),
    *(case(f"m{m}_n{n}_k{k}", (m, k), (k, n), -k, 9 - n) for m, n, k in ((7, 70, 18), (9, 12, 24), (3, 65, 300))),
    case("extremes", (6, 16), (16, 6), -128, 0),
    case("heads", (2, 5, 12), (2, 12, 7), 0, 0),
    case("batch", (2, 3, 2, 5), (2, 3, 5, 4), -128, 127),
    case("broadcast_left", (1, 3, 2, 5), (2, 1, 5, 6), 3, 9),
    case("broadcast_right", (4, 2, 5), (1, 5, 3), -7, 1),
    case("deep", (1, 300), (300, 2), 100, -100),
    case("left_shift", (2, 3), (3, 4), 1, 2, out=0.001),
    Case("constant", MatMul(), (activation((2, 3, 4), 0.05, 3), CONSTANT), QParams((0.2,), 1)),
]
WORDS = [on_words(c, tolerance=40.0) for c in CASES if c.name in ("n1_k4", "n9_k7", "batch", "broadcast_left", "constant")]
test_mat_mul = suite([*CASES, *WORDS])


@pytest.mark.parametrize("adjoint", [False, True])
def test_equals_tflm(adjoint: bool) -> None:
    a, b = activation((2, 5, 7), 0.05, 9), activation((2, 7, 6), 0.021, -11)
    output = activation((2, 5, 6), 0.31, 3)
    stored = activation((2, 6, 7), 0.021, -11) if adjoint else b
    model = tflite_model("BATCH_MATMUL", ("BatchMatMulOptions", {"adjY": adjoint}), [Tensor("a", a), Tensor("b", stored)], output)
    x, y = vectors("a", a, 100), vectors("b", b, 100)
    params = MatMul().bind("tflm", "m", (Tensor("a", a), Tensor("b", b)), output)
    expected = tflm(model, [x, np.ascontiguousarray(y.swapaxes(-1, -2)) if adjoint else y])
    np.testing.assert_array_equal(MatMul().reference(params, x, y), expected)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (4, 5)), ((2, 3), (1, 3, 4)), ((2, 2, 3), (3, 3, 4)), ((3,), (3,))])
def test_shapes_that_do_not_fit_are_refused(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    with pytest.raises(EdgeqError, match="cannot multiply"):
        MatMul().infer(activation(a, 0.1), activation(b, 0.1))


def test_sums_that_could_overflow_are_refused() -> None:
    a, b = activation((1, 100000), 0.1, -128), activation((100000, 1), 0.1, -128)
    with pytest.raises(EdgeqError, match="overflow"):
        MatMul().bind("single", "m", (Tensor("a", a), Tensor("b", b)), activation((1, 1), 0.1))
