"""Weights of six bits: -31 to 31 after rounding.

Twin of `templates/runtime/eq_w_int6.h`.
Thirty-two weights are four words of the lower four bits of eight weights each, and two of the upper two bits of sixteen.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.formats.format import Planes


@dataclass(frozen=True)
class Int6(Planes):
    """Three quarters of int8's bytes."""

    name: ClassVar[str] = "int6"
    width: ClassVar[int] = 6
    planes: ClassVar[tuple[int, ...]] = (4, 2)
