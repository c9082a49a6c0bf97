"""Weights of four bits: a sign, an exponent of two bits, a mantissa of one (e2m1 of the OCP Microscaling formats, 2023), in halves.

Twin of `templates/runtime/eq_w_fp4.h`. What the exponents stand for is the scale of each channel. The code of -0 is not used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from edgeq.formats.format import Nibbles
from edgeq.numerics import Array


@dataclass(frozen=True)
class Fp4(Nibbles):
    """Half of int8's bytes; fine steps next to zero, coarse ones far from it."""

    name: ClassVar[str] = "fp4"
    marks: ClassVar[tuple[int, ...]] = (-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)
    even: ClassVar[bool] = False

    @property
    def levels(self) -> range:
        return range(-12, 13)

    def entries(self, values: Array) -> Array:
        positive = np.array(self.marks[7:], np.int8)
        return np.concatenate([positive, -positive])
