"""Recipe few-bits: bits of weights layer by layer, within limits that hold on samples that nothing was fitted to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from edgeq import api, graphfile
from edgeq.errors import EdgeqError
from edgeq.formats.format import Packed
from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, decide, evaluate_float
from edgeq.quantize.plan import with_weights
from edgeq.simulate import real_array, simulate
from edgeq.tune import bits

RNG = np.random.default_rng(4)
X = RNG.normal(0, 1, (160, 1, 24)).astype(np.float32)
OTHERS = RNG.normal(0, 1, (400, 1, 24)).astype(np.float32)


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Three layers."""
    shapes = {"w1": (32, 24), "w2": (32, 32), "w3": (6, 32)}
    tensors = {n: Tensor(n, TensorType(s), RNG.normal(0, 0.4, s).astype(np.float32)) for n, s in shapes.items()}
    tensors |= {f"b{n[1]}": Tensor(f"b{n[1]}", TensorType(s[:1]), RNG.normal(0, 0.1, s[0]).astype(np.float32)) for n, s in shapes.items()}
    tensors |= {n: Tensor(n, TensorType((1, k))) for n, k in (("x", 24), ("g", 32), ("h", 32), ("y", 6))}
    rectified = FullyConnected((0.0, np.inf))
    nodes = (Node("one", rectified, ("x", "w1", "b1"), ("g",)), Node("two", rectified, ("g", "w2", "b2"), ("h",)),
             Node("three", FullyConnected(), ("h", "w3", "b3"), ("y",)))  # fmt: skip
    return Graph("few", nodes, tensors, ("x",), ("y",))


def quantized(graph: Graph, **budget: float) -> api.Quantized:
    return api.quantize(graph, {"x": X}, recipe="few-bits", budget=budget or None)


def decibels(graph: Graph, stored: Graph, x: Array) -> float:
    real = evaluate_float(graph, {"x": x})["y"].astype(np.float64)
    found = real_array(simulate(stored, {"x": x}).outputs["y"], stored.type("y"))
    return float(10 * np.log10((real**2).sum() / ((found - real) ** 2).sum()))


def flash(graph: Graph) -> int:
    """Bytes of weights."""
    return sum(t.format.stored_bits(1, t.data.size) for t in graph.tensors.values() if t.data is not None and t.data.ndim == 2) // 8


def test_a_drop_holds_on_samples_that_nothing_was_fitted_to(graph: Graph) -> None:
    whole = flash(api.quantize(graph, {"x": X}).graph)
    sizes = {}
    for drop in (24.0, 18.0, 10.0):
        found = quantized(graph, drop=drop)
        assert found.record["allocation"]["sqnr_db"] >= drop
        assert decibels(graph, found.graph, OTHERS) > drop - 1
        sizes[drop] = flash(found.graph)
    assert whole >= sizes[24.0] > sizes[18.0] > sizes[10.0] < 0.45 * whole


def test_flash_is_a_limit_and_the_least_noise_within_it_is_taken(graph: Graph) -> None:
    rows = quantized(graph, drop=14.0).record["allocation"]["pareto"]
    sizes = sorted(r["flash"] for r in rows)
    limit = sizes[len(sizes) // 2]
    chosen = next(r for r in quantized(graph, flash=limit).record["allocation"]["pareto"] if r["chosen"])
    assert sizes[0] < chosen["flash"] <= limit
    assert chosen["sqnr_db"] >= max(r["sqnr_db"] for r in rows if r["flash"] <= limit) - 0.5


def test_answers_are_kept_at_less_flash(graph: Graph) -> None:
    labels = evaluate_float(graph, {"x": X})["y"].reshape(len(X), -1).argmax(axis=1)
    strict, loose = (api.quantize(graph, {"x": X, "y": labels}, recipe="few-bits", budget={"loss": v}) for v in (5.0, 30.0))
    assert strict.record["allocation"]["loss"] <= 5.0 and loose.record["allocation"]["loss"] <= 30.0
    assert flash(loose.graph) < flash(strict.graph)
    right = evaluate_float(graph, {"x": OTHERS})["y"].reshape(len(OTHERS), -1).argmax(1)
    got = simulate(strict.graph, {"x": OTHERS}).outputs["y"].reshape(len(OTHERS), -1).argmax(1)
    assert np.mean(got == right) > 0.9


def test_what_is_out_of_reach_is_refused(graph: Graph) -> None:
    with pytest.raises(EdgeqError, match="no choice of bits fits the budget"):
        quantized(graph, drop=90.0)


@pytest.mark.parametrize("recipe", ["few-bits", "robust"])
def test_who_chooses_the_format_is_not_told_it(graph: Graph, recipe: str) -> None:
    with pytest.raises(EdgeqError, match=f"recipe {recipe} chooses the format of weights"):
        api.quantize(graph, {"x": X}, recipe=recipe, options=Options(weights="int4"))


def test_the_choice_is_written_down_and_read_back(graph: Graph, tmp_path: Path) -> None:
    found = quantized(graph, drop=20.0)
    path = tmp_path / "precision.toml"
    path.write_bytes(found.files["precision.toml"])
    again = api.quantize(graph, {"x": X}, precision=str(path)).graph
    assert graphfile.dumps(again) == graphfile.dumps(found.graph)
    formats = [t.format for t in found.graph.tensors.values() if isinstance(t.format, Packed)]
    assert formats, "something is stored in few bits"


def test_the_fewest_bits_have_scales_fitted_to_their_integers(graph: Graph) -> None:
    """Of three bits or two, where nobody asked for another rounding."""
    for options, few in ((Options(), "ada-quant"), (Options(rounding="nearest"), "nearest")):
        precision = decide(graph, {"x": X}, options).precision
        found = with_weights(precision, dict(zip(precision.layers, ("int4", "int3", "int2"), strict=True))).layers.values()
        assert [p.rounding for p in found] == [options.rounding, few, few] and [p.weights for p in found] == ["int4", "int3", "int2"]
    assert with_weights(precision, {}) == precision


def test_the_noise_of_a_layer_is_that_of_it_alone(graph: Graph) -> None:
    """Of the graphs that it is measured on only one layer's constants differ from int8's."""
    usual, low = (api.quantize(graph, {"x": X}, options=Options(weights=w)).graph for w in ("int8", "int3"))
    alone = bits._alone(usual, low, "two")
    for name, own in ((n.name, n) for n in alone.nodes):
        other = next(n for n in (low if name == "two" else usual).nodes if n.name == name)
        for a, b in zip(own.inputs[1:], other.inputs[1:], strict=True):
            mine, theirs = alone.tensors[a], (low if name == "two" else usual).tensors[b]
            assert (mine.type, mine.format) == (theirs.type, theirs.format)
            assert np.array_equal(np.asarray(mine.data), np.asarray(theirs.data))


def test_a_layer_that_loses_channels_keeps_its_bits(graph: Graph) -> None:
    """A channel that is never above zero is dropped, the format of the others' weights is not."""
    dead = graph.tensors["b1"].data
    assert dead is not None
    bias = np.where(np.arange(32) % 7 == 3, np.float32(-200), dead)
    narrow = dataclasses.replace(graph, tensors={**graph.tensors, "b1": dataclasses.replace(graph.tensors["b1"], data=bias)})
    stored = api.quantize(narrow, {"x": X}, options=Options(weights="int4")).graph
    shapes = {t.data.shape: str(t.format) for t in stored.tensors.values() if t.data is not None and t.data.ndim == 2}
    assert shapes == {(27, 24): "int4", (32, 27): "int4", (6, 32): "int4"}
