"""`reals` against the C library's functions, which are right to a few parts in 10^16, and `matrices` against exact sums."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from edgeq import matrices, reals

RNG = np.random.default_rng(0)
WIDE = np.concatenate([RNG.uniform(-30, 30, 200), RNG.normal(0, 1, 200), RNG.normal(0, 1e-4, 100), [0.0, 1.0, -1.0]])
INSIDE = np.concatenate([RNG.uniform(-1, 1, 300), RNG.normal(0, 1e-5, 50)])
NEAR = np.concatenate([1 + RNG.uniform(0, 1e-3, 100), RNG.uniform(1, 1e6, 100)])
ABOVE = np.concatenate([np.abs(WIDE[:-3]) + 1e-300, NEAR, 10 ** RNG.uniform(-300, 300, 100)])


@pytest.mark.parametrize(
    ("name", "right", "at"),
    [
        ("exp", math.exp, WIDE), ("expm1", math.expm1, WIDE), ("log", math.log, ABOVE), ("log2", math.log2, ABOVE),
        ("log10", math.log10, ABOVE), ("tanh", math.tanh, WIDE), ("erf", math.erf, WIDE), ("sin", math.sin, WIDE), ("cos", math.cos, WIDE),
        ("tan", math.tan, INSIDE), ("sinh", math.sinh, WIDE), ("cosh", math.cosh, WIDE), ("atan", math.atan, WIDE),
        ("asin", math.asin, INSIDE), ("acos", math.acos, INSIDE), ("asinh", math.asinh, WIDE), ("acosh", math.acosh, NEAR),
        ("atanh", math.atanh, INSIDE),
        ("sigmoid", lambda x: 1 / (1 + math.exp(-x)), WIDE), ("softplus", lambda x: math.log1p(math.exp(x)), WIDE),
    ],
)  # fmt: skip
def test_functions(name: str, right: Callable[[float], float], at: np.ndarray) -> None:
    exact = np.array([right(float(x)) for x in at])
    tolerance = 1e-15 if name in ("sin", "cos") else 3e-15 * np.abs(exact) + 1e-300
    assert (np.abs(getattr(reals, name)(at) - exact) <= tolerance).all()
    assert getattr(reals, name)(at[:1].astype(np.float32)).dtype == np.float32


def test_ends_and_signs() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
    assert np.isnan([getattr(reals, n)(x)[0] for n in ("exp", "log", "tanh", "erf", "sigmoid", "softplus", "atan", "asinh")]).all()
    assert reals.exp(x)[1:3].tolist() == [np.inf, 0] and reals.tanh(x)[1:3].tolist() == [1, -1] and reals.log(x)[1] == np.inf
    assert reals.log(x)[3] == -np.inf and np.isnan(reals.log(np.array([-1.0]))).all()
    assert np.signbit(reals.tanh(x)[4]) and reals.softplus(x)[1:3].tolist() == [np.inf, 0]


def test_powers() -> None:
    assert reals.power(np.array([-2.0, 3.0]), 3).tolist() == [-8, 27] and reals.power(np.array([-2.0, 4.0]), -1).tolist() == [-0.5, 0.25]
    np.testing.assert_allclose(reals.power(np.array([0.0, 2.0, 9.0]), 1.5), [0, 2**1.5, 27], rtol=1e-14)
    assert np.isnan(reals.power(np.array([-1.0]), 0.5)).all() and reals.power(np.array([-2.0]), 101)[0] == pytest.approx(-(2.0**101))
    e = np.arange(-20, 20)
    np.testing.assert_allclose(reals.quarters(e), 2.0 ** (e / 4), rtol=4e-16)
    assert reals.exp10(-2.4) == pytest.approx(10**-2.4, rel=1e-14)


@pytest.mark.parametrize("shape", [(5, 7, 3), (3, 1300, 4), (70, 9, 2), (1, 1, 1), (4, 0, 3), (20000, 40, 2)])
def test_products(shape: tuple[int, int, int]) -> None:
    m, k, n = shape
    a, b = RNG.normal(0, 1, (m, k)).astype(np.float32), RNG.normal(0, 1, (k, n)).astype(np.float32)
    exact = a.astype(np.float64) @ b.astype(np.float64)
    size = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64) + 1e-30
    assert (np.abs(matrices.matmul(a, b) - exact) <= 4e-6 * size).all()
    assert (np.abs(matrices.matmul(a, b, True) - exact) <= 1e-11 * size).all()
    assert np.array_equal(matrices.times(a, matrices.kept(np.ascontiguousarray(b.T))), matrices.matmul(a, b))


def test_a_product_is_the_exact_sum_of_its_parts() -> None:
    """What is cut has so few bits that float64 sums it without any rounding error."""
    a, b = RNG.normal(0, 1, (1, 500)), RNG.normal(0, 1, (500, 1))
    (head,), (part,) = matrices._parts(a, -1, matrices.BITS, False), matrices._parts(b, -2, matrices.BITS, False)
    exact = sum(Fraction(float(x)) * Fraction(float(y)) for x, y in zip(head[0], part[:, 0], strict=True))
    assert Fraction(float(matrices.matmul(a, b)[0, 0])) == exact


def test_one_large_value_drowns_no_other() -> None:
    """A pressure in pascal beside values near 1, which another column reads."""
    a = RNG.normal(0, 1, (8, 60))
    a[:, :2] = 101325.0
    b = RNG.normal(0, 1, (60, 2))
    b[:2] = 0
    exact = a[:, 2:] @ b[2:]
    assert np.abs(matrices.matmul(a, b) - exact).max() < 1e-4  # float32's sums would give 0.01


def test_batches_of_products() -> None:
    a, b = RNG.normal(0, 1, (2, 1, 5, 70)), RNG.normal(0, 1, (3, 70, 4))
    np.testing.assert_allclose(matrices.matmul(a, b), np.matmul(a, b), atol=1e-4)
    assert matrices.matmul(a, b[0]).shape == (2, 1, 5, 4)


@pytest.mark.parametrize("k", [1, 9, 48, 49, 150])
def test_factors(k: int) -> None:
    x = RNG.normal(0, 1, (2, k, 3 * k))
    h = x @ x.transpose(0, 2, 1) + 0.01 * np.eye(k)
    u = matrices.inverse_root(h)
    assert np.array_equal(u, np.triu(u))
    np.testing.assert_allclose(u.transpose(0, 2, 1) @ u @ h, np.broadcast_to(np.eye(k), h.shape), atol=1e-8)


def test_a_singular_matrix_is_refused() -> None:
    with pytest.raises(matrices.Singular):
        matrices.inverse_root(np.ones((1, 3, 3)))


def test_whole_numbers() -> None:
    q, b = RNG.integers(-127, 128, (5, 3000)), RNG.normal(0, 1, (3000, 4))
    np.testing.assert_allclose(matrices.whole(q, b), q @ b, atol=1e-4)


def test_a_constant_is_cut_once_and_forgotten() -> None:
    w = RNG.normal(0, 1, (3, 5))
    assert matrices.kept(w) is matrices.kept(w)
    key = id(w)
    del w
    gc.collect()
    assert key not in matrices._KEPT
