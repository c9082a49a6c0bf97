"""How much noise a unit brings to the outputs in some storage: one measure, one file, found by scan.

A measure is a module with ``noise(probe, unit, storage)``: noise over signal, float64, as `Probe.base` has it and beyond that. Noises of
units are taken to add up.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from edgeq.ir import Array, Graph
from edgeq.quantize.methods import Methods
from edgeq.quantize.storage import Storage, Unit

USUAL = "output-noise"


@dataclass(frozen=True, eq=False)
class Probe:
    """A float graph and what can be asked about it.

    Attributes:
        samples: ``[V, *shape]`` by input.
        half: node -> half precision, as far as it has that.
        base: noise over signal of every output (of every part of the samples that judges), in `half`.
        measure: the same of any storage: quantizes and simulates, which takes seconds.
    """

    graph: Graph
    samples: Mapping[str, Array]
    half: Storage
    base: Array
    measure: Callable[[Storage], Array]


MEASURES: Mapping[str, Callable[[Probe, Unit, str], Array]] = Methods(__name__, __path__, "noise")
