"""Moves a constant Pad over height and width into the windowed operators behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgeq.ir import Graph, Node, Op
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.pad import Pad, fill
from edgeq.ops.windows import Pads
from edgeq.passes.rewrite import is_quantized


def fold_pads(graph: Graph) -> Graph:
    """Fold every Pad that pads with what the window would read there anyway; unread ones are dead afterwards."""
    producers = graph.producers()
    nodes = [_folded(graph, n, producers.get(n.inputs[0])) for n in graph.nodes]
    return graph if tuple(nodes) == graph.nodes else graph.with_nodes(nodes)


def _folded(graph: Graph, node: Node, pad: Node | None) -> Node:
    if pad is None or not isinstance(pad.op, Pad) or pad.op.mode != "constant" or len(pad.op.pads) != 4:
        return node
    (n, h, w, c), op = pad.op.pads, node.op
    if any(n) or any(c):
        return node
    zero, lowest = _fills(graph, pad)
    pads = _sum(getattr(op, "pads", (0, 0, 0, 0)), h, w)
    folded: Op | None = None
    if isinstance(op, Conv2d | DepthwiseConv2d):
        folded = replace(op, pads=pads) if zero else None
    elif isinstance(op, MaxPool2d) and _windows_meet_input(graph, node, pad):
        folded = replace(op, pads=pads) if lowest else None
    elif isinstance(op, AveragePool2d) and _windows_meet_input(graph, node, pad):
        alike = op.count_include_pad or not any(op.pads)
        folded = replace(op, pads=pads, count_include_pad=True) if zero and alike else None
    return node if folded is None else replace(node, op=folded, inputs=(pad.inputs[0], *node.inputs[1:]))


def _fills(graph: Graph, pad: Node) -> tuple[bool, bool]:
    """Whether the Pad writes zero, and whether it writes what no maximum takes."""
    assert isinstance(pad.op, Pad)
    output = graph.type(pad.outputs[0])
    if is_quantized(graph, pad):
        value = fill(pad.op.value, output)
        return value == output.zero_point, value == np.iinfo(output.dtype.numpy).min
    real = pad.op.value or 0.0
    return real == 0.0, real == float("-inf")


def _sum(pads: Pads, h: tuple[int, int], w: tuple[int, int]) -> Pads:
    return (pads[0] + h[0], pads[1] + w[0], pads[2] + h[1], pads[3] + w[1])


def _windows_meet_input(graph: Graph, node: Node, pad: Node) -> bool:
    """Whether every pooling window still covers an element of the input."""
    op, (_, height, width, _) = node.op, graph.type(pad.inputs[0]).shape
    assert isinstance(op, MaxPool2d | AveragePool2d) and isinstance(pad.op, Pad)
    pads = _sum(op.pads, pad.op.pads[1], pad.op.pads[2])
    out = graph.type(node.outputs[0]).shape
    dilation = op.dilation if isinstance(op, MaxPool2d) else (1, 1)
    for i, size in ((0, height), (1, width)):
        for at in range(out[1 + i]):
            first = at * op.stride[i] - pads[i]
            if not any(0 <= first + k * dilation[i] < size for k in range(op.kernel[i])):
                return False
    return True
