"""From ranges and options, and what somebody wrote down, to a precision for every tensor and layer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from edgeq.errors import EdgeqError
from edgeq.formats import even, parse
from edgeq.ir import Array, DType, Graph, Node
from edgeq.ops.recurrent import WIDE
from edgeq.quantize import channels, masks, storage
from edgeq.quantize.calibrate import Ranges, calibrate, centred
from edgeq.quantize.casts import Bordered, bordered
from edgeq.quantize.cells import cell_dtype
from edgeq.quantize.constraints import activations, bears_scale, cells, demanded, given_scales, indices, natural_scales
from edgeq.quantize.floating import Progress
from edgeq.quantize.grid import Scale
from edgeq.quantize.plan import INT8, LayerPrecision, Options, Precision, TensorPrecision, rows
from edgeq.quantize.precision_toml import format_precision
from edgeq.quantize.prepare import PREPARATIONS, Work
from edgeq.quantize.ranges import METHODS
from edgeq.quantize.released import released
from edgeq.quantize.scales import assign, symmetric
from edgeq.quantize.small import small
from edgeq.quantize.statistics import Channels
from edgeq.quantize.storage import Storage, complete
from edgeq.quantize.weight_scales.stored import known
from edgeq.text import first_of

LOG = logging.getLogger("edgeq")
WHOLE: Scale = (1.0, 0)  # of numbers that stand for themselves


@dataclass(frozen=True, eq=False)
class Decision:
    """A float graph (channels scaled), a complete precision for it, and its ranges.

    Attributes:
        graph: float; computes what the original does.
        precision: every activation and every layer with weights.
        ranges: of `graph`.
        borders: for a precision with `nodes`, the casts in `graph`.
        options: as they were given.
        copies: of cell states, in `graph` alone; their precision is not written down.
    """

    graph: Graph
    precision: Precision
    ranges: Ranges
    borders: Bordered | None = None
    options: Options = field(default_factory=Options)
    copies: frozenset[str] = frozenset()


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
        nodes: what nodes are computed in where `precision` does not say it; None: in int8.

    Raises:
        EdgeqError: samples or precision do not fit the graph.
    """
    given, options = precision or Precision(), options or Options()
    law, method = (given.law, given.method) if precision else (options.law, options.method)
    ranges = data if isinstance(data, Ranges) else calibrate(graph, data, method, progress)
    kept = complete(graph, given.nodes, nodes) if given.nodes or nodes else {}
    given = _adapted(graph, given, kept)
    preparation = options.equalization if options.equalize and not given.tensors and not kept else ""
    exponents = _exponents(graph, ranges, given, preparation)
    if exponents:
        graph = channels.apply(graph, exponents)
        ranges = calibrate(graph, ranges.samples, ranges.method, progress)
    graph = masks.limited(graph, ranges.limits, kept, storage.INTEGERS)
    ranges = _rechosen(ranges, given)
    ranges = centred(ranges) if options.centre else ranges
    graph, copies = released(graph, law, lambda n: kept.get(n.name, storage.INT8) in storage.INTEGERS)
    ranges = _copied(ranges, copies)
    borders = bordered(graph, {**dict.fromkeys(copies, storage.INT8), **kept}) if kept else Bordered(graph, {}, {})
    ranges = _copied(ranges, borders.origins)
    tensors = _tensors(borders, ranges, law, given, {n: tuple(e.tolist()) for n, e in exponents.items()})
    layers = _layers(borders.graph, ranges.channels, given, options, [n for n, s in kept.items() if s == storage.HALF])
    _tell(tensors)
    complete_precision = Precision(borders.graph.name, law, ranges.method, ranges.vectors, tensors, layers, kept, options.split)
    return Decision(borders.graph, complete_precision, ranges, borders if kept else None, options, frozenset(copies))


def _adapted(graph: Graph, given: Precision, kept: Storage) -> Precision:
    """Without the equalization of channels that nodes in half precision meet, and without the scales that belonged to it."""
    exponents = {n: np.asarray(t.exponents, np.int64) for n, t in given.tensors.items() if t.exponents}
    if not kept or not exponents:
        return given
    channels.check(graph, exponents)
    lost = channels.outside(graph, exponents, {n for n, s in kept.items() if s == storage.INT8})
    fresh = {n: TensorPrecision(None, t.method) for n, t in given.tensors.items() if n in lost and t.method in METHODS}
    return replace(given, tensors={**{n: t for n, t in given.tensors.items() if n not in lost}, **fresh})


def _exponents(graph: Graph, ranges: Ranges, given: Precision, preparation: str) -> Mapping[str, NDArray[np.int64]]:
    """How channels are equalized: as it is written down, else by a method; none where its name is empty."""
    exponents = {n: np.asarray(t.exponents, np.int64) for n, t in given.tensors.items() if t.exponents}
    if exponents:
        channels.check(graph, exponents)
        return exponents
    return PREPARATIONS[preparation](Work(graph, ranges.channels, ranges.vectors)) if preparation else {}


def _rechosen(ranges: Ranges, given: Precision) -> Ranges:
    """With the ranges of tensors for which a method of their own is written down."""
    own = {n: t.method for n, t in given.tensors.items() if t.scale is None and t.method != ranges.tensors[n].method}
    return replace(ranges, tensors={**ranges.tensors, **{n: ranges.choose(n, method) for n, method in own.items()}})


def _tensors(
    borders: Bordered, ranges: Ranges, law: str, given: Precision, exponents: Mapping[str, tuple[int, ...]]
) -> dict[str, TensorPrecision]:
    """Every activation's type, and how it was found."""
    graph = borders.graph
    own = {n: given.tensors.get(borders.origin(n)) for n in activations(graph)}
    whole = {n for n in own if borders.stored.get(n, storage.INT8) != storage.HALF}  # halves have no scale to agree on
    pinned = {n: t.scale for n, t in own.items() if t is not None and t.scale is not None and n in whole}
    wide, words, known_by = cells(graph, law), symmetric(graph, ranges, law), _known_by(graph, law)
    tensors, numbers = {}, indices(graph, law)
    for name, scale in assign(graph, ranges, law, pinned).items():
        if name in numbers:
            tensors[name] = TensorPrecision(WHOLE, "fixed", (), DType.INT32)
            continue
        how = known_by.get((name, scale)) or ("grid" if ranges.tensors[name].grid == scale else ranges.tensors[name].method)
        stored, written = borders.stored.get(name, storage.INT8), own[name]
        dtype = DType.FLOAT16 if stored == storage.HALF else cell_dtype(scale[0]) if name in wide else DType.INT8
        if stored == storage.INT16:
            known = written is not None and written.dtype is not DType.INT8
            scale = scale if known else (2.0**-WIDE, 0) if name in wide else words[name]
            dtype = cell_dtype(scale[0]) if name in wide else DType.INT16
        tensors[name] = TensorPrecision(scale, written.method if written else how, exponents.get(name, ()), dtype)
    return tensors


def _known_by(graph: Graph, law: str) -> dict[tuple[str, Scale], str]:
    """Which scales of activations nobody had to look for: those of operators, and those that the model's file gives."""
    fixed = natural_scales(graph)
    found = dict.fromkeys(fixed.items(), "fixed")
    for members in demanded(graph, law, saturating=True).members() if given_scales(graph) else ():
        borne = {fixed[n.outputs[0]] for n in graph.nodes if bears_scale(n.op) and n.outputs[0] in members}
        found |= {(n, scale): "given" for n in members for scale in borne}
    return found


def _tell(tensors: Mapping[str, TensorPrecision]) -> None:
    """Say in one line what of a model whose file gives scales had none."""
    given = [n for n, t in tensors.items() if t.method == "given"]
    others = [n for n, t in tensors.items() if t.method not in ("given", "fixed") and t.dtype is DType.INT8]
    if given and others:
        LOG.warning("%d tensors keep the scales of the model's file; calibrated: %s", len(given), first_of([f"'{n}'" for n in others]))


def _layers(
    graph: Graph, seen: Mapping[str, Channels], given: Precision, options: Options, halves: Sequence[str]
) -> dict[str, LayerPrecision]:  # fmt: skip
    """Every layer's rounding: as it is written down, else as the model's file has its weights, else by the options; none of `halves`."""
    usual = LayerPrecision(options.weight_scale, options.rounding, options.bias_correction, options.weights)
    own = {n.name: _rounded(graph, n, options.weights) for n in graph.nodes} if given_scales(graph) else {}
    kept = {n: LayerPrecision("stored", "nearest", False, form) for n, form in own.items() if form}
    wider = [n for n, p in kept.items() if p.weights != options.weights and n not in given.layers]
    if wider:
        names = first_of([f"'{n}'" for n in wider])
        LOG.warning("%d layers keep more bits than %s, as the model's file has their weights: %s", len(wider), options.weights, names)
    found = {n.name: given.layers.get(n.name, kept.get(n.name, usual)) for n in graph.nodes if n.op.traits.products}
    if options.keep_small and options.weights != INT8:
        free = [n for n in graph.nodes if n.name in found and n.name not in {*given.layers, *kept, *halves}]
        found |= dict.fromkeys(small(graph, seen, free), replace(usual, weights=INT8))
    tables = {n.name: given.layers.get(n.name, rows(options)) for n in graph.nodes if n.op.traits.rows_of}
    found |= {n: layer for n, layer in tables.items() if layer.weights != INT8}
    for name in given.layers:
        if name not in {**found, **tables}:
            raise EdgeqError("this layer has no weights", where=name, fix="delete it from the precision file")
    return {n: p for n, p in found.items() if n not in halves}


def _rounded(graph: Graph, node: Node, weights: str) -> str:
    """The format in the fewest bits, from `weights` on, that holds a layer's weights as somebody has rounded them before; nothing where
    they were not."""
    linear = node.op.traits.linear
    data = graph.tensors[node.inputs[1]].data if linear is not None else None
    if linear is None or data is None:
        return ""
    rows = np.moveaxis(data.astype(np.float64), linear.axis, 0).reshape(data.shape[linear.axis], -1)
    limits = {n: int(parse(n).levels[-1]) for n in even()}
    able = sorted((n for n in limits if limits[n] >= parse(weights).levels[-1]), key=limits.__getitem__)
    return next((n for n in able if (known(rows, (-limits[n], limits[n])) > 0).all()), "")


def _copied(ranges: Ranges, origins: Mapping[str, str]) -> Ranges:
    """With the ranges of tensors that are copies of others."""
    added = origins.items()
    return replace(
        ranges, tensors={**ranges.tensors, **{n: ranges.tensors[t] for n, t in added}},
        observers={**ranges.observers, **{n: ranges.observers[t] for n, t in added}},
        channels={**ranges.channels, **{n: ranges.channels[t] for n, t in added}},
    )  # fmt: skip


def write_precision(
    graph: Graph, data: Mapping[str, Array] | Ranges, options: Options | None = None, precision: Precision | None = None
) -> str:
    """The text of precision.toml for what `quantize` with the same arguments does."""
    return describe(decide(graph, data, options, precision))


def describe(decision: Decision) -> str:
    """The text of precision.toml for a decision."""
    graph, borders, p = decision.graph, decision.borders, decision.precision
    kept = p.nodes
    p = replace(p, tensors={n: t for n, t in p.tensors.items() if n not in decision.copies})
    if borders is not None:
        stored = {borders.origin(n): t for n, t in p.tensors.items() if borders.stored[n] != storage.HALF}
        stored = {n: t for n, t in stored.items() if n not in decision.copies}
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
