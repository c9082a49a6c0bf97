"""Passes leave the meaning of graphs that merely resemble what they look for."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
import test_recognise_layer_norm as norms
import test_recognise_lstm as lstms
from attention_spellings import MASKS, PRODUCTS, SCALES, SHARING, SOFTMAX, Spelling
from onnx_models import load
from perturbed import perturbed, random_inputs
from test_layout import NCHW, NHWC, Net

from edgeq.evaluate import evaluate
from edgeq.ir import Array, Graph
from edgeq.ops.activations import Sigmoid
from edgeq.ops.add import Add, Sub
from edgeq.ops.attention import MASKED
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.passes import normalise

EACH = 16  # of every graph


def values(graph: Graph, x: dict[str, Array]) -> dict[str, Array]:
    return dict(evaluate(graph, x, lambda node, arrays: node.op.real_all(*arrays), True))


def has_meaning(graph: Graph, found: dict[str, Array]) -> bool:
    """Whether every row of a softmax has an entry that counts: without any, attention gives zeros and a softmax something else."""
    rows = [found[n.inputs[0]] for n in graph.nodes if isinstance(n.op, Softmax)]
    return all((np.isfinite(a).any(-1) & (a > MASKED).any(-1)).all() for a in rows)


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
    **{str(s): (lambda s=s: load(s.model())) for s in SPELLINGS},  # type: ignore[misc]
}  # fmt: skip


@pytest.mark.parametrize("name", GRAPHS)
def test_what_is_nearly_right_keeps_its_meaning(name: str) -> None:
    graph, rng, tried = GRAPHS[name](), np.random.default_rng(zlib.crc32(name.encode())), 0
    for _ in range(20 * EACH):
        other = perturbed(graph, rng)
        if other is None:
            continue
        x = random_inputs(other)
        with np.errstate(all="ignore"):
            before, after = values(other, x), values(normalise(other), x)
        if not has_meaning(other, before):
            continue
        for output in other.outputs:
            got, want = after[output], before[output]
            size = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
            near = np.isclose(got, want, rtol=1e-3, atol=1e-4 * size) | ~np.isfinite(want)
            assert near.all(), f"{output} of change {tried}"
        tried += 1
        if tried == EACH:
            return
    raise AssertionError(f"{tried} changes alone have a meaning")
