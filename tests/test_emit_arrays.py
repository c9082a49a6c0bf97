"""Constant arrays as C initializers, against the same text made one value at a time."""

from __future__ import annotations

import numpy as np
import pytest

from edgeq.emit import arrays
from edgeq.emit.arrays import LINE, Table, literal
from edgeq.ir import Array


def spelled(array: Array, ctype: str) -> str:
    """Lines as long as they may be, word by word."""
    lines, words = [""], [literal(v, ctype) + "," for v in (array.view(np.uint16) if array.dtype == np.float16 else array).ravel().tolist()]
    for word in words:
        if lines[-1] and len(lines[-1]) + 1 + len(word) > LINE + 1:
            lines.append("")
        lines[-1] += f" {word}" if lines[-1] else word
    return "".join(f"    {line}\n" for line in lines)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float16", "float32"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000])
@pytest.mark.parametrize("block", [64, 200, 2**16])
def test_as_value_by_value(dtype: str, size: int, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrays, "BLOCK", block)
    rng = np.random.default_rng([size, block])
    if dtype.startswith("f"):
        values = (rng.normal(0, 1, size) * 2.0 ** rng.integers(-20, 12, size)).astype(dtype)
        ends = [0.0, -0.0, 1, -1, np.finfo(dtype).max, np.finfo(dtype).tiny / 2]
    else:
        info = np.iinfo(dtype)
        values = rng.integers(info.min, info.max, size, dtype=dtype, endpoint=True) >> rng.integers(0, info.bits, size).astype(dtype)
        ends = [0, 1, 9, 10, 99, info.max, info.min, info.min + 1]
    values[: len(ends)] = np.array(ends, dtype)[:size]
    table = Table("m_values", values)
    assert "".join(table.blocks()) == spelled(values, table.ctype)


def test_without_the_least_of_32_bits() -> None:
    values = np.concatenate([-(10 ** np.arange(10)), 10 ** np.arange(10), [2**31 - 1, 1 - 2**31, 0]]).astype(np.int32)
    assert "".join(Table("m_values", values).blocks()) == spelled(values, "int32_t")


def test_views_are_read_in_their_order() -> None:
    values = np.arange(24, dtype=np.int16).reshape(4, 6).T
    table = Table("m_values", values)
    assert (table.shape, table.bytes) == ("6x4", 48) and table.crc == Table("m_values", values.copy()).crc
    assert "".join(table.blocks()) == spelled(values, "int16_t")
