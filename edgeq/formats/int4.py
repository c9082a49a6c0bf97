"""Weights of four bits: plain nibbles, two's complement, -7 to 7. Twin of `templates/runtime/eq_w_int4.h`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeq.formats.format import Nibbles


@dataclass(frozen=True)
class Int4(Nibbles):
    """Half of int8's bytes."""

    name: ClassVar[str] = "int4"
    type: ClassVar[str] = "s4"
