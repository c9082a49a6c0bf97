"""Small ONNX models for the tests, and their outputs by onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

from edgeq.evaluate import evaluate
from edgeq.frontends.onnx import from_model, parse
from edgeq.ir import Array, Graph

NEWEST = 21  # what the installed onnxruntime runs in full


class Net:
    """Adds nodes one by one; every method returns the name of what it computes."""

    def __init__(self, opset: int = 17, seed: int = 0) -> None:
        self.opset, self.rng = opset, np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []
        self.inputs: list[Any] = []

    def input(self, *shape: int | str, name: str = "input", dtype: int = TensorProto.FLOAT) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def const(self, data: Any, dtype: Any = None) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(data, dtype), name))
        return name

    def ints(self, *values: int) -> str:
        return self.const(values, np.int64)

    def random(self, *shape: int, low: float | None = None) -> str:
        """Weights scaled to keep the variance; uniform between `low` and 1 + low where that is given."""
        if low is not None:
            return self.const(self.rng.uniform(low, low + 1, shape), np.float32)
        return self.const(self.rng.normal(0, 1 / np.sqrt(max(1, np.prod(shape[1:]))), shape), np.float32)

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> Any:
        number = len(self.nodes)
        names = [f"{kind.lower()}{number}"] if outputs == 1 else [f"{kind.lower()}{number}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, name=f"{kind}_{number}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def conv(self, x: str, channels: int, out: int, k: int = 3, group: int = 1, **attributes: Any) -> str:
        attributes.setdefault("pads", [k // 2] * 4)
        return str(self.op("Conv", x, self.random(out, channels // group, k, k), self.random(out), group=group, **attributes))

    def norm(self, x: str, c: int) -> str:
        parameters = (self.random(c, low=0.5), self.random(c), self.random(c), self.random(c, low=0.5))
        return str(self.op("BatchNormalization", x, *parameters))

    def model(self, *outputs: str) -> ModelProto:
        infos = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.constants)
        opsets = [helper.make_opsetid("", self.opset)]
        if any(n.domain == "com.microsoft" for n in self.nodes):
            opsets.append(helper.make_opsetid("com.microsoft", 1))
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def load(model: ModelProto, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Graph:
    return from_model(parse(model.SerializeToString(), "model.onnx"), "model", shapes=shapes, where="model.onnx")


def feeds(model: ModelProto, vectors: int, seed: int = 1) -> dict[str, Array]:
    """Random inputs ``[vectors, *shape]``; open dimensions are 1."""
    rng = np.random.default_rng(seed)
    constants = {t.name for t in model.graph.initializer}
    shapes = {i.name: [d.dim_value or 1 for d in i.type.tensor_type.shape.dim] for i in model.graph.input if i.name not in constants}
    return {n: rng.normal(0, 1, (vectors, *s)).astype(np.float32) for n, s in shapes.items()}


def onnxruntime_outputs(model: ModelProto, arrays: Mapping[str, Array], exact: bool = False) -> dict[str, Array]:
    """Per output ``[V, *shape]``; `exact` keeps quantized operators apart from each other."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if exact:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    count = len(next(iter(arrays.values())))
    runs = [session.run(None, {n: np.asarray(a[i]) for n, a in arrays.items()}) for i in range(count)]
    return {o.name: np.stack([r[k] for r in runs]) for k, o in enumerate(session.get_outputs())}


def real_outputs(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The float meaning of a graph."""
    values = evaluate(graph, arrays, lambda node, x: node.op.real_all(*x), False)
    return {n: values[n] for n in graph.outputs}


def kinds(graph: Graph) -> list[str]:
    return [n.op.kind() for n in graph.nodes]


# Networks


def resnet() -> ModelProto:
    b = Net()
    x = b.op("Relu", b.norm(b.conv(b.input(1, 3, 16, 16), 3, 8), 8))
    for before, after in ((8, 8), (8, 16), (16, 32)):
        strides = [after // before] * 2
        y = b.op("Relu", b.norm(b.conv(x, before, after, strides=strides), after))
        y = b.norm(b.conv(y, after, after), after)
        short = x if before == after else b.norm(b.conv(x, before, after, k=1, strides=strides), after)
        x = b.op("Relu", b.op("Add", y, short))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    return b.model(b.op("Softmax", b.op("Gemm", x, b.random(10, 32), b.random(10), transB=1)))


def mobilenet() -> ModelProto:
    """ReLU6, hard-swish whole and spelled out, squeeze-and-excite by convolutions and by matrices."""
    b = Net()
    x = b.conv(b.input(1, 3, 16, 16), 3, 8, strides=[2, 2])
    x = b.op("Clip", x, b.const(0.0, np.float32), b.const(6.0, np.float32))
    for _ in range(2):
        y = b.op("HardSwish", b.conv(x, 8, 24, k=1))
        y = b.conv(y, 24, 24, group=24)
        y = b.op("Mul", y, b.op("HardSigmoid", y, alpha=1 / 6, beta=0.5))
        s = b.op("Relu", b.conv(b.op("GlobalAveragePool", y), 24, 6, k=1))
        y = b.op("Mul", y, b.op("HardSigmoid", b.conv(s, 6, 24, k=1), alpha=1 / 6))
        x = b.op("Add", x, b.conv(y, 24, 8, k=1))
    s = b.op("ReduceMean", x, axes=[2, 3], keepdims=0)
    s = b.op("Sigmoid", b.op("Gemm", s, b.random(8, 8), b.random(8)))
    x = b.op("Mul", b.op("Unsqueeze", s, b.ints(2, 3)), x)
    x = b.op("AveragePool", x, kernel_shape=[4, 4], strides=[4, 4])
    return b.model(b.op("Gemm", b.op("Reshape", x, b.ints(1, -1)), b.random(32, 5), b.random(5)))


def keywords() -> ModelProto:
    """One-dimensional convolutions."""
    b = Net()
    x, channels = b.input(1, 10, 49), 10
    for out in (16, 16, 24):
        x = b.op("Conv", x, b.random(out, channels, 3), b.random(out), pads=[1, 1])
        x = b.op("MaxPool", b.op("Relu", b.norm(x, out)), kernel_shape=[2], strides=[2])
        channels = out
    x = b.op("ReduceMean", x, axes=[2], keepdims=0)
    return b.model(b.op("Add", b.op("MatMul", x, b.random(24, 12)), b.random(12)))


def flat_keywords() -> ModelProto:
    """One-dimensional convolutions, flattened with an activation behind."""
    b = Net()
    x, channels = b.input(1, 10, 20), 10
    for out in (16, 12):
        x = b.op("Relu", b.op("Conv", x, b.random(out, channels, 3), b.random(out), pads=[1, 1]))
        channels = out
    x = b.op("Tanh", b.op("Flatten", x))
    return b.model(b.op("Gemm", x, b.random(240, 12), b.random(12)))


def unet() -> ModelProto:
    b = Net()
    first = b.op("Relu", b.conv(b.input(1, 1, 16, 16), 1, 8))
    second = b.op("Relu", b.conv(b.op("MaxPool", first, kernel_shape=[2, 2], strides=[2, 2]), 8, 16))
    third = b.op("Relu", b.conv(b.op("MaxPool", second, kernel_shape=[2, 2], strides=[2, 2]), 16, 32))
    x = b.op("Resize", third, "", b.const([1, 1, 2, 2], np.float32), mode="linear")
    x = b.op("Relu", b.conv(b.op("Concat", x, second, axis=1), 48, 16))
    x = b.op("ConvTranspose", x, b.random(16, 8, 2, 2), b.random(8), strides=[2, 2])
    x = b.op("LeakyRelu", b.conv(b.op("Concat", x, first, axis=1), 16, 8), alpha=0.1)
    return b.model(b.op("Sigmoid", b.conv(x, 8, 1, k=1)))


def shufflenet() -> ModelProto:
    b = Net()
    x = b.op("Relu", b.conv(b.input(1, 3, 8, 8), 3, 12))
    for _ in range(2):
        left, right = b.op("Split", x, outputs=2, axis=1)
        right = b.conv(b.op("Relu", b.conv(right, 6, 6, k=1)), 6, 6, group=6)
        x = b.op("Reshape", b.op("Concat", left, right, axis=1), b.ints(1, 2, 6, 8, 8))
        x = b.op("Reshape", b.op("Transpose", x, perm=[0, 2, 1, 3, 4]), b.ints(1, 12, 8, 8))
    return b.model(b.op("Gemm", b.op("Flatten", x), b.random(768, 4), b.random(4)))


def decoder() -> ModelProto:
    b = Net()
    x = b.op("Relu", b.op("Gemm", b.input(1, 8), b.random(8, 96), b.random(96)))
    x = b.op("Reshape", x, b.ints(-1, 6, 4, 4))
    x = b.op("Relu", b.op("ConvTranspose", x, b.random(6, 4, 4, 4), b.random(4), strides=[2, 2], pads=[1, 1, 1, 1]))
    x = b.op("DepthToSpace", b.conv(x, 4, 12), blocksize=2, mode="CRD")
    return b.model(b.op("Tanh", b.conv(x, 3, 3)))


def mlp() -> ModelProto:
    b = Net()
    x = b.op("Relu", b.op("Add", b.op("MatMul", b.input("batch", 20), b.random(20, 16)), b.random(16)))
    x = b.norm(x, 16)
    x = b.op("Elu", b.op("Gemm", x, b.random(16, 16), b.random(16), alpha=0.5, beta=2.0))
    return b.model(b.op("Gemm", x, b.random(4, 16), transB=1))


def attention() -> ModelProto:
    b = Net()
    x = b.op("Conv", b.input(1, 3, 16, 16), b.random(8, 3, 4, 4), b.random(8), strides=[4, 4])
    x = b.op("Transpose", b.op("Reshape", x, b.ints(1, 8, 16)), perm=[0, 2, 1])
    x = b.op("Add", b.op("MatMul", x, b.random(8, 8)), b.random(8))
    heads = b.op("Reshape", x, b.ints(1, 16, 2, 4))
    q, k = b.op("Transpose", heads, perm=[0, 2, 1, 3]), b.op("Transpose", heads, perm=[0, 2, 3, 1])
    y = b.op("MatMul", b.op("Softmax", b.op("MatMul", q, k), axis=-1), q)
    y = b.op("Reshape", b.op("Transpose", y, perm=[0, 2, 1, 3]), b.ints(1, 16, 8))
    return b.model(b.op("ReduceMean", y, axes=[1], keepdims=0))


NETWORKS = {f.__name__: f for f in (resnet, mobilenet, keywords, flat_keywords, unet, shufflenet, decoder, mlp, attention)}
# Transposes that remain after the passes: the input's, what the network itself shuffles (unless a matrix follows), an output image's.
TRANSPOSES = {
    "resnet": 1, "mobilenet": 1, "keywords": 1, "flat_keywords": 1, "unet": 0, "shufflenet": 2, "decoder": 2, "mlp": 0, "attention": 1,
}  # fmt: skip


def close(actual: Mapping[str, Array], wanted: Mapping[str, Array], tolerance: float = 1e-5) -> None:
    """Equal names and shapes, values within `tolerance` of the largest, relative to it."""
    assert list(actual) == list(wanted)
    for name, array in wanted.items():
        assert actual[name].shape == array.shape, name
        np.testing.assert_allclose(actual[name], array, rtol=10 * tolerance, atol=tolerance * max(1.0, np.abs(array).max()), err_msg=name)
