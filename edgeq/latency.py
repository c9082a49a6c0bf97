"""Cycles as time and energy: what a board's clock and its data sheet make of them, with the bounds of the model that they are from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edgeq.board import Board
from edgeq.text import count


class Cycles(Protocol):
    """`edgeq.simulate.Cycles` and its record."""

    @property
    def total(self) -> int: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Latency:
    """One inference.

    Attributes:
        low, high: the true figures lie between these multiples.
        ms: at the board's clock; None where it is not known.
        microjoules: by the data sheet's current at that clock; None where it is not known.
        megahertz: of the board's clock.
    """

    cycles: int
    low: float
    high: float
    megahertz: float | None = None
    ms: float | None = None
    microjoules: float | None = None

    @property
    def bar(self) -> str:
        """The bounds for people."""
        down, up = round(100 * (1 - self.low), 1), round(100 * (self.high - 1), 1)
        return f"±{up:g} %" if down == up else f"-{down:g} to +{up:g} %"

    def __str__(self) -> str:
        time = f", {self.ms:.3g} ms at {self.megahertz:g} MHz" if self.ms is not None else ""
        energy = f", {self.microjoules:.3g} µJ" if self.microjoules is not None else ""
        return f"{count(self.cycles)}{time}{energy} ({self.bar})"


def latency(cycles: Cycles, place: Board | None) -> Latency:
    """What cycles are on a board; None: on one that nobody knows."""
    plain = Latency(cycles.total, cycles.low, cycles.high)
    if place is None or place.estimate.clock is None:
        return plain
    clock, power = place.estimate.clock, place.estimate.milliwatts
    ms = 1000 * cycles.total / clock
    return Latency(cycles.total, cycles.low, cycles.high, clock / 1e6, ms, None if power is None else ms * power)
