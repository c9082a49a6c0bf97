"""What verbs take by keyword: how a model is read, and how a float one is quantized."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from edgeq.api.models import Consts, Shapes, States, load, refuse
from edgeq.api.samples import Samples
from edgeq.ir import Graph
from edgeq.quantize.plan import Options


class Reading(TypedDict, total=False):
    """How a model file is read; keywords of all verbs that take one, see `edgeq.load`.

    shapes: shapes of inputs whose dimensions the file leaves open.
    const: values that inputs are bound to.
    states: inputs that are outputs of the inference before.
    signature: which of a .tflite file's signatures.
    """

    shapes: Shapes | None
    const: Consts | None
    states: States | None
    signature: str | None


class Choices(TypedDict, total=False):
    """How a float model is quantized; keywords of `quantize`, and of `build` and `accuracy`.

    recipe: ``int8`` (the default; needs calibration samples), ``fp16``: everything in half precision, no samples needed; ``mixed``:
        recurrent layers in int8, the rest in half precision; ``auto``: chosen node by node within a budget (see `Goal`);
        ``few-bits``: int8 with weights in 8, 6, 5, 4, 3 or 2 bits layer by layer, within a budget;
        ``robust``: int8 computation, with the storage code and the clipping of weights that stand bit errors at rate `p` best.
    accumulate: ``f16``: layers in half precision that can sum up in halves (recipes ``fp16`` and ``mixed``); ``f32`` is the default.
    calibration_limit: use at most N of them.
    stored: ``(scale, zero_point)``: integer samples mean ``scale * (q - zero_point)``.
    pixels: the values of black and white that the model expects of images and of uint8 samples.
    mean, std: per channel or for all, what those values are reduced by and divided by after that, as torchvision's ``Normalize`` does.
    classes: names of the classes in the model's order, where labels are the names of folders or of a column (default: sorted).
    options: method, law, rounding and more; the defaults measured best.
    precision: a precision.toml that somebody edited.
    sensitivity: of ``auto`` and ``few-bits``, how the noise of nodes is predicted.
    allocate: of ``auto`` and ``few-bits``, how storages are chosen by it.
    aim: of ``auto`` and ``few-bits``, what is made small within the budget: ``flash``, ``instructions``, ``latency`` or ``noise``.
    factors: ``keep`` or ``multiply``: what becomes of factors of the matrices of recurrent layers; by default what takes fewer
        multiplications, and with ``auto`` what makes the aim smaller.
    p: of ``robust``, the bit error rate.
    code: of ``robust``, the storage code to take instead of the best (`Code.parse`).
    loss: of ``robust``, what the outputs may lose of their spread under errors: the least energy within that is chosen.
    spectrum: ``float32`` (the default) or ``int16``: what the spectra of a float model that takes samples are computed in.
    unseen: measure also what outputs keep on samples that calibration has not seen: half of them calibrate once more, the others judge.
    """

    recipe: str | None
    accumulate: str | None
    calibration_limit: int | None
    stored: tuple[float, float] | None
    pixels: tuple[float, float] | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    classes: Sequence[str] | None
    options: Options | None
    precision: str | Path | None
    sensitivity: str | None
    allocate: str | None
    aim: str | None
    factors: str | None
    p: float | None
    code: str | None
    loss: float | None
    spectrum: str | None
    unseen: bool


class Recipe(Choices, Reading, total=False):
    """`Choices`, the samples themselves and how the model is read; keywords of `build` and `accuracy`.

    calibration: a path (.npz, .npy, a folder of samples or of images), ``"random"``, ``"data-free"`` (see
        `quantize.data_free`), arrays by input name, one array or tensor, or
        an iterable of samples or batches, a ``DataLoader`` for example (see `edgeq.api.samples.collect`).
    """

    calibration: Samples | None


def read(model: str | Path | Graph, options: Mapping[str, Any]) -> Graph:
    """A graph, or that of a file, read as those `options` of a verb say that are `Reading`.

    Raises:
        EdgeqError: see `edgeq.load`; or an option is for a file, and `model` is a graph.
    """
    reading = {n: options[n] for n in Reading.__annotations__ if n in options}
    if isinstance(model, Graph):
        refuse("a graph", reading)
        return model
    return load(model, **reading)
