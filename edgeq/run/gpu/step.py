"""One step of a program on a device: its operands, its constants and room for its results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq import half
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Params
from edgeq.run.gpu.device import Device


@dataclass(frozen=True)
class Value:
    """A tensor of every pattern and vector.

    Attributes:
        data: torch ``[P, V, size]``; P is 1 where all patterns share it, V where all vectors do (constants).
    """

    data: Any

    @property
    def patterns(self) -> int:
        return int(self.data.shape[0])

    @property
    def vectors(self) -> int:
        return int(self.data.shape[1])

    @property
    def size(self) -> int:
        return int(self.data.shape[2])

    @property
    def total(self) -> int:
        return int(self.data.numel())

    @property
    def steps(self) -> tuple[int, int]:
        """Elements from a pattern to the next and from a vector to the next; 0 where they share."""
        return self.vectors * self.size if self.patterns > 1 else 0, self.size if self.vectors > 1 else 0


@dataclass(frozen=True, eq=False)
class Step:
    """What a launcher works from.

    Attributes:
        operands: in the order of the node's inputs that are no parameters.
        tables: those of the params that patterns differ in, with a leading axis of patterns.
        sent: constants that earlier batches left on the device.
    """

    device: Device
    graph: Graph
    node: Node
    params: Params
    operands: tuple[Value, ...]
    tables: Mapping[str, Array]
    sent: dict[str, Any]

    @property
    def single(self) -> bool:
        return self.params.law == "single"

    @property
    def half(self) -> bool:
        return self.params.law in half.LAWS

    @property
    def sums(self) -> bool:
        """Whether sums of products are halves, too."""
        return self.params.law == half.SUMS

    @property
    def vectors(self) -> int:
        return max(v.vectors for v in self.operands)

    def patterns(self, *tables: str) -> int:
        """Patterns of a result that is made of the operands and of some tables."""
        return max([v.patterns for v in self.operands] + [len(self.tables[t]) for t in tables if t in self.tables])

    def array(self, name: str) -> Array:
        """A table ``[P or 1, ...]``."""
        return self.tables[name] if name in self.tables else self.params.tables[name][None]

    def constant(self, name: str, make: Callable[[], Array]) -> Any:
        """An array on the device, made and sent once."""
        if name not in self.sent:
            self.sent[name] = self.device.send(make())
        return self.sent[name]

    def table(self, name: str) -> tuple[Any, int]:
        """A table on the device, and the elements from a pattern to the next."""
        array = self.array(name)
        return self.constant(name, lambda: array), array[0].size if len(array) > 1 else 0

    def stacked(self, *names: str) -> tuple[Any, int]:
        """Tables of one length as ``[P or 1, tables, length]``, and the elements from a pattern to the next. int8 become int32."""
        arrays = [self.array(n) for n in names]
        patterns = max(map(len, arrays))

        def make() -> Array:
            wide = np.stack([np.broadcast_to(a, (patterns, *a.shape[1:])) for a in arrays], axis=1)
            return wide.astype(np.int32) if wide.dtype.kind == "i" else wide

        return self.constant(" ".join(names), make), len(names) * arrays[0][0].size if patterns > 1 else 0

    def result(self, position: int = 0, *, patterns: int | None = None, vectors: int | None = None) -> Value:
        """Room for an output."""
        t = self.graph.type(self.node.outputs[position])
        p, v = self.patterns() if patterns is None else patterns, self.vectors if vectors is None else vectors
        return Value(self.device.empty((p, v, t.size), t.dtype.numpy))

    def limits(self) -> tuple[int, int]:
        """`act_min` and `act_max` of a step on halves; infinite ones limit nothing, not-a-number included."""
        low, high = self.params.act_min, self.params.act_max
        return (low if low > half.ORDER_MIN else -(2**31)), (high if high < half.ORDER_MAX else 2**31 - 1)


def unsupported(node: Node, what: str) -> EdgeqError:
    """The refusal of a step that has no kernel."""
    return EdgeqError(f"no GPU kernel computes {node.op.kind()} {what}", where=node.name, fix="leave --device out: the simulator does")
