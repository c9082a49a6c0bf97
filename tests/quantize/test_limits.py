"""Rules of quantization at their limits, from their formulas: grids that end between, rows of weights, bounds, splits, names of classes."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from float_graphs import Floats

from edgeq.errors import EdgeqError
from edgeq.ir import DType, QParams, TensorType
from edgeq.ops.activations import LeakyRelu, Sigmoid, Tanh
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.reshape import Reshape
from edgeq.quantize.bounds import bounds
from edgeq.quantize.classes import numbers
from edgeq.quantize.constraints import natural, roots, states
from edgeq.quantize.fixed_front import _Writer, fixed, step
from edgeq.quantize.scales import _grid, affine, span
from edgeq.quantize.split import ocs
from edgeq.quantize.weight_scales import easy_quant, max, mse, nearest, stored, widest, within


@pytest.mark.parametrize("step", [1.0, 0.25])
@pytest.mark.parametrize(("zero", "low", "high"), [(0, -128, 127), (-128, 0, 255), (127, -255, 0)])
def test_a_grid_may_end_half_a_step_before_what_was_seen(step: float, zero: int, low: float, high: float) -> None:
    def found(below: float, above: float, given: bool = True) -> object:
        seen = ((low - below) * step, (high + above) * step)
        tensors = {"x": SimpleNamespace(grid=(step, zero) if given else None, seen=(0, 0)), "h": SimpleNamespace(grid=(9.0, 0), seen=seen)}
        return _grid(SimpleNamespace(inputs=("x",)), SimpleNamespace(tensors=tensors), ["h", "x"], ["h"])  # type: ignore[arg-type]

    assert span((step, zero)) == (low * step, high * step)
    assert found(0, 0) == found(0.5, 0.5) == (step, zero)
    assert found(0.51, 0) is found(0, 0.51) is found(0, 0, given=False) is None


@pytest.mark.parametrize(("low", "high", "zero"), [(0.5, 2.55, -128), (-2.55, -0.5, 127), (-1.27, 1.28, -1), (-1.28, 1.27, 0)])
def test_a_range_encloses_zero(low: float, high: float, zero: int) -> None:
    scale, found = affine(low, high)
    assert scale == pytest.approx(0.01, rel=1e-6) and found == zero
    assert affine(0.0, 0.0) == affine(-1e-31, 0.0) == (1.0, 0)


def rows(seed: int = 1, count: int = 6, size: int = 50) -> np.ndarray:
    found = np.random.default_rng(seed).normal(0, 1, (count, size))
    found[2] = 0
    found[3] = np.abs(found[3])
    return found


@pytest.mark.parametrize(("low", "high"), [(-128, 127), (-7, 7), (-8, 7), (0, 15)])
def test_at_the_widest_scale_one_end_is_met(low: int, high: int) -> None:
    w = rows() if low else np.abs(rows())
    found = widest(w, (low, high))
    np.testing.assert_array_equal(found, max.scales(w, (low, high)))
    for row, scale in zip(w, found, strict=True):
        expected = [row.max() / high] + ([row.min() / low] if low else [])
        assert scale == np.max(expected) and (scale > 0) == row.any()
        if scale:
            assert low - 1e-9 <= row.min() / scale and row.max() / scale <= high + 1e-9


def test_integers_next_to_values() -> None:
    values = np.array([[-9.0, -0.5, 0.5, 1.5, 2.4, 9.0]])
    np.testing.assert_array_equal(nearest(values, (-3, 4)), [[-3, 0, 0, 2, 2, 4]])
    levels, between = np.array([-4.0, -1.0, 0.0, 2.0, 8.0]), np.array([-9, -2.6, -2.4, -0.6, 0.9, 1.1, 4.9, 5.1, 99])
    np.testing.assert_array_equal(nearest(between, (-4, 8), levels), [-4, -4, -1, -1, 0, 2, 2, 8, 8])
    limited = within(np.array([[-5.0, 3.0], [-5.0, 3.0]]), (np.array([-4.0, -2.0]), np.array([1.0, 2.0])))
    np.testing.assert_array_equal(limited, [[-4, 1], [-2, 2]])


@pytest.mark.parametrize("levels", [None, np.array([-8.0, -4, -2, -1, 0, 1, 2, 4])])
def test_the_scale_of_least_square_error_is_the_best_of_41(levels: np.ndarray | None) -> None:
    w, ends = rows(2), (-8, 7)
    full, found = widest(w, ends), mse.scales(w, ends, levels)
    for row, most, scale in zip(w, full, found, strict=True):
        tried = most * np.linspace(1, 0.6, 41)
        errors = [np.square(nearest(row / np.maximum(s, 1e-300), ends, levels) * s - row).sum() for s in tried]
        assert scale == tried[int(np.argmin(errors))]
    wide = np.tile(w, (400, 30))  # more than are rounded at once
    np.testing.assert_array_equal(mse.scales(wide, ends, levels)[-6:], mse.scales(wide[-6:], ends, levels))


@pytest.mark.parametrize(("count", "outliers"), [(200, 2), (199, 1), (99, 0)])
def test_a_hundredth_of_a_row_may_be_outliers(count: int, outliers: int) -> None:
    w = np.random.default_rng(5).uniform(-1, 1, (1, count))
    w[0, :3] = 20.0, -19.0, 18.0
    kept = w.copy()
    kept[0, :outliers] = 0
    np.testing.assert_array_equal(easy_quant.scales(w, (-7, 7)), mse.scales(kept, (-7, 7)))
    even = np.random.default_rng(5).uniform(-1, 1, (1, count))  # nothing beyond three deviations
    np.testing.assert_array_equal(easy_quant.scales(even, (-7, 7)), mse.scales(even, (-7, 7)))


def test_weights_on_a_grid_keep_its_largest_step() -> None:
    """`known` takes the largest integer that they allow, so the finest scale within bounds."""
    w = np.array([[-3.0, 1, 2, 0], [-14, 4, 6, 2], [0, 0, 0, 0], [0.1, 0.7, -0.33, 0.9], [8, 3, 1, 0]]) * 0.05
    found = stored.known(w, (-7, 7))
    np.testing.assert_allclose(found, [0.05 / 2, 0.05 * 2, 1.0, 0, 0], rtol=1e-12)
    np.testing.assert_array_equal(stored.scales(w, (-7, 7))[3:], mse.scales(w, (-7, 7))[3:])
    on = stored.known(np.array([[-8.0, 4], [8, 4]]), (-8, 7))
    np.testing.assert_allclose(on, [1.0, 8 / 6])
    assert stored.known(np.array([[3.0, 1]]), (-8, 7), np.array([-4.0, -2, -1, 0, 1, 2, 4])).tolist() == [0.0]
    assert stored.known(np.array([[4.0, 1]]), (-8, 7), np.array([-4.0, -2, -1, 0, 1, 2, 4])).tolist() == [1.0]
    assert stored.known(np.array([[0.5, 0, -0.5]]), (-1, 1)).tolist() == [0.5]
    near = np.array([[1.0, 2.0004, 3.0], [1.0, 2.0006, 3.0]])
    assert (stored.known(near, (-3, 3)) > 0).tolist() == [True, False]


def test_the_channel_of_the_largest_weight_is_halved_again_and_again() -> None:
    w = np.array([[1.0, -8.0, 3.0], [0.5, 2.0, -3.5]])
    for more, largest in enumerate((8, 4, 4, 3.5, 2)):
        source, part = ocs.shares(w, more)
        assert source.tolist() == [0, 1, 2, 1, 1, 1, 2][: 3 + more]
        assert [part[source == c].sum() for c in range(3)] == [1, 1, 1]
        assert (np.abs(w).max(0)[source] * part).max() == largest
    assert part.tolist() == [1, 0.25, 0.5, 0.25, 0.25, 0.25, 0.5]


def test_bounds_go_through_what_moves_averages_and_merges() -> None:
    b = Floats()
    x = b.input(1, 4, 4, 2)
    low, high = b.op(Clamp((-1.0, 0.5)), x, name="low"), b.op(Clamp((0.0, 2.0)), x, name="high")
    both = b.op(Concat(3), low, high, name="both")
    pooled = b.op(AveragePool2d((2, 2), (2, 2)), both, name="mean")
    cut = b.op(Clamp((-0.25, 9.0)), pooled, name="cut")
    free = b.op(LeakyRelu(alpha=0.5), cut, name="free")
    found = bounds(b.graph(free, b.op(Sigmoid(), x, name="s"), b.op(Tanh(), x, name="t")))
    assert found["low"] == (-1, 0.5) and found["high"] == (0, 2)
    assert found["both"] == found["mean"] == (-1, 2) and found["cut"] == (-0.25, 2)
    assert found["free"] == (-np.inf, np.inf) and found["s"] == (0, 1) and found["t"] == (-1, 1)
    assert natural(Sigmoid()) == (1 / 256, -128) and natural(LeakyRelu(alpha=0.5)) is None


@pytest.mark.parametrize(("labels", "pair"), [("10 9", "'10' .* '9'"), ("0 1 10 2 3", "'10' .* '2'"), ("11 3 2", "'11' .* '2'")])
def test_numbers_that_sort_as_text_in_another_order_are_refused(labels: str, pair: str) -> None:
    names = labels.split()
    ordered = sorted(names, key=int)
    with pytest.raises(EdgeqError, match=pair) as told:
        numbers(names, None, "labels")
    assert f"--classes {','.join(ordered[:3])}" in str(told.value)
    assert numbers(names, ordered, "labels").tolist() == [ordered.index(n) for n in names]
    assert numbers("3 1 2 1".split(), None, "labels").tolist() == [2, 0, 1, 0]
    assert numbers(["b2", "10", "9"], None, "labels").tolist() == [2, 0, 1]


def test_layers_without_states_have_none() -> None:
    b = Floats()
    graph = b.graph(b.op(Tanh(), b.input(1, 4), name="t"))
    assert states(graph.nodes[0]) == () and roots(graph, 0) == roots(graph, 1) == []


@pytest.mark.parametrize(
    ("samples", "worth"),
    [
        ([0, 0], 1.0), ([3, -7], 1.0), ([32768, -5], 1.0), ([32769, -5], 32769 / 32767), ([0.5, 2.0], 2 / 32767),
        ([3 / 32768, -1], 1 / 32768), ([0.3, -0.9], 1 / 32768), ([0.3, 1.01], 1.01 / 32767), ([0.03, -0.125001], 1 / 32768),
        ([0.03, -0.1249], 0.1249 / 32767), ([1 / 32768, 0.01], 0.01 / 32767),
    ],
)  # fmt: skip
def test_what_a_step_of_16_bits_is_worth(samples: list[float], worth: float) -> None:
    assert step(np.array([samples])) == pytest.approx(worth, rel=1e-12)


def test_a_front_end_on_integers_wants_samples() -> None:
    front = SimpleNamespace(graph=SimpleNamespace(name="net"))
    with pytest.raises(EdgeqError, match="give --calib, or quantize with --spectrum float32"):
        fixed(front, None, None)  # type: ignore[arg-type]


def test_levels_take_the_scale_of_what_they_become_in_8_bits() -> None:
    """Also where they are moved first; int16, and what the rest does not read, they choose themselves."""
    b = Floats()
    y = b.op(Reshape((6,)), b.op(Reshape((3, 2)), b.input(1, 6), name="first"), name="y")
    other = b.op(Tanh(), "first", name="other")
    writer = object.__new__(_Writer)
    writer.graph = b.graph(y, other)
    kinds = {n: TensorType((6,), t, QParams((0.5,), 3)) for n, t in (("y", DType.INT8), ("other", DType.INT16), ("z", DType.INT8))}
    rest = SimpleNamespace(inputs=("y", "other"), type=kinds.get)
    assert writer._outputs(rest) == dict.fromkeys(("y", "first", writer.graph.inputs[0]), kinds["y"])  # type: ignore[arg-type]
    assert writer._outputs(SimpleNamespace(inputs=(), type=kinds.get)) == writer._outputs(None) == {}  # type: ignore[arg-type]
