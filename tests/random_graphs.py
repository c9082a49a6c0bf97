"""Random quantized graphs for property tests: convolutions, dense layers, sums, reshapes, with saturating and dead channels."""

from __future__ import annotations

import math

import numpy as np

from edgeq.ir import DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.ops.activations import LeakyRelu
from edgeq.ops.add import Add
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.ops.windows import Pads


class Builder:
    """Grows a graph node by node; every choice comes from one seeded generator."""

    def __init__(self, seed: int, law: str, clamps: bool = True) -> None:
        self.clamps = clamps
        self.rng = np.random.default_rng(seed)
        self.law = law
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.inputs: list[str] = []

    def q(self) -> QParams:
        return QParams((float(self.rng.uniform(0.02, 0.2)),), int(self.rng.integers(-128, 128)))

    def input(self, *shape: int) -> str:
        name = f"x{len(self.inputs)}"
        self.tensors[name] = Tensor(name, TensorType(shape, DType.INT8, self.q()))
        self.inputs.append(name)
        return name

    def constant(self, name: str, data: np.ndarray, q: QParams | None = None) -> str:
        dtype = next(d for d in DType if d.numpy == data.dtype)
        self.tensors[name] = Tensor(name, TensorType(data.shape, dtype, q), data)
        return name

    def node(self, op: Op, *inputs: str, q: QParams | None = None) -> str:
        """Append a node; the output keeps the first input's scale where none is given."""
        name = f"{op.kind()}_{len(self.nodes)}"
        inferred = op.infer(*(self.tensors[n].type for n in inputs))
        kept = self.tensors[inputs[0]].type.q if q is None else q
        self.tensors[f"{name}_out"] = Tensor(f"{name}_out", TensorType(inferred.shape, inferred.dtype, kept))
        self.nodes.append(Node(name, op, inputs, (f"{name}_out",)))
        return f"{name}_out"

    def clamp(self) -> tuple[float, float]:
        """No activation, or one of the common ones."""
        return [(-math.inf, math.inf), (0.0, math.inf), (0.0, 6.0), (-1.0, 1.0)][self.rng.integers(4) if self.clamps else 0]

    def linear(self, op: Op, x: str, shape: tuple[int, ...], axis: int, dead: float) -> str:
        """A layer with weights of `shape`; a share `dead` of its channels is driven into saturation or has no weights."""
        rng, channels, count = self.rng, shape[axis], len(self.nodes)
        w = rng.integers(-127, 128, shape)
        t = self.tensors[x].type
        scale = tuple(float(s) for s in rng.uniform(0.002, 0.01, channels))
        taps = w.size // channels
        spread = 74 * 74 * math.sqrt(taps)
        q = QParams((float(t.scale * 0.006 * spread / 60),), -128 if rng.random() < 0.6 else int(rng.integers(-128, 128)))
        b = rng.normal(0, spread / 4, channels)
        move = np.moveaxis(w, axis, 0)
        for c in np.nonzero(rng.random(channels) < dead)[0]:
            kind = rng.integers(4)
            if kind == 0:
                move[c] = 0
            elif kind == 1:
                b[c] = -127 * 255 * taps
            elif kind == 2:
                b[c] = 127 * 255 * taps
            else:  # nearly dead: constant only if some inputs are
                b[c] = -(np.abs(move[c]).sum()) * 40
        weights = self.constant(f"w{count}", w.astype(np.int8), QParams(scale, 0, axis))
        bias = self.constant(f"b{count}", b.astype(np.int32), QParams(tuple(float(t.scale * s) for s in scale), 0, 0))
        return self.node(op, x, weights, bias, q=q)

    def conv(self, x: str, channels: int, kernel: int, stride: int = 1, pads: Pads = (0, 0, 0, 0), dead: float = 0.0) -> str:
        shape = (channels, kernel, kernel, self.tensors[x].type.shape[3])
        return self.linear(Conv2d(stride=(stride, stride), pads=pads, clamp=self.clamp()), x, shape, 0, dead)

    def depthwise(self, x: str, multiple: int = 1, pads: Pads = (1, 1, 1, 1), dead: float = 0.0) -> str:
        shape = (1, 3, 3, self.tensors[x].type.shape[3] * multiple)
        return self.linear(DepthwiseConv2d(pads=pads, clamp=self.clamp()), x, shape, 3, dead)

    def pool(self, x: str) -> str:
        return self.node(AveragePool2d(kernel=(2, 2), pads=(0, 0, 1, 1), clamp=self.clamp()), x)

    def leaky(self, x: str) -> str:
        return self.node(LeakyRelu(alpha=0.1), x, q=self.q())

    def dense(self, x: str, units: int, dead: float = 0.0) -> str:
        return self.linear(FullyConnected(clamp=self.clamp()), x, (units, self.tensors[x].type.shape[-1]), 0, dead)

    def add(self, a: str, b: str) -> str:
        return self.node(Add(clamp=self.clamp()), a, b, q=self.q())

    def flatten(self, x: str) -> str:
        t = self.tensors[x].type
        return self.node(Reshape((1, t.size)), x)

    def graph(self, *outputs: str) -> Graph:
        g = Graph("random", tuple(self.nodes), self.tensors, tuple(self.inputs), outputs, self.law)
        return check(g, "test")


def random_graph(seed: int, law: str = "single", layers: int = 8, dead: float = 0.0) -> Graph:
    """A network of a few small layers with branches that are added again, one or two inputs and outputs."""
    b = Builder(seed, law)
    rng = b.rng
    size, channels = int(rng.integers(3, 8)), int(rng.integers(1, 6))
    pool = [b.input(1, size, size, channels)]
    if rng.random() < 0.3:
        pool.append(b.input(1, size, size, channels))
    for _ in range(layers):
        x = pool[int(rng.integers(max(0, len(pool) - 3), len(pool)))]
        shape = b.tensors[x].type.shape
        same = [t for t in pool if b.tensors[t].type.shape == shape and t != x]
        kind = rng.random()
        if kind < 0.3 and same:
            pool.append(b.add(x, same[int(rng.integers(len(same)))]))
        elif kind < 0.45:
            pool.append(b.depthwise(x, 2 if shape[3] < 5 and rng.random() < 0.2 else 1, dead=dead))
        elif kind < 0.5:
            pool.append(b.pool(x) if rng.random() < 0.5 else b.leaky(x))
        elif kind < 0.65:
            pool.append(b.conv(x, shape[3], 3, pads=(1, 1, 1, 1), dead=dead))
        elif kind < 0.9 or min(shape[1:3]) < 3:
            pool.append(b.conv(x, int(rng.integers(1, 9)), 1, dead=dead))
        else:
            pool.append(b.conv(x, int(rng.integers(1, 9)), 3, stride=2, pads=(0, 0, 1, 1), dead=dead))
    last = pool[-1]
    if rng.random() < 0.5:
        last = b.dense(b.flatten(last), int(rng.integers(1, 7)), dead)
    outputs = [last]
    if rng.random() < 0.3 and len(pool) > 3 and pool[-2] not in b.inputs:
        outputs.append(pool[-2])
    return b.graph(*outputs)
