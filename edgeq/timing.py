"""Cycle models of cores: what each event of an execution costs, from the [timing] tables of targets and boards.

The rules and figures of the Cortex-M models were fitted to public firmwares with throughput measured on boards (docs/timing.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeq.board import Board
from edgeq.errors import EdgeqError
from edgeq.record import pairs
from edgeq.target import Target

# What firmware/apps/trace.c counts, in its order.
EVENTS = (
    "instruction",  # executed
    "load",  # LDR that is not right behind an independent LDR
    "load_words",  # registers of LDM, POP and VLDM
    "load_double",  # LDRD
    "store_words",  # registers of STM, PUSH and VSTM
    "store_double",  # STRD
    "divide",
    "misaligned",  # accesses
    "taken",  # branches
    "data_miss",  # lines of flash read as data that were not in its cache
    "bank_switch",  # accesses to another SRAM than the one before
)


@dataclass(frozen=True)
class Timing:
    """A model of a core in a chip.

    Attributes:
        costs: cycles of each event (EVENTS).
        low, high: the true cycles lie between these multiples of the estimate.
    """

    costs: tuple[float, ...]
    low: float
    high: float

    @property
    def traced(self) -> bool:
        """Whether more than the number of instructions counts."""
        return any(self.costs[1:])

    def cost(self, event: str) -> float:
        """Cycles of an event."""
        return self.costs[EVENTS.index(event)]

    def cycles(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of counts ``[..., EVENTS]``."""
        return np.asarray(counts @ np.array(self.costs))


def timing(target: Target, place: Board) -> Timing | None:
    """The model of a target's core on its board; None where there is none.

    A [timing] table has a cost per event, `low` and `high`. `data_miss` is in waits: it is multiplied by the board's wait states and by
    its bursts per line. What was measured on the board (pairs.json in its folder) widens the bounds.

    Raises:
        EdgeqError: the table has an unknown entry, or no bounds; pairs.json is damaged.
    """
    table = target.data.get("timing")
    if not table:
        return None
    if unknown := set(table) - {*EVENTS, "low", "high"}:
        raise EdgeqError(f"[timing] has an unknown entry '{min(unknown)}'", where=str(target.file), fix=f"one of {', '.join(EVENTS)}")
    if not {"instruction", "low", "high"} <= set(table):
        raise EdgeqError("[timing] needs instruction, low and high", where=str(target.file), why="no figure without its bounds")
    waits = place.estimate.flash_waits * place.estimate.flash_bursts
    costs = tuple(float(table.get(e, 0)) * (waits if e == "data_miss" else 1) for e in EVENTS)
    ratios = [p.ratio for p in pairs.read(place.folder / pairs.NAME) if p.target == target.name]
    return Timing(costs, min([float(table["low"]), *ratios]), max([float(table["high"]), *ratios]))


def counted(counts: Mapping[str, int]) -> NDArray[np.float64]:
    """Events by name as a vector; what is not named did not happen."""
    return np.array([counts.get(e, 0) for e in EVENTS], np.float64)
