"""A table of a kernel that is stored in a format: its bits, and how and where they are decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.formats import Format
from edgeq.formats.format import Packed, Records
from edgeq.formats.format import Target as Decoding
from edgeq.ir import Array

ALIGNMENT = 8  # of what lies in a call's scratch


def room(size: int, format: Format) -> int:
    """Bytes of a table decoded, up to where the next may begin; a decoder writes whole groups of weights."""
    step = max(ALIGNMENT, format.group) if isinstance(format, Packed) else ALIGNMENT
    return -(-size // step) * step


@dataclass(frozen=True, eq=False)
class Staged:
    """A table that is stored otherwise than the kernel reads it, and decoded before.

    Attributes:
        data: what is stored.
        format: that of the table.
        offset: where its decoded form lies in the call's scratch; -1: in the state, where it is decoded once, at the start.
        records: how the kernel's table divides, of a format that is `Packed`.
        places: of a format by rows, where the elements of each row ``[rows, length]`` lie in the kernel's table.
    """

    data: Array
    format: Format
    offset: int
    places: Array | None = None
    records: Records | None = None

    def decoded(self, data: Array, like: Array) -> Array:
        """What the kernel reads of stored `data`, which may be faulty; `like` a table of its form."""
        if self.records and not isinstance(self.format, Packed):
            return self.format.decode(data, like.nbytes).view(like.dtype).reshape(like.shape)
        if self.places is None:
            return self.format.decode(data, *like.shape)
        table = np.empty_like(like)
        table.reshape(-1)[self.places] = self.format.decode(data, *self.places.shape)
        return table

    def stored_form(self, table: Array) -> Array:
        """A kernel's table in the form that the format takes."""
        if self.records:
            return self.records.weights(np.ascontiguousarray(table).view(np.uint8).reshape(1, -1))
        return table if self.places is None else table.ravel()[self.places]

    def statements(self, source: str, place: str, table: Array) -> list[str]:
        """C that decodes `source` to `place`, both C expressions."""
        rows, length = (1, table.nbytes if self.records else table.size) if self.places is None else self.places.shape
        return self.format.statements(Decoding(source, place, rows, length, [] if self.places is None else self.blocks, self.records))

    @property
    def blocks(self) -> list[tuple[int, int, int, int]]:
        """Of a format by rows, runs of rows that lie alike in the kernel's table: (first row, rows, place of its first weight, rows of a
        block whose first weights lie side by side, then the second ones, and so on)."""
        assert self.places is not None
        rows, length = self.places.shape
        starts, strides = self.places[:, 0], self.places[:, 1] - self.places[:, 0] if length > 1 else np.ones(rows, np.int64)
        found, first = [], 0
        while first < rows:
            block, at = int(strides[first]), np.arange(rows - first)
            alike = (strides[first:] == block) & (starts[first:] - starts[first] == at // block * block * length + at % block)
            count = rows - first if alike.all() else int(np.argmin(alike))
            found.append((first, count, int(starts[first]), block))
            first += count
        return found
