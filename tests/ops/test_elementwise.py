"""Add, Sub, Mul, Minimum, Maximum: every pattern of broadcasting, scale ratios, clamps; against numpy, exact integers and TFLM."""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from harness import Case, activation, constant, on_words, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Array, QParams, Tensor, TensorType
from edgeq.ops.add import Add, Sub
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.loops import nest, strides
from edgeq.ops.mul import Mul

SHAPES = {
    "same": ((1, 5, 4, 6), (1, 5, 4, 6)),
    "channel": ((1, 5, 4, 6), (1, 1, 1, 6)),
    "channel_first": ((1, 1, 1, 6), (1, 5, 4, 6)),
    "scalar": ((1, 5, 4, 6), (1, 1, 1, 1)),
    "scalar_first": ((1, 1, 1, 1), (1, 5, 4, 6)),
    "pixel": ((1, 5, 4, 6), (1, 5, 4, 1)),
    "row": ((1, 5, 4, 6), (1, 5, 1, 1)),
    "column": ((1, 5, 4, 6), (1, 1, 4, 6)),
    "outer": ((7, 1), (1, 9)),
    "crossed": ((1, 5, 1, 6), (1, 1, 4, 6)),
    "vector": ((9,), (9,)),
    "long": ((2, 1, 67), (2, 1, 67)),
    "long_channel": ((2, 3, 33), (1, 1, 33)),
    "long_pixel": ((2, 1, 65), (2, 1, 1)),
    "one": ((1,), (1,)),
    "rank_6": ((2, 1, 3, 1, 2, 1), (1, 2, 1, 3, 1, 2)),
}
FLAT = np.random.default_rng(9).integers(-128, 128, (1, 1, 1, 6)).astype(np.int8)


def pair(shapes: tuple[tuple[int, ...], tuple[int, ...]], *, equal: bool = False) -> tuple[TensorType, TensorType]:
    return activation(shapes[0], 0.05, -5), activation(shapes[1], 0.05 if equal else 0.031, -5 if equal else 100)


def cases(cls: Any, out: QParams) -> list[Case]:
    image = SHAPES["same"]
    found = [
        *(Case(name, cls(), pair(s), out) for name, s in SHAPES.items()),
        Case("constant", cls(), (activation((1, 3, 2, 6), 0.05, 1), constant(FLAT, 0.02, zero_point=-3)), out),
        Case("constant_first", cls(), (constant(FLAT, 0.02), activation((1, 3, 2, 6), 0.05, 1)), out),
        Case("relu", cls((0.0, math.inf)), pair(image), out),
        Case("relu6", cls((0.0, 6.0)), pair(image), QParams((6 / 255,), -128)),
        Case("fine", cls(), pair(image), QParams((out.scale[0] / 500,), 7)),
        Case("coarse", cls(), pair(image), QParams((out.scale[0] * 5000,), -7)),
        Case("equal_scales", cls(), pair(image, equal=True), QParams((0.05,), -5)),
    ]
    return [replace(c, name=f"{cls.kind()}_{c.name}") for c in found]


SUM = QParams((0.06,), -9)
PATTERNS = ("same", "channel_first", "scalar", "crossed", "constant", "relu6")


def words(cls: Any, out: QParams) -> list[Case]:
    found = [c for c in cases(cls, out) if c.name.removeprefix(f"{cls.kind()}_") in (*PATTERNS, "equal_scales")]
    if cls in (Minimum, Maximum):  # one scale at all ends
        found = [replace(c, output=c.types[0].q) for c in found if c.types[0].q == c.types[1].q]
    return [on_words(c, tolerance=3.0) for c in found]


PRODUCT = QParams((0.2,), -9)
test_add_and_sub = suite([*cases(Add, SUM), *cases(Sub, SUM), *words(Add, SUM), *words(Sub, SUM)])
test_mul = suite([*cases(Mul, PRODUCT), *words(Mul, PRODUCT)])
test_minimum_and_maximum = suite([*cases(Minimum, SUM), *cases(Maximum, SUM), *words(Minimum, SUM), *words(Maximum, SUM)])
FORMULAS = [(Add, np.add), (Sub, np.subtract), (Mul, np.multiply), (Minimum, np.fmin), (Maximum, np.fmax)]


@pytest.mark.parametrize(("a", "b"), SHAPES.values(), ids=SHAPES)
def test_loops_walk_like_numpy(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    def turn(level: int) -> None:
        if level == len(outer):
            seen.extend((at[0] + i * steps[0], at[1] + i * steps[1]) for i in range(inner))
            return
        for _ in range(outer[level][0]):
            turn(level + 1)
            at[0] += outer[level][1]
            at[1] += outer[level][2]

    shape = np.broadcast_shapes(a, b)
    inner, steps, table = nest(shape, strides(a), strides(b))
    outer, at, seen = table.tolist(), [0, 0], []
    turn(0)
    places = [np.broadcast_to(np.arange(math.prod(s)).reshape(s), shape).ravel() for s in (a, b)]
    assert seen == list(zip(*places, strict=True))


@pytest.mark.parametrize(("cls", "formula"), FORMULAS)
def test_real_is_the_formula(cls: Any, formula: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 3, 4)).astype(np.float32), rng.normal(size=(2, 1, 4)).astype(np.float32)
    np.testing.assert_array_equal(cls().real(a, b), formula(a, b))
    np.testing.assert_array_equal(cls((-0.5, 0.25)).real(a, b), np.clip(formula(a, b), np.float32(-0.5), np.float32(0.25)))


def every_pair() -> tuple[Array, Array]:
    q = np.arange(-128, 128, dtype=np.int8)
    return np.repeat(q, 256)[None], np.tile(q, 256)[None]


@pytest.mark.parametrize("sign", [1, -1])
def test_law_single_adds_with_one_rounding(sign: int) -> None:
    rng = np.random.default_rng(3)
    a, b = every_pair()
    for _ in range(20):
        sa, sb, so = (float(np.float32(s)) for s in np.exp(rng.uniform(-6, 1, 3)))
        za, zb, zo = rng.integers(-128, 128, 3).tolist()
        ta, tb, to = (activation((1, 65536), s, z) for s, z in ((sa, za), (sb, zb), (so, zo)))
        op = Add() if sign > 0 else Sub()
        params = op.bind("single", "here", (Tensor("a", ta), Tensor("b", tb)), to)
        ma, mb = (Fraction(abs(m), 2**params.shift) for m in (params.a_multiplier, params.b_multiplier))
        assert max(ma, mb) * 2**params.shift >= 2**20 or params.shift == 30
        assert abs(ma - Fraction(sa) / Fraction(so)) <= Fraction(1, 2 ** (params.shift + 1))
        exact = (a.astype(int) - za) * params.a_multiplier + (b.astype(int) - zb) * params.b_multiplier
        want = [math.floor(Fraction(int(e), 2**params.shift) + Fraction(1, 2)) + zo for e in exact[0, ::97]]
        np.testing.assert_array_equal(op.reference(params, a, b)[0, ::97], np.clip(want, -128, 127))


def test_law_single_rounds_halves_up() -> None:
    halves = activation((1, 256), 0.5)
    q = np.arange(-128, 128, dtype=np.int8)[None]
    for op, sign in ((Add(), 1), (Sub(), -1)):
        params = op.bind("single", "here", (Tensor("a", halves), Tensor("b", halves)), activation((1, 256), 1.0))
        for b in (-3, 0, 4):
            want = [math.floor(Fraction(int(v) + sign * b + 1, 2)) for v in q[0]]
            np.testing.assert_array_equal(op.reference(params, q, np.full_like(q, b))[0], want)


TFLM = [(Add, "ADD", "AddOptions"), (Sub, "SUB", "SubOptions"), (Mul, "MUL", "MulOptions")]


@pytest.mark.parametrize(("cls", "builtin", "options"), TFLM, ids=[t[1] for t in TFLM])
def test_law_tflm_equals_tensorflow_lite_micro(cls: Any, builtin: str, options: str) -> None:
    rng = np.random.default_rng(4)
    a, b = every_pair()
    for i in range(12):
        sa, sb, so = np.exp(rng.uniform(-6, -1, 3)).tolist()
        so = max(so, sa * sb / 8) if cls is Mul else so
        za, zb, zo = rng.integers(-128, 128, 3).tolist()
        ta, tb, to = (activation((1, 65536), s, z) for s, z in ((sa, za), (sb if i else sa, zb), (so, zo)))
        clamp, fused = [((-math.inf, math.inf), 0), ((0.0, math.inf), 1), ((0.0, 6.0), 3)][i % 3]
        tensors = (Tensor("a", ta), Tensor("b", tb))
        want = tflm(tflite_model(builtin, (options, {"fusedActivationFunction": fused}), tensors, to), [a[None], b[None]])
        params = cls(clamp).bind("tflm", "here", tensors, to)
        np.testing.assert_array_equal(cls(clamp).reference(params, a, b), want[0], str((ta, tb, to, clamp)))


@pytest.mark.parametrize(("cls", "builtin"), [(Minimum, "MINIMUM"), (Maximum, "MAXIMUM")])
@pytest.mark.parametrize("name", [n for n, (a, _) in SHAPES.items() if len(a) <= 4])
def test_law_tflm_extrema_and_broadcasting(cls: Any, builtin: str, name: str) -> None:
    ta, tb = pair(SHAPES[name], equal=True)
    rng = np.random.default_rng(5)
    arrays = [rng.integers(-128, 128, (3, *t.shape)).astype(np.int8) for t in (ta, tb)]
    tensors = (Tensor("a", ta), Tensor("b", tb))
    out = activation(np.broadcast_shapes(ta.shape, tb.shape), 0.05, -5)
    want = tflm(tflite_model(builtin, ("MaximumMinimumOptions", {}), tensors, out), arrays)
    np.testing.assert_array_equal(cls().reference(cls().bind("tflm", "here", tensors, out), *arrays), want)


def test_what_does_not_fit_is_refused() -> None:
    for a, b in (((2, 3), (3,)), ((2, 3), (2, 4)), ((2, 3), (3, 2))):
        with pytest.raises(EdgeqError, match="broadcast"):
            Add().infer(activation(a, 1.0), activation(b, 1.0))
    for law in ("single", "tflm"):
        tensors = tuple(Tensor("", activation((2,), 1.0)) for _ in "ab")
        with pytest.raises(EdgeqError, match="too fine"):
            Add().bind(law, "here", tensors, activation((2,), 1e-9))
    with pytest.raises(EdgeqError, match="quantize the model"):
        Add().bind("single", "here", (Tensor("a", TensorType((2,))), Tensor("b", TensorType((2,)))), TensorType((2,)))
