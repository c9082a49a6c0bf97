"""A lowered program: calls of kernels in order, and how the tables of each are stored."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from edgeq.formats import Format
from edgeq.formats.format import Records
from edgeq.formats.format import Target as Decoding
from edgeq.ir import Array, Graph, Node, Params
from edgeq.kernels import Kernel
from edgeq.target import Target


@dataclass(frozen=True, eq=False)
class Staged:
    """A table that is stored otherwise than the kernel reads it, and decoded into scratch before.

    Attributes:
        data: what is stored.
        format: that of the table.
        offset: where its decoded form lies in the call's scratch.
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
        if self.places is None:
            return self.format.decode(data, *like.shape)
        table = np.empty_like(like)
        table.reshape(-1)[self.places] = self.format.decode(data, *self.places.shape)
        return table

    def stored_form(self, table: Array) -> Array:
        """A kernel's table in the form that the format takes."""
        return table if self.places is None else table.ravel()[self.places]

    def statements(self, source: str, place: str, table: Array) -> list[str]:
        """C that decodes `source` to `place`, both C expressions."""
        rows, length = (1, table.size) if self.places is None else self.places.shape
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


@dataclass(frozen=True)
class Tiled:
    """A call on some output channels at a time, whose weights alone are decoded for it.

    Attributes:
        rows: output channels of a tile; they divide all.
        pixels: output pixels of a band; the last one may have fewer.
        source: where in scratch the input of a band is copied to, -1 if it is read where it is. With a copy all tiles of a band run
            before the next band, so that the output may take the input's place; else all bands of a tile before the next tile.
        result: where in scratch a tile's output of a band is computed, -1 if it is stored where it belongs.
    """

    rows: int
    pixels: int
    source: int
    result: int


@dataclass(frozen=True, eq=False)
class Call:
    """A kernel bound to a node.

    Attributes:
        tables: the params' tables in the kernel's own layout.
        inplace: positions of the operands whose storage the output may take.
        epilogue: the nodes that the kernel computes too, on the first one's result; `output` and the last operands are theirs.
        formats: how tables are stored, of those that are not plain.
        staged: the tables that are stored otherwise, and decoded into scratch, behind the kernel's own, before it runs.
    """

    node: Node
    kernel: Kernel
    params: Params
    operands: tuple[str, ...]
    outputs: tuple[str, ...]
    scratch: int
    tables: Mapping[str, Array]
    macs: int
    inplace: tuple[int, ...] = ()
    epilogue: tuple[Node, ...] = ()
    formats: Mapping[str, Format] = field(default_factory=dict)
    staged: Mapping[str, Staged] = field(default_factory=dict)
    tiled: Tiled | None = None

    @property
    def stored(self) -> dict[str, Array]:
        """The tables as they are stored."""
        return {n: self.staged[n].data if n in self.staged else table for n, table in self.tables.items()}

    @property
    def output(self) -> str:
        """The first output, the one that may be computed in place."""
        return self.outputs[0]

    @property
    def specialized(self) -> dict[str, int | str]:
        return {name: self.kernel.value(name, self.params) for name in self.kernel.specialize}

    @property
    def kind(self) -> str:
        """What is computed: ``conv2d``, or ``conv2d + add``."""
        return " + ".join(n.op.kind() for n in self.nodes)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """All that is computed, in order."""
        return (self.node, *self.epilogue)


@dataclass(frozen=True, eq=False)
class Program:
    """Calls in order. `views` maps a tensor to the tensor whose storage it shares as it is (reshapes)."""

    graph: Graph
    target: Target
    calls: tuple[Call, ...]
    views: Mapping[str, str]

    @functools.cached_property
    def outside(self) -> frozenset[str]:
        """Tensors that no call writes and that have no place in the arena: constants, and states as the inference finds them."""
        return frozenset(n for n, t in self.graph.tensors.items() if t.is_constant) | {a for a, _ in self.graph.states}

    def storage(self, name: str) -> str:
        """The tensor that owns the bytes of `name`."""
        while name in self.views:
            name = self.views[name]
        return name
