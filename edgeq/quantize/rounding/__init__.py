"""Roundings of a layer's weights: one file each, found by scan.

A rounding is a module with ``rounded(problem)``: the integers of a `LayerProblem`, ``[G, O, K]`` in float32 or float64, and the scales
``[G, O]`` that they are meant with, which most leave as they are. Its name is the file's. One that is quick where others are tried may
say so: ``QUICK``, its own name; nearest stands for the others there.

Raises of ``rounded``: `matrices.Singular` where the inputs' moments are singular; nearest takes over then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from edgeq.ir import Array
from edgeq.quantize.methods import Methods
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.weight_scales import Float

Rounded = tuple[Array, Float]
_METHODS = Methods(__name__, __path__, "rounded")
ROUNDINGS: Mapping[str, Callable[[LayerProblem], Rounded]] = _METHODS
NEAREST = "nearest"


def quick(rounding: str) -> str:
    """The rounding that stands for another where many graphs are tried."""
    return str(getattr(_METHODS.module(rounding), "QUICK", NEAREST))
