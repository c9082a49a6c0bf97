"""Weights of three bits that choose one of eight integers, a list of each layer. Twin of `templates/runtime/eq_w_codebook8.h`.

A stream begins with its eight bytes; codes lie as those of `int3`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.formats.codebook import Codebook
from edgeq.formats.int3 import Int3
from edgeq.numerics import Array


@dataclass(frozen=True)
class Codebook8(Codebook):
    """Three eighths of int8's bytes."""

    name: ClassVar[str] = "codebook8"
    width: ClassVar[int] = Int3.width
    group: ClassVar[int] = Int3.group

    def words(self, codes: Array) -> Array:
        return Int3().words(codes)

    def codes(self, words: Array) -> Array:
        return Int3().codes(words)
