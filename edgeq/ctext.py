"""C as text: identifiers and comments that no name from a model can break, literals and constant tables."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.ir import Array

C_WORDS = frozenset(
    "auto break case char const continue default do double else enum extern float for goto if inline int long register "
    "restrict return short signed sizeof static struct switch typedef union unsigned void volatile while main arena "
    "scratch state kept bytes asm bool true false".split()
)


def identifier(text: str) -> str:
    """A C identifier from any string: lower case letters, digits and underscores, not a keyword."""
    word = re.sub(r"[^a-z0-9]+", "_", text.lower().encode("ascii", "ignore").decode()).strip("_")[:40] or "model"
    return f"m_{word}" if word[0].isdigit() or word in C_WORDS or word.startswith("eq_") else word


def comment(text: str) -> str:
    """Text that cannot end or break a C comment."""
    return re.sub(r"[^ -~]|\\|\*/|/\*|\?\?", "_", text)[:120]


def brief(name: str) -> str:
    """A node's or tensor's name for a comment: TensorFlow joins the names of what it fused by semicolons, the first tells enough."""
    return comment(name.split(";")[0] or name)[:72]


def unique(names: list[str]) -> list[str]:
    """Identifiers made distinct by a numeric suffix."""
    seen: set[str] = set()
    result = []
    for name in names:
        candidate, n = name, 1
        while candidate in seen:
            n += 1
            candidate = f"{name}_{n}"
        seen.add(candidate)
        result.append(candidate)
    return result


@dataclass(frozen=True, eq=False)
class Table:
    """A constant array: its symbol, C type, number of elements, shape and CRC-32 as text, and its initializer's lines."""

    symbol: str
    ctype: str
    size: int
    shape: str
    lines: list[str]
    crc: str
    bytes: int


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
    return "(-2147483647 - 1)" if int(value) == -(2**31) else str(int(value))


def table(symbol: str, array: Array) -> Table:
    """An array as the lines of its initializer."""
    ctype = ctype_of(array)
    words = [literal(v, ctype) for v in (array.view(np.uint16) if array.dtype == np.float16 else array).ravel()]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > 106:
            lines.append(line.rstrip())
            line = ""
        line += word + ", "
    lines.append(line.rstrip())
    crc = f"{zlib.crc32(np.ascontiguousarray(array).astype(array.dtype.newbyteorder('<')).tobytes()):08x}"
    return Table(symbol, ctype, array.size, "x".join(map(str, array.shape)), lines, crc, array.nbytes)
