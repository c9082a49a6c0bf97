"""Weights whose levels do not lie side by side: where they are, and what rounds to them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from float_graphs import Floats, dense

from edgeq.errors import EdgeqError
from edgeq.formats import even, of_weights, parse
from edgeq.formats.codebook import _means
from edgeq.ir import Graph
from edgeq.lower import lower, portable_only
from edgeq.ops.conv2d import Conv2d
from edgeq.passes import normalise
from edgeq.quantize import Options, quantize, read_precision, write_precision
from edgeq.target import load

RNG = np.random.default_rng(5)
X = {"x": (RNG.normal(0, 1, (300, 1, 24)) @ RNG.normal(0, 1, (24, 24))).astype(np.float32)}
WEIGHTS = RNG.laplace(0, 0.3, (12, 24)).astype(np.float32)


def stored(**options: str) -> Graph:
    return quantize(dense(WEIGHTS), X, Options(**options))  # type: ignore[arg-type]


def integers(graph: Graph) -> set[int]:
    return set(np.unique(next(t.data for t in graph.tensors.values() if t.data is not None and t.data.ndim == 2)).tolist())


@pytest.mark.parametrize("seed", range(4))
def test_runs_of_least_square_error_are_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mass, at = rng.random(10) * (rng.random(10) < 0.9), np.sort(rng.normal(0, 5, 10))
    cuts = [np.split(np.arange(10), c) for k in range(4) for c in itertools.combinations(range(1, 10), k)]
    kept = [[p[mass[p] > 0] for p in parts if mass[p].any()] for parts in cuts]
    errors = [sum((mass[p] * (at[p] - np.average(at[p], weights=mass[p])) ** 2).sum() for p in parts) for parts in kept]
    found = _means(mass, at, 4)
    error = (mass * ((at[:, None] - found) ** 2).min(axis=1)).sum()
    assert len(found) <= 4 and error == pytest.approx(min(errors), abs=1e-12)


def test_levels_of_a_codebook_with_few_weights_are_the_weights() -> None:
    ratios = np.array([[[-127.0, 3.0, 3.0, 90.0]]])
    assert parse("codebook").grid(ratios, np.ones(1)).tolist() == [-127, 0, 90]  # kernels fill up with zeros
    assert parse("codebook").grid(np.zeros((1, 2, 3)), np.ones(1)).tolist() == [0]


def test_a_codebook_has_sixteen_integers_of_the_layer_and_fp4_its_own() -> None:
    book, own = integers(stored(weights="codebook")), integers(stored(weights="fp4"))
    assert len(book | {0}) <= 16 and max(map(abs, book)) > 64 and len(integers(stored(weights="codebook8")) | {0}) <= 8
    assert own <= {s * m for s in (1, -1) for m in (0, 1, 2, 3, 4, 6, 8, 12)} and len(own) > 8


@pytest.mark.parametrize("weights", ["codebook", "fp4"])
@pytest.mark.parametrize("scale", ["mse", "max", "stored"])
def test_what_knows_the_levels_rounds_to_them(weights: str, scale: str) -> None:
    """Second-order beats nearest on the layer's outputs, and long tails are met better than by even steps."""
    real = X["x"].reshape(-1, 24).astype(np.float64)
    lost = {}
    for rounding in ("nearest", "second-order", "ada-quant"):
        graph = stored(weights=weights, rounding=rounding, weight_scale=scale, equalize=False)
        tensor = next(t for t in graph.tensors.values() if t.data is not None and t.data.ndim == 2)
        assert tensor.data is not None and tensor.type.q is not None
        error = real @ (tensor.data * np.array(tensor.type.q.scale)[:, None] - WEIGHTS).T
        lost[rounding] = float(((error - error.mean(axis=0)) ** 2).sum())
    assert lost["second-order"] < 0.7 * lost["nearest"] and lost["ada-quant"] < 1.05 * lost["second-order"]


@pytest.mark.parametrize("rounding", ["truncate", "ada-round"])
def test_what_does_not_know_them_is_refused(rounding: str) -> None:
    with pytest.raises(EdgeqError, match=f"codebook has uneven levels, and rounding {rounding}"):
        stored(weights="codebook", rounding=rounding)
    stored(weights="int4", rounding=rounding)


def test_layers_in_a_precision_file() -> None:
    graph = dense(WEIGHTS)
    text = write_precision(graph, X, Options(weights="codebook"))
    again = quantize(graph, X, precision=read_precision(text, graph))
    assert integers(again) == integers(stored(weights="codebook")) and [str(f) for f in again.formats] == ["codebook"]


def test_bits_are_chosen_among_even_steps() -> None:
    assert set(of_weights()) - set(even()) == {"codebook", "codebook8", "fp4"} and "int8" in even()


@pytest.mark.parametrize(
    ("target", "weights", "portable"), [("riscv", "codebook", True), ("riscv", "int4", False), ("cortex-m4", "codebook", False)]
)
def test_layers_that_fall_back_to_portable_kernels_are_named(target: str, weights: str, portable: bool) -> None:
    f = Floats()
    x = f.input(1, 5, 5, 8)
    graph = f.graph(f.layer(Conv2d(), x, RNG.laplace(0, 0.3, (6, 3, 3, 8))))
    samples = RNG.normal(size=(16, 1, 5, 5, 8)).astype(np.float32)
    graph = normalise(quantize(graph, {"x": samples}, Options(weights=weights, rounding="nearest")))
    assert bool(portable_only(lower(graph, load(target))).get(weights)) == portable
