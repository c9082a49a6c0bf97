"""What passes make of float graphs, in words: operators and shapes, of graphs that passes look for and of some a little beside them.

    python tests/passes/forms.py            what differs from forms.txt
    python tests/passes/forms.py --bless    take what is made now for right; say why in the commit

That the meaning stays is held by tests of their own. A worse graph that means the same is seen here alone. Of more graphs beside them,
with all wires and numbers of operators, a CRC-32 is kept, and of graphs on integers.
"""

from __future__ import annotations

import difflib
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent), str(HERE.parent / "frontends"), str(HERE.parents[1])]

import test_last_rows as last  # noqa: E402
import test_recognise_layer_norm as norms  # noqa: E402
import test_recognise_lstm as lstms  # noqa: E402
import test_split_states as split  # noqa: E402
from attention_spellings import MASKS, PRODUCTS, SCALES, SHARING, SOFTMAX, Spelling  # noqa: E402
from onnx_models import Net as OnnxNet  # noqa: E402
from onnx_models import load  # noqa: E402
from perturbed import perturbed  # noqa: E402
from random_graphs import random_graph  # noqa: E402
from test_layout import NCHW, NHWC, Net  # noqa: E402

from edgeq.ir import Graph  # noqa: E402
from edgeq.ops.activations import Sigmoid  # noqa: E402
from edgeq.ops.add import Add, Sub  # noqa: E402
from edgeq.ops.clamp import Clamp  # noqa: E402
from edgeq.ops.concat import Concat  # noqa: E402
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d  # noqa: E402
from edgeq.ops.fully_connected import FullyConnected  # noqa: E402
from edgeq.ops.max_pool2d import MaxPool2d  # noqa: E402
from edgeq.ops.mean import Mean  # noqa: E402
from edgeq.ops.mul import Mul  # noqa: E402
from edgeq.ops.pad import Pad  # noqa: E402
from edgeq.ops.reshape import Reshape  # noqa: E402
from edgeq.ops.slice import Slice  # noqa: E402
from edgeq.ops.softmax import Softmax  # noqa: E402
from edgeq.ops.transpose import Transpose  # noqa: E402
from edgeq.passes import normalise  # noqa: E402

FILE = HERE / "forms.txt"
BESIDE = 6  # of every graph
MORE = 14


def images() -> Graph:
    """Layers with factors, terms and limits around them, in the layout of another framework."""
    b = Net(3)
    x = b.op(Pad(((0, 0), (0, 0), (1, 1), (1, 1))), b.input(1, 3, 6, 5))
    y = b.op(Add(), b.op(Mul(), b.conv(x, 4), b.const(1, 4, 1, 1)), b.const(1, 4, 1, 1))
    y = b.op(Clamp((0.0, np.inf)), y)
    z = b.op(Sub(), b.conv(b.op(Mul(), y, b.const(1, 1, 1, 1)), 4), b.const(1, 4, 1, 1))
    z = b.op(Concat(1), z, b.op(Mul(), y, b.op(Sigmoid(), z)))
    deep = b.op(Transpose(NHWC), z)
    deep = b.op(DepthwiseConv2d(pads=(1, 1, 1, 1)), deep, b.const(1, 3, 3, 8), b.const(8))
    deep = b.op(Transpose(NCHW), b.op(MaxPool2d((2, 2), (2, 2)), deep))
    flat = b.op(Reshape((1, 96)), b.op(Transpose((0, 3, 1, 2)), b.op(Transpose((0, 2, 3, 1)), deep)))
    rows = b.op(FullyConnected(), flat, b.const(6, 96), b.const(6))
    return b.graph(b.op(Softmax(), b.op(Mul(), rows, b.const(1, 6))), b.op(Mean((2, 3)), z))


def parts() -> Graph:
    """A layer that is read in parts, equal nodes, and moves that lead to and fro."""
    b = Net(4)
    x = b.input(5, 6)
    y = b.op(FullyConnected(), x, b.const(12, 6), b.const(12))
    cut = [b.op(Slice((0, i), (5, 4), (1, 1)), y) for i in (0, 4, 8)]
    a, c = (b.op(Sigmoid(), b.op(Transpose((1, 0)), p)) for p in (cut[0], cut[0]))
    d = b.op(Transpose((1, 0)), b.op(Mul(), a, c))
    e = b.op(Add(), b.op(Mul(), b.op(Add(), cut[1], cut[2]), b.const(1, 4)), b.const(1, 4))
    wide = b.op(Reshape((1, 5, 4)), b.op(Add(), d, e))
    norm = b.op(Mul(), b.op(Reshape((5, 4)), wide), b.const(5, 1))
    return b.graph(b.op(FullyConnected(), norm, b.const(3, 4), b.const(3)), b.op(Transpose((0, 2, 1)), wide))


def transform(bins_last: bool, whole: bool, decibels: bool) -> Graph:
    """A Fourier transform of 16 samples that is spelled as one convolution or two, its energies or magnitudes in bands, and a level."""
    b, size, bins = OnnxNet(), 16, 9
    angles = 2 * np.pi * np.arange(bins)[:, None] * np.arange(size) / size
    real, imaginary = (f(angles) * np.hanning(size + 1)[:-1] for f in (np.cos, lambda a: -np.sin(a)))
    x = b.op("Reshape", b.input(1, 88), b.ints(1, 1, 88))
    if whole:
        y = b.op("Conv", x, b.const(np.concatenate([real, imaginary])[:, None], np.float32), strides=[8])
        parts = [b.op("Slice", y, b.ints(i), b.ints(i + bins), b.ints(1)) for i in (0, bins)]
    else:
        parts = [b.op("Conv", x, b.const(k[:, None], np.float32), strides=[8]) for k in (real, imaginary)]
    if bins_last:
        parts = [b.op("Transpose", y, perm=[0, 2, 1]) for y in parts]
    power = b.op("Add", *(b.op("Mul", y, y) for y in parts))
    bands = np.maximum(0, 1 - np.abs(np.arange(bins)[:, None] - np.arange(1, 8, 2)) / 2).astype(np.float32)
    y = b.op("MatMul", power, b.const(bands)) if bins_last else b.op("MatMul", b.const(np.ascontiguousarray(bands.T)), power)
    if decibels:
        level = b.op("Mul", b.op("Log", b.op("Max", y, b.const(np.float32(1e-10)))), b.const(np.float32(10 / np.log(10))))
        return load(b.model(level))
    return load(b.model(b.op("Log", b.op("Add", b.op("Sqrt", y), b.const(np.float32(1e-6))))))


SPELLINGS = [
    *(Spelling(scale=s) for s in SCALES), *(Spelling(mask=m) for m in MASKS), *(Spelling(sharing=s) for s in SHARING[1:]),
    *(Spelling(first=p, second=p) for p in PRODUCTS[1:]), *(Spelling(softmax=s) for s in SOFTMAX[1:]),
]  # fmt: skip
GRAPHS: dict[str, Callable[[], Graph]] = {
    "images": images, "parts": parts, "joined": lambda: load(lstms.joined()), "apart": lambda: load(lstms.apart()),
    "norm": lambda: norms.graph([*norms.BEFORE, *norms.SQUARE, *norms.ROOT, *norms.INVERSE, *norms.AFFINE]),
    "transform": lambda: transform(True, False, True), "transform, whole": lambda: transform(False, True, False),
    "transform, bins before frames": lambda: transform(False, False, True),
    "transform, magnitudes": lambda: transform(True, True, False),
    **{str(s): (lambda s=s: load(replace(s, net=OnnxNet()).model())) for s in SPELLINGS},  # type: ignore[misc]
}  # fmt: skip
STORED: dict[str, Callable[[], Graph]] = {  # on integers, or with states: whose meaning other tests hold
    "last rows": lambda: last.network(last.rows(6), last.rows(5, 2)), "first rows": lambda: last.network(last.rows(0), reverse=True),
    **{f"states, {form}": (lambda form=form: split.recurrent(form)) for form in ("pair", "layers", "swapped")},  # type: ignore[misc]
    **{f"integers {s}": (lambda s=s: random_graph(s, ("single", "tflm")[s % 2], 10, 0.4)) for s in range(8)},  # type: ignore[misc]
}  # fmt: skip
ALL = {**GRAPHS, **STORED}


def beside(name: str, count: int) -> Iterator[Graph]:
    """Graphs with one change that has a meaning, the same at every call."""
    graph, rng, found = ALL[name](), np.random.default_rng(zlib.crc32(name.encode())), 0
    for _ in range(20 * count):
        other = perturbed(graph, rng)
        if other is not None:
            found += 1
            yield other
        if found == count:
            return
    raise AssertionError(f"{found} changes alone of {name} have a meaning")


def words(graph: Graph) -> str:
    return ", ".join(f"{n.op.kind()} {'x'.join(map(str, graph.type(n.outputs[0]).shape))}" for n in graph.nodes)


def exact(graph: Graph) -> str:
    """Every node with what it reads and its operator's numbers."""
    made = {o: f"{i}.{k}" for i, n in enumerate(graph.nodes) for k, o in enumerate(n.outputs)}
    made |= {n: f"in{i}" for i, n in enumerate(graph.inputs)}

    def told(n: str) -> str:
        return made.get(n) or f"{graph.type(n).dtype} {graph.type(n).shape}"

    nodes = [f"{n.op} {list(map(told, n.inputs))} {[graph.type(o).shape for o in n.outputs]}" for n in graph.nodes]
    text = "\n".join([*nodes, str(list(map(told, graph.outputs))), str([tuple(map(told, s)) for s in graph.states])])
    return re.sub(r"\d+\.\d{4,}(e-?\d+)?", lambda m: f"{float(m[0]):.4g}", text)


def lines(name: str) -> list[str]:
    """The graph's form, and those of the ones beside it."""
    with np.errstate(all="ignore"):
        made = [normalise(g) for g in (ALL[name](), *beside(name, MORE))]
    return [*map(words, made[: 1 + BESIDE]), f"all {len(made)}: {zlib.crc32(chr(10).join(map(exact, made)).encode()):08x}"]


def kept() -> dict[str, list[str]]:
    parts = FILE.read_text(encoding="ascii").split("# ")[1:]
    return {head: rest for head, *rest in (part.splitlines() for part in parts)}


def difference(name: str) -> list[str]:
    """What differs from what is kept, as a unified diff."""
    return list(difflib.unified_diff(kept().get(name, []), lines(name), f"forms.txt: {name}", "now", lineterm="", n=0))


if __name__ == "__main__":
    if sys.argv[1:] == ["--bless"]:
        FILE.write_text("".join(f"# {name}\n" + "".join(f"{line}\n" for line in lines(name)) for name in ALL), encoding="ascii")
    else:
        print("\n".join(line for name in ALL for line in difference(name)))
