"""RAM and instructions of models as they are built and by bands of rows: ``python -m benchmarks.bands [--target cortex-m4] [MODEL...]``.

The models of MLPerf Tiny where they are, a MobileNetV2 (0.35, 96x96) and a U-Net (64x64) with random weights. Each is built without a limit
and within one, run on the target's emulator both ways and compared with the simulator.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from edgeq import target
from edgeq.api import load
from edgeq.api.layout import Layout
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.ops.add import Add
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.reshape import Reshape
from edgeq.ops.resize import ResizeNearest
from edgeq.ops.slice import Slice
from edgeq.ops.windows import same_pads
from edgeq.plan import MemoryPlan
from edgeq.program import Program
from edgeq.run import run
from edgeq.simulate import simulate

DATA = Path(__file__).parents[1].parent / "shared" / "data" / "mlperf_tiny"
FILES = {"kws": "kws_ref_model", "resnet8": "pretrainedResnet_quant", "vww": "vww_96_int8", "wake_word": "str_ww_ref_model"}
SCALE = 0.05


class Net:
    """A quantized network of random weights, layer by layer."""

    def __init__(self, name: str, *shape: int) -> None:
        self.name, self.rng, self.nodes = name, np.random.default_rng(1), list[Node]()
        self.tensors = {"x": Tensor("x", TensorType(shape, DType.INT8, QParams((SCALE,), 0)))}

    def _node(self, op: Op, *inputs: str) -> str:
        name = f"{op.kind()}_{len(self.nodes)}"
        inferred = op.infer(*(self.tensors[n].type for n in inputs))
        self.tensors[f"{name}_out"] = Tensor(f"{name}_out", TensorType(inferred.shape, DType.INT8, QParams((SCALE,), 0)))
        self.nodes.append(Node(name, op, inputs, (f"{name}_out",)))
        return f"{name}_out"

    def _linear(self, op: Op, x: str, shape: tuple[int, ...], axis: int) -> str:
        k, channels = len(self.nodes), shape[axis]
        scale = (0.1 / float(np.sqrt(np.prod(shape) / channels)) / 16,) * channels
        w = Tensor(f"w{k}", TensorType(shape, DType.INT8, QParams(scale, 0, axis)), self.rng.integers(-60, 61, shape).astype(np.int8))
        q = QParams(tuple(SCALE * s for s in scale), 0, 0)
        b = Tensor(f"b{k}", TensorType((channels,), DType.INT32, q), self.rng.integers(-500, 500, channels).astype(np.int32))
        self.tensors |= {w.name: w, b.name: b}
        return self._node(op, x, w.name, b.name)

    def conv(self, x: str, channels: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> str:
        _, h, w, c = self.tensors[x].type.shape
        pads = same_pads((h, w), (kernel, kernel), (stride, stride))
        clamp = (0.0, 6.0) if relu else (-np.inf, np.inf)
        return self._linear(Conv2d(stride=(stride, stride), pads=pads, clamp=clamp), x, (channels, kernel, kernel, c), 0)

    def depthwise(self, x: str, stride: int) -> str:
        _, h, w, c = self.tensors[x].type.shape
        pads = same_pads((h, w), (3, 3), (stride, stride))
        return self._linear(DepthwiseConv2d(stride=(stride, stride), pads=pads, clamp=(0.0, 6.0)), x, (1, 3, 3, c), 3)

    def add(self, a: str, b: str) -> str:
        return self._node(Add(), a, b)

    def beside(self, a: str, b: str) -> str:
        return self._node(Concat(3), a, b)

    def halved(self, x: str) -> str:
        return self._node(MaxPool2d((2, 2), (2, 2)), x)

    def doubled(self, x: str) -> str:
        _, h, w, _ = self.tensors[x].type.shape
        return self._node(ResizeNearest((2 * h, 2 * w)), x)

    def causal(self, x: str, channels: int, dilation: int) -> str:
        """Three taps along rows, of which the last is the row itself."""
        c = self.tensors[x].type.shape[3]
        return self._linear(Conv2d(dilation=(dilation, 1), pads=(2 * dilation, 0, 0, 0), clamp=(0.0, 6.0)), x, (channels, 3, 1, c), 0)

    def last(self, x: str, count: int) -> str:
        """Classes of the last row."""
        _, h, _, c = self.tensors[x].type.shape
        row = self._node(Reshape((1, c)), self._node(Slice((0, h - 1, 0, 0), (1, 1, 1, c), (1, 1, 1, 1)), x))
        return self._linear(FullyConnected(), row, (count, c), 0)

    def classes(self, x: str, count: int) -> str:
        _, h, w, c = self.tensors[x].type.shape
        flat = self._node(Reshape((1, c)), self._node(AveragePool2d((h, w)), x))
        return self._linear(FullyConnected(), flat, (count, c), 0)

    def graph(self, output: str) -> Graph:
        return check(Graph(self.name, tuple(self.nodes), self.tensors, ("x",), (output,), "single"), "benchmark")


def mobilenet() -> Graph:
    """MobileNetV2 of width 0.35 on 96x96x3."""
    net = Net("mobilenetv2", 1, 96, 96, 3)
    x = net.conv("x", 16, 3, 2)
    x = net.conv(net.depthwise(x, 1), 8, 1, relu=False)
    width = 8
    for expand, channels, count, stride in ((6, 8, 2, 2), (6, 16, 3, 2), (6, 24, 4, 2), (6, 32, 3, 1), (6, 56, 3, 2), (6, 112, 1, 1)):
        for i in range(count):
            step = stride if i == 0 else 1
            y = net.conv(net.depthwise(net.conv(x, expand * width, 1), step), channels, 1, relu=False)
            x = net.add(x, y) if step == 1 and width == channels else y
            width = channels
    return net.graph(net.classes(net.conv(x, 1280, 1), 10))


def unet() -> Graph:
    """A U-Net on 64x64x3: 16, 32 and 64 channels, two layers each."""
    net = Net("unet", 1, 64, 64, 3)
    a = net.conv(net.conv("x", 8), 8)
    b = net.conv(net.conv(net.halved(a), 16), 16)
    c = net.conv(net.conv(net.halved(b), 32), 32)
    y = net.conv(net.conv(net.beside(b, net.doubled(c)), 16), 16)
    y = net.conv(net.conv(net.beside(a, net.doubled(y)), 8), 8)
    return net.graph(net.conv(y, 1, 1, relu=False))


def measured(program: Program, memory: MemoryPlan, machine: target.Target) -> int | None:
    """Instructions per inference; what is computed is compared with the simulator."""
    graph = program.graph
    x = {n: np.random.default_rng(0).integers(-128, 128, (1, *graph.type(n).shape)).astype(np.int8) for n in graph.given}
    with tempfile.TemporaryDirectory() as work:
        folder = Path(work) / "m"
        write(emit(program, memory, "m"), folder)
        made = run(folder, machine, x, steps=True)
    difference = compare(simulate(graph, x, steps=True), made).difference
    if difference is not None:
        sys.exit(f"{graph.name}: {difference}")
    return made.instructions


def by_rows(graph: Graph, machine: target.Target) -> str:
    """The least arena where the input comes row by row; nothing where it cannot."""
    try:
        return f"{Layout(arena=0, feed='rows').of(graph, machine)[1].arena_bytes:,}"
    except EdgeqError:
        return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=[*FILES, "mobilenetv2", "unet"])
    parser.add_argument("--target", default="cortex-m4")
    parser.add_argument("--arena", type=int, default=0, help="bytes, instead of the least")
    parser.add_argument("--plan-only", action="store_true")
    options = parser.parse_args()
    machine = target.load(options.target)
    print("| model | arena, as built | by bands | fed by rows | instructions, as built | by bands | more | bands | planned in |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in options.models:
        graph = {"mobilenetv2": mobilenet, "unet": unet}[name]() if name not in FILES else load(DATA / f"{FILES[name]}.tflite")
        whole, memory = Layout().of(graph, machine)
        start = time.process_time()
        made, least = Layout(arena=options.arena).of(graph, machine)
        seconds = time.process_time() - start
        counts = [None, None] if options.plan_only else [measured(whole, memory, machine), measured(made, least, machine)]
        before, after = counts
        more = f"{after / before - 1:+.1%}" if before and after else ""
        numbers = [f"{n:,}" if n else "" for n in counts]
        arenas = [f"{memory.arena_bytes:,}", f"{least.arena_bytes:,}", by_rows(graph, machine)]
        row = [name, *arenas, *numbers, more, str(len(made.bands)), f"{seconds:.1f} s"]
        print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
