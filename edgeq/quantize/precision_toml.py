"""precision.toml: what every tensor is stored as, to be reviewed, edited and fed back."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeq import formats
from edgeq.errors import EdgeqError
from edgeq.files import parse_toml
from edgeq.ir import DType, Graph
from edgeq.numerics import LAWS
from edgeq.ops.recurrent import WIDE
from edgeq.quantize.cells import cell_dtype, cell_scale
from edgeq.quantize.constraints import cells, indices
from edgeq.quantize.grid import Scale
from edgeq.quantize.plan import LayerPrecision, Precision, TensorPrecision
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.refine import NONE
from edgeq.quantize.rounding import ROUNDINGS
from edgeq.quantize.scales import affine, span
from edgeq.quantize.split import SPLITS
from edgeq.quantize.storage import STORAGES, SUMS
from edgeq.quantize.weight_scales import SCALES

FORMAT = 1
DTYPES = {"int8": DType.INT8, "int16": DType.INT16, "int32": DType.INT32}
MAX_EXPONENT = 32
CELLS = "int16 with a scale of 2^-15 to 1, or int32 with 2^-16: a cell state"
# how a scale came about, beside the methods: by the operator, by the model's file, by the data's own steps, by hand
FIXED = ("fixed", "given", "grid", "edited")
HEADER = f"""\
# What every tensor of the model is stored as. Edit and feed it back: edgeq ... --precision precision.toml
#   real = scale * (q - zero_point), q in -128 ... 127; range is what follows from the two.
#   To change a tensor give scale and zero_point, or a range alone, or a method alone ({", ".join(METHODS)}).
#   equalize: channel c is stored divided by 2^(equalize[c] / 4); the layers around it make up for it exactly.
#   A tensor or layer that is left out is decided again; a node that is left out of [nodes] stays what the recipe gives it (int8
#   without --recipe). With [nodes] the inputs and outputs of the model are float16.
#   weights of a layer: int8, or a format in fewer bits, such as int4, that takes less flash.
#   [nodes], where there is more than int8: what a node is computed in: int8; float16 (sums in float32); float16-sums (sums in float16,
#   too); w8a16 (int8 weights, float16 inputs and outputs). The scale of a tensor is what it has wherever it is stored in int8.
"""


def quoted(text: str) -> str:
    """A TOML basic string."""
    return json.dumps(text, ensure_ascii=True).replace("\\/", "/")


def _number(x: float) -> str:
    text = repr(float(x))
    return text if any(c in text for c in ".en") else text + ".0"


def format_precision(
    p: Precision, seen: Mapping[str, tuple[float, float]] | None = None, shapes: Mapping[str, str] | None = None,
    weights: Mapping[str, str] | None = None,
) -> str:  # fmt: skip
    """The text of precision.toml.

    Args:
        seen: extremes over the calibration data, for the comments.
        shapes: types of the tensors and roles of the nodes, for the comments.
        weights: kinds of the layers, likewise.
    """
    notes, extremes, kinds = shapes or {}, seen or {}, weights or {}
    lines = [HEADER, f"format = {FORMAT}", f"model = {quoted(p.model)}", f"law = {quoted(p.law)}"]
    lines += [*([] if p.split == NONE else [f"split = {quoted(p.split)}"]), ""]
    lines += ["[calibration]", f"method = {quoted(p.method)}", f"samples = {p.samples}", ""]
    if p.nodes:
        lines += ["[nodes]"]
        lines += [f"{quoted(name)} = {quoted(kind)}" + (f"  # {notes[name]}" if name in notes else "") for name, kind in p.nodes.items()]
        lines += [""]
    for name, t in p.tensors.items():
        assert t.scale is not None
        low, high = span(t.scale, t.dtype)
        note = f"seen {extremes[name][0]:.6g} ... {extremes[name][1]:.6g}" if name in extremes else ""
        lines += [f"[tensors.{quoted(name)}]" + (f"  # {notes[name]}" if name in notes else ""), f'dtype = "{t.dtype.numpy}"']
        lines += [f"range = [{_number(low)}, {_number(high)}]" + (f"  # {note}" if note else "")]
        lines += [f"scale = {_number(t.scale[0])}", f"zero_point = {t.scale[1]}", f"method = {quoted(t.method)}"]
        if t.exponents:
            lines += [f"equalize = [{', '.join(map(str, t.exponents))}]"]
        lines += [""]
    for name, layer in p.layers.items():
        lines += [f"[layers.{quoted(name)}]" + (f"  # {kinds[name]}" if name in kinds else ""), f"weights = {quoted(layer.weights)}"]
        lines += [f"weight_scale = {quoted(layer.weight_scale)}", f"rounding = {quoted(layer.rounding)}"]
        lines += [f"bias_correction = {'true' if layer.bias_correction else 'false'}", ""]
    return "\n".join(lines)


class _Reader:
    """Checks the parsed file and turns it into a `Precision`; errors name the line and the key."""

    def __init__(self, text: str, where: str) -> None:
        self.text, self.where = text, where

    def fail(self, what: str, path: tuple[str, ...], why: str = "", fix: str = "") -> EdgeqError:
        line = self.line(path)
        return EdgeqError(what, where=f"{self.where}:{line}" if line else self.where, why=why or f"key {'.'.join(path)}", fix=fix)

    def line(self, path: tuple[str, ...]) -> int:
        """The line of a key, or of the table that holds it; 0 where it is not found."""
        found, table = 0, ""
        for number, line in enumerate(self.text.splitlines(), 1):
            header = re.match(r"\s*\[(.*?)\]\s*(#.*)?$", line)
            if header:
                table = header[1].strip()
                names = _path(table)
                if names == path:
                    return number
                if names and names == path[:-1]:
                    found = number
            elif re.match(rf'\s*"?{re.escape(path[-1])}"?\s*=', line) and _path(table) == path[:-1]:
                return number
        return found

    def table(self, value: Any, path: tuple[str, ...], keys: tuple[str, ...]) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise self.fail("a table is expected", path)
        for key in value:
            if key not in keys:
                raise self.fail(f"unknown key '{key}'", (*path, key), ".".join((*path, key)), f"keys are {', '.join(keys)}")
        return value

    def choice(self, table: Mapping[str, Any], path: tuple[str, ...], key: str, allowed: tuple[str, ...], default: str) -> str:
        value = table.get(key, default)
        if value not in allowed:
            raise self.fail(f"{key} is {value!r}", (*path, key), f"key {'.'.join((*path, key))}", f"choose one of {', '.join(allowed)}")
        return str(value)

    def number(self, value: Any, path: tuple[str, ...]) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise self.fail(f"{path[-1]} is {value!r}, a finite number is expected", path)
        return float(value)

    def integer(self, value: Any, path: tuple[str, ...], low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.fail(f"{path[-1]} is {value!r}, a whole number from {low} to {high} is expected", path)
        return value

    def read(self, data: dict[str, Any]) -> Precision:
        self.table(data, (), ("format", "model", "law", "split", "calibration", "nodes", "tensors", "layers"))
        if data.get("format") != FORMAT:
            raise self.fail(f"format is {data.get('format')!r}", ("format",), fix=f"this edgeq reads format = {FORMAT}")
        model = data.get("model", "")
        if not isinstance(model, str):
            raise self.fail("model is not a string", ("model",))
        calibration = self.table(data.get("calibration", {}), ("calibration",), ("method", "samples"))
        tensors, layers, nodes = (data.get(key, {}) for key in ("tensors", "layers", "nodes"))
        for value, name in ((tensors, "tensors"), (layers, "layers"), (nodes, "nodes")):
            if not isinstance(value, dict):
                raise self.fail("a table is expected", (name,))
        return Precision(
            model,
            self.choice(data, (), "law", LAWS, "single"),
            self.choice(calibration, ("calibration",), "method", tuple(METHODS), "mse"),
            self.integer(calibration.get("samples", 0), ("calibration", "samples"), 0, 2**62),
            {n: self.tensor(v, ("tensors", n)) for n, v in tensors.items()},
            {n: self.layer(v, ("layers", n)) for n, v in layers.items()},
            {n: self.choice(nodes, ("nodes",), n, (*STORAGES, SUMS), "") for n in nodes},
            self.choice(data, (), "split", (NONE, *SPLITS), NONE),
        )

    def tensor(self, value: Any, path: tuple[str, ...]) -> TensorPrecision:
        table = self.table(value, path, ("dtype", "range", "scale", "zero_point", "method", "equalize"))
        dtype = DTYPES[self.choice(table, path, "dtype", tuple(DTYPES), "int8")]
        method = self.choice(table, path, "method", (*METHODS, *FIXED), "edited")
        exponents = table.get("equalize", [])
        if not isinstance(exponents, list):
            raise self.fail("equalize is not a list", (*path, "equalize"))
        whole = tuple(self.integer(e, (*path, "equalize"), -MAX_EXPONENT, MAX_EXPONENT) for e in exponents)
        scale = self.scale(table, path, dtype)
        if scale is None and method not in METHODS:
            raise self.fail("neither scale and zero_point, nor range, nor a method", path)
        return TensorPrecision(scale, method, whole, dtype)

    def scale(self, table: Mapping[str, Any], path: tuple[str, ...], dtype: DType) -> Scale | None:
        """From scale and zero_point, or from a range; both must agree."""
        ends = None
        if "range" in table:
            ends = table["range"]
            if not isinstance(ends, list) or len(ends) != 2:
                raise self.fail("range is not [low, high]", (*path, "range"))
            low, high = (self.number(v, (*path, "range")) for v in ends)
            if not low < high:
                raise self.fail(f"range [{low:g}, {high:g}] is empty", (*path, "range"))
        if ("scale" in table) != ("zero_point" in table):
            raise self.fail("scale and zero_point belong together", path, fix="give both, or a range alone")
        if "scale" not in table:
            if dtype is DType.INT32:
                return 2.0**-WIDE, 0
            return None if not ends else (cell_scale(max(-low, high)), 0) if dtype is DType.INT16 else affine(low, high)
        scale = self.number(table["scale"], (*path, "scale"))
        if not 1e-30 < scale < 1e30:
            raise self.fail(f"scale is {scale:g}", (*path, "scale"), fix="give a positive number")
        found = float(np.float32(scale)), self.integer(table["zero_point"], (*path, "zero_point"), -128, 127)
        if dtype is not DType.INT8 and found[1]:
            raise self.fail(f"{dtype.numpy} with zero point {found[1]}", (*path, "zero_point"), fix="it is 0 there")
        if ends and max(abs(a - b) for a, b in zip(span(found, dtype), (low, high), strict=True)) > found[0] / 100:
            expected = "[{:g}, {:g}]".format(*span(found, dtype))
            raise self.fail(
                "range and scale contradict each other", (*path, "range"), f"scale and zero_point of {'.'.join(path)} give {expected}",
                "delete the range, or scale and zero_point",
            )  # fmt: skip
        return found

    def layer(self, value: Any, path: tuple[str, ...]) -> LayerPrecision:
        table = self.table(value, path, ("weights", "weight_scale", "rounding", "bias_correction"))
        weights = self.choice(table, path, "weights", formats.of_weights(), "int8")
        correction = table.get("bias_correction", True)
        if not isinstance(correction, bool):
            raise self.fail("bias_correction is not true or false", (*path, "bias_correction"))
        scale = self.choice(table, path, "weight_scale", tuple(SCALES), "max")
        return LayerPrecision(scale, self.choice(table, path, "rounding", tuple(ROUNDINGS), "nearest"), correction, weights)


def _path(table: str) -> tuple[str, ...]:
    """The names in a table header."""
    try:
        value: Any = tomllib.loads(f"[{table}]") if table else {}
    except tomllib.TOMLDecodeError:  # not a header after all, a line of some longer value
        return ()
    names = []
    while isinstance(value, dict) and len(value) == 1:
        ((name, value),) = value.items()
        names.append(name)
    return tuple(names)


def _fits(t: TensorPrecision, cell: bool) -> bool:
    """Whether a tensor may be stored so."""
    if not cell or t.scale is None:
        return t.dtype is not DType.INT32
    power = math.frexp(t.scale[0])[0] == 0.5 and (2.0**-15 <= t.scale[0] <= 1 or t.dtype is DType.INT32)
    return t.dtype is cell_dtype(t.scale[0]) and power


def split_in(text: str) -> str:
    """How a precision file says that channels are split, before anything else of it is read; of what is none, that they are not."""
    try:
        found = parse_toml(text).get("split", NONE)
    except ValueError:
        return NONE
    return found if isinstance(found, str) and found in SPLITS else NONE


def read_precision(text: str, graph: Graph, where: str = "precision.toml") -> Precision:
    """Read and check a precision file for a float graph.

    Args:
        text: the file's content.
        graph: the float graph that it is for.
        where: the file's name, for errors.

    Raises:
        EdgeqError: not TOML, an unknown tensor, layer or key, or a value out of range; the message names line and key.
    """
    try:
        data = parse_toml(text)
    except ValueError as e:
        raise EdgeqError("not a TOML file", where=where, why=str(e)) from e
    reader = _Reader(text, where)
    result = reader.read(data)
    activations = [n for n, t in graph.tensors.items() if not t.is_constant]
    wide, numbers = cells(graph, result.law), indices(graph, result.law)
    for name, t in result.tensors.items():
        fits = t.dtype is DType.INT32 if name in numbers else _fits(t, name in wide)
        if name in activations and not fits:
            wanted = "int32: a whole number" if name in numbers else CELLS if name in wide else "int8 or int16"
            raise reader.fail(f"'{name}' is stored in {wanted}", ("tensors", name, "dtype"), fix="leave its dtype as edgeq wrote it")
        if name not in activations:
            raise reader.fail(f"the model has no tensor '{name}'", ("tensors", name), fix="take the names from a file that edgeq wrote")
        if t.exponents and len(t.exponents) != graph.type(name).shape[-1]:
            channels = graph.type(name).shape[-1]
            raise reader.fail(f"equalize has {len(t.exponents)} exponents for {channels} channels", ("tensors", name, "equalize"))
    names = {n.name for n in graph.nodes}
    for table, what, found in (("layers", "layer", result.layers), ("nodes", "node", result.nodes)):
        for name in found:
            if name not in names:
                raise reader.fail(f"the model has no {what} '{name}'", (table, name), fix="take the names from a file that edgeq wrote")
    return result
