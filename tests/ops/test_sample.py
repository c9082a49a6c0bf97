"""Sampling: one of the largest elements of a row, by a number that stands for chance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from harness import Case, activation, suite

from edgeq.errors import EdgeqError
from edgeq.ir import DType, QParams, TensorType
from edgeq.ops.sample import Sample, drawn

NUMBER = TensorType((1,), DType.INT32, QParams((1.0,)))


def case(name: str, shape: tuple[int, ...], top: int, temperature: float, scale: float = 0.1) -> Case:
    output = TensorType(shape[:-1], DType.INT32, QParams((1.0,)))
    # another element than float's where a sum of rounded weights ends on the other side of what was drawn
    return Case(name, Sample(top, temperature), (activation(shape, scale, 3), NUMBER), output, tolerance=math.inf, half_tolerance=math.inf)


CASES = [
    case("three", (1, 40), 3, 0.7), case("all", (2, 9), 9, 1.0), case("more", (1, 5), 8, 2.0), case("largest", (3, 17), 1, 1.0),
    case("hot", (1, 33), 20, 50.0), case("cold", (1, 300), 5, 1e-3),
]  # fmt: skip
test_sample = suite(CASES)


def test_numbers_are_mixed_as_published() -> None:
    """Known values of lowbias32, and an even share of each bit over numbers that follow each other."""
    first = np.array([0, 1, 2, 0xFFFFFFFF]) - 0x9E3779B9
    assert drawn(first).tolist() == [0, 0x688990C0, 0xD1132181, 0x6768824A]  # of its C source
    bits = (drawn(np.arange(1 << 14))[:, None] >> np.arange(32)) & 1
    assert np.abs(bits.mean(0) - 0.5).max() < 0.015


def test_chances_are_those_of_the_softmax() -> None:
    scores = np.array([[0.0, 1.0, 2.0, 3.0, -1.0]], np.float32)
    numbers = np.arange(40_000).reshape(-1, 1)
    found = Sample(3, 1.5).real(np.repeat(scores, len(numbers), 0), numbers.astype(np.float32))
    kept = np.exp(np.array([1.0, 2.0, 3.0]) / 1.5)
    np.testing.assert_allclose(np.bincount(found.astype(int), minlength=5) / len(numbers), [0, *(kept / kept.sum()), 0], atol=0.01)


def test_of_equals_none_is_left_out() -> None:
    scores = np.array([[5, 5, 1, 5, 0]], np.float32)
    found = Sample(1).real(np.repeat(scores, 300, 0), np.arange(300, dtype=np.float32)[:, None])
    assert set(found.astype(int).tolist()) == {0, 1, 3}


def test_a_row_whose_weights_take_all_of_32_bits() -> None:
    """Against Python's integers: the sum of 65 536 equal weights, times 32 random bits, takes all of 64."""
    scores, numbers = np.zeros((64, 65536), np.float32), np.arange(64)
    want = [int(d) * 65535 * 65536 // 2**32 // 65535 for d in drawn(numbers)]
    assert Sample(65536).real(scores, numbers.astype(np.float32)[:, None]).astype(int).tolist() == want


def test_errors() -> None:
    scores = activation((1, 4), 0.1)
    for op in (Sample(0), Sample(1, 0.0)):
        with pytest.raises(EdgeqError, match="give positive numbers"):
            op.infer(scores, NUMBER)
    with pytest.raises(EdgeqError, match="one number"):
        Sample(1).infer(scores, TensorType((2,), DType.INT32))
