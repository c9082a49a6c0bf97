"""Gradients of float graphs, and calibration samples that the network makes itself."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from float_graphs import Floats
from onnx import TensorProto, helper, numpy_helper

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Op
from edgeq.ops.activations import LeakyRelu
from edgeq.ops.add import Add
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.layer_norm import LayerNorm
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.quantize import data_free, evaluate_float, norms
from edgeq.quantize.gradients import backward

RNG = np.random.default_rng(5)


def network(middle: Op | None = None) -> Graph:
    """Every sort of operator that has a gradient; `middle` takes the place of the largest of windows."""
    b = Floats()
    x = b.op(Transpose((0, 2, 3, 1)), b.input(1, 3, 8, 9), name="nhwc")
    a = b.layer(Conv2d((1, 1), pads=(1, 1, 1, 1), clamp=(-0.5, 3.0)), x, RNG.normal(0, 0.3, (6, 3, 3, 3)), RNG.normal(0, 0.2, 6))
    a = b.layer(Conv2d((2, 1), pads=(0, 1, 1, 1), groups=2), a, RNG.normal(0, 0.4, (6, 3, 3, 3)), RNG.normal(0, 0.2, 6))
    d = b.layer(DepthwiseConv2d((1, 1), pads=(1, 1, 1, 1)), a, RNG.normal(0, 0.4, (1, 3, 3, 6)), RNG.normal(0, 0.2, 6), axis=3)
    s = b.op(Add(clamp=(0.0, np.inf)), d, a)
    s = b.op(LeakyRelu(alpha=0.1), s)
    p = b.op(middle or MaxPool2d((2, 2), (1, 2)), s)
    p = b.op(AveragePool2d((2, 2), (1, 1)), p)
    m = b.op(Mean((1, 2), False), p)
    flat = b.op(Reshape((1, 6)), m)
    z = b.layer(FullyConnected(), flat, RNG.normal(0, 0.8, (4, 6)), RNG.normal(0, 0.2, 4))
    return b.graph(b.op(Softmax(), z, name="y"))


def logits(graph: Graph) -> tuple[Graph, str]:
    _, name, _ = data_free._ends(graph)
    return data_free._until(graph, name), name


def test_a_gradient_is_the_slope_of_what_is_computed() -> None:
    graph, name = logits(network())
    x = RNG.normal(0, 1, (3, 1, 3, 8, 9)).astype(np.float32)
    values = evaluate_float(graph, {"x": x}, steps=True)
    g = RNG.normal(0, 1, values[name].shape)
    found = backward(graph, values, name, g)["x"]

    def number(a: Array) -> Array:
        found: Array = evaluate_float(graph, {"x": a.astype(np.float32)})[name].astype(np.float64)
        return np.asarray((found * g).reshape(len(a), -1).sum(1))

    ways = [RNG.normal(0, 1, x.shape) for _ in range(8)]
    slopes = np.array([(number(x + 2.0**-10 * way) - number(x - 2.0**-10 * way)) / 2.0**-9 for way in ways])
    expected = np.array([(found * way).reshape(3, -1).sum(1) for way in ways])  # kinks and float32 make them differ a little
    assert np.linalg.norm(slopes - expected) < 0.05 * np.linalg.norm(expected)


def test_gradients_of_constants_are_slopes_too() -> None:
    """Of every layer: groups, channels on their own, strides, padding, clamps."""
    graph, name = logits(network())
    x = RNG.normal(0, 1, (3, 1, 3, 8, 9)).astype(np.float32)
    layers = [n for n in graph.nodes if n.op.traits.linear is not None]
    values = evaluate_float(graph, {"x": x}, steps=True)
    g = RNG.normal(0, 1, values[name].shape)
    found = backward(graph, values, name, g, {n.name for n in layers})
    for constant in (n for node in layers for n in node.inputs[1:3]):
        data = graph.tensors[constant].data
        assert data is not None and found[constant].shape == data.shape
        way = RNG.normal(0, 1, data.shape)
        ends = []
        for step in (2.0**-11, -(2.0**-11)):
            moved = replace(graph.tensors[constant], data=(data + step * way).astype(np.float32))
            outputs = evaluate_float(replace(graph, tensors={**graph.tensors, constant: moved}), {"x": x})
            ends.append(float((outputs[name].astype(np.float64) * g).sum()))
        slope = (ends[0] - ends[1]) / 2.0**-10
        assert slope == pytest.approx(float((found[constant] * way).sum()), rel=0.1, abs=0.02 * np.linalg.norm(found[constant])), constant


def test_what_has_no_gradient_is_named() -> None:
    b = Floats()
    h = b.op(LayerNorm(), b.input(1, 16), b.const(np.ones(16)), b.const(np.zeros(16)), name="norm")
    graph = b.graph(b.layer(FullyConnected(), h, RNG.normal(0, 1, (4, 16)), name="y"))
    with pytest.raises(EdgeqError, match="has no gradient here") as e:
        data_free.samples(graph, 2)
    assert e.value.where == "norm"


def classifier(scale: float) -> Graph:
    """Two layers, five classes; its inputs are about as large as `scale`, and none is told so."""
    rng = np.random.default_rng(8)
    b = Floats()
    a = b.layer(Conv2d((1, 1), pads=(1, 1, 1, 1), clamp=(0.0, np.inf)), b.input(1, 12, 10, 2),
                rng.normal(0, 0.25, (12, 3, 3, 2)) / scale, rng.normal(0, 0.3, 12))  # fmt: skip
    a = b.op(Reshape((1, 120 * 12)), a)
    return b.graph(b.op(Softmax(), b.layer(FullyConnected(), a, rng.normal(0, 0.06, (5, 120 * 12))), name="y"))


@pytest.mark.parametrize("scale", [0.02, 70.0])
def test_inputs_have_the_size_that_the_network_expects(scale: float) -> None:
    """Noise of size 1 would calibrate either wrongly by orders of magnitude."""
    graph = classifier(scale)
    x = (np.random.default_rng(9).normal(0, scale, (80, 1, 12, 10, 2))).astype(np.float32)
    real = evaluate_float(graph, {"x": x})["y"].reshape(80, -1)
    right = {}
    for calibration in ("data-free", "random"):
        stored = api.quantize(graph, calibration).graph
        got = api.simulate(stored, {"x": x}).run.outputs["y"].reshape(80, -1)
        right[calibration] = np.mean(got.argmax(1) == real.argmax(1))
    assert right["data-free"] > 0.9 and right["random"] < 0.75


def test_inputs_are_taken_for_every_class_and_keep_to_limits() -> None:
    graph = classifier(1.0)
    found = data_free.samples(graph, 20, (-1.0, 1.0))["x"]
    assert found.shape == (20, 1, 12, 10, 2) and -1 <= found.min() < -0.2 and 0.2 < found.max() <= 1
    answers = evaluate_float(graph, {"x": found})["y"].reshape(20, -1)
    assert set(answers.argmax(1)) == set(range(5)) and np.mean(answers.argmax(1) == np.arange(20) % 5) > 0.9
    assert np.array_equal(found, data_free.samples(graph, 20, (-1.0, 1.0))["x"])


def test_what_is_no_classifier_is_refused() -> None:
    b = Floats()
    same = b.graph(b.layer(FullyConnected(), b.input(1, 6), RNG.normal(0, 1, (6, 6)), name="y"))
    b = Floats()
    one = b.graph(b.layer(FullyConnected(), b.input(1, 6), RNG.normal(0, 1, (1, 6)), name="y"))
    for graph, why in ((same, "reconstructs"), (one, "one number")):
        with pytest.raises(EdgeqError, match=f"for classifiers.*{why}"):
            api.quantize(graph, "data-free")


def normed(tmp_path: Path, classes: bool) -> tuple[Graph, Array]:
    """An ONNX file with two batch norms of inputs about 3 and not about 0, and such inputs."""
    rng = np.random.default_rng(4)
    x = (3 + rng.normal(0, 1, (64, 2, 12, 12)).cumsum(2) / 3).astype(np.float32)
    w, v, u = (rng.normal(0, 0.4, s).astype(np.float32) for s in ((8, 2, 3, 3), (8, 8, 3, 3), (5, 8)))
    conv = [helper.make_node("Conv", ["x", "w"], ["a"], pads=[1] * 4), helper.make_node("Conv", ["r", "v"], ["c"], pads=[1] * 4)]
    constants = {"w": w, "v": v, "u": u, **{f"{n}{i}": np.ones(8, np.float32) for n in "gbmv" for i in (1, 2)}}
    nodes = [
        conv[0], helper.make_node("BatchNormalization", ["a", "g1", "b1", "m1", "v1"], ["n"]), helper.make_node("Relu", ["n"], ["r"]),
        conv[1], helper.make_node("BatchNormalization", ["c", "g2", "b2", "m2", "v2"], ["y"]),
    ]  # fmt: skip
    if classes:
        nodes += [
            helper.make_node("GlobalAveragePool", ["y"], ["p"]), helper.make_node("Flatten", ["p"], ["f"]),
            helper.make_node("Gemm", ["f", "u"], ["z"], transB=1),
        ]  # fmt: skip

    def saved() -> Path:
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", (1, 2, 12, 12)), ("z" if classes else "y", None))]
        held = [numpy_helper.from_array(a, n) for n, a in constants.items() if any(n in node.input for node in nodes)]
        model = helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], held), opset_imports=[helper.make_opsetid("", 17)])
        onnx.save(model, tmp_path / "m.onnx")
        return tmp_path / "m.onnx"

    for i in (1, 2):  # what training would have kept
        sums, _ = norms.bared(api.load(saved()))
        values = evaluate_float(sums, {"x": x[:, None]}, steps=True)
        layer = [n for n in sums.nodes if n.op.traits.linear is not None][i - 1]
        rows = values[layer.outputs[0]].reshape(-1, 8)  # (sum - 1) / sqrt(1) + 1, what it starts with
        constants |= {
            f"m{i}": rows.mean(0),
            f"v{i}": rows.var(0),
            f"g{i}": np.float32(0.5 + rng.random(8)),
            f"b{i}": np.float32(rng.random(8)),
        }
    return api.load(saved()), x[:, None]


@pytest.mark.parametrize("classes", [True, False])
def test_batch_norms_of_the_file_say_how_large_inputs_are(tmp_path: Path, classes: bool) -> None:
    """Sums of layers come near the means and deviations of training, also of a network that is no classifier."""
    graph, x = normed(tmp_path, classes)
    bare, known = norms.bared(graph)
    assert len(known) == 2
    ends = [evaluate_float(g, {"x": x})[graph.results[0]] for g in (graph, bare)]
    np.testing.assert_allclose(*ends, rtol=1e-5, atol=1e-6)
    plain = replace(graph, tensors={n: replace(t, norm=None) for n, t in graph.tensors.items()})
    given = {"made": data_free.samples(graph, 32)["x"], "true": x, "noise": np.random.default_rng(0).normal(0, 1, x.shape)}
    given |= {"labels": data_free.samples(plain, 32)["x"]} if classes else {}
    unlike = {k: norms.gradients(evaluate_float(bare, {"x": np.float32(a)}, steps=True), known)[0] for k, a in given.items()}
    assert unlike["true"] < 1e-3 and unlike["made"] < 0.35 * unlike["noise"] and unlike["made"] < 0.5 * unlike.get("labels", 9.0), unlike
    if not classes:
        with pytest.raises(EdgeqError, match="calibration without data is for classifiers"):
            data_free.samples(plain, 8)


def test_what_batch_norms_ask_for_is_a_distance_and_its_slope() -> None:
    """The mean over layers, of them over living channels, of what mean and deviation miss in deviations of training."""
    rng = np.random.default_rng(3)
    values = {"a": rng.normal(2, 3, (4, 1, 5, 3)), "b": rng.normal(-1, 0.5, (4, 1, 2))}
    known = {"a": np.array([[1.5, 0.0, 7.0], [2.0, 4.0, 1e-6]]), "b": np.array([[-2.0, 0.5], [0.4, 1.0]])}  # the third has never lived

    def distance() -> float:
        total = 0.0
        for name, living in (("a", 2), ("b", 2)):
            for c in range(living):
                y, (mean, deviation) = values[name][..., c].ravel(), known[name][:, c]
                spread = np.sqrt(((y - y.mean()) ** 2).mean())
                total += (((y.mean() - mean) / deviation) ** 2 + ((spread - deviation) / deviation) ** 2) / living / 2
        return total

    loss, slopes = norms.gradients(values, known)
    assert loss == pytest.approx(distance(), rel=1e-9)
    for name, place in (("a", (0, 0, 1, 0)), ("a", (3, 0, 4, 1)), ("a", (2, 0, 0, 2)), ("b", (1, 0, 0)), ("b", (3, 0, 1))):
        ends = []
        for step in (1e-4, -1e-4):
            values[name][place] += step
            ends.append(distance())
            values[name][place] -= step
        assert slopes[name][place] / 4 == pytest.approx((ends[0] - ends[1]) / 2e-4, rel=1e-4, abs=1e-9), (name, place)
