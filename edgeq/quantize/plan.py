"""What is decided about quantization: by the user for a whole graph, and for every tensor and every layer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.formats import Format, of_weights, parse
from edgeq.formats.code import Code
from edgeq.ir import DType
from edgeq.numerics import LAWS
from edgeq.quantize.grid import LIMIT, Grid, Scale
from edgeq.quantize.prepare import PREPARATIONS
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.refine import NONE, REFINEMENTS
from edgeq.quantize.rounding import NEAREST, ROUNDINGS
from edgeq.quantize.split import SPLITS
from edgeq.quantize.weight_scales import SCALES

USUAL, JOINT = "second-order", "ada-quant"  # roundings: by default, and of what a search stores in the fewest bits
FEW = 3  # the largest integer there: of three bits
INT8, ROWS = "int8", "int4"  # formats of layers' weights; what rows of a table may be instead


def _option(default: Any, help: str, choices: Iterable[str] = ()) -> Any:
    """A field of `Options` that a user chooses: the command line is made from it."""
    return field(default=default, metadata={"help": help, **({"choices": tuple(choices)} if choices else {})})


@dataclass(frozen=True)
class Options:
    """Choices for `calibrate` and `quantize`; the defaults are those that measured best (docs/quantization.md).

    Attributes:
        method: how activation ranges are chosen: a rule of `ranges`.
        weight_scale: how the scales of weights are: a rule of `weight_scales`.
        rounding: of weights: one of `rounding`.
        bias_correction: biases take up the mean error of each channel.
        split: how channels are split whose weights are outliers: one of `quantize.split`, or ``none``.
        refine: what is tuned again once all layers are rounded: one of `refine`, or ``none``.
        equalize: channels of an activation are brought to similar ranges where the layers around it allow it exactly.
        equalization: how the factors for that are chosen: one of `prepare`.
        law: the requantization law.
        weights: the storage format of weights: ``int8``, or one in fewer bits, such as ``int4``.
        keep_small: where that is in fewer bits, the smallest layers stay in int8.
        code: how weights and biases are stored, None for plain arrays.
        clip: weights beyond this part of their channel's largest saturate.
        per_tensor: one scale for all channels of a layer.
        centre: activations are stored about their mean, so that a faulty weight meets small numbers.
        clamp: layers' outputs are cut to what they reach on the calibration data, so that a faulty weight cannot push them further.
    """

    method: str = _option("mse", "How the ranges of activations are chosen", METHODS)
    weight_scale: str = _option("mse", "How the scales of weights are chosen", SCALES)
    rounding: str = _option(USUAL, "How weights are rounded", ROUNDINGS)
    bias_correction: bool = _option(True, "Correct the mean error of each channel in its bias")
    equalize: bool = _option(True, "Bring the channels of an activation to similar ranges first")
    equalization: str = _option("least-noise", "How the factors of equalization are chosen", PREPARATIONS)
    split: str = _option(NONE, "How channels read by outlier weights are split", (NONE, *SPLITS))
    refine: str = _option(NONE, "What is tuned again after all layers are rounded", (NONE, *REFINEMENTS))
    law: str = _option("single", "Rounding of requantization", LAWS)
    weights: str = _option("int8", "Storage format of weights, or just its number of bits", of_weights())
    keep_small: bool = _option(True, "With --weights below 8 bits, keep the smallest layers, 6 % of all weights, in int8")
    code: Code | None = None
    clip: float = 1.0
    per_tensor: bool = _option(False, "One scale for all channels of a layer's weights")
    centre: bool = False
    clamp: bool = _option(False, "Clamp the outputs of layers to the range seen in calibration, to limit the effect of bit errors")

    @property
    def grid(self) -> Grid:
        """The integers that weights may become."""
        limit, asymmetric = (self.code.limit, self.code.asymmetric) if self.code else (LIMIT, False)
        return Grid(limit, self.clip, self.per_tensor, asymmetric)

    @property
    def flags(self) -> list[str]:
        """What was chosen otherwise than by default, as the command line calls it."""
        given = {f.name: getattr(self, f.name) for f in fields(self) if "help" in f.metadata and getattr(self, f.name) != f.default}
        return [f"--{'no-' if value is False else ''}{name.replace('_', '-')}" for name, value in given.items()]

    def __post_init__(self) -> None:
        if not 0 < self.clip <= 1:
            raise EdgeqError(f"weights clipped to {self.clip} of their range", fix="give 0 < clip <= 1")
        if self.code and self.weights != "int8":
            raise EdgeqError(f"weights in {self.weights} and in storage code '{self.code}'", fix="choose one of them")
        for key, value, allowed in (
            ("method", self.method, tuple(METHODS)),
            ("weight_scale", self.weight_scale, tuple(SCALES)),
            ("rounding", self.rounding, tuple(ROUNDINGS)),
            ("equalization", self.equalization, tuple(PREPARATIONS)),
            ("splitting", self.split, (NONE, *SPLITS)),
            ("refinement", self.refine, (NONE, *REFINEMENTS)),
            ("law", self.law, LAWS),
            ("format of weights", self.weights, of_weights()),
        ):
            if value not in allowed:
                raise EdgeqError(f"unknown {key} '{value}'", fix=f"choose one of {', '.join(allowed)}")


@dataclass(frozen=True)
class TensorPrecision:
    """One activation: its scale (None: to be found by `method`), how it was found, exponents of its channels (may be empty)."""

    scale: Scale | None
    method: str = "edited"
    exponents: tuple[int, ...] = ()
    dtype: DType = DType.INT8


@dataclass(frozen=True)
class LayerPrecision:
    """How one layer's weights become integers; `weights` names their storage format, ``int8`` or one in few bits."""

    weight_scale: str
    rounding: str
    bias_correction: bool
    weights: str = "int8"

    @property
    def format(self) -> Format:
        return parse(self.weights)


def rows(options: Options) -> LayerPrecision:
    """How tables are stored of which an operator reads rows: in int4 where weights are, else in int8."""
    return LayerPrecision(options.weight_scale, NEAREST, False, ROWS if options.weights == ROWS else INT8)


@dataclass(frozen=True)
class Precision:
    """Decisions about a whole graph; `tensors` by activation name, `layers` by node name; either may be partial.

    Attributes:
        method: of calibration, for tensors that are left out.
        samples: how many samples were used (for the reader).
        nodes: node -> one of `STORAGES` or `SUMS`; empty: everything in int8.
        split: how the channels of the graph that all this is about were split, see `Options`.
    """

    model: str = ""
    law: str = "single"
    method: str = "mse"
    samples: int = 0
    tensors: Mapping[str, TensorPrecision] = field(default_factory=dict)
    layers: Mapping[str, LayerPrecision] = field(default_factory=dict)
    nodes: Mapping[str, str] = field(default_factory=dict)
    split: str = NONE


def with_weights(precision: Precision, weights: Mapping[str, str]) -> Precision:
    """The weights of layers in other formats. In three bits or two, layers that had the default rounding get `JOINT`, which fits scales to
    the integers, too.

    Args:
        weights: layer -> format; the others keep theirs.
    """
    layers = dict(precision.layers)
    for name in weights.keys() & layers.keys():
        layer = replace(layers[name], weights=weights[name])
        jointly = layer.rounding == USUAL and layer.format.levels[-1] <= FEW
        layers[name] = replace(layer, rounding=JOINT) if jointly else layer
    return replace(precision, layers=layers)
