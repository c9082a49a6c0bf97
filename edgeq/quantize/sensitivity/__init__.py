"""How much noise a unit brings to the outputs in some storage: one measure, one file, found by scan.

A measure is a module with ``noise(probe, unit, storage)``: noise over signal, float64, as `Probe.base` has it and beyond that. Noises of
units are taken to add up. A measure that only ranks units gives numbers that are no noise, and says so: ``RANKS = True``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node
from edgeq.quantize.grid import LIMIT, Grid
from edgeq.quantize.methods import Methods
from edgeq.quantize.storage import INPUTS, INT8, INT16, WEIGHTS, Storage, Unit
from edgeq.quantize.weight_scales import mse, within

USUAL = "output-noise"
Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Probe:
    """A float graph and what can be asked about it.

    Attributes:
        samples: ``[V, *shape]`` by input.
        usual: node -> what it is stored in while others are asked about: half precision as far as it has that, or weights in 8 bits.
        base: noise over signal of every output (of every part of the samples that judges), in `usual`.
        measure: the same of any storage: quantizes and simulates, which takes seconds.
        limits: storage -> the largest integer of its weights; those of other storages are not rounded.
    """

    graph: Graph
    samples: Mapping[str, Array]
    usual: Storage
    base: Array
    measure: Callable[[Storage], Array]
    limits: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys((INT8, WEIGHTS, INPUTS, INT16), LIMIT))
    _known: dict[Any, Any] = field(default_factory=dict)

    def once(self, key: Any, make: Callable[[], Kept]) -> Kept:
        """What is computed the first time that it is asked for."""
        if key not in self._known:
            self._known[key] = make()
        found: Kept = self._known[key]
        return found

    def weights(self, unit: Unit) -> Iterator[tuple[Node, int, Array]]:
        """The weights of a unit's layers: node, position among its inputs, float64 with output channels first."""
        for node in unit.nodes:
            for position in node.op.traits.weights:
                data = self.graph.tensors[node.inputs[position]].data
                if data is not None:
                    yield node, position, np.moveaxis(data.astype(np.float64), _axis(node), 0)

    def rounded(self, node: Node, w: Array, storage: str) -> Array:
        """Weights ``[O, ...]`` to nearest as the storage has them, a scale per output channel; unchanged where it does not round them."""
        limit = self.limits.get(storage)
        if limit is None:
            return w
        rows, bounds = w.reshape(len(w), -1), Grid(limit).bounds(w)
        scales = np.maximum(mse.scales(rows, bounds), 1e-30)[:, None]
        return (within(np.rint(rows / scales), bounds) * scales).reshape(w.shape)

    def error(self, node: Node, w: Array, storage: str) -> float:
        """The square error that rounding adds to a layer's weights, beyond that of `usual`."""
        squares = [float(((self.rounded(node, w, s) - w) ** 2).sum()) for s in (storage, self.usual[node.name])]
        return max(0.0, squares[0] - squares[1])

    def step(self, node: Node, storage: str) -> float:
        """What the square of a step of the storage's grid adds, over that of the largest weight, beyond that of `usual`."""
        usual = self.limits.get(self.usual[node.name])
        return float(self.limits[storage] ** -2.0 - (0.0 if usual is None else usual**-2.0))

    def alike(self, noise: float) -> Array:
        """One number for all outputs and parts."""
        return np.full_like(self.base, noise)


def _axis(node: Node) -> int:
    return node.op.traits.linear.axis if node.op.traits.linear else 0


def back(node: Node, w: Array) -> Array:
    """Weights with output channels first as the layer takes them, float32."""
    return np.moveaxis(w, 0, _axis(node)).astype(np.float32)


_METHODS = Methods(__name__, __path__, "noise")
MEASURES: Mapping[str, Callable[[Probe, Unit, str], Array]] = _METHODS


def check_drop(name: str, drop: float | None) -> None:
    """Refuse a limit of noise beside a measure that knows ranks alone.

    Args:
        name: of a measure.
        drop: dB, None without a limit.

    Raises:
        EdgeqError: likewise.
    """
    if drop is not None and getattr(_METHODS.module(name), "RANKS", False):
        fix = "limit flash alone (--aim noise --budget flash=...) or lost answers (--budget drop=1%), or choose another sensitivity"
        raise EdgeqError(f"sensitivity {name} takes no drop in dB", why="it ranks layers and does not predict noise", fix=fix)
