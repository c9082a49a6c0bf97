"""The network as an ONNX model that computes one token: caches of keys and values are states; token and place are inputs, and a number
by which the next token is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformer import CONTEXT, DEPTH, GROUPS, HEADS, LAYERS, WIDTH, rotary

Weights = dict[str, NDArray[np.float32]]
TOP, TEMPERATURE = 8, 0.7  # the next token is one of so many


class Writer:
    """Nodes and constants, in order."""

    def __init__(self, weights: Weights) -> None:
        self.weights, self.nodes, self.constants = weights, list[onnx.NodeProto](), dict[str, onnx.TensorProto]()

    def constant(self, name: str, data: NDArray[np.generic]) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(data), name)
        return name

    def op(self, kind: str, name: str, *inputs: str, **attributes: object) -> str:
        """A node; its output has the node's name."""
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def dense(self, x: str, name: str) -> str:
        """``x w^T + b`` by the weights of this name."""
        w = self.constant(f"{name}.weight", self.weights[f"{name}.weight"].T)
        b = self.constant(f"{name}.bias", self.weights[f"{name}.bias"])
        return self.op("Add", name, self.op("MatMul", f"{name}.product", x, w), b)

    def norm(self, x: str, name: str) -> str:
        scale, bias = (self.constant(f"{name}.{n}", self.weights[f"{name}.{n}"]) for n in ("weight", "bias"))
        return self.op("LayerNormalization", name, x, scale, bias, axis=-1, epsilon=1e-5)

    def layer(self, x: str, name: str, number: int) -> str:
        """A layer; its caches are ``keys<number>`` and ``values<number>``."""
        h = self.norm(x, f"{name}.before")
        q, k, v = (self.dense(h, f"{name}.{n}") for n in "qkv")
        turned = (("q", q, HEADS), ("k", k, GROUPS))
        q, k = (self.op("RotaryEmbedding", f"{name}.{t}.turned", n, "cosines", "sines", "place", num_heads=c) for t, n, c in turned)
        kept = [
            self.op("TensorScatter", f"{cache}_state{number}_out", f"{cache}_state{number}_in", rows, "place", axis=1, mode="circular")
            for cache, rows in (("keys", k), ("values", v))
        ]
        y = self.op("Attention", f"{name}.attention", q, *kept, "", "", "", "seen", q_num_heads=HEADS, kv_num_heads=GROUPS)
        x = self.op("Add", f"{name}.x", x, self.dense(y, f"{name}.out"))
        h = self.op("Gelu", f"{name}.gelu", self.dense(self.norm(x, f"{name}.between"), f"{name}.up"))
        return self.op("Add", f"{name}.y", x, self.dense(h, f"{name}.down"))


def step_model(weights: Weights) -> onnx.ModelProto:
    """Token, place and number, int32 ``[1, 1]``, ``[1]`` and ``[1]``, and the states -> scores ``[1, 1, symbols]``, next token."""
    w = Writer(weights)
    for name, table in zip(("cosines", "sines"), rotary(), strict=True):
        w.constant(name, table.numpy())
    w.constant("one", np.array([1], np.int64))
    w.constant("embedding", weights["embedding.weight"])
    w.op("Add", "seen", "place", "one")
    x = w.op("Gather", "embedded", "embedding", "token", axis=0)
    for i in range(LAYERS):
        x = w.layer(x, f"layers.{i}", i)
    scores = w.dense(w.norm(x, "norm"), "head")
    w.op("Sample", "next", scores, "number", domain="edgeq", top=TOP, temperature=TEMPERATURE)
    shape = [1, CONTEXT, GROUPS * DEPTH]
    states = [f"{cache}_state{i}" for i in range(LAYERS) for cache in ("keys", "values")]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, s) for n, s in (("token", [1, 1]), ("place", [1]), ("number", [1]))]
    inputs += [helper.make_tensor_value_info(f"{n}_in", TensorProto.FLOAT, shape) for n in states]
    outputs = [helper.make_tensor_value_info(scores, TensorProto.FLOAT, [1, 1, len(weights["head.bias"])])]
    outputs.append(helper.make_tensor_value_info("next", TensorProto.INT64, [1, 1]))
    outputs += [helper.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, shape) for n in states]
    assert len(weights["embedding.weight"][0]) == WIDTH
    graph = helper.make_graph(w.nodes, "small_language_model", inputs, outputs, list(w.constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 24), helper.make_opsetid("edgeq", 1)])


def write(weights: Path, path: Path) -> None:
    """model.onnx from weights.npz."""
    onnx.save(step_model({n: w.astype(np.float32) for n, w in np.load(weights).items()}), path)
