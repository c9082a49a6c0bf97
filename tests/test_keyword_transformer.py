"""The keyword transformer of examples/: a step of attention per block, and int8 that is as good as float."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from example_modules import load

import edgeq
from edgeq.quantize import evaluate_float
from edgeq.simulate import simulate

MODEL = Path(__file__).parent.parent / "examples" / "keyword_transformer" / "words.onnx"


def test_every_block_is_one_attention() -> None:
    graph = edgeq.load(MODEL)
    kinds = [n.op.kind() for n in graph.nodes]
    assert kinds.count("attention") == 2 and kinds.count("layer_norm") == 5 and "softmax" not in kinds


def test_int8_is_as_good_as_float_on_speakers_held_out() -> None:
    sounds, pipeline = load("keyword_spotting", "sounds", "float_pipeline")
    if not sounds.DATA.is_file():
        pytest.skip("no recordings in ../shared")
    recordings = sounds.clips()
    held = [c for c in recordings if c.speaker in sounds.HELD_OUT][::5]
    words, x = np.array([c.word for c in held]), pipeline.log_mel([sounds.placed(c.samples) for c in held])
    samples = pipeline.log_mel([sounds.placed(c.samples) for c in recordings if c.speaker not in sounds.HELD_OUT][::40])
    graph = edgeq.load(MODEL)
    real = evaluate_float(graph, {graph.given[0]: x})[graph.results[0]].reshape(len(x), -1).argmax(1)
    quantized = edgeq.quantize(graph, samples).graph
    stored = simulate(quantized, {quantized.given[0]: x}).outputs[quantized.results[0]].reshape(len(x), -1).argmax(1)
    assert (real == words).mean() > 0.7
    assert abs((real == words).mean() - (stored == words).mean()) <= 0.015 and (real == stored).mean() > 0.97
