"""Models that stream: states are carried from frame to frame alike by simulator, host, RISC-V and Cortex-M4."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "frontends"))
from installed import uncounted
from onnx_models import Net, load, onnxruntime_outputs

from edgeq import api, graphfile
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph
from edgeq.passes import declare_states, normalise
from edgeq.quantize import evaluate_float
from edgeq.quantize.halving import to_half
from edgeq.run import host, unicorn
from edgeq.simulate import simulate

FRAMES, IN, H = 240, 12, 10


def network() -> Net:
    """One step: dense, LSTM, GRU, dense; three states."""
    b = Net()
    x = b.input(1, IN, name="frame")
    h1, c1, h2 = (b.input(1, 1, H, name=f"{n}_state_in") for n in ("h1", "c1", "h2"))
    y = b.op("Relu", b.op("Gemm", x, b.random(IN, IN), b.random(IN)))
    sizes = [[(1, g * H, w), (1, g * H, H), (1, 2 * g * H)] for g, w in ((4, IN), (3, H))]
    parameters = [[b.const(b.rng.normal(0, 0.4, s), np.float32) for s in shapes] for shapes in sizes]
    _, h1, c1 = b.op("LSTM", b.op("Unsqueeze", y, b.ints(0)), *parameters[0], "", h1, c1, outputs=3, hidden_size=H)
    _, h2 = b.op("GRU", h1, *parameters[1], "", h2, outputs=2, hidden_size=H, linear_before_reset=1)
    y = b.op("Sigmoid", b.op("Gemm", b.op("Squeeze", h2, b.ints(0)), b.const(b.rng.normal(0, 2, (H, 5)), np.float32), b.random(5)))
    b.named = {y: "mask", h1: "h1_state_out", c1: "c1_state_out", h2: "h2_state_out"}  # type: ignore[attr-defined]
    return b


def model() -> object:
    b = network()
    names = b.named  # type: ignore[attr-defined]
    for node in b.nodes:
        for ends in (node.input, node.output):
            for i, n in enumerate(ends):
                ends[i] = names.get(n, n)
    return b.model(*names.values())


def frames(count: int = FRAMES) -> Array:
    """A slow signal with noise on it."""
    rng = np.random.default_rng(5)
    slow = np.sin(np.arange(count)[:, None] / np.linspace(3, 40, IN)) * np.linspace(0.2, 2, IN)
    return (slow + rng.normal(0, 0.3, slow.shape)).astype(np.float32)[:, None]


@pytest.fixture(scope="module")
def real() -> Graph:
    return normalise(declare_states(load(model())))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def quantized(real: Graph) -> Graph:
    return api.quantize(real, {"frame": frames()}).graph


def test_states_are_recognised_and_float_frames_follow_each_other(real: Graph) -> None:
    assert real.states == tuple((f"{n}_state_in", f"{n}_state_out") for n in ("h1", "c1", "h2"))
    assert real.given == ("frame",) and real.results == ("mask",)
    got = evaluate_float(real, {"frame": frames()})["mask"]
    states = {n: np.zeros((1, 1, 1, H), np.float32) for n in ("h1_state_in", "c1_state_in", "h2_state_in")}
    for v, frame in enumerate(frames()[:60]):
        out = onnxruntime_outputs(model(), {"frame": frame[None], **states})  # type: ignore[arg-type]
        np.testing.assert_allclose(got[v], out["mask"][0], atol=1e-5)
        states = {n: out[n.replace("_in", "_out")] for n in states}


def test_types_of_states(quantized: Graph) -> None:
    t = quantized.type("c1_state_in")
    assert t.dtype is DType.INT16 and t == quantized.type("c1_state_out") and np.log2(t.scale) % 1 == 0 and t.zero_point == 0
    assert quantized.type("h1_state_in") == quantized.type("h1_state_out") and quantized.type("h1_state_in").dtype is DType.INT8


def test_quantized_follows_float(real: Graph, quantized: Graph) -> None:
    """Over frames that calibration has not seen the error does not build up."""
    x = frames(2 * FRAMES)
    want = evaluate_float(real, {"frame": x})["mask"]
    run = simulate(quantized, {"frame": x})
    got = (run.outputs["mask"].astype(np.float64) - quantized.type("mask").zero_point) * quantized.type("mask").scale
    error, signal = ((got - want) ** 2).mean(axis=(1, 2)), ((want - want.mean(axis=0)) ** 2).mean()
    assert 10 * np.log10(signal / error[:FRAMES].mean()) > 20 and 10 * np.log10(signal / error[FRAMES:].mean()) > 18


def test_simulator_carries_states_frame_by_frame(quantized: Graph) -> None:
    x = frames(30)
    run = simulate(quantized, {"frame": x}, steps=True)
    plain = replace(quantized, states=())
    states = {a: np.full((1, *t.shape), t.zero_point, t.dtype.numpy) for a, t in ((a, quantized.type(a)) for a, _ in quantized.states)}
    for v in range(len(x)):
        one = simulate(plain, {"frame": x[v : v + 1], **states})
        np.testing.assert_array_equal(run.outputs["mask"][v], one.outputs["mask"][0])
        states = {a: one.outputs[b] for a, b in quantized.states}
        for a, b in quantized.states:
            np.testing.assert_array_equal(run.steps[b][v], states[a][0])


@pytest.mark.parametrize("name", ["host", "riscv", "cortex-m4"])
@pytest.mark.parametrize("recipe", ["int8", "fp16"])
def test_every_frame_is_bit_exact(real: Graph, quantized: Graph, recipe: str, name: str, tmp_path: Path) -> None:
    graph = quantized if recipe == "int8" else to_half(real)
    expected = simulate(graph, {"frame": frames()}, steps=True)
    x = {"frame": expected.steps["frame"]}
    built = api.build(graph, output=tmp_path / "m", target=name, vectors=8, check=False)
    assert built.manifest.state_bytes == (12 + 20 + 12 if recipe == "int8" else 3 * 20)
    actual = host.run(built.folder, x, steps=True) if name == "host" else unicorn.run(built.folder, uncounted(name), x, steps=True)
    result = compare(expected, actual)
    assert result.bit_exact, str(result.difference)
    assert recipe == "fp16" or actual.constant_time in (None, True)  # soft-float is not


def test_the_graph_file_keeps_states(quantized: Graph) -> None:
    assert graphfile.loads(graphfile.dumps(quantized)).states == quantized.states


def test_precision_of_a_cell_state_is_written_and_read(real: Graph, tmp_path: Path) -> None:
    first = api.quantize(real, {"frame": frames()})
    text = first.files["precision.toml"]
    assert b'dtype = "int16"' in text
    file = tmp_path / "precision.toml"
    file.write_bytes(text)
    again = api.quantize(real, {"frame": frames()}, precision=file)
    assert graphfile.dumps(again.graph) == graphfile.dumps(first.graph)
    file.write_bytes(text.replace(b'dtype = "int16"', b'dtype = "int8"'))
    with pytest.raises(EdgeqError, match=r"cell state|contradict"):
        api.quantize(real, {"frame": frames()}, precision=file)


def test_states_by_hand() -> None:
    b = Net()
    x, old = b.input(1, 4, name="x"), b.input(1, 4, name="before")
    y = b.op("Add", x, old)
    graph = load(b.model(b.op("Relu", y), y))
    assert not declare_states(graph).states
    assert declare_states(graph, {"before": graph.outputs[1]}).states == (("before", graph.outputs[1]),)
    for bad in ({"x": "y"}, {"nothing": graph.outputs[1]}, {"before": graph.outputs[1], "x": graph.outputs[0]}):
        with pytest.raises(EdgeqError):
            declare_states(graph, bad)
