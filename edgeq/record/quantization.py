"""What the ``quantization`` section of measurements.json must be for what is read of it: it may come from anybody, as all of the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from msgspec import Meta

from edgeq.record.values import Count

Cost = Annotated[float, Meta(ge=0, le=2.0**63)]
Decibels = Annotated[float, Meta(ge=-1e6, le=1e6)]
Counts = Annotated[tuple[Count, ...], Meta(min_length=1, max_length=1024)]


@dataclass(frozen=True)
class HistogramRecord:
    """Of a tensor's float values, and of the stored ones, over the same bins."""

    ends: tuple[float, float]
    real: Counts
    stored: Counts


@dataclass(frozen=True)
class TensorRecord:
    """How a tensor fares, see `quantize.TensorStats`."""

    name: str
    sqnr_db: Decibels
    own_sqnr_db: Decibels
    saturated: float
    cause: str
    fix: str
    low: float | None = None
    high: float | None = None
    histogram: HistogramRecord | None = None

    def __post_init__(self) -> None:
        """Raises ValueError where one end of what was seen is missing."""
        if (self.low is None) != (self.high is None):
            raise ValueError(f"'{self.name}' has one end")


@dataclass(frozen=True)
class UnseenRecord:
    """What outputs keep on samples that did not calibrate."""

    calibrated: Count
    judged: Count
    sqnr_db: Decibels


@dataclass(frozen=True)
class ChoiceRecord:
    """A choice of storages, and what it costs."""

    flash: Cost
    instructions: Cost
    sqnr_db: Decibels
    storage: dict[str, str]
    chosen: bool


@dataclass(frozen=True)
class NodeRecord:
    """What a node is computed in, and what it costs in each storage."""

    name: str
    storage: str
    roles: str
    flash: dict[str, Cost]
    instructions: dict[str, Cost]
    sqnr_db: dict[str, Decibels | None]

    def __post_init__(self) -> None:
        """Raises ValueError where the costs of its own storage are missing."""
        if not all(self.storage in costs for costs in (self.flash, self.instructions, self.sqnr_db)):
            raise ValueError(f"nothing says what '{self.name}' costs in {self.storage}")


@dataclass(frozen=True)
class AllocationRecord:
    """What a recipe with a budget chose from."""

    costs: str
    sqnr_db: Decibels
    pareto: Annotated[tuple[ChoiceRecord, ...], Meta(min_length=1)]
    nodes: tuple[NodeRecord, ...]
    usual: str = ""
    loss: float | None = None


@dataclass(frozen=True)
class QuantizationRecord:
    """The section; what else is in it is read by nobody."""

    options: dict[str, str] = field(default_factory=dict)
    samples: Count = 0
    tensors: tuple[TensorRecord, ...] = ()
    advice: str = ""
    unseen: UnseenRecord | None = None
    allocation: AllocationRecord | None = None
