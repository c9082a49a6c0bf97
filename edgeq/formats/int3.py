"""Weights of three bits: -3 to 3 after rounding.

Twin of `templates/runtime/eq_w_int3.h`.
Thirty-two weights are two words of the lower two bits of sixteen weights each, and one of the highest bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.formats.format import Planes


@dataclass(frozen=True)
class Int3(Planes):
    """Three eighths of int8's bytes."""

    name: ClassVar[str] = "int3"
    width: ClassVar[int] = 3
    planes: ClassVar[tuple[int, ...]] = (2, 1)
