"""Weights of three bits: -3 to 3 after rounding.

Twin of `templates/runtime/eq_w_int3.h`. Thirty-two weights are three words: two of the lower two bits of sixteen weights each, laid out as
in `int2`, and one of the highest bits: byte i those of the weights at places i, i + 4, i + 8 and so on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.formats.format import Packed
from edgeq.numerics import Array

LOW = np.array([8 * (i % 4) + 2 * (i // 4) for i in range(16)], np.uint32)  # places of the lower bits of sixteen weights in their word
HIGH = np.array([8 * (i % 4) + i // 4 for i in range(32)], np.uint32)  # of the highest bits of thirty-two


@dataclass(frozen=True)
class Int3(Packed):
    """Three eighths of int8's bytes."""

    name: ClassVar[str] = "int3"
    width: ClassVar[int] = 3
    group: ClassVar[int] = 32

    def words(self, codes: Array) -> Array:
        low = np.bitwise_or.reduce((codes & 3).reshape(-1, 2, 16).astype(np.uint32) << LOW, axis=2)
        high = np.bitwise_or.reduce((codes >> 2).astype(np.uint32) << HIGH, axis=1, keepdims=True)
        return np.concatenate([low, high], axis=1)

    def codes(self, words: Array) -> Array:
        low = (words[:, :2, None] >> LOW & np.uint32(3)).reshape(-1, 32)
        return np.asarray(low | (words[:, 2:] >> HIGH & np.uint32(1)) << np.uint32(2))
