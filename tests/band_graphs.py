"""Random graphs of rows: chains with strides and paddings of all kinds, residuals, concatenations, pools, resizes, global means."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from random_graphs import Builder

from edgeq.ir import DType, Graph, Tensor, TensorType, check
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.depthwise_conv2d import DepthwiseConv2d
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.resize import ResizeNearest


def _window(b: Builder, x: str, depthwise: bool) -> str:
    """A convolution of any height, width, stride, dilation and padding that fits."""
    rng = b.rng
    _, h, w, c = b.tensors[x].type.shape
    while True:
        kernel = tuple(int(k) for k in rng.integers(1, 5, 2))
        dilation = (int(rng.integers(1, 3)), 1) if rng.random() < 0.2 else (1, 1)
        stride = (int(rng.integers(1, 4)), int(rng.integers(1, 3))) if rng.random() < 0.4 else (1, 1)
        pads = (
            int(rng.integers(0, kernel[0])),
            int(rng.integers(0, kernel[1])),
            int(rng.integers(0, kernel[0])),
            int(rng.integers(0, kernel[1])),
        )
        reach = (kernel[0] - 1) * dilation[0] + 1
        if h + pads[0] + pads[2] - reach >= 3 * stride[0] and w + pads[1] + pads[3] >= kernel[1]:
            break
    if depthwise:
        multiple = 2 if c < 4 and rng.random() < 0.2 else 1
        op = DepthwiseConv2d(stride=stride, dilation=dilation, pads=pads, clamp=b.clamp())
        return b.linear(op, x, (1, *kernel, c * multiple), 3, 0.1)
    shape = (int(rng.integers(1, 10)), *kernel, c)
    return b.linear(Conv2d(stride=stride, dilation=dilation, pads=pads, clamp=b.clamp()), x, shape, 0, 0.1)


def _grown(b: Builder, pool: list[str]) -> str:
    """One more layer."""
    rng = b.rng
    x = pool[int(rng.integers(max(0, len(pool) - 3), len(pool)))]
    t = b.tensors[x].type
    alike = [n for n in pool if b.tensors[n].type.shape == t.shape and n != x]
    beside = [n for n in pool if b.tensors[n].type.shape[:3] == t.shape[:3] and n != x]
    kind = rng.random()
    if kind < 0.2 and alike:
        return b.add(x, alike[int(rng.integers(len(alike)))])
    if kind < 0.3 and beside:
        return b.node(Concat(3), x, beside[int(rng.integers(len(beside)))], q=b.q())
    if kind < 0.4:
        return b.conv(x, int(rng.integers(1, 10)), 1)
    if kind < 0.6:
        return _window(b, x, True)
    if kind < 0.66 and min(t.shape[1:3]) > 3:
        pads = (int(rng.integers(0, 2)), 0, int(rng.integers(0, 2)), 0)
        op = MaxPool2d((3, 2), (2, 1), pads=pads) if rng.random() < 0.5 else AveragePool2d((2, 2), (2, 2), pads=pads)
        return b.node(op, x)
    if kind < 0.72 and t.shape[1] <= 14:
        return b.node(ResizeNearest((2 * t.shape[1], t.shape[2])), x)
    if kind < 0.78:
        return b.leaky(x)
    return _window(b, x, False)


def band_graph(seed: int, law: str = "single", layers: int = 9) -> Graph:
    """A network whose layers can run by rows, with one or two outputs; at its end perhaps a mean of all rows and a dense layer."""
    b = Builder(seed, law)
    rng = b.rng
    pool = [b.input(1, int(rng.integers(9, 24)), int(rng.integers(3, 9)), int(rng.integers(1, 6)))]
    for _ in range(layers):
        if b.tensors[pool[-1]].type.shape[1] < 5:
            break
        pool.append(_grown(b, pool))
    last = pool[-1]
    shape = b.tensors[last].type.shape
    if rng.random() < 0.4 and shape[1] > 1:
        op = AveragePool2d((shape[1], shape[2])) if rng.random() < 0.5 else Mean((1, 2), keepdims=bool(rng.random() < 0.5))
        last = b.dense(b.flatten(b.node(op, last)), int(rng.integers(1, 7)))
    outputs = [last] + (
        [pool[-2]] if rng.random() < 0.3 and len(pool) > 3 and pool[-1] in [*b.inputs, last] and pool[-2] != pool[0] else []
    )
    used = {n for node in b.nodes for n in node.inputs}
    loose = [n for n in pool[1:] if n not in used and n not in outputs]
    return b.graph(*outputs, *loose)


def halved(graph: Graph) -> Graph:
    """A graph on int8 as one in half precision, of the same shapes; biases become float32."""

    def half(t: Tensor) -> Tensor:
        if t.data is None:
            return replace(t, type=TensorType(t.type.shape, DType.FLOAT16))
        dtype, q = DType.FLOAT32 if t.type.dtype is DType.INT32 else DType.FLOAT16, t.type.q
        assert q is not None
        scale = np.array(q.scale).reshape([-1 if i == q.axis else 1 for i in range(t.data.ndim)])
        return replace(t, type=TensorType(t.type.shape, dtype), data=(t.data * scale).astype(dtype.numpy))

    return check(replace(graph, tensors={n: half(t) for n, t in graph.tensors.items()}), "test")


def inputs(graph: Graph, seed: int, count: int = 3) -> dict[str, np.ndarray]:
    """Random vectors."""
    rng = np.random.default_rng(seed)
    found = {n: rng.integers(-128, 128, (count, *graph.type(n).shape)) for n in graph.given}
    return {n: a.astype(np.int8) if graph.type(n).dtype is DType.INT8 else (a / 32).astype(np.float16) for n, a in found.items()}
