"""What is tuned after all layers have been rounded: scales and biases alone change, and outputs come nearer to the float graph's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import dense

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import Options, evaluate_float, quantize
from edgeq.quantize.refine import REFINEMENTS, Work, changed, disc_quant
from edgeq.simulate import real_array, simulate

RNG = np.random.default_rng(8)


def network(layers: int = 3, width: int = 16) -> Graph:
    rng = np.random.default_rng(4)
    tensors = {f"t{i}": Tensor(f"t{i}", TensorType((width,))) for i in range(layers + 1)}
    nodes = []
    for i in range(layers):
        for name, shape in ((f"w{i}", (width, width)), (f"b{i}", (width,))):
            tensors[name] = Tensor(name, TensorType(shape), rng.normal(0, 0.4, shape).astype(np.float32))
        clamp = (0.0, float("inf")) if i < layers - 1 else (-float("inf"), float("inf"))
        nodes.append(Node(f"n{i}", FullyConnected(clamp=clamp), (f"t{i}", f"w{i}", f"b{i}"), (f"t{i + 1}",)))
    return Graph("deep", tuple(nodes), tensors, ("t0",), (f"t{layers}",))


def correlated(count: int, seed: int) -> np.ndarray:
    mix = np.random.default_rng(1).normal(0, 1, (16, 16))
    return (np.random.default_rng(seed).normal(0, 1, (count, 16)) @ mix).astype(np.float32)


def error(graph: Graph, real: Graph, x: np.ndarray) -> float:
    (name,) = real.outputs
    wanted = evaluate_float(real, {"t0": x})[name].astype(np.float64)
    found = real_array(simulate(graph, {"t0": x}).outputs[name], graph.type(name))
    return float(((found - wanted) ** 2).sum() / (wanted**2).sum())


MOVES = "disc-quant"  # the method that changes integers
LEFT = {MOVES: 0.8, "distillation": 0.82, "gains-and-biases": 0.95, "zeroth-order": 0.985}  # of the error, at most


@pytest.mark.parametrize("method", list(REFINEMENTS))
def test_outputs_of_few_bits_come_nearer(method: str) -> None:
    """On samples that nothing was fitted to; types of activations, formats and nodes stay, and integers where the method leaves them."""
    real, x = network(), correlated(400, 2)
    options = Options(weights="int2", rounding="nearest", equalize=False)
    plain, better = (quantize(real, {"t0": x}, o) for o in (options, replace(options, refine=method)))
    before, after = (error(g, real, correlated(300, 3)) for g in (plain, better))
    assert after < LEFT[method] * before
    assert [(n.op, n.inputs) for n in plain.nodes] == [(n.op, n.inputs) for n in better.nodes]
    for name, t in plain.tensors.items():
        other = better.tensors[name]
        if t.data is None:
            assert other.type == t.type
        elif name.startswith("w"):
            step = np.abs(t.data.astype(int) - np.asarray(other.data).astype(int))
            assert step.max() <= (2 if method == MOVES else 0) and other.format == t.format


def test_what_is_right_stays() -> None:
    """One layer on a full grid of 8 bits: gains move by next to nothing."""
    real = dense(RNG.normal(0, 1, (6, 9)).astype(np.float32))
    x = {"x": RNG.normal(0, 1, (500, 1, 9)).astype(np.float32)}
    plain, tuned = (quantize(real, x, Options(refine=r)) for r in ("none", "gains-and-biases"))
    (node,) = Work(real, plain, x).tunable()
    before, after = (np.asarray(g.type(node.inputs[1]).q.scale) for g in (plain, tuned))  # type: ignore[union-attr]
    assert np.abs(after / before - 1).max() < 5e-3


def test_a_change_is_of_real_weights_and_biases() -> None:
    real, x = network(1), correlated(100, 5)
    graph = quantize(real, {"t0": x})
    (node,) = Work(real, graph, {"t0": x}).tunable()
    shift = np.linspace(-0.5, 0.5, 16)
    other = changed(graph, node, np.full(16, 1.25), shift)
    wide = real_array(simulate(other, {"t0": x * 0}).outputs["t1"], other.type("t1"))[0]
    bias = np.asarray(real.tensors["b0"].data, np.float64)
    np.testing.assert_allclose(wide, np.clip(1.25 * bias + shift, -100, 100), atol=1.1 * other.type("t1").scale + 0.02)


def test_it_is_an_option_of_every_recipe_and_noted() -> None:
    real, x = network(), correlated(80, 6)
    made = api.quantize(real, x, options=Options(refine="gains-and-biases"))
    assert made.record["options"]["refine"] == "gains-and-biases"
    with pytest.raises(EdgeqError, match="unknown refinement"):
        Options(refine="hope")


def test_distillation_says_what_it_cannot_do() -> None:
    real, x = network(), correlated(7, 2)
    with pytest.raises(EdgeqError, match="distillation needs samples"):
        quantize(real, {"t0": x}, Options(refine="distillation"))
    two = replace(real, outputs=("t2", "t3"))
    with pytest.raises(EdgeqError, match="one output"):
        quantize(two, {"t0": correlated(40, 2)}, Options(refine="distillation"))


def test_disc_quant_rounds_to_a_level_beside_the_weight_and_says_what_it_cannot_do() -> None:
    real, x = network(), correlated(200, 2)
    options = Options(weights="int3", rounding="nearest", equalize=False)
    plain, moved = (quantize(real, {"t0": x}, replace(options, refine=r)) for r in ("none", MOVES))
    changed = 0
    for i in range(3):
        before, after = (np.asarray(g.tensors[f"w{i}"].data).astype(int) for g in (plain, moved))
        scale = np.asarray(plain.type(f"w{i}").q.scale)[:, None]  # type: ignore[union-attr]
        between = np.abs(np.asarray(real.tensors[f"w{i}"].data) / scale) < 3
        assert np.abs(after - np.asarray(real.tensors[f"w{i}"].data) / scale)[between].max() <= 1
        assert np.abs(after).max() <= 3
        changed += int((before != after).sum())
    assert 0.02 < changed / (3 * 256) < 0.5
    for graph, samples, message in (
        (real, correlated(5, 2), "disc-quant needs samples"), (replace(real, outputs=("t2", "t3")), x, "has 2 outputs"),
    ):  # fmt: skip
        with pytest.raises(EdgeqError, match=message):
            quantize(graph, {"t0": samples}, Options(refine=MOVES))
    books = [quantize(real, {"t0": x}, replace(options, weights="codebook", refine=r)) for r in ("none", MOVES)]
    assert all(np.array_equal(*(g.tensors[f"w{i}"].data for g in books)) for i in range(3))  # type: ignore[arg-type]


def test_disc_quant_pulls_to_what_weights_were_rounded_to() -> None:
    """Where no gradient says otherwise, also to the level that is farther."""
    real, x = network(), correlated(200, 2)
    graph = quantize(real, {"t0": x}, Options(weights="int3", rounding="truncate", equalize=False))
    layers = [layer for node in Work(real, graph, {"t0": x}).tunable() if (layer := disc_quant._layer(Work(real, graph, {"t0": x}), node))]
    assert len(layers) == 3
    for layer in layers:
        before = np.asarray(graph.tensors[layer.name].data)
        assert not np.array_equal(layer.integers(), before), "half of them lie nearer to the other"
        for step in range(disc_quant.STEPS):
            layer.move(np.zeros(before.shape), step)
        assert np.array_equal(layer.integers(), before)


def test_disc_quant_keeps_what_is_no_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Samples that took no part decide."""
    real, x = network(), correlated(200, 2)

    def worse(work: Work, layers: list[disc_quant._Layer]) -> None:
        for layer in layers:
            layer.part = np.where(layer.free, 1 - layer.end, layer.part)

    options = Options(weights="int3", equalize=False)
    monkeypatch.setattr(disc_quant, "_train", worse)
    plain, moved = (quantize(real, {"t0": x}, replace(options, refine=r)) for r in ("none", MOVES))
    assert all(np.array_equal(t.data, moved.tensors[n].data) for n, t in plain.tensors.items() if t.data is not None)  # type: ignore[arg-type]


def test_distillation_of_a_right_network_keeps_it() -> None:
    """Samples that take no part decide."""
    real, x = network(), correlated(64, 2)
    plain, trained = (quantize(real, {"t0": x}, Options(refine=r)) for r in ("none", "distillation"))
    assert error(trained, real, x[::4]) <= error(plain, real, x[::4])
