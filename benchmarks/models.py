"""The benchmarked models: the shipped examples always, the MLPerf Tiny reference models where the data folder holds them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from edgeq import api
from edgeq.ir import Graph

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("EDGEQ_DATA") or ROOT.parent / "shared" / "data")
MLPERF = {
    "kws": "kws_ref_model.tflite", "resnet8": "pretrainedResnet_quant.tflite", "vww": "vww_96_int8.tflite",
    "ad": "ad01_int8.tflite", "wake_word": "str_ww_ref_model.tflite",
}  # fmt: skip


def digits() -> Graph:
    """The digits example, quantized with the example's own calibration images."""
    sys.path.insert(0, str(ROOT / "examples" / "digits"))
    from data import load  # type: ignore[import-not-found]

    graph = api.load(ROOT / "examples" / "digits" / "digits.onnx")
    return api.quantize(graph, {graph.inputs[0]: load()[0][:128]}).graph


def mlperf(name: str) -> Graph | None:
    """An int8 reference model, or None where the data folder is absent."""
    path = DATA / "mlperf_tiny" / MLPERF[name]
    return api.load(path) if path.is_file() else None
