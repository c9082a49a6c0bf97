"""What a language model needs token by token: look-up, rotary embeddings, caches of keys and values, and attention to them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from harness import Case, activation, constant, suite

from edgeq.errors import EdgeqError
from edgeq.formats.int4 import Int4
from edgeq.ir import Array, DType, QParams, Tensor, TensorType
from edgeq.ops.attention import CachedAttention
from edgeq.ops.cache_write import CacheWrite
from edgeq.ops.lookup import Lookup
from edgeq.ops.rotary import Rotary

RNG = np.random.default_rng(3)
INDEX = TensorType((1,), DType.INT32, QParams((1.0,)))

ROWS = QParams((0.01,), 4)


def floats(*shape: int, scale: float = 1.0) -> Tensor:
    data = RNG.uniform(-scale, scale, shape).astype(np.float32)
    return Tensor("", TensorType(shape), data)


def in_four_bits(name: str, count: int, rows: int, depth: int, output: QParams) -> Case:
    """A look-up of rows of four bits, each with a scale of its own."""
    data = RNG.integers(-7, 8, (rows, depth)).astype(np.int8)
    table = replace(constant(data, RNG.uniform(0.02, 0.2, rows), 0), format=Int4())
    return Case(name, Lookup(), (TensorType((count,), DType.INT32, INDEX.q), table), TensorType((count, depth), DType.INT8, output))


def rotary(name: str, shape: tuple[int, int, int, int], turned: int, interleaved: bool = False) -> Case:
    angles = RNG.uniform(0, 6.3, (9, turned // 2))
    tables = [Tensor("", TensorType(a.shape), a.astype(np.float32)) for a in (np.cos(angles), np.sin(angles))]
    places = TensorType(shape[:2], DType.INT32, QParams((1.0,)))
    return Case(name, Rotary(interleaved), (activation(shape, 0.05, 3), places, *tables), QParams((0.06,), -7))


def write(name: str, kept: tuple[int, ...], rows: int, axis: int, ring: bool) -> Case:
    fresh = tuple(rows if a == axis else n for a, n in enumerate(kept))
    return Case(name, CacheWrite(axis, ring), (activation(kept, 0.1, 5), activation(fresh, 0.1, 5), INDEX), QParams((0.1,), 5))


def cached(name: str, heads: int, share: int, keys: int, depth: int, width: int, ahead: int = 0) -> Case:
    shapes = (1, 1, heads, depth), (1, keys, heads // share, depth), (1, keys, heads // share, width)
    types = [activation(s, f, z) for s, f, z in zip(shapes, (0.05, 0.04, 0.03), (3, -5, 7), strict=True)]
    return Case(name, CachedAttention(depth**-0.5, False, ahead), (*types, INDEX), QParams((0.025,), -9), tolerance=1.05, half_tolerance=20)


CASES = [
    Case("rows", Lookup(), (TensorType((2, 3), DType.INT32, INDEX.q), floats(5, 7)), TensorType((2, 3, 7), DType.INT8, ROWS)),
    in_four_bits("four_bits", 3, 6, 7, ROWS), in_four_bits("coarse", 2, 5, 8, QParams((3.0,), -11)),
    rotary("halves", (1, 3, 2, 8), 8), rotary("part", (2, 1, 1, 7), 4), rotary("neighbours", (1, 2, 3, 6), 6, True),
    write("cache", (1, 6, 5), 1, 1, False), write("ring", (1, 6, 5), 1, 1, True),
    write("heads", (2, 4, 3), 2, 1, True), write("last", (3, 5), 2, 1, False),
    cached("one", 2, 1, 6, 8, 8), cached("shared", 4, 2, 7, 6, 5, 1), cached("small", 1, 1, 5, 3, 2, 1),
    cached("pairs", 8, 4, 11, 8, 7), cached("deep", 4, 2, 9, 12, 12, 1),
]  # fmt: skip
test_cache = suite(CASES)


def test_a_cache_follows_what_was_written() -> None:
    op = CacheWrite(0, True)
    kept: Array = np.zeros((1, 4, 2), np.float32)
    for place in range(6):
        kept = op.real(kept, np.full((1, 1, 2), place, np.float32), np.full((1, 1), place, np.float32))
    assert kept[0, :, 0].tolist() == [4, 5, 2, 3]


def test_errors() -> None:
    x, tables = activation((1, 2, 1, 4), 0.1), (floats(3, 2), floats(3, 2))
    with pytest.raises(EdgeqError, match="do not fit"):
        Rotary().infer(x, INDEX, *(t.type for t in tables))
    with pytest.raises(EdgeqError, match="do not fit"):
        CacheWrite(0).infer(activation((2, 3), 0.1), activation((3, 3), 0.1), INDEX)
    with pytest.raises(EdgeqError, match="int32"):
        Lookup().bind("single", "n", (Tensor("", activation((1,), 1.0)), floats(3, 2)), activation((1, 2), 0.1))
