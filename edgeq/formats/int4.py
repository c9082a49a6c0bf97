"""Weights of four bits: plain nibbles, two's complement, -7 to 7.

Twin of `templates/runtime/eq_w_int4.h`. A word holds eight weights: byte i the one at place i in its low nibble and the one at place
i + 4 in its high one, so that a word of four bytes is masked out at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.formats.format import Packed
from edgeq.numerics import Array

PLACES = np.array([0, 8, 16, 24, 4, 12, 20, 28], np.uint32)  # of the eight weights in a word, in bits


@dataclass(frozen=True)
class Int4(Packed):
    """Half of int8's bytes."""

    name: ClassVar[str] = "int4"
    type: ClassVar[str] = "s4"
    width: ClassVar[int] = 4
    group: ClassVar[int] = 8

    def words(self, codes: Array) -> Array:
        return np.bitwise_or.reduce(codes << PLACES, axis=1, keepdims=True)

    def codes(self, words: Array) -> Array:
        return np.asarray(words >> PLACES & np.uint32(15))
