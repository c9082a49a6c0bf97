"""SVDF: units, ranks, memories, batches, states of int8 and int16; a feature saturates before the zero point, and wraps after."""

from __future__ import annotations

import numpy as np
import pytest
from harness import Case, activation, constant, suite

from edgeq.errors import EdgeqError
from edgeq.ir import DType, QParams, Tensor, TensorType
from edgeq.ops.svdf import Svdf


def case(
    name: str, units: int, rank: int, memory: int, inputs: int, *, batch: int = 1, words: bool = False, zero: int = 0, fine: float = 1.0,
    fixed: bool = False, out: int = -3,
) -> Case:  # fmt: skip
    """`zero`: of the state; `fine`: how many times features exceed it; `fixed`: the frames before are constant."""
    rng, filters = np.random.default_rng(1000 * units + 10 * memory + inputs), units * rank
    half, dtype = (32768, np.int16) if words else (128, np.int8)
    largest = min(half - 1, 65000 // (rank * memory)) if words else 127
    x = activation((batch, inputs), 0.05, 5)
    features = constant(rng.integers(-127, 128, (filters, inputs)).astype(np.int8), 0.01)
    time = constant(rng.integers(-largest, largest + 1, (filters, memory)).astype(dtype), 1.0 / largest)
    assert features.data is not None and time.data is not None
    reach = np.abs(features.data.astype(int)).sum(1).max() * 133 * 0.05 * 0.01
    state = activation((batch, memory, filters), float(reach / (half - 1 - abs(zero)) / fine), zero, DType.INT16 if words else DType.INT8)
    bias = constant(rng.integers(-2000, 2000, units).astype(np.int32), state.scale / largest)
    sums = np.abs(time.data.astype(float)).reshape(units, -1).sum(1).max() * state.scale / largest
    y = QParams((float(sums * half / 200),), out)
    tolerance = 0.55 * sums / y.scale[0] + 1 if fine == 1 else np.inf
    before = constant(rng.integers(-half, half, state.shape).astype(dtype), state.scale, None, zero) if fixed else state
    return Case(name, Svdf(rank), (x, features, time, bias, before), y, ("tflm",), tolerance)


SHAPES = [(1, 1, 1, 1), (3, 1, 4, 7), (4, 2, 3, 5), (5, 3, 1, 8), (2, 4, 10, 33)]
CASES = [
    *(case(f"w{int(w)}_{'_'.join(map(str, s))}", *s, words=w) for s in SHAPES for w in (False, True)),
    *(case(f"batch_w{int(w)}", 3, 2, 4, 6, batch=3, words=w, zero=0 if w else -7) for w in (False, True)),
    *(case(f"saturated_w{int(w)}", 3, 2, 4, 6, words=w, fine=20.0) for w in (False, True)),
    case("wraps", 4, 1, 3, 9, zero=100, fine=5.0),
    case("wraps_below", 4, 1, 3, 9, batch=2, zero=-100, fine=5.0),
    case("wraps_words", 4, 1, 3, 9, words=True, zero=500, fine=5.0),
    *(case(f"fixed_w{int(w)}", 3, 2, 4, 6, batch=2, words=w, fixed=True) for w in (False, True)),
]
test_svdf = suite(CASES)


def test_a_new_feature_wraps_where_the_zero_point_takes_it() -> None:
    """127 + 100 is -29 in int8."""
    one = np.ones((1, 1), np.int8)
    x, state = activation((1, 1), 1.0), activation((1, 1, 1), 1.0, 100)
    tensors = (Tensor("x", x), constant(one, 1.0), constant(one, 1.0), constant(np.zeros(1, np.int32), 1.0), Tensor("s", state))
    params = Svdf().bind("tflm", "here", tensors, activation((1, 1), 1.0))
    y, after = Svdf().reference_all(params, np.int8([[[127]]]), np.int8([[[[0]]]]))
    assert after.tolist() == [[[[-29]]]] and y.tolist() == [[[-128]]]


def test_real_is_the_formula() -> None:
    rng = np.random.default_rng(0)
    x, features, time, bias, state = (rng.normal(size=s).astype(np.float32) for s in ((2, 3, 5), (4, 5), (4, 6), (2,), (2, 3, 6, 4)))
    y, after = Svdf(2).real_all(x, features, time, bias, state)
    for v, n in np.ndindex(2, 3):
        frames = np.vstack([state[v, n, 1:], features @ x[v, n]])
        np.testing.assert_allclose(after[v, n], frames, rtol=1e-6, atol=1e-6)
        per_filter = [frames[:, f] @ time[f] for f in range(4)]
        np.testing.assert_allclose(y[v, n], [per_filter[0] + per_filter[1] + bias[0], per_filter[2] + per_filter[3] + bias[1]], rtol=1e-4)


def test_what_does_not_fit_is_refused() -> None:
    good = case("good", 3, 2, 4, 6)
    tensors = [i if isinstance(i, Tensor) else Tensor("", i) for i in good.inputs]
    with pytest.raises(EdgeqError, match="rounding tflm alone"):
        Svdf(2).bind("single", "here", tuple(tensors), good.output_type)
    with pytest.raises(EdgeqError, match="not supported"):
        Svdf(2).bind("tflm", "here", (*tensors[:4], Tensor("", TensorType((1, 4, 6)))), good.output_type)
    with pytest.raises(EdgeqError, match="rank 4"):
        Svdf(4).infer(*good.types)
    with pytest.raises(EdgeqError, match="does not fit weights"):
        Svdf(2).infer(*good.types[:4], activation((1, 4, 5), 0.1))
