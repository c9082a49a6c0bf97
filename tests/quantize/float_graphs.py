"""Small float graphs for the tests of quantization, and all that these tests take from inside edgeq.quantize."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeq.ir import Array, Graph, Node, Op, Tensor, TensorType, check
from edgeq.ops.activations import LeakyRelu
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mul import Mul
from edgeq.quantize import Options
from edgeq.quantize.classes import numbers
from edgeq.quantize.samples import load_labelled, load_samples
from edgeq.simulate import quantize_array

__all__ = [
    "PLAIN", "Floats", "affine_of", "dense", "hidden", "integers", "load_labelled", "load_samples", "numbers", "quantized_input",
    "scales_of",
]  # fmt: skip

PLAIN = Options(method="minmax", weight_scale="max", rounding="nearest", bias_correction=False, equalize=False)


class Floats:
    """Grows a float graph node by node; methods return the name of what is new."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []

    def input(self, *shape: int, name: str = "") -> str:
        name = name or ("x" if not self.inputs else f"x{len(self.inputs)}")
        self.tensors[name] = Tensor(name, TensorType(shape))
        self.inputs.append(name)
        return name

    def const(self, data: object) -> str:
        array = np.asarray(data, np.float32)
        name = f"c{len(self.tensors)}"
        self.tensors[name] = Tensor(name, TensorType(array.shape), array)
        return name

    def op(self, op: Op, *inputs: str, name: str = "") -> str:
        """Append a node, which bears its first output's name; the name of that."""
        types = op.infer_all(*(self.tensors[n].type for n in inputs))
        first = name or f"{op.kind()}{len(self.nodes)}"
        outputs = tuple(first if i == 0 else f"{first}.{i}" for i in range(len(types)))
        self.tensors |= {n: Tensor(n, TensorType(t.shape)) for n, t in zip(outputs, types, strict=True)}
        self.nodes.append(Node(first, op, inputs, outputs))
        return first

    def layer(self, op: Op, x: str, weights: object, bias: object = None, name: str = "", axis: int = 0) -> str:
        """A layer with weights and a bias (zeros where none is given) for its output channels, along `axis` of the weights."""
        w = np.asarray(weights, np.float32)
        b = np.zeros(w.shape[axis]) if bias is None else bias
        return self.op(op, x, self.const(w), self.const(b), name=name)

    def scaled(self, x: str, factor: float, name: str = "") -> str:
        """All of a tensor times a constant, in a node that shares no scale."""
        return self.op(Mul(), x, self.const(np.full(self.tensors[x].type.shape, factor)), name=name)

    def graph(self, *outputs: str) -> Graph:
        return check(Graph("g", tuple(self.nodes), self.tensors, tuple(self.inputs), outputs), "test")


def hidden(shape: Sequence[int]) -> Graph:
    """Input ``x``, an inner tensor ``h`` of the same values, output ``y``: no two share a scale."""
    b = Floats()
    h = b.op(LeakyRelu(alpha=1.0), b.input(*shape), name="h")
    return b.graph(b.op(LeakyRelu(alpha=1.0), h, name="y"))


def dense(weights: object, bias: object = None) -> Graph:
    """Input ``x`` ``[1, K]``, one layer, output ``y`` ``[1, O]``."""
    w = np.asarray(weights, np.float32)
    b = Floats()
    return b.graph(b.layer(FullyConnected(), b.input(1, w.shape[1]), w, bias, name="y"))


def affine_of(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of a range, by the formula: 255 steps that enclose zero, and zero is one of them."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(np.float32((high - low) / 255))
    return scale, max(-128, min(127, round(-128 - low / scale)))


def scales_of(graph: Graph, name: str) -> tuple[float, int]:
    """Scale and zero point of an activation."""
    return graph.type(name).scale, graph.type(name).zero_point


def integers(graph: Graph, node: str, position: int) -> tuple[Array, Array]:
    """The integers of a node's constant, and their scales, float64."""
    owner = next(n for n in graph.nodes if n.name == node)
    t = graph.tensors[owner.inputs[position]]
    assert t.data is not None
    return np.asarray(t.data), np.asarray(t.type.q.scale if t.type.q else (), np.float64)


def quantized_input(graph: Graph, x: Array, name: str = "x") -> Array:
    """What an input's values become when they are stored, as real numbers, float64."""
    t = graph.type(name)
    stored = quantize_array(x, t.scale, t.zero_point, t.dtype.numpy)
    return (stored.astype(np.float64) - t.zero_point) * np.float64(np.float32(t.scale))
