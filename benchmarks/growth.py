"""How time grows with a model: seconds of processor time to quantize it and to lower, plan and emit it, and the exponents.

    python -m benchmarks.growth        writes growth.md; about five minutes
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeq import api
from edgeq.emit import emit
from edgeq.ir import Array, DType, Graph, Node, Op, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.activations import Tanh
from edgeq.ops.add import Add
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.plan import plan
from edgeq.target import load

TARGET = "cortex-m4"
SAMPLES = 64


class _Net:
    """A float graph in the making."""

    def __init__(self, *shape: int) -> None:
        self.rng = np.random.default_rng(0)
        self.nodes: list[Node] = []
        self.tensors = {"x": Tensor("x", TensorType((1, *shape), DType.FLOAT32))}

    def constant(self, data: Array) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = Tensor(name, TensorType(data.shape, DType.FLOAT32), data.astype(np.float32))
        return name

    def node(self, op: Op, *inputs: str) -> str:
        name = f"t{len(self.tensors)}"
        self.tensors[name] = Tensor(name, op.infer(*(self.tensors[i].type for i in inputs)))
        self.nodes.append(Node(name, op, inputs, (name,)))
        return name

    def dense(self, x: str, width: int) -> str:
        inputs = self.tensors[x].type.shape[-1]
        weights = self.constant(self.rng.normal(0, (2 / inputs) ** 0.5, (width, inputs)))
        return self.node(FullyConnected(), x, weights, self.constant(np.zeros(width)))

    def graph(self, output: str) -> Graph:
        return Graph("m", tuple(self.nodes), self.tensors, ("x",), (output,))


def deep(layers: int) -> Graph:
    """Dense layers of 64, one after the other."""
    net, x = _Net(64), "x"
    for _ in range(layers):
        x = net.node(Tanh(), net.dense(x, 64))
    return net.graph(x)


def wide(width: int) -> Graph:
    """One square dense layer."""
    net = _Net(width)
    return net.graph(net.dense("x", width))


def convolution(channels: int) -> Graph:
    """One convolution of 3 by 3 over 8 by 8 pixels, as many channels as it reads."""
    net = _Net(8, 8, channels)
    weights = net.constant(net.rng.normal(0, (2 / (9 * channels)) ** 0.5, (channels, 3, 3, channels)))
    return net.graph(net.node(Conv2d(pads=(1, 1, 1, 1)), "x", weights, net.constant(np.zeros(channels))))


def branchy(nodes: int) -> Graph:
    """Dense layers of 8 on any earlier result, and sums of two of the last sixteen; all come together at the end."""
    net, known = _Net(8), ["x"]
    while len(net.nodes) < nodes:
        a, b = (known[-1 - int(net.rng.integers(min(16, len(known))))] for _ in range(2))
        known.append(net.node(Add(), a, b) if net.rng.random() < 0.5 and a != b else net.dense(a, 8))
    read = {i for n in net.nodes for i in n.inputs}
    loose = [t for t in known if t not in read]
    total = loose[0]
    for t in loose[1:]:
        total = net.node(Add(), total, t)
    return net.graph(total)


@dataclass(frozen=True)
class Series:
    """Sizes of one kind."""

    title: str
    sizes: Sequence[int]
    make: Callable[[int], Graph]
    samples: Callable[[int], int] = lambda n: SAMPLES


SERIES = (
    Series("layers, dense, 64 wide", (32, 64, 128, 256), deep),
    Series("width of one dense layer", (512, 1024, 2048, 4096, 8192), wide),
    Series("channels of one convolution, 3 by 3", (64, 128, 256, 512), convolution),
    Series("nodes of a branchy graph", (128, 256, 512, 1024), branchy),
    Series("calibration samples, 8 layers", (128, 256, 512, 1024), lambda n: deep(8), lambda n: n),
)


def seconds(graph: Graph, samples: int) -> tuple[float, float]:
    """Processor time to quantize, and to lower, plan and emit."""
    shape = graph.type("x").shape
    data = {"x": np.random.default_rng(1).normal(0, 1, (samples, *shape)).astype(np.float32)}
    start = time.process_time()
    quantized = api.quantize(graph, data).graph
    middle = time.process_time()
    program = lower(quantized, load(TARGET))
    emit(program, plan(program), "m")
    return middle - start, time.process_time() - middle


def exponent(sizes: Sequence[int], spent: Sequence[float]) -> float:
    """Of time over size, between the two largest."""
    return math.log(spent[-1] / spent[-2]) / math.log(sizes[-1] / sizes[-2])


def main() -> None:
    seconds(deep(2), 8)  # what is imported and compiled once
    rows = ["| | size | quantize, s | lower, plan, emit, s |", "|---|--:|--:|--:|"]
    for series in SERIES:
        found = [seconds(series.make(n), series.samples(n)) for n in series.sizes]
        rows += [f"| {series.title} | {n} | {a:.2f} | {b:.2f} |" for n, (a, b) in zip(series.sizes, found, strict=True)]
        ends = [exponent(series.sizes, [row[i] for row in found]) for i in range(2)]
        rows.append(f"| exponent of the last doubling | | **{ends[0]:.1f}** | **{ends[1]:.1f}** |")
        print("\n".join(rows[-len(found) - 1 :]), flush=True)
    about = (
        f"Seconds of processor time for `edgeq build`, recipe int8, {SAMPLES} samples, {TARGET}, without compiler and emulator.\n"
        "A square layer has weights as the square of its width, of which second-order rounding solves systems of equations,\n"
        "beyond 2048 columns 512 at a time."
    )
    text = "\n".join(["# Growth", "", about, "", *rows, "", "Regenerate with `python -m benchmarks.growth`.", ""])
    (Path(__file__).parent / "growth.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
