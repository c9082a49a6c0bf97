"""What a user chooses about quantization."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq.errors import EdgeqError
from edgeq.formats.code import Code
from edgeq.numerics import LAWS
from edgeq.quantize.observers import METHODS
from edgeq.quantize.weights import LIMIT, SCALES, Grid

ROUNDINGS = ("nearest", "second-order", "truncate")


@dataclass(frozen=True)
class Options:
    """Choices for `calibrate` and `quantize`; the defaults are those that measured best (docs/quantization.md).

    Attributes:
        method: how activation ranges are chosen: ``minmax``, ``moving``, ``percentile``, ``mse``, ``kl``.
        weight_scale: ``max`` (the largest weight of the channel) or ``mse`` (least squared rounding error).
        rounding: ``nearest``; ``truncate``: toward zero; or ``second-order``: weights that reproduce the float layer's output on the
            calibration data.
        bias_correction: biases take up the mean error of each channel.
        equalize: channels of an activation are brought to similar ranges where the layers around it allow it exactly.
        law: the requantization law.
        code: how weights and biases are stored, None for plain arrays.
        clip: weights beyond this part of their channel's largest saturate.
        per_tensor: one scale for all channels of a layer.
        centre: activations are stored about their mean, so that a faulty weight meets small numbers.
        clamp: layers' outputs are cut to what they reach on the calibration data, so that a faulty weight cannot push them further.
    """

    method: str = "mse"
    weight_scale: str = "mse"
    rounding: str = "second-order"
    bias_correction: bool = True
    equalize: bool = True
    law: str = "single"
    code: Code | None = None
    clip: float = 1.0
    per_tensor: bool = False
    centre: bool = False
    clamp: bool = False

    @property
    def grid(self) -> Grid:
        """The integers that weights may become."""
        limit, asymmetric = (self.code.limit, self.code.asymmetric) if self.code else (LIMIT, False)
        return Grid(limit, self.clip, self.per_tensor, asymmetric)

    def __post_init__(self) -> None:
        if not 0 < self.clip <= 1:
            raise EdgeqError(f"weights clipped to {self.clip} of their range", fix="give 0 < clip <= 1")
        for key, value, allowed in (
            ("method", self.method, tuple(METHODS)),
            ("weight_scale", self.weight_scale, tuple(SCALES)),
            ("rounding", self.rounding, ROUNDINGS),
            ("law", self.law, LAWS),
        ):
            if value not in allowed:
                raise EdgeqError(f"unknown {key} '{value}'", fix=f"choose one of {', '.join(allowed)}")
