"""Integers as the kernels compute with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from edgeq.formats.format import Format
from edgeq.numerics import Array


@dataclass(frozen=True)
class Plain(Format):
    """A byte for each int8, a word for each int32: nothing is decoded, and there is no header."""

    name: ClassVar[str] = "plain"

    @classmethod
    def read(cls, text: str) -> Self | None:
        return cls() if text in (cls.name, "int8") else None

    def plain(self, count: int) -> bool:
        return True

    def stored_bits(self, rows: int, length: int) -> int:
        return 8 * rows * length

    def encode(self, values: Array) -> Array:
        return values

    def decode(self, data: Array, *shape: int) -> Array:
        return data.reshape(shape)
