"""What quantization chooses for small networks, in words: scales, integers of weights and biases by checksum, storages.

    python tests/quantize/choices.py            what differs from choices.txt
    python tests/quantize/choices.py --bless    take what is chosen now for right; say why in the commit

A rule that is written down has a test of its own beside this one. What a search ends with has none: how many steps it takes, where it
begins, in which order it tries. All of it is the same on every computer.
"""

from __future__ import annotations

import difflib
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
if __name__ == "__main__":
    sys.path[:0] = [str(HERE), str(HERE.parent), str(HERE.parents[1])]

from float_graphs import Floats  # noqa: E402
from test_storage import UNITS, Net, recurrent  # noqa: E402

from edgeq import api  # noqa: E402
from edgeq.formats.code import Code  # noqa: E402
from edgeq.ir import Array, Graph, Op  # noqa: E402
from edgeq.ops.activations import LeakyRelu, Sigmoid  # noqa: E402
from edgeq.ops.add import Add  # noqa: E402
from edgeq.ops.concat import Concat  # noqa: E402
from edgeq.ops.conv2d import Conv2d  # noqa: E402
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d  # noqa: E402
from edgeq.ops.fake_quantize import FakeQuantize  # noqa: E402
from edgeq.ops.fully_connected import FullyConnected  # noqa: E402
from edgeq.ops.gru import Gru  # noqa: E402
from edgeq.ops.lstm import Lstm  # noqa: E402
from edgeq.ops.lstm_cell import LstmCell  # noqa: E402
from edgeq.ops.mean import Mean  # noqa: E402
from edgeq.ops.mul import Mul  # noqa: E402
from edgeq.ops.reshape import Reshape  # noqa: E402
from edgeq.ops.softmax import Softmax  # noqa: E402
from edgeq.quantize import Options, data_free  # noqa: E402
from edgeq.quantize.prepare import PREPARATIONS  # noqa: E402
from edgeq.quantize.ranges import METHODS  # noqa: E402
from edgeq.quantize.refine import REFINEMENTS  # noqa: E402
from edgeq.quantize.rounding import ROUNDINGS  # noqa: E402
from edgeq.quantize.sensitivity import MEASURES  # noqa: E402
from edgeq.quantize.split import SPLITS  # noqa: E402
from edgeq.quantize.weight_scales import SCALES  # noqa: E402

FILE = HERE / "choices.txt"
RELU = (0.0, np.inf)
Case = Callable[..., Iterator[str]]


def images() -> tuple[Graph, dict[str, Array]]:
    """Convolutions of all kinds with channels of different sizes, a sum, a factor, a head."""
    b, rng = Floats(), np.random.default_rng(1)

    def layer(op: Op, x: str, name: str, *shape: int, axis: int = 0) -> str:
        w = rng.laplace(0, 0.3, shape)
        size = 2.0 ** rng.integers(-3, 1, shape[axis])
        w = w * (size if axis else size.reshape(-1, 1, 1, 1))
        return b.layer(op, x, w, rng.normal(0, 0.2, shape[axis]), name=name, axis=axis)

    x = layer(Conv2d((2, 2), pads=(1, 1, 1, 1), clamp=RELU), b.input(1, 10, 8, 3), "first", 8, 3, 3, 3)
    y = layer(DepthwiseConv2d(pads=(1, 1, 1, 1), clamp=(0.0, 6.0)), x, "deep", 1, 3, 3, 8, axis=3)
    y = b.op(Add(clamp=RELU), layer(Conv2d(), y, "point", 8, 1, 1, 8), x, name="sum")
    z = layer(Conv2d(clamp=RELU), b.op(Concat(3), y, layer(Conv2d(), y, "gate", 4, 1, 1, 8), name="both"), "wide", 8, 1, 1, 12)
    z = b.op(Mul(), z, b.op(Sigmoid(), z, name="soft"), name="gated")
    flat = b.op(Reshape((1, 8)), b.op(Mean((1, 2)), z, name="mean"))
    rows = b.layer(FullyConnected(), flat, rng.normal(0, 0.6, (5, 8)), rng.normal(0, 0.1, 5), name="head")
    samples = rng.normal(0.2, 1, (70, 1, 10, 8, 3))
    samples[3, 0, 2, 2] = (9.0, -7.0, 4.0)
    return b.graph(b.op(Softmax(), rows, name="y")), {"x": samples.astype(np.float32)}


def states(cell: bool) -> tuple[Graph, dict[str, Array]]:
    """Recurrent layers, and where `cell` says so gates whose products are layers of their own."""
    b, rng = Net(), np.random.default_rng(2)
    x = b.dense(b.input(1, 4), "layer")
    y = b.op(LeakyRelu(alpha=0.2), x, name="leaky")
    lstm = recurrent(Lstm(), b, y, b.input(1, UNITS), b.input(1, UNITS), name="lstm")
    gru = recurrent(Gru(), b, y, b.input(1, UNITS), name="gru")
    if cell:
        gates = [b.dense(x, n, units=4 * UNITS) for n in ("own", "back")]
        made = b.op(LstmCell(), gates[0], b.const(np.zeros(4 * UNITS)), gates[1], b.input(1, UNITS), name="cell")
    outputs = (lstm, gru, "lstm.1", *([made, "cell.1"] if cell else []))
    kept = zip(b.inputs[1:], (lstm, "lstm.1", gru, "cell.1"), strict=False)
    graph = replace(b.graph(*outputs), states=tuple(kept))
    for n in graph.nodes:
        for i in n.inputs:
            data = graph.tensors[i].data
            if data is not None:
                data[...] = rng.normal(0, 0.5, data.shape)
    return graph, {"x": rng.normal(0, 0.6, (96, 1, 4)).astype(np.float32)}


def given() -> tuple[Graph, dict[str, Array]]:
    """A file that gives scales to some tensors, and weights that lie on a grid."""
    b, rng = Floats(), np.random.default_rng(3)
    x = b.op(FakeQuantize(scale=0.05, zero_point=3), b.input(1, 6), name="q0")
    w = rng.integers(-7, 8, (4, 6)) * np.array([[0.1], [0.2], [0.05], [0.3]])
    h = b.op(FakeQuantize(scale=0.1, zero_point=-20), b.layer(FullyConnected(RELU), x, w, name="narrow"), name="q1")
    y = b.layer(FullyConnected(), h, rng.normal(0, 1, (3, 4)), name="free")
    return b.graph(b.op(Mul(), y, b.const(np.full((1, 3), 0.5)), name="half")), {"x": rng.normal(0, 1, (80, 1, 6)).astype(np.float32)}


def outliers() -> tuple[Graph, dict[str, Array]]:
    """Layers of which some weights are far larger than others."""
    b, rng = Floats(), np.random.default_rng(5)
    h = b.layer(FullyConnected(RELU), b.input(1, 6), rng.normal(0, 0.4, (40, 6)), rng.normal(0, 0.1, 40), name="h")
    w = rng.normal(0, 0.2, (4, 40))
    w[1, 7], w[3, 22] = 4.0, -3.0
    return b.graph(b.layer(FullyConnected(), h, w, name="y")), {"x": rng.normal(0, 1, (80, 1, 6)).astype(np.float32)}


def wide() -> tuple[Graph, dict[str, Array]]:
    """More columns than are rounded at once."""
    b, rng = Floats(), np.random.default_rng(4)
    graph = b.graph(b.layer(FullyConnected(), b.input(1, 2050), rng.normal(0, 0.1, (2, 2050)), name="y"))
    return graph, {"x": rng.normal(0, 1, (24, 1, 2050)).astype(np.float32)}


def checksum(a: Array) -> str:
    return f"{zlib.crc32(np.ascontiguousarray(a).tobytes()):08x}"


def activations(graph: Graph) -> Iterator[str]:
    for name, t in graph.tensors.items():
        if not t.is_constant:
            yield f"{name} {t.type.dtype.value}" + (f" {t.type.scale:.9g} {t.type.zero_point}" if t.type.q else "")


def constants(graph: Graph) -> Iterator[str]:
    """Of every node: checksums of what it holds, and of the scales of that."""
    for node in graph.nodes:
        found = [t for t in graph.node_inputs(node) if t.data is not None]
        sums = [f"{t.type.dtype.value} {checksum(np.asarray(t.data))}" for t in found]
        scales = [checksum(np.asarray(t.type.q.scale)) for t in found if t.type.q]
        limit = f" {node.op.clamp[0]:.6g} to {node.op.clamp[1]:.6g}" if hasattr(node.op, "clamp") else ""
        yield f"{node.name}{limit}: {', '.join(sums)}{' by ' if scales else ''}{', '.join(scales)}"


def all_of(made: api.Quantized) -> Iterator[str]:
    yield from activations(made.graph)
    yield from constants(made.graph)


def options(net: tuple[Graph, dict[str, Array]], **chosen: object) -> api.Quantized:
    return api.quantize(net[0], net[1], options=Options(**chosen))  # type: ignore[arg-type]


def _cases() -> Iterator[tuple[str, Case]]:
    plain = {"rounding": "nearest", "equalize": False, "bias_correction": False}
    for method in METHODS:
        yield f"ranges {method}", lambda m=method: activations(options(images(), method=m, **plain).graph)
    for rule in SCALES:
        if rule != "stored":
            yield f"scales of weights {rule}", lambda r=rule: constants(options(images(), weight_scale=r, weights="int3", **plain).graph)
    for rounding in ROUNDINGS:
        yield f"rounding {rounding}", lambda r=rounding: constants(options(images(), rounding=r, weights="int4").graph)
    for rule in PREPARATIONS:
        yield f"equalization {rule}", lambda r=rule: all_of(options(images(), equalization=r))
    for method in REFINEMENTS:
        yield f"refined by {method}", lambda m=method: constants(options(images(), refine=m, weights="int3").graph)
    for method in SPLITS:
        yield f"split by {method}", lambda m=method: constants(options(outliers(), split=m).graph)
    for more in (
        {"centre": True},
        {"clamp": True},
        {"per_tensor": True},
        {"clip": 0.8},
        {"law": "tflm"},
        {"code": Code(7, asymmetric=True)},
    ):
        yield next(iter(more)), lambda m=more: all_of(options(images(), **m))
    yield "six samples", lambda: all_of(options((images()[0], {"x": images()[1]["x"][:6]})))
    yield "samples of its own", lambda: iter([checksum(np.round(data_free.samples(images()[0], 10)["x"], 3))])
    for name in MEASURES:
        yield f"few bits by {name}", lambda n=name: storages(recipe="few-bits", sensitivity=n, budget={"flash": 1950})
    yield "auto", lambda: storages(recipe="auto", budget={"drop": 30.0})
    for recipe in ("int8", "mixed", "fp16", "w8a16"):
        yield f"states {recipe}", lambda r=recipe: all_of(api.quantize(*states(r == "mixed"), recipe=r))
    yield "scales of the file", lambda: all_of(options(given()))
    yield "scales of the file in few bits", lambda: all_of(options(given(), weights="int3"))
    yield "wide", lambda: constants(options(wide()).graph)


def storages(**chosen: Any) -> Iterator[str]:
    found = api.quantize(*images(), **chosen).record["allocation"]
    return (f"{r['name']} {r['storage']}" for r in found["nodes"])


CASES = dict(_cases())


def kept() -> dict[str, list[str]]:
    """Lines of every case."""
    parts = FILE.read_text(encoding="ascii").split("# ")[1:]
    return {head: lines for head, *lines in (part.splitlines() for part in parts)}


def difference(name: str) -> list[str]:
    """What differs from what is kept, as a unified diff."""
    return list(difflib.unified_diff(kept().get(name, []), list(CASES[name]()), f"choices.txt: {name}", "now", lineterm="", n=1))


if __name__ == "__main__":
    if sys.argv[1:] == ["--bless"]:
        text = "".join(f"# {name}\n" + "".join(f"{line}\n" for line in case()) for name, case in CASES.items())
        FILE.write_text(text, encoding="ascii")
    else:
        print("\n".join(line for name in CASES for line in difference(name)))
