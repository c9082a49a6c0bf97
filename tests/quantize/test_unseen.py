"""What outputs keep on samples that calibration has not seen."""

from __future__ import annotations

import numpy as np
import pytest
from float_graphs import Floats

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.evaluate import evaluate
from edgeq.ir import Array, Graph
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options
from edgeq.quantize.allocate import NOTHING
from edgeq.quantize.diagnosis import PERFECT
from edgeq.recipes import RECIPES, Job, unseen
from edgeq.recipes._unseen import MOST


def wide() -> Graph:
    """A dense layer with more weights per output than there are samples, behind one that bounds what it sees."""
    b = Floats()
    rng = np.random.default_rng(0)
    h = b.layer(FullyConnected((0.0, np.inf)), b.input(1, 96), rng.normal(0, 0.1, (96, 96)), name="first")
    return b.graph(b.layer(FullyConnected(), h, rng.normal(0, 0.1, (4, 96)), name="y"))


def samples(count: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 1, (count, 1, 96)).astype(np.float32)


def kept(graph: Graph, quantized: Graph, x: Array) -> float:
    want = evaluate(graph, {"x": x}, lambda node, a: node.op.real_all(*a), False)[graph.outputs[0]].astype(np.float64)
    got = api.simulate(quantized, {"x": x}).outputs(real=True)[graph.outputs[0]]
    return float(10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()))


def pooled(decibels: list[float]) -> float:
    """The mean of noises, in dB."""
    return float(-10 * np.log10(np.mean(10 ** (-np.array(decibels) / 10))))


def test_a_few_samples_keep_more_than_others_do() -> None:
    """What is told is near what others keep, on average: of one draw, it is by chance which of twenty go beyond the ranges."""
    graph, others, seen, told, true = wide(), samples(200, 2), list[float](), list[float](), list[float]()
    for seed in range(3, 9):
        made = api.quantize(graph, {"x": samples(40, seed)}, unseen=True)
        found = made.record["unseen"]
        assert (found["calibrated"], found["judged"]) == (20, 20)
        seen.append(min(t["sqnr_db"] for t in made.record["tensors"] if t["name"] in graph.outputs))
        told.append(found["sqnr_db"])
        true.append(kept(graph, made.graph, others))
    assert pooled(seen) > pooled(true) + 6  # or there would be nothing to tell
    assert abs(pooled(told) - pooled(true)) < 3


def test_the_network_that_is_made_is_the_same() -> None:
    graph, x = wide(), {"x": samples(12, 1)}
    a, b = (api.quantize(graph, x, unseen=u) for u in (False, True))
    assert "unseen" not in a.record
    for name, t in a.graph.tensors.items():
        assert t.data is None or np.array_equal(t.data, b.graph.tensors[name].data)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, MOST + 1])
def test_one_sample_or_many_are_not_divided(count: int) -> None:
    assert unseen(Job(wide(), {"x": samples(count, 1)}), RECIPES["int8"]()) == {}


def test_what_keeps_everything_is_told_so() -> None:
    found = unseen(Job(wide(), {"x": np.zeros((4, 1, 96), np.float32)}), RECIPES["int8"]())
    assert found["sqnr_db"] in (0.0, PERFECT)


def test_samples_that_edgeq_made_up_judge_nothing() -> None:
    assert "unseen" not in api.quantize(wide(), "random", unseen=True, calibration_limit=4).record


def test_a_method_that_needs_more_than_half_of_the_samples() -> None:
    made = api.quantize(wide(), {"x": samples(10, 1)}, options=Options(refine="distillation"), unseen=True)
    assert made.record["options"]["refine"] == "distillation" and "unseen" not in made.record


def test_halves_that_overflow_on_what_is_not_seen() -> None:
    b, rng = Floats(), np.random.default_rng(0)
    loud = b.layer(FullyConnected((0.0, np.inf)), b.input(1, 96), rng.normal(0, 100, (8, 96)))
    graph = b.graph(b.layer(FullyConnected(), loud, rng.normal(0, 1e-4, (4, 8))))
    x = samples(12, 1)
    x[1::2] *= 100
    assert unseen(Job(graph, {"x": x}), RECIPES["fp16"]())["sqnr_db"] == NOTHING
    for recipe in ("w8a16", "mixed"):
        with pytest.raises(EdgeqError, match="half precision ends at 65504"):
            api.quantize(graph, {"x": x}, recipe=recipe)
