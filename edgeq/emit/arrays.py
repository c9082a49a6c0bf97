"""Constant arrays as C initializers. The text is made block by block with NumPy, for tables of many megabytes."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.ir import Array

LINE = 106  # characters of the values on a line
BLOCK = 2**16  # values that become text at a time: those of several lines
LEAST = -(2**31)  # C has no literal for it


def ctype_of(array: Array) -> str:
    """The C type of an array's elements; halves are stored as their bits."""
    return {"float32": "float", "float16": "uint16_t"}.get(array.dtype.name, f"{array.dtype.name}_t")


def literal(value: Any, ctype: str) -> str:
    """A value as C writes it, exactly."""
    if ctype == "float":
        return f"{float(value).hex()}f"
    if ctype == "uint16_t":
        return f"0x{int(value):04x}"
    if ctype == "uint32_t":
        return f"{int(value)}u"
    return "(-2147483647 - 1)" if int(value) == LEAST else str(int(value))


def _words(values: Array, ctype: str) -> Array:
    """The literals of a block, uint8 ``[N, characters]``; zeros stand for nothing."""
    if ctype in ("float", "uint16_t") or values.itemsize > 4 or (values.dtype.kind == "i" and values.min() == LEAST):
        bits, places = np.unique(values.view(f"u{values.itemsize}"), return_inverse=True)  # -0 and 0 are two
        names = np.array([literal(v, ctype) for v in bits.view(values.dtype)], np.bytes_)
        return np.asarray(names.view(np.uint8).reshape(len(names), -1)[places])
    rest = np.abs(values.astype(np.int64)).astype(np.uint32)
    columns = [np.full(len(values), ord("u"), np.uint8)] if ctype == "uint32_t" else []
    shown: Any = True  # of the last digit; of those before it, where there is something left
    while True:
        above = rest // np.uint32(10)
        columns.append(np.where(shown, rest - above * np.uint32(10) + ord("0"), 0).astype(np.uint8))
        rest, shown = above, above > 0
        if not shown.any():
            break
    columns.append(np.where(values < 0, ord("-"), 0).astype(np.uint8))
    return np.stack(columns[::-1], axis=1)


def _breaks(words: Array) -> list[int]:
    """Where lines end, each as long as it may be: the number of the word behind the last one."""
    ends = np.cumsum(np.count_nonzero(words, axis=1) + 2)
    begins = np.concatenate([[0], ends[:-1]])
    behind = np.searchsorted(ends, begins + LINE + 2, "right").tolist()
    found = [0]
    while found[-1] < len(words):
        found.append(behind[found[-1]])
    return found[1:]


def _text(words: Array, breaks: list[int]) -> str:
    """Lines of words, indented."""
    count, width = words.shape
    chars = np.zeros((count, 4 + width + 2), np.uint8)
    chars[[0, *breaks[:-1]], :4] = ord(" ")
    chars[:, 4:-2] = words
    chars[:, -2], chars[:, -1] = ord(","), ord(" ")
    chars[np.array(breaks) - 1, -1] = ord("\n")
    text: str = chars[chars != 0].tobytes().decode("ascii")
    return text


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array under its symbol; halves are written as their bits."""

    symbol: str
    array: Array

    @property
    def ctype(self) -> str:
        return ctype_of(self.array)

    @property
    def size(self) -> int:
        """Elements."""
        return self.array.size

    @property
    def bytes(self) -> int:
        return self.array.nbytes

    @property
    def shape(self) -> str:
        """As text, ``16x64``."""
        return "x".join(map(str, self.array.shape))

    @functools.cached_property
    def crc(self) -> str:
        """CRC-32 of the little-endian bytes, eight hexadecimal digits."""
        little = np.ascontiguousarray(self.array).astype(self.array.dtype.newbyteorder("<"), copy=False)
        return f"{zlib.crc32(little.data):08x}"

    def blocks(self) -> Iterator[str]:
        """The initializer, some whole lines at a time."""
        flat, done = np.ascontiguousarray(self.array).ravel(), 0
        flat = flat.view(np.uint16) if flat.dtype == np.float16 else flat
        if not flat.size:
            yield "    \n"
        while done < flat.size:
            words = _words(flat[done : done + BLOCK], self.ctype)
            breaks = _breaks(words)
            if done + len(words) < flat.size:
                breaks = breaks[:-1]  # the last line may go on
            yield _text(words[: breaks[-1]], breaks)
            done += breaks[-1]
