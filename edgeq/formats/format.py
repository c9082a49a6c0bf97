"""What a storage format of constants is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from edgeq.numerics import Array


@dataclass(frozen=True)
class Target:
    """Where C decodes rows to.

    Attributes:
        source, place: C expressions of the stored table and of its decoded form.
        rows, length: what is decoded.
        blocks: of a format by rows, runs of rows that lie alike in the decoded table: (first row, rows, place of its first element, rows
            of a block whose first elements lie side by side, then the second ones, and so on).
    """

    source: str
    place: str
    rows: int
    length: int
    blocks: Sequence[tuple[int, int, int, int]] = ()


@dataclass(frozen=True)
class Format:
    """How the integers of a constant are stored; a kernel gets them decoded. Immutable, compared by value.

    A format is a file of this folder and a header ``eq_w_<name>.h`` of `templates/runtime`, its twin; `formats.registry` finds both.
    """

    name: ClassVar[str]

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The format that `str` of it spells; None where the text is another's.

        Raises:
            EdgeqError: it is this one's, with impossible numbers.
        """
        return cls() if text == cls.name else None

    def __str__(self) -> str:
        return self.name

    @property
    def header(self) -> str:
        """The file of `templates/runtime` that decodes."""
        return f"eq_w_{self.name}.h"

    @property
    def levels(self) -> range:
        """The integers that symmetric rounding may use."""
        return range(-127, 128)

    @property
    def asymmetric(self) -> bool:
        """Whether a row has a zero point, so that twice as many levels on one side may be used."""
        return False

    @property
    def by_rows(self) -> bool:
        """Whether rows are stored in the operator's order, one after the other, whatever the kernel's table looks like."""
        return False

    def plain(self, count: int) -> bool:
        """Whether a table of `count` elements is stored as C computes with it."""
        return False

    def stored_bits(self, rows: int, length: int) -> int:
        """Stored bits of a table."""
        raise NotImplementedError

    def settled(self, table: Array) -> Array:
        """A bound table as it can be stored; the bytes that a graph computes follow from it."""
        return table

    def fitted(self, table: Array) -> Self:
        """The format with what it must know of a settled table."""
        return self

    def encode(self, values: Array) -> Array:
        """Integers, ``[rows, length]`` where `by_rows`, to what is stored, one axis or more.

        Raises:
            EdgeqError: a value does not fit.
        """
        raise NotImplementedError

    def decode(self, data: Array, *shape: int) -> Array:
        """What `encode` stored, faulty or not, in the shape that it was given."""
        raise NotImplementedError

    def statements(self, target: Target) -> list[str]:
        """C statements that decode a table."""
        raise NotImplementedError
