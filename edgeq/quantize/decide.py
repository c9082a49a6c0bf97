"""From ranges and options, and what somebody wrote down, to a precision for every tensor and layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.ops.recurrent import WIDE
from edgeq.quantize import equalize, storage
from edgeq.quantize.cells import cell_dtype
from edgeq.quantize.floating import Progress
from edgeq.quantize.options import Options
from edgeq.quantize.precision import LayerPrecision, Precision, TensorPrecision, format_precision
from edgeq.quantize.ranges import Ranges, calibrate, centred
from edgeq.quantize.sharing import assign, cells, natural, symmetric
from edgeq.quantize.storage import Bordered, Storage, bordered, complete


@dataclass(frozen=True, eq=False)
class Decision:
    """A float graph (channels scaled), a complete precision for it, and its ranges.

    Attributes:
        graph: float; computes what the original does.
        precision: every activation and every layer with weights.
        ranges: of `graph`.
        borders: for a precision with `nodes`, the casts in `graph`.
        options: as they were given.
    """

    graph: Graph
    precision: Precision
    ranges: Ranges
    borders: Bordered | None = None
    options: Options = field(default_factory=Options)


def decide(
    graph: Graph, data: Mapping[str, Array] | Ranges, options: Options | None = None, precision: Precision | None = None,
    progress: Progress | None = None, nodes: Storage | None = None,
) -> Decision:  # fmt: skip
    """Choose the precision of every tensor and layer.

    Args:
        graph: float.
        data: calibration samples by input name, or what `calibrate` made of them.
        options: for what `precision` leaves open.
        precision: honoured as it is.
        progress: called with (vectors done, vectors in all), per calibration.
        nodes: what nodes are computed in, where `precision` does not say it; None: all in int8.

    Raises:
        EdgeqError: samples or precision do not fit the graph.
    """
    given = precision or Precision()
    options = options or Options()
    law = given.law if precision else options.law
    method = given.method if precision else options.method
    ranges = data if isinstance(data, Ranges) else calibrate(graph, data, method, progress)
    kept = complete(graph, given.nodes or nodes or {}) if given.nodes or nodes else {}
    exponents = {n: np.asarray(t.exponents, np.int64) for n, t in given.tensors.items() if t.exponents}
    if exponents and kept:
        raise EdgeqError("channels are equalized in int8 models alone", where=next(iter(exponents)), fix="delete equalize, or [nodes]")
    if exponents:
        equalize.check(graph, exponents)
    elif options.equalize and not given.tensors and not kept:
        exponents = equalize.exponents(graph, ranges.channels, ranges.vectors)
    if exponents:
        graph = equalize.apply(graph, exponents)
        ranges = calibrate(graph, ranges.samples, ranges.method, progress)
    for name, t in given.tensors.items():
        if t.scale is None and t.method != ranges.tensors[name].method:
            ranges = replace(ranges, tensors={**ranges.tensors, name: ranges.choose(name, t.method)})
    ranges = centred(ranges) if options.centre else ranges
    borders = bordered(graph, kept) if kept else Bordered(graph, {}, {})
    graph, ranges = borders.graph, _copied(ranges, borders)
    own = {n: given.tensors.get(borders.origin(n)) for n, t in graph.tensors.items() if not t.is_constant}
    pinned = {n: t.scale for n, t in own.items() if t is not None and t.scale is not None}
    scales = assign(graph, ranges, law, pinned)
    fixed = {n.outputs[0] for n in graph.nodes if natural(n.op) is not None}
    wide, words, tensors = cells(graph, law), symmetric(graph, ranges, law), {}
    for name, scale in scales.items():
        how = "fixed" if name in fixed else "grid" if ranges.tensors[name].grid == scale else ranges.tensors[name].method
        stored, written = borders.stored.get(name, storage.INT8), own[name]
        dtype = DType.FLOAT16 if stored == storage.HALF else cell_dtype(scale[0]) if name in wide else DType.INT8
        if stored == storage.INT16:
            known = written is not None and written.dtype is not DType.INT8
            scale = scale if known else (2.0**-WIDE, 0) if name in wide else words[name]
            dtype = cell_dtype(scale[0]) if name in wide else DType.INT16
        tensors[name] = TensorPrecision(scale, written.method if written else how, tuple(int(e) for e in exponents.get(name, ())), dtype)
    layers = {n.name: _layer(n.name, given, options) for n in graph.nodes if n.op.traits.products}
    for name in given.layers:
        if name not in layers:
            raise EdgeqError("this layer has no weights", where=name, fix="delete it from the precision file")
    layers = {n: p for n, p in layers.items() if kept.get(n) != storage.HALF}
    complete_precision = Precision(graph.name, law, ranges.method, ranges.vectors, tensors, layers, kept)
    return Decision(graph, complete_precision, ranges, borders if kept else None, options)


def _copied(ranges: Ranges, borders: Bordered) -> Ranges:
    """With the ranges of the tensors that casts make."""
    added = borders.origins.items()
    return replace(
        ranges, tensors={**ranges.tensors, **{n: ranges.tensors[t] for n, t in added}},
        observers={**ranges.observers, **{n: ranges.observers[t] for n, t in added}},
        channels={**ranges.channels, **{n: ranges.channels[t] for n, t in added}},
    )  # fmt: skip


def _layer(name: str, given: Precision, options: Options) -> LayerPrecision:
    return given.layers.get(name, LayerPrecision(options.weight_scale, options.rounding, options.bias_correction))


def write_precision(
    graph: Graph, data: Mapping[str, Array] | Ranges, options: Options | None = None, precision: Precision | None = None
) -> str:
    """The text of precision.toml for what `quantize` with the same arguments does."""
    return describe(decide(graph, data, options, precision))


def describe(decision: Decision) -> str:
    """The text of precision.toml for a decision."""
    graph, borders, p = decision.graph, decision.borders, decision.precision
    kept = p.nodes
    if borders is not None:
        stored = {borders.origin(n): t for n, t in p.tensors.items() if borders.stored[n] != storage.HALF}
        p = replace(p, tensors=stored, nodes=listed(graph, p.nodes))
    notes = {n: str(graph.type(n)) for n in p.tensors}
    last = {n.name: decision.precision.tensors[n.outputs[-1]].dtype for n in graph.nodes}
    notes |= {n.name: f"{n.op.kind()}: {storage.roles(n, kept[n.name], last[n.name])}" for n in graph.nodes if n.name in p.nodes}
    weights = {n.name: f"{n.op.kind()} {graph.type(n.inputs[1])}" for n in graph.nodes if n.name in p.layers}
    seen = {n: r.seen for n, r in decision.ranges.tensors.items()}
    return format_precision(p, seen, notes, weights)


def listed(graph: Graph, nodes: Storage) -> dict[str, str]:
    """The nodes of a precision file: those that compute."""
    return {n.name: storage.written(n, nodes[n.name]) for n in graph.nodes if n.name in nodes and not n.op.traits.keeps_scale("single")}
