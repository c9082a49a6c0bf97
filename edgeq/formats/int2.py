"""Weights of two bits: -1, 0 and 1 after rounding; -2 is read as it is stored.

Twin of `templates/runtime/eq_w_int2.h`. A word holds sixteen weights: byte i those at places i, i + 4, i + 8 and i + 12, from its lowest
bits on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.formats.format import Packed
from edgeq.numerics import Array

PLACES = np.array([8 * (i % 4) + 2 * (i // 4) for i in range(16)], np.uint32)  # of the sixteen weights in a word, in bits


@dataclass(frozen=True)
class Int2(Packed):
    """A quarter of int8's bytes."""

    name: ClassVar[str] = "int2"
    width: ClassVar[int] = 2
    group: ClassVar[int] = 16

    def words(self, codes: Array) -> Array:
        return np.bitwise_or.reduce(codes << PLACES, axis=1, keepdims=True)

    def codes(self, words: Array) -> Array:
        return np.asarray(words >> PLACES & np.uint32(3))
