"""Weights of five bits: -15 to 15 after rounding.

Twin of `templates/runtime/eq_w_int5.h`.
Thirty-two weights are four words of the lower four bits of eight weights each, and one of the highest bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.formats.format import Planes


@dataclass(frozen=True)
class Int5(Planes):
    """Five eighths of int8's bytes."""

    name: ClassVar[str] = "int5"
    width: ClassVar[int] = 5
    planes: ClassVar[tuple[int, ...]] = (4, 1)
