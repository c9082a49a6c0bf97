"""A hard budget of bits without a hyper-parameter that weighs it against the loss: CGMQ (Van Baelen and Karsmakers, 2024).

Every layer has a gate whose whole part is its bits. While the network is above the budget all gates fall, those of layers that matter
least fastest; within the budget they rise, those of layers that matter most fastest. The importance of a layer is the mean of
``|gradient * weight|``, relative to the other layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from edgeq.errors import EdgeqError
from edgeq.train.lsq import BITS, Layer

EVERY = 10  # steps between two movements of the gates
RATE = 0.5  # bits that a gate of middling importance moves
SPREAD = 4.0  # importance beyond this part or multiple of the mean counts as that
SETTLED = 0.6  # of the steps, after which bits stay as they are
TINY = 1e-30


@dataclass(eq=False)
class Budget:
    """A control of `lsq`: at the end the weights take at most `bits` bits each on average, over all layers.

    Attributes:
        bits: 2 to 8.
        seen: the importance of each layer since the gates last moved, by name. gates: of each layer, by name.
    """

    bits: float
    seen: dict[str, float] = field(default_factory=dict)
    gates: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not BITS[0] <= self.bits <= BITS[-1]:
            raise EdgeqError(f"a budget of {self.bits} bits per weight", fix=f"give {BITS[0]} to {BITS[-1]}")

    def __call__(self, layers: Sequence[Layer], parts: Sequence[Tensor], step: int, steps: int) -> None:
        """See `edgeq.train.lsq.Control`."""
        for x in layers:
            gradient = torch.zeros(()) if x.real.grad is None else x.real.grad
            self.seen[x.name] = self.seen.get(x.name, 0.0) + float((gradient * x.real.detach()).abs().mean())
            self.gates.setdefault(x.name, float(x.weight.bits))
        last = step + 1 >= SETTLED * steps
        if (last and self._within(layers)) or (not last and (step + 1) % EVERY):
            return
        self._move(layers)
        while last and not self._within(layers):
            self._move(layers)
        self.seen.clear()

    def _within(self, layers: Sequence[Layer]) -> bool:
        return sum(x.weight.bits * x.real.numel() for x in layers) <= self.bits * sum(x.real.numel() for x in layers)

    def _move(self, layers: Sequence[Layer]) -> None:
        within, mean = self._within(layers), sum(self.seen.values()) / len(layers)
        for x in layers:
            matters = min(max(self.seen[x.name] / max(mean, TINY), 1 / SPREAD), SPREAD)
            moved = self.gates[x.name] + (RATE * matters if within else -RATE / matters)
            self.gates[x.name] = min(max(moved, float(BITS[0])), BITS[-1] + 0.99)
            if int(self.gates[x.name]) != x.weight.bits:
                x.weight.narrow(int(self.gates[x.name]), x.real.detach())
