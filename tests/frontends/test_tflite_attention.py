"""Attention as TensorFlow's converter writes it, its operands transposed by flags or nodes, masks added or selected; as LiteRT in float."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from onnx_models import kinds
from tflite_models import TfliteModel, litert, real

from edgeq.frontends import tflite
from edgeq.ir import Array
from edgeq.passes import normalise

T, H, D = 5, 2, 4
C = H * D
LATER = np.triu(np.ones((T, T), bool), 1)


class Block:
    """A model in the making, with names for its tensors."""

    def __init__(self) -> None:
        self.m, self.rng, self.count = TfliteModel(), np.random.default_rng(4), 0

    def const(self, data: Array) -> int:
        self.count += 1
        return int(self.m.constant(f"c{self.count}", data))

    def op(self, kind: str, shape: tuple[int, ...], *inputs: int, options: tuple[str, Mapping[str, object]] | None = None) -> int:
        self.count += 1
        y = self.m.tensor(f"t{self.count}", shape)
        self.m.operator(kind, inputs, [y], options)
        return y

    def heads(self, x: int, order: tuple[int, ...]) -> int:
        weights = self.const(self.rng.normal(0, 0.4, (C, C)).astype(np.float32))
        options = ("FullyConnectedOptions", {"keepNumDims": True})
        y = self.op("FULLY_CONNECTED", (1, T, C), x, weights, self.const(np.zeros(C, np.float32)), options=options)
        y = self.op("RESHAPE", (1, T, H, D), y, self.const(np.array([1, T, H, D], np.int32)))
        shape = tuple((1, T, H, D)[a] for a in order)
        return self.op("TRANSPOSE", shape, y, self.const(np.array(order, np.int32)))

    def product(self, shape: tuple[int, ...], a: int, b: int, adjoint: str = "") -> int:
        flags = {"adjX": "x" in adjoint, "adjY": "y" in adjoint}
        return self.op("BATCH_MATMUL", shape, a, b, options=("BatchMatMulOptions", flags))

    def masked(self, scores: int, mask: str) -> int:
        shape = (1, H, T, T)
        if mask == "added":
            later = self.const(np.where(LATER, -1e9, 0).astype(np.float32)[None, None])
            return self.op("ADD", shape, scores, later, options=("AddOptions", {}))
        if mask == "selected":
            low = self.const(np.full((1, 1, 1, 1), -1e9, np.float32))
            return self.op("SELECT_V2", shape, self.const(~LATER[None, None]), scores, low, options=("SelectV2Options", {}))
        if mask == "keras":
            given = self.m.input("mask", (1, 1, 1, T))
            outside = self.op("SUB", (1, 1, 1, T), self.const(np.ones((1, 1, 1, 1), np.float32)), given, options=("SubOptions", {}))
            low = self.op("MUL", (1, 1, 1, T), outside, self.const(np.full((1, 1, 1, 1), -1e9, np.float32)), options=("MulOptions", {}))
            return self.op("ADD", shape, scores, low, options=("AddOptions", {}))
        return scores

    def model(self, form: str, mask: str) -> bytes:
        x = self.m.input("x", (1, T, C))
        q = self.heads(x, (0, 2, 1, 3))
        half = self.const(np.full((1, 1, 1, 1), 0.5, np.float32))
        if form == "keras":  # keys times queries, as its einsum becomes
            q = self.op("MUL", (1, H, T, D), q, half, options=("MulOptions", {}))
            scores = self.product((1, H, T, T), self.heads(x, (0, 2, 1, 3)), q, "y")
            scores = self.op("TRANSPOSE", (1, H, T, T), scores, self.const(np.array([0, 1, 3, 2], np.int32)))
        else:
            k = self.heads(x, (0, 2, 3, 1) if form == "plain" else (0, 2, 1, 3))
            scores = self.product((1, H, T, T), q, k, "" if form == "plain" else "y")
            scores = self.op("MUL", (1, H, T, T), scores, half, options=("MulOptions", {}))
        p = self.op("SOFTMAX", (1, H, T, T), self.masked(scores, mask), options=("SoftmaxOptions", {"beta": 1.0}))
        if form == "keras":
            y = self.product((1, H, D, T), self.heads(x, (0, 2, 3, 1)), p, "y")
            y = self.op("TRANSPOSE", (1, T, H, D), y, self.const(np.array([0, 3, 1, 2], np.int32)))
        else:
            y = self.product((1, H, T, D), p, self.heads(x, (0, 2, 1, 3)))
            y = self.op("TRANSPOSE", (1, T, H, D), y, self.const(np.array([0, 2, 1, 3], np.int32)))
        return bytes(self.m.finish(self.op("RESHAPE", (1, T, C), y, self.const(np.array([1, T, C], np.int32)))))


FORMS = [("plain", ""), ("adjoint", ""), ("keras", ""), ("keras", "added"), ("keras", "selected"), ("keras", "keras")]


@pytest.mark.parametrize(("form", "mask"), FORMS)
def test_one_step(form: str, mask: str, tmp_path: Path) -> None:
    model = Block().model(form, mask)
    (tmp_path / "m.tflite").write_bytes(model)
    graph = normalise(tflite.load(tmp_path / "m.tflite"))
    assert kinds(graph).count("masked_attention" if mask == "keras" else "attention") == 1
    assert not {"softmax", "mat_mul", "transpose"} & set(kinds(graph))
    arrays = [np.random.default_rng(1).normal(0, 1, (2, 1, T, C)).astype(np.float32)]
    if mask == "keras":
        arrays.append(np.broadcast_to((np.arange(T) < 3).astype(np.float32), (2, 1, 1, 1, T)))
    want = litert(model, arrays)
    (got,) = real(graph, dict(zip(graph.inputs, arrays, strict=True)))
    np.testing.assert_allclose(got, want[0], rtol=0, atol=2e-5)
