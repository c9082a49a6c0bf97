"""What passes make of float graphs, in words: operators and shapes, of graphs that passes look for and of some a little beside them.

    python tests/passes/forms.py            what differs from forms.txt
    python tests/passes/forms.py --bless    take what is made now for right; say why in the commit

That the meaning stays is held by tests of their own. A worse graph that means the same is seen here alone.
"""

from __future__ import annotations

import difflib
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path += [str(HERE), str(HERE.parent), str(HERE.parent / "frontends"), str(HERE.parents[1])]

import test_recognise_layer_norm as norms  # noqa: E402
import test_recognise_lstm as lstms  # noqa: E402
from attention_spellings import MASKS, PRODUCTS, SCALES, SHARING, SOFTMAX, Spelling  # noqa: E402
from onnx_models import Net as OnnxNet  # noqa: E402
from onnx_models import load  # noqa: E402
from perturbed import perturbed  # noqa: E402
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


SPELLINGS = [
    *(Spelling(scale=s) for s in SCALES), *(Spelling(mask=m) for m in MASKS), *(Spelling(sharing=s) for s in SHARING[1:]),
    *(Spelling(first=p, second=p) for p in PRODUCTS[1:]), *(Spelling(softmax=s) for s in SOFTMAX[1:]),
]  # fmt: skip
GRAPHS: dict[str, Callable[[], Graph]] = {
    "images": images, "parts": parts, "joined": lambda: load(lstms.joined()), "apart": lambda: load(lstms.apart()),
    "norm": lambda: norms.graph([*norms.BEFORE, *norms.SQUARE, *norms.ROOT, *norms.INVERSE, *norms.AFFINE]),
    **{str(s): (lambda s=s: load(replace(s, net=OnnxNet()).model())) for s in SPELLINGS},  # type: ignore[misc]
}  # fmt: skip


def beside(name: str, count: int) -> Iterator[Graph]:
    """Graphs with one change that has a meaning, the same at every call."""
    graph, rng, found = GRAPHS[name](), np.random.default_rng(zlib.crc32(name.encode())), 0
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


def lines(name: str) -> list[str]:
    """The graph's form, and those of the ones beside it."""
    with np.errstate(all="ignore"):
        return [words(normalise(g)) for g in (GRAPHS[name](), *beside(name, BESIDE))]


def kept() -> dict[str, list[str]]:
    parts = FILE.read_text(encoding="ascii").split("# ")[1:]
    return {head: rest for head, *rest in (part.splitlines() for part in parts)}


def difference(name: str) -> list[str]:
    """What differs from what is kept, as a unified diff."""
    return list(difflib.unified_diff(kept().get(name, []), lines(name), f"forms.txt: {name}", "now", lineterm="", n=0))


if __name__ == "__main__":
    if sys.argv[1:] == ["--bless"]:
        FILE.write_text("".join(f"# {name}\n" + "".join(f"{line}\n" for line in lines(name)) for name in GRAPHS), encoding="ascii")
    else:
        print("\n".join(line for name in GRAPHS for line in difference(name)))
