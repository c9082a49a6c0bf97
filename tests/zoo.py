"""One graph with (nearly) every operator in it, for tests of the emitted folder as a whole."""

from __future__ import annotations

import numpy as np
from random_graphs import Builder

from edgeq.ir import Graph, QParams
from edgeq.ops.activations import LeakyRelu, Sigmoid
from edgeq.ops.add import Sub
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.clamp import Clamp
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.extremum import Maximum, Minimum
from edgeq.ops.gather import Gather
from edgeq.ops.mat_mul import MatMul
from edgeq.ops.max_pool2d import MaxPool2d
from edgeq.ops.mean import Mean
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.reduce_max import ReduceMax
from edgeq.ops.requantize import Requantize
from edgeq.ops.reshape import Reshape
from edgeq.ops.resize import ResizeBilinear, ResizeNearest
from edgeq.ops.slice import Slice
from edgeq.ops.softmax import Softmax
from edgeq.ops.transpose import Transpose
from edgeq.ops.transpose_conv2d import TransposeConv2d


def zoo(seed: int, law: str) -> Graph:
    """Two inputs, three outputs, about 30 nodes."""
    b = Builder(seed, law, clamps=False)
    image, vector = b.input(1, 8, 8, 4), b.input(1, 6)
    x = b.conv(image, 8, 3, pads=(1, 1, 1, 1))
    x = b.linear(Conv2d(groups=2, dilation=(2, 2), pads=(2, 2, 2, 2)), x, (8, 3, 3, 4), 0, 0.0)
    y = b.add(b.depthwise(x), x)
    y = b.node(Sub(), y, b.conv(x, 8, 1), q=b.q())
    y = b.node(Mul(), y, b.node(Sigmoid(), x, q=QParams((1 / 256,), -128)), q=b.tensors[y].type.q)
    small = b.node(MaxPool2d(kernel=(2, 2), stride=(2, 2)), y)
    mean = b.node(AveragePool2d(kernel=(3, 3), stride=(2, 2), pads=(0, 0, 1, 1)), y)
    extreme = b.node(Minimum(), small, b.node(Maximum(), mean, b.node(Clamp(clamp=(-1.0, 1.0)), mean)))
    joined = b.node(Concat(axis=3), extreme, small, mean)
    up = b.linear(TransposeConv2d(stride=(2, 2), pads=(0, 0, 1, 1)), joined, (4, 3, 3, 24), 0, 0.0)
    near = b.node(ResizeNearest(size=(8, 8)), b.node(Slice((0, 0, 0, 1), (1, 4, 4, 4), (1, 1, 1, 5)), joined))
    smooth = b.node(ResizeBilinear(size=(8, 8)), b.node(Gather((3, 0, -1, 7), (4,), 3), small))
    total = b.add(b.add(b.node(Requantize(), up, q=b.q()), near), smooth)
    padded = b.node(Pad(((0, 0), (1, 0), (0, 1), (0, 0)), mode="reflect"), b.node(LeakyRelu(alpha=0.2), total, q=b.q()))
    tokens = b.node(Reshape((1, 81, 4)), b.node(Transpose((0, 2, 1, 3)), padded))
    turned = b.node(Transpose((0, 2, 1)), tokens)
    square = b.node(MatMul(), turned, tokens, q=QParams((float(b.tensors[tokens].type.scale ** 2 * 500),), 3))
    features = b.node(Concat(axis=1), b.node(Mean(axes=(1, 2)), padded), b.node(ReduceMax(axes=(1, 2)), padded))
    scores = b.dense(b.node(Concat(axis=1), features, vector), 5)
    weights = b.constant("offsets", b.rng.integers(-128, 128, (1, 5)).astype(np.int8), b.q())
    scores = b.add(scores, weights)
    return b.graph(b.node(Softmax(), scores, q=QParams((1 / 256,), -128)), square, total)
