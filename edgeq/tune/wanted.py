"""The goal of a search for storage formats within a budget, and how it predicts noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.journal import Journal
from edgeq.quantize.allocate import AIMS, ALLOCATORS, EXACT, Goal
from edgeq.quantize.plan import Options
from edgeq.quantize.sensitivity import MEASURES, USUAL, Probe, check_drop
from edgeq.quantize.storage import Unit


@dataclass(frozen=True, eq=False)
class Wanted:
    """A goal, and the ways to it.

    Attributes:
        options: of quantization.
        labels: of the calibration samples, int64 ``[V]``, where the goal has a `loss`.
        sensitivity: how the noise of units is predicted, one of `sensitivity.MEASURES`.
        allocate: how storages are chosen from that, one of `allocate.ALLOCATORS`.
    """

    goal: Goal
    options: Options | None = None
    labels: Array | None = None
    sensitivity: str = USUAL
    allocate: str = EXACT

    def check(self) -> None:
        """Refuse unknown names.

        Raises:
            EdgeqError: no such measure, method or aim; or the measure knows no limit of noise.
        """
        choices = (("sensitivity", self.sensitivity, MEASURES), ("allocation", self.allocate, ALLOCATORS), ("aim", self.goal.aim, AIMS))
        for what, name, known in choices:
            if name not in known:
                raise EdgeqError(f"unknown {what} '{name}'", fix=f"choose one of {', '.join(known)}")
        check_drop(self.sensitivity, self.goal.drop)

    def noise(self, kept: Journal, probe: Probe, unit: Unit, storage: str) -> Array:
        """A unit's predicted noise, shaped as `Probe.base`; measured once."""
        found = kept.once(f"noise {storage} {unit.name}", _measured, MEASURES[self.sensitivity], probe, unit, storage)
        return np.reshape([float.fromhex(x) for x in found], probe.base.shape)


def _measured(measure: Callable[[Probe, Unit, str], Array], probe: Probe, unit: Unit, storage: str) -> list[str]:
    """As JSON, which has no infinities."""
    return [x.hex() for x in np.asarray(measure(probe, unit, storage), np.float64).ravel().tolist()]
