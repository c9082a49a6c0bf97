"""By which factors channels of activations are scaled before a float graph is quantized: one method, one file, found by scan.

A method is a module with ``exponents(work)``: per tensor that may be scaled the exponents e ``[C]`` of the factors ``2^(e / 4)`` that its
channels are divided by, int64, none above 0; tensors of one group get the same, and those that stay as they are may be left out. The
graph computes what it did before, whatever they are (`channels.apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgeq.ir import Graph
from edgeq.quantize.channels import Group, scalable
from edgeq.quantize.methods import Methods
from edgeq.quantize.statistics import Channels


@dataclass(frozen=True, eq=False)
class Work:
    """A float graph, and what calibration saw.

    Attributes:
        seen: histograms of every activation's channels.
        samples: how many they were made of.
    """

    graph: Graph
    seen: Mapping[str, Channels]
    samples: int

    @cached_property
    def groups(self) -> list[Group]:
        """What may be scaled: tensors whose channels have the same factors, with the layers that make and read them."""
        return scalable(self.graph)


PREPARATIONS: Mapping[str, Callable[[Work], Mapping[str, NDArray[np.int64]]]] = Methods(__name__, __path__, "exponents")
