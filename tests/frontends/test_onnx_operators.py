"""Every ONNX operator that is read, in the versions that differ: the float meaning equals onnxruntime's, before and after the passes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_models import Net, close, feeds, kinds, load, onnxruntime_outputs, real_outputs

from edgeq.errors import EdgeqError
from edgeq.passes import normalise

IMAGE = (2, 6, 7, 9)
CASES: dict[str, tuple[Callable[[Net], str], int]] = {}


def case(name: str, build: Callable[[Net], str], opset: int = 17) -> None:
    assert name not in CASES
    CASES[name] = build, opset


def unary(kind: str, shape: tuple[int, ...] = IMAGE, opset: int = 17, name: str = "", **attributes: Any) -> None:
    case(name or f"{kind}{''.join(f',{k}={v}' for k, v in attributes.items())}", lambda b: b.op(kind, b.input(*shape), **attributes), opset)


def weighted(name: str, kind: str, shape: tuple[int, ...], weights: tuple[int, ...], bias: int, **attributes: Any) -> None:
    def build(b: Net) -> str:
        return str(b.op(kind, b.input(*shape), b.random(*weights), *([b.random(bias)] if bias else []), **attributes))

    case(name, build)


def binary(kind: str, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    """Two computed operands, and either of them constant."""

    def operand(b: Net, shape: tuple[int, ...], name: str, constant: bool) -> str:
        return b.const(b.rng.normal(0, 1, shape), np.float32) if constant else b.input(*shape, name=name)

    for which in ("", "left", "right"):

        def build(b: Net, which: str = which) -> str:
            return str(b.op(kind, operand(b, left, "input", which == "left"), operand(b, right, "other", which == "right")))

        case(f"{kind} {left} {right} constant {which or 'none'}", build)


# Convolutions
weighted("conv", "Conv", IMAGE, (4, 6, 3, 3), 4)
weighted("conv,no bias,stride,pads", "Conv", IMAGE, (4, 6, 3, 2), 0, strides=[2, 3], pads=[1, 0, 2, 1])
weighted("conv,dilation", "Conv", IMAGE, (4, 6, 3, 3), 4, dilations=[2, 3], pads=[2, 3, 2, 3])
weighted("conv,groups", "Conv", IMAGE, (4, 3, 3, 3), 4, group=2)
weighted("conv,depthwise", "Conv", IMAGE, (6, 1, 3, 3), 6, group=6, pads=[1, 1, 1, 1])
weighted("conv,depthwise multiplier", "Conv", IMAGE, (18, 1, 3, 3), 18, group=6)
weighted("conv,one channel", "Conv", (1, 1, 5, 5), (3, 1, 3, 3), 3)
weighted("conv,1d", "Conv", (2, 6, 20), (4, 6, 5), 4, strides=[2], pads=[2, 1], dilations=[2])
weighted("conv,1d depthwise", "Conv", (2, 6, 20), (12, 1, 3), 12, group=6)
for mode in ("SAME_UPPER", "SAME_LOWER", "VALID"):
    weighted(f"conv,{mode}", "Conv", IMAGE, (4, 6, 4, 3), 4, strides=[2, 2], auto_pad=mode)
    unary("MaxPool", kernel_shape=[3, 2], strides=[2, 2], auto_pad=mode)
weighted("deconv", "ConvTranspose", IMAGE, (6, 4, 3, 3), 4)
weighted("deconv,all", "ConvTranspose", IMAGE, (6, 4, 3, 4), 4, strides=[2, 3], pads=[1, 1, 0, 2], output_padding=[1, 2], dilations=[2, 1])
weighted("deconv,groups", "ConvTranspose", IMAGE, (6, 2, 3, 3), 6, group=3, strides=[2, 2])
weighted("deconv,1d", "ConvTranspose", (2, 6, 9), (6, 4, 3), 4, strides=[2], output_padding=[1])
weighted("deconv,output shape", "ConvTranspose", IMAGE, (6, 4, 3, 3), 4, strides=[2, 2], output_shape=[14, 19])
weighted("deconv,SAME_UPPER", "ConvTranspose", IMAGE, (6, 4, 3, 3), 4, strides=[2, 2], auto_pad="SAME_UPPER")
weighted("deconv,SAME_LOWER", "ConvTranspose", IMAGE, (6, 4, 3, 3), 4, strides=[2, 2], auto_pad="SAME_LOWER")

# Matrices
weighted("gemm", "Gemm", (3, 5), (5, 4), 4)
weighted("gemm,transposed", "Gemm", (5, 3), (4, 5), 4, transA=1, transB=1, alpha=0.5, beta=3.0)
case("gemm,row bias", lambda b: b.op("Gemm", b.input(3, 5), b.random(5, 4), b.random(1, 4)))
case("gemm,scalar bias", lambda b: b.op("Gemm", b.input(3, 5), b.random(5, 4), b.const([0.5], np.float32)))
case("gemm,column bias", lambda b: b.op("Gemm", b.input(3, 5), b.random(5, 4), b.random(3, 1), beta=0.5))
case("gemm,full bias", lambda b: b.op("Gemm", b.input(3, 5), b.random(5, 4), b.random(3, 4)))
case("gemm,computed", lambda b: b.op("Gemm", b.input(3, 5), b.input(4, 5, name="b"), b.input(4, name="c"), transB=1, alpha=0.5, beta=0.25))
for left, right in (
    ((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 2, 3, 5), (5,)), ((5,), (5, 4)), ((5,), (5,)), ((3,), (2, 3, 5)), ((4, 3), (2, 3, 5)),
    ((4, 3), (3,)), ((2, 1, 3, 5), (4, 5, 6)), ((2, 3, 5), (2, 5, 4)),
):  # fmt: skip
    binary("MatMul", left, right)

# Elementwise
SMOOTH = ("Relu", "Sigmoid", "Tanh", "HardSwish", "Softplus", "Softsign", "Exp", "Abs", "Neg", "Erf", "Sin", "Cos")
for kind in (*SMOOTH, "Floor", "Ceil", "Round"):
    unary(kind)
for kind in ("Mish", "Sign"):
    unary(kind, opset=18)
for kind in ("Log", "Sqrt", "Reciprocal"):
    case(kind, lambda b, k=kind: b.op(k, b.op("Add", b.op("Abs", b.input(*IMAGE)), b.const(0.5, np.float32))))
for kind, attributes in (
    ("LeakyRelu", {"alpha": 0.2}), ("LeakyRelu", {}), ("Elu", {"alpha": 0.7}), ("Celu", {"alpha": 1.5}),
    ("ThresholdedRelu", {"alpha": 0.3}), ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}), ("HardSigmoid", {}), ("Selu", {}),
    ("Selu", {"alpha": 1.2, "gamma": 0.9}),
):  # fmt: skip
    unary(kind, **attributes)
for kind, attributes in (("Gelu", {}), ("Gelu", {"approximate": "tanh"})):
    unary(kind, opset=20, **attributes)
for shapes in (((2, 3, 4), (2, 3, 4)), ((2, 3, 4), (4,)), ((2, 3, 4), (3, 1)), ((1,), (2, 3, 4)), ((2, 1, 4), (2, 3, 1))):
    for kind in ("Add", "Sub", "Mul", "Min", "Max"):
        binary(kind, *shapes)
case("Div constant", lambda b: b.op("Div", b.input(2, 3), b.random(3, low=0.5)))
case("Div by constant", lambda b: b.op("Div", b.const(1.0, np.float32), b.op("Exp", b.input(2, 3))))
case("Div", lambda b: b.op("Div", b.input(2, 3), b.op("Exp", b.input(2, 3, name="other"))))
for kind in ("Sum", "Mean", "Min", "Max"):
    case(f"{kind} of three", lambda b, k=kind: b.op(k, b.input(2, 3), b.input(2, 3, name="second"), b.input(3, name="third")))
    case(f"{kind} of one", lambda b, k=kind: b.op(k, b.input(2, 3)))
case("Max of three with scalar", lambda b: b.op("Max", b.input(2, 3), b.const(0.25, np.float32), b.input(3, name="third")))
for exponent in (1.0, 2.0, 3.0, 4.0):
    case(f"Pow {exponent}", lambda b, e=exponent: b.op("Pow", b.input(2, 3), b.const(e, np.float32)))
case("Pow 0.5", lambda b: b.op("Pow", b.op("Abs", b.input(2, 3)), b.const(0.5, np.float32)))
case("square", lambda b: b.op("Mul", b.input(2, 3), "input"))
case("Clip", lambda b: b.op("Clip", b.input(*IMAGE), b.const(-0.5, np.float32), b.const(1.0, np.float32)))
case("Clip,upper", lambda b: b.op("Clip", b.input(*IMAGE), "", b.const(1.0, np.float32)))
unary("Clip", opset=10, min=-0.5, max=0.25)
case("PRelu,one", lambda b: b.op("PRelu", b.input(*IMAGE), b.const([0.2], np.float32)))
case("PRelu,channels", lambda b: b.op("PRelu", b.input(*IMAGE), b.random(6, 1, 1)))
case("PRelu,last axis", lambda b: b.op("PRelu", b.input(2, 6), b.random(6)))
case("PRelu,elements", lambda b: b.op("PRelu", b.input(*IMAGE), b.random(6, 7, 9)))
for axis in (0, 1, -1):
    unary("Softmax", axis=axis, name=f"Softmax {axis}")
    unary("Softmax", axis=axis, opset=11, name=f"Softmax 11 {axis}")
unary("LogSoftmax", axis=1)
case("LayerNormalization", lambda b: b.op("LayerNormalization", b.input(2, 5, 8), b.random(8), b.random(8), epsilon=1e-3))
case("LayerNormalization,no bias", lambda b: b.op("LayerNormalization", b.input(2, 8), b.random(8)))
case("LayerNormalization,axes", lambda b: b.op("LayerNormalization", b.input(*IMAGE), b.random(7, 9), b.random(7, 9), axis=2))

# Pooling and reductions
unary("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], dilations=[2, 1])
unary("MaxPool", shape=(2, 6, 20), kernel_shape=[3], strides=[2], name="MaxPool 1d")
unary("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
unary("AveragePool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1], count_include_pad=1)
unary("AveragePool", shape=(2, 6, 20), kernel_shape=[4], name="AveragePool 1d")
for size in ((6, 7), (7, 8), (9, 12)):
    unary("MaxPool", shape=(1, 2, *size), kernel_shape=[3, 2], strides=[2, 3], pads=[1, 1, 1, 1], ceil_mode=1, name=f"MaxPool ceil {size}")
    unary("AveragePool", shape=(1, 2, *size), kernel_shape=[3, 2], strides=[2, 3], ceil_mode=1, name=f"AveragePool ceil {size}")
unary("GlobalAveragePool")
unary("GlobalMaxPool")
unary("GlobalAveragePool", shape=(2, 6, 20), name="GlobalAveragePool 1d")
for kind in ("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp"):
    unary(kind, opset=11, axes=[-1, 1], keepdims=0)
    case(f"{kind} 18", lambda b, k=kind: b.op(k, b.input(*IMAGE), b.ints(2, 3)), 18)
    case(f"{kind} all", lambda b, k=kind: b.op(k, b.input(*IMAGE), keepdims=0), 18)
case("ReduceSum noop", lambda b: b.op("ReduceSum", b.op("Neg", b.input(2, 3)), b.ints(), noop_with_empty_axes=1))

# Movement
case("Concat", lambda b: b.op("Concat", b.input(2, 3, 4), b.random(2, 1, 4), b.input(2, 2, 4, name="other"), axis=-2))
for opset in (11, 17):

    def split(b: Net, old: bool = opset == 11) -> str:
        x = b.input(2, 6)
        parts = b.op("Split", x, outputs=3, axis=1, split=[1, 2, 3]) if old else b.op("Split", x, b.ints(1, 2, 3), outputs=3, axis=1)
        return str(b.op("Concat", *reversed(parts), axis=1))

    case(f"Split {opset}", split, opset)
case("Split unequal", lambda b: b.op("Concat", *reversed(b.op("Split", b.input(2, 7), outputs=3, axis=1, num_outputs=3)), axis=1), 18)
case("Split,nothing", lambda b: b.op("Concat", *b.op("Split", b.input(2, 7), b.ints(0, 5, 2), outputs=3, axis=1)[::-1], axis=1))
case("Slice,nothing", lambda b: b.op("Concat", b.op("Slice", b.input(2, 7), b.ints(7), b.ints(9), b.ints(1)), "input", axis=1))
case("Slice", lambda b: b.op("Slice", b.input(*IMAGE), b.ints(1, -1, 100), b.ints(-1, -1000, 0), b.ints(1, 2, 3), b.ints(2, -2, -1)))
case("Slice,defaults", lambda b: b.op("Slice", b.input(4, 5), b.ints(1, 0), b.ints(3, 5)))
unary("Slice", shape=(4, 5), opset=9, starts=[1, 1], ends=[3, 1000], axes=[0, 1])
for mode in ("constant", "reflect", "edge", "wrap"):
    case(f"Pad {mode}", lambda b, m=mode: b.op("Pad", b.input(2, 3, 4), b.ints(0, 1, 2, 1, 0, 1), mode=m))
case("Pad value", lambda b: b.op("Pad", b.input(2, 3), b.ints(0, 1, 1, 0), b.const(1.5, np.float32)))
case("Pad crops", lambda b: b.op("Pad", b.input(2, 5, 4), b.ints(0, -1, 2, 0, -2, 1)))
case("Pad axes", lambda b: b.op("Pad", b.input(2, 5, 4), b.ints(1, 2), "", b.ints(1)), 18)
case("Reshape", lambda b: b.op("Reshape", b.input(2, 3, 4), b.ints(0, -1, 2)))
for axis in (0, 1, -1, 3):
    unary("Flatten", shape=(2, 3, 4), axis=axis)
case("Squeeze", lambda b: b.op("Squeeze", b.input(2, 1, 3, 1), b.ints(-1)))
case("Squeeze all", lambda b: b.op("Squeeze", b.input(2, 1, 3, 1)))
unary("Squeeze", shape=(2, 1, 3, 1), opset=11, axes=[1])
case("Unsqueeze", lambda b: b.op("Unsqueeze", b.input(2, 3), b.ints(0, -1)))
unary("Unsqueeze", shape=(2, 3), opset=11, axes=[0, 3])
unary("Transpose", shape=(2, 3, 4), perm=[2, 0, 1])
unary("Transpose", shape=(2, 3, 4))
case("Expand", lambda b: b.op("Expand", b.input(3, 1), b.ints(2, 1, 4)))
case("Tile", lambda b: b.op("Tile", b.input(2, 3), b.ints(2, 3)))
GATHERS = {"rows": ([2, 0, 0], 1), "matrix": ([[0, -1], [1, 1]], 1), "scalar": (1, 2), "slice": ([3, 2, 1], 2), "one": ([2], 0)}
for name, (indices, axis) in GATHERS.items():
    case(f"Gather {name}", lambda b, i=indices, a=axis: b.op("Gather", b.input(3, 4, 5), b.const(i, np.int64), axis=a))
for mode in ("DCR", "CRD"):
    unary("DepthToSpace", shape=(2, 12, 3, 4), blocksize=2, mode=mode)
unary("SpaceToDepth", shape=(2, 3, 4, 6), blocksize=2)
unary("Identity")
unary("Dropout")
case("Cast", lambda b: b.op("Cast", b.op("Cast", b.input(2, 3), to=11), to=1))


def shape_chain(b: Net) -> str:
    x = b.input(2, 3, 4)
    rows = b.op("Slice", b.op("Shape", x), b.ints(0), b.ints(1))
    return str(b.op("Reshape", x, b.op("Concat", rows, b.ints(-1), axis=0)))


case("shape chain", shape_chain)
case("ConstantOfShape", lambda b: b.op("Add", b.input(2, 3), b.op("ConstantOfShape", b.op("Shape", "input"))))

# Resizing


def resize(name: str, by: tuple[float, ...], **attributes: Any) -> None:
    case(f"Resize {name} {by}", lambda b: b.op("Resize", b.input(1, 2, 4, 6), "", b.const(by, np.float32), **attributes))


for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"):
    for scales in ((1, 1, 2, 3), (1, 1, 0.5, 2)):
        resize(f"linear {coordinates}", scales, mode="linear", coordinate_transformation_mode=coordinates)
        for nearest in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil"):
            resize(f"{nearest} {coordinates}", scales, nearest_mode=nearest, coordinate_transformation_mode=coordinates)
case("Resize sizes", lambda b: b.op("Resize", b.input(1, 2, 4, 6), "", "", b.ints(1, 2, 7, 5), mode="linear"))
ALIGNED = {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
case("Resize sizes align", lambda b: b.op("Resize", b.input(1, 2, 4, 6), "", "", b.ints(1, 2, 7, 11), **ALIGNED))
case("Resize axes", lambda b: b.op("Resize", b.input(1, 2, 4, 6), "", "", b.ints(8, 3), axes=[2, 3], mode="linear"), 18)
case("Resize channels last", lambda b: b.op("Resize", b.input(1, 4, 6, 3), "", b.const([1, 2, 2, 1], np.float32)))
case("Resize 1d", lambda b: b.op("Resize", b.input(1, 2, 6), "", b.const([1, 1, 2], np.float32), mode="linear"))
case("Resize 10", lambda b: b.op("Resize", b.input(1, 2, 4, 6), b.const([1, 1, 2, 2], np.float32)), 10)
case("Upsample", lambda b: b.op("Upsample", b.input(1, 2, 4, 6), b.const([1, 1, 2, 3], np.float32)), 9)


@pytest.mark.parametrize("name", CASES)
def test_operator_equals_onnxruntime(name: str) -> None:
    build, opset = CASES[name]
    b = Net(opset)
    model = b.model(build(b))
    arrays = feeds(model, 2)
    wanted = onnxruntime_outputs(model, arrays)
    graph = load(model)
    close(real_outputs(graph, arrays), wanted, 2e-6)
    close(real_outputs(normalise(graph), arrays), wanted, 2e-6)


def spelled(name: str) -> Callable[[Net, str], str]:
    """Activations written in elementary operators, as exporters write them."""

    def gelu(b: Net, x: str) -> str:
        inner = b.op("Add", b.op("Erf", b.op("Div", x, b.const(math.sqrt(2), np.float32))), b.const(1.0, np.float32))
        return str(b.op("Mul", b.op("Mul", x, inner), b.const(0.5, np.float32)))

    def gelu_half_first(b: Net, x: str) -> str:
        inner = b.op("Add", b.const(1.0, np.float32), b.op("Erf", b.op("Mul", x, b.const(math.sqrt(0.5), np.float32))))
        return str(b.op("Mul", b.op("Mul", b.const(0.5, np.float32), x), inner))

    def gelu_tanh(b: Net, x: str) -> str:
        cube = b.op("Mul", b.op("Pow", x, b.const(3.0, np.float32)), b.const(0.044715, np.float32))
        inner = b.op("Tanh", b.op("Mul", b.op("Add", x, cube), b.const(math.sqrt(2 / math.pi), np.float32)))
        return str(b.op("Mul", b.op("Mul", x, b.const(0.5, np.float32)), b.op("Add", inner, b.const(1.0, np.float32))))

    def silu(b: Net, x: str) -> str:
        return str(b.op("Mul", x, b.op("Sigmoid", x)))

    def hard_swish(b: Net, x: str) -> str:
        inner = b.op("Clip", b.op("Add", x, b.const(3.0, np.float32)), b.const(0.0, np.float32), b.const(6.0, np.float32))
        return str(b.op("Div", b.op("Mul", x, inner), b.const(6.0, np.float32)))

    def mish(b: Net, x: str) -> str:
        return str(b.op("Mul", x, b.op("Tanh", b.op("Softplus", x))))

    def softplus(b: Net, x: str) -> str:
        return str(b.op("Log", b.op("Add", b.op("Exp", x), b.const(1.0, np.float32))))

    def leaky_relu(b: Net, x: str) -> str:
        return str(b.op("Max", x, b.op("Mul", x, b.const(0.1, np.float32))))

    def clamp(b: Net, x: str) -> str:
        return str(b.op("Min", b.op("Max", x, b.const(-1.0, np.float32)), b.const(2.0, np.float32)))

    found: dict[str, Callable[[Net, str], str]] = {
        f.__name__: f for f in (gelu, gelu_half_first, gelu_tanh, silu, hard_swish, mish, softplus, leaky_relu, clamp)
    }
    return found[name]


@pytest.mark.parametrize("name", ["gelu", "gelu_half_first", "gelu_tanh", "silu", "hard_swish", "mish", "softplus", "leaky_relu", "clamp"])
def test_spelled_out_activation_becomes_one_operator(name: str) -> None:
    b = Net()
    model = b.model(spelled(name)(b, b.input(2, 3, 4)))
    arrays = feeds(model, 3)
    graph = normalise(load(model))
    assert kinds(graph) == [name.removesuffix("_half_first").removesuffix("_tanh")]
    if "gelu" in name:
        assert graph.nodes[0].op.approximate == (name == "gelu_tanh")  # type: ignore[attr-defined]
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays), 2e-6)


def test_pad_before_a_layer_goes_into_it() -> None:
    b = Net()
    x = b.op("Pad", b.input(1, 3, 8, 8), b.ints(0, 0, 0, 1, 0, 0, 2, 1))
    model = b.model(b.conv(x, 3, 4, strides=[2, 2], pads=[0, 0, 0, 0]))
    arrays = feeds(model, 2)
    graph = normalise(load(model))
    assert "pad" not in kinds(graph)
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))


REFUSED: dict[str, tuple[Callable[[Net], str], str]] = {
    "computed weights": (lambda b: b.op("Conv", b.input(1, 2, 5, 5), b.input(3, 2, 3, 3, name="w")), "computed weights"),
    "4d": (lambda b: b.op("Conv", b.input(1, 2, 5, 5, 5, 5), b.random(3, 2, 2, 2, 2, 2)), "4 spatial axes"),
    "3d, strides of 4 axes": (lambda b: b.op("Conv", b.input(1, 2, 5, 5, 5), b.random(3, 2, 2, 2, 2), strides=[1] * 4), "3 spatial axes"),
    "3d, pads of 4 axes": (lambda b: b.op("MaxPool", b.input(1, 2, 5, 5, 5), kernel_shape=[2, 2, 2], pads=[1] * 8), "3 spatial axes"),
    "3d, one dilation": (lambda b: b.op("Conv", b.input(1, 2, 5, 5, 5), b.random(3, 2, 2, 2, 2), dilations=[2]), "3 spatial axes"),
    "transposed 3d": (lambda b: b.op("ConvTranspose", b.input(1, 2, 5, 5, 5), b.random(2, 3, 2, 2, 2)), "along the first of three"),
    "negative pads": (lambda b: b.conv(b.input(1, 2, 5, 5), 2, 3, pads=[-1, 0, 0, 0]), "pads"),
    "indices": (lambda b: b.op("MaxPool", b.input(1, 2, 5, 5), kernel_shape=[2, 2], outputs=2)[1], "output 1 of MaxPool"),
    "narrow integers": (lambda b: b.op("Cast", b.op("Cast", b.input(3), to=2), to=1), "Cast of computed values to uint8"),
    "infinity": (lambda b: b.op("Add", b.input(3), b.const(-np.inf, np.float32)), "an output holds infinity"),
    "mod by zero": (lambda b: b.op("Mod", b.input(3), b.const([1.0, 0.0, 2.0], np.float32), fmod=1), "Mod by zero"),
    "training": (lambda b: b.op("BatchNormalization", b.input(1, 2, 3), *[b.random(2, low=0.5)] * 4, training_mode=1), "training"),
    "zero division": (lambda b: b.op("Div", b.input(3), b.const([1.0, 0.0, 2.0], np.float32)), "zeros"),
    "unknown attribute": (lambda b: b.op("Relu", b.input(3), wonder=3), "attribute 'wonder'"),
    "broken reshape": (lambda b: b.op("Reshape", b.input(3), b.ints(2, 2)), "number of elements"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(name: str) -> None:
    build, message = REFUSED[name]
    b = Net()
    model = b.model(build(b))
    with pytest.raises(EdgeqError) as caught:
        load(model)
    assert message in str(caught.value) and "\n" not in str(caught.value)
