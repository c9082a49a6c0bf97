"""The constant tables of a program in the order in which they are emitted: one enumeration for the C, for memory faults and for devices."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from edgeq.ir import Array
from edgeq.program import Program


@dataclass(frozen=True, eq=False)
class Constant:
    """A table as it is stored.

    Attributes:
        symbol: its C name without the model's prefix, ``s3_weights``: the step that is the first to use it, and its name there.
        array: the elements in the kernel's own layout, or in the graph's storage code.
        users: all that share it: (step, name in the kernel's params), or (-1, tensor) of an operand.
    """

    symbol: str
    array: Array
    users: list[tuple[int, str]] = field(default_factory=list)

    @property
    def data(self) -> Array:
        """The stored bytes, little-endian: uint8, read-only."""
        data = np.frombuffer(self.array.astype(self.array.dtype.newbyteorder("<"), copy=False).tobytes(), np.uint8)
        return data


class Constants:
    """The tables of a program; equal arrays are stored once, parameters and operands apart, for faults hit those alone.

    Attributes:
        tables: in the order of emission.
    """

    def __init__(self, program: Program) -> None:
        self.tables: list[Constant] = []
        self._by_content: dict[tuple[bool, str, tuple[int, ...], str], Constant] = {}
        self._symbols: dict[tuple[int, str], str] = {}
        self._operands = 0
        for i, call in enumerate(program.calls):
            for name, array in call.stored.items():
                self._add(f"s{i}_{name}", array, (i, name))
            self._operands_of(program, call.operands)
        self._operands_of(program, program.graph.outputs)

    def _operands_of(self, program: Program, names: Iterable[str]) -> None:
        """Add the tables of those tensors that are constant."""
        for storage in map(program.storage, names):
            data = program.graph.tensors[storage].data
            if data is not None and (-1, storage) not in self._symbols:
                self._add(f"c{self._operands}_values", data, (-1, storage))
                self._operands += 1

    def _add(self, symbol: str, array: Array, user: tuple[int, str]) -> None:
        array = np.ascontiguousarray(array)
        key = (user[0] < 0, array.dtype.name, array.shape, hashlib.sha256(array.data).hexdigest())
        if key not in self._by_content:
            self._by_content[key] = Constant(symbol, array)
            self.tables.append(self._by_content[key])
        found = self._by_content[key]
        found.users.append(user)
        self._symbols[user] = found.symbol

    def symbol(self, step: int, name: str) -> str:
        """The table that a step's params call `name`."""
        return self._symbols[step, name]

    def operand(self, storage: str) -> str:
        """The table that holds a constant operand."""
        return self._symbols[-1, storage]
