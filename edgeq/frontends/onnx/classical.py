"""The operators of ai.onnx.ml that are small networks: linear models, scalings, and how scikit-learn's exporter names classes."""

from __future__ import annotations

import logging

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.indexing import first, gather_computed
from edgeq.frontends.onnx.linear import dense, scalar
from edgeq.frontends.onnx.registry import reads
from edgeq.frontends.onnx.values import Constant, Value, whole
from edgeq.ir import Array, Tensor
from edgeq.ops.activations import Sigmoid
from edgeq.ops.add import Sub
from edgeq.ops.extremum import Maximum
from edgeq.ops.gather import Gather
from edgeq.ops.logic import Step
from edgeq.ops.mathematics import Abs, Reciprocal, Rsqrt, Square
from edgeq.ops.mul import Mul
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.reduce_sum import ReduceSum
from edgeq.ops.softmax import Softmax

LOG = logging.getLogger("edgeq")
ML = "ai.onnx.ml"
LEAST = 1e-30  # of a norm, so that a row of zeros stays one


def _matrix(call: Call) -> Tensor:
    """The first input as rows ``[N, K]``."""
    x = call.x()
    if len(x.type.shape) not in (1, 2):
        raise EdgeqError(f"{call.kind} of an input of rank {len(x.type.shape)}", why="1 or 2 is expected")
    return call.reshape(x, (x.type.size // x.type.shape[-1], x.type.shape[-1]), "rows")


def _row(call: Call, name: str, width: int, default: float) -> Array:
    """A list attribute with an entry for each column, or one for all."""
    values = np.array(call.numbers(name) or [default], np.float32)
    if len(values) not in (1, width):
        raise EdgeqError(f"attribute '{name}' of {call.kind} has {len(values)} entries for {width} columns", why=DAMAGED)
    return np.broadcast_to(values, width).copy()


@reads("Scaler", domain=ML)
def scaler(call: Call) -> Tensor:
    """(x - offset) * scale."""
    x = call.x()
    width = x.type.shape[-1] if x.type.shape else 1
    rows = {n: _row(call, n, width, default) for n, default in (("offset", 0.0), ("scale", 1.0))}
    offset, scale = (call.builder.constant(call.builder.fresh(f"{call.output}.{n}"), row) for n, row in rows.items())
    return call.emit(Mul(), *call.same_rank(call.emit(Sub(), *call.same_rank(x, offset), tag="centred"), scale))


@reads("Imputer", domain=ML)
def imputer(call: Call) -> Tensor:
    """Nothing: activations are numbers, none is missing.

    Raises:
        EdgeqError: a number stands for a missing one.
    """
    if call.has("replaced_value_int64") or not call.is_nan("replaced_value_float"):
        raise EdgeqError("Imputer of a number is not supported", why="NaN is what it may replace", fix="replace it before the model")
    for name in ("imputed_value_floats", "imputed_value_int64s"):
        call.has(name)
    LOG.warning("missing numbers (NaN) have no place in the model's input: replace them before it, as its Imputer did")
    return call.x()


@reads("Binarizer", domain=ML)
def binarizer(call: Call) -> Tensor:
    """1 above a threshold, else 0."""
    x = call.x()
    threshold = scalar(call, call.number("threshold", 0.0), len(x.type.shape))
    return call.emit(Step(0.0), call.emit(Sub(), x, threshold, tag="above"))


def _scores(call: Call, rows: int) -> Tensor:
    x = _matrix(call)
    weights, bias = np.array(call.numbers("coefficients"), np.float32), np.array(call.numbers("intercepts"), np.float32)
    if weights.size != rows * x.type.shape[-1] or bias.size not in (0, rows):
        why = f"{weights.size} coefficients, {bias.size} intercepts for {x.type}"
        raise EdgeqError(f"{call.kind} does not fit its input", why=why)
    w = Constant(f"{call.output}.coefficients", weights.reshape(rows, -1))
    return dense(call, x, w, bias if bias.size else None, f"{call.output}.intercepts")


def _transformed(call: Call, y: Tensor) -> Tensor:
    kind = call.choice("post_transform", "NONE", ("NONE", "SOFTMAX", "LOGISTIC"))
    if kind == "NONE":
        return y
    return call.emit(Softmax() if kind == "SOFTMAX" else Sigmoid(), y, tag="transformed")


@reads("LinearRegressor", domain=ML)
def linear_regressor(call: Call) -> Tensor:
    return _transformed(call, _scores(call, call.integer("targets", 1)))


@reads("LinearClassifier", domain=ML)
def linear_classifier(call: Call) -> list[Value | None]:
    """The label, then a score for each class.

    Raises:
        EdgeqError: its classes are not integers from 0 on, or its two classes share one row of coefficients.
    """
    labels = call.integers("classlabels_ints", ()) or ()
    call.integer("multi_class", 0)  # how it was trained
    names = call.texts("classlabels_strings")
    intercepts = len(call.numbers("intercepts"))
    rows = intercepts or len(labels) or len(names)
    if rows == 1:
        raise EdgeqError("LinearClassifier with one row of coefficients is not supported", fix="export it with a row for each class")
    scores = _scores(call, rows)
    place = call.reshape(first(call, scores, 1, False, False), (scores.type.shape[0],), "label")
    y = _transformed(call, scores)
    return [_label(call, place, labels, names), y]


def _label(call: Call, place: Tensor, labels: tuple[int, ...], names: list[str]) -> Tensor:
    """The class's own number; its place where classes have names, which are no numbers."""
    if names or labels == tuple(range(len(labels))):
        return whole(place)
    other = call.with_values([Constant(f"{call.output}.labels", np.array(labels, np.int64)), place], "Gather")
    return whole(gather_computed(other))


@reads("Normalizer", domain=ML)
def normalizer(call: Call) -> Tensor:
    """Rows divided by their largest element, their sum of magnitudes, or their length."""
    x = _matrix(call)
    kind = call.choice("norm", "MAX", ("MAX", "L1", "L2"))
    if kind == "MAX":
        total = call.emit(ReduceMax((1,), True), x, tag="norm")
    else:
        parts = call.emit(Abs() if kind == "L1" else Square(), x, tag="parts")
        total = call.emit(ReduceSum((1,), True), parts, tag="norm")
    if kind != "MAX":
        least = call.builder.constant(call.builder.fresh(f"{call.output}.least"), np.full((1, 1), LEAST, np.float32))
        total = call.emit(Maximum(), total, least, tag="limited")
    return call.emit(Mul(), x, call.emit(Rsqrt() if kind == "L2" else Reciprocal(), total, tag="inverse"))


@reads("ArrayFeatureExtractor", domain=ML)
def array_feature_extractor(call: Call) -> Value:
    """Columns by their numbers, as classes by the place of the largest score."""
    source, indices = call.required(0), call.required(1)
    count = indices.type.size if isinstance(indices, Tensor) else indices.array.size
    if isinstance(source, Tensor):
        if isinstance(indices, Tensor):
            raise EdgeqError("ArrayFeatureExtractor of computed values by computed numbers is not supported")
        return _columns(call, source, indices.array)
    array = source.array.reshape(-1) if source.array.ndim < 2 or source.array.size == source.array.shape[-1] else None
    if array is None or not isinstance(indices, Tensor):
        raise EdgeqError("ArrayFeatureExtractor of a constant matrix is not supported")
    place = call.reshape(indices, (1, count), "places")
    if array.dtype.kind in "iu" and np.array_equal(array, np.arange(array.size)):
        return whole(place)
    found = gather_computed(call.with_values([Constant(source.name, array), place], "Gather"))
    return whole(found) if array.dtype.kind in "iu" else found


def _columns(call: Call, x: Tensor, numbers: Array) -> Tensor:
    last = len(x.type.shape) - 1
    flat = tuple(int(n) for n in numbers.ravel())
    return call.emit(Gather(flat, (len(flat),), last), x)


@reads("ZipMap", domain=ML)
def zip_map(call: Call) -> Tensor:
    """A map for each row from classes to probabilities: its values, in the order of the classes."""
    call.integers("classlabels_int64s", ())
    call.texts("classlabels_strings")
    return call.x()
