"""int8 keeps the float model's accuracy: at most half a point lost, on real inputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeq import api


def test_keyword_spotting(data: Path) -> None:
    stored = np.load(data / "mlperf_tiny" / "kws01_dev.npz")
    x = ((stored["x"].astype(np.float32) - 83) * np.float32(0.5847029)).reshape(-1, 1, 49, 10, 1)
    graph = api.load(data / "mlperf_tiny" / "kws_ref_model_float32.tflite")
    quantized = api.quantize(graph, {graph.inputs[0]: x[::5]}).graph
    from edgeq.quantize import evaluate_float

    real = evaluate_float(graph, {graph.inputs[0]: x})[graph.outputs[0]].reshape(len(x), -1).argmax(1)
    int8 = api.simulate(quantized, {quantized.inputs[0]: x}).run.outputs[quantized.outputs[0]].reshape(len(x), -1).argmax(1)
    before, after = (100 * np.mean(p == stored["y"]) for p in (real, int8))
    print(f"keyword spotting: float {before:.2f} %, int8 {after:.2f} %")
    assert before > 88
    assert after >= before - 0.5


def test_the_quantizer_is_deterministic(data: Path) -> None:
    from edgeq.graphfile import dumps

    graph = api.load(data / "mlperf_tiny" / "ad01_fp32.tflite")
    x = np.random.default_rng(0).normal(-30, 10, (16, *graph.type(graph.inputs[0]).shape)).astype(np.float32)
    assert dumps(api.quantize(graph, {graph.inputs[0]: x}).graph) == dumps(api.quantize(graph, {graph.inputs[0]: x}).graph)
