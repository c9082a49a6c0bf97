"""One-operator TFLite models, each as float and as int8: what the frontend reads, told by the run times that know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tflite_models import Options, Quantization, TfliteModel, litert

from edgeq.ir import Array

VECTORS = 16


@dataclass(frozen=True)
class Act:
    """A graph input with values in [low, high]."""

    shape: tuple[int, ...]
    low: float = -2.0
    high: float = 3.0

    @property
    def q(self) -> Quantization:
        return affine(self.low, self.high)

    def values(self, rng: np.random.Generator) -> Array:
        return rng.uniform(self.low, self.high, (VECTORS, *self.shape)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Weights:
    """Constant weights, int8 with a scale per entry of `axis` (None: one scale) in the int8 model."""

    data: Array
    axis: int | None

    def quantized(self) -> tuple[Array, Quantization]:
        others = tuple(i for i in range(self.data.ndim) if i != self.axis)
        peak = np.abs(self.data).max(others if self.axis is not None else None, keepdims=True)
        scales = (peak / 127).astype(np.float32)
        q = np.rint(self.data / scales).astype(np.int8)
        return q, (scales.ravel(), np.zeros(scales.size, np.int64), self.axis or 0)


@dataclass(frozen=True, eq=False)
class Bias:
    """A constant bias, int32 in units of input scale times weight scale in the int8 model."""

    data: Array


@dataclass(frozen=True, eq=False)
class Const:
    """A constant operand, int8 with a scale and zero point of its own in the int8 model."""

    data: Array


@dataclass(frozen=True, eq=False)
class Ints:
    """A constant of integers: axes, shapes, indices."""

    data: Sequence[Any]


@dataclass(frozen=True, eq=False)
class Case:
    """A model of one operator.

    Attributes:
        inputs: None leaves an optional input out.
        outputs: shape per output.
        scale: of the int8 outputs: "fit" to the float result, "same" as the first input's, or given.
        micro: TensorFlow Lite Micro computes it on int8.
        tolerance: of the float comparison, relative to the largest magnitude.
    """

    name: str
    kind: str
    inputs: tuple[Act | Weights | Bias | Const | Ints | None, ...]
    outputs: tuple[tuple[int, ...], ...]
    options: Options | None = None
    scale: str | Quantization = "fit"
    micro: bool = True
    tolerance: float = 1e-5

    def vectors(self, seed: int = 0) -> list[Array]:
        rng = np.random.default_rng(seed)
        return [x.values(rng) for x in self.inputs if isinstance(x, Act)]


def affine(low: float, high: float) -> Quantization:
    """Scale and zero point that cover [low, high] and 0."""
    low, high = min(low, 0.0), max(high, 1e-6)
    scale = float(np.float32((high - low) / 255))
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127)), 0


def quantize(x: Array, q: Quantization) -> Array:
    return np.clip(np.rint(x / np.float32(q[0])) + np.int64(q[1]), -128, 127).astype(np.int8)


def float_model(case: Case, *, hybrid: str = "") -> bytes:
    """The float file; `hybrid` stores the weights as "int8" or behind a DEQUANTIZE as "float16"."""
    m = TfliteModel()
    numbers = []
    for i, x in enumerate(case.inputs):
        if x is None:
            numbers.append(-1)
        elif isinstance(x, Act):
            numbers.append(m.input(f"x{i}", x.shape))
        elif isinstance(x, Ints):
            numbers.append(m.constant(f"c{i}", np.array(x.data, np.int32)))
        elif isinstance(x, Weights) and hybrid == "int8":
            numbers.append(m.constant(f"w{i}", *x.quantized()))
        elif isinstance(x, Weights | Bias) and hybrid == "float16":
            half = m.constant(f"h{i}", x.data.astype(np.float16))
            numbers.append(m.tensor(f"w{i}", x.data.shape))
            m.operator("DEQUANTIZE", [half], [numbers[-1]], ("DequantizeOptions", {}))
        else:
            numbers.append(m.constant(f"w{i}", x.data.astype(np.float32)))
    outputs = [m.tensor(f"y{i}", shape) for i, shape in enumerate(case.outputs)]
    m.operator(case.kind, numbers, outputs, case.options)
    return m.finish(*outputs)


def int8_model(case: Case) -> bytes:
    """The fully quantized file."""
    m = TfliteModel()
    numbers, first, weight_scales = [], None, np.ones(1)
    for i, x in enumerate(case.inputs):
        if x is None:
            numbers.append(-1)
        elif isinstance(x, Act):
            first = first or x.q
            numbers.append(m.input(f"x{i}", x.shape, "INT8", x.q))
        elif isinstance(x, Ints):
            numbers.append(m.constant(f"c{i}", np.array(x.data, np.int32)))
        elif isinstance(x, Weights):
            data, q = x.quantized()
            weight_scales = np.array(q[0])
            numbers.append(m.constant(f"w{i}", data, q))
        elif isinstance(x, Bias):
            assert first is not None
            scales = np.float32(first[0]) * weight_scales
            data = np.rint(x.data / scales).astype(np.int32)
            numbers.append(m.constant(f"b{i}", data, (scales, np.zeros(scales.size, np.int64), 0)))
        else:
            q = first if case.scale == "same" and first else affine(float(x.data.min()), float(x.data.max()))
            numbers.append(m.constant(f"w{i}", quantize(x.data, q), q))
    outputs = [m.tensor(f"y{i}", shape, "INT8", _output_scale(case, i, first)) for i, shape in enumerate(case.outputs)]
    m.operator(case.kind, numbers, outputs, case.options)
    return m.finish(*outputs)


def _output_scale(case: Case, i: int, first: Quantization | None) -> Quantization:
    if case.scale == "same":
        assert first is not None
        return first
    if case.scale == "fit":
        y = litert(float_model(case), case.vectors())[i]
        return affine(float(y.min()), float(y.max()))
    assert not isinstance(case.scale, str)
    return case.scale


RNG = np.random.default_rng(7)


def normal(*shape: int) -> Array:
    return RNG.normal(0, 0.5, shape).astype(np.float32)


def conv(padding: int = 0, stride: tuple[int, int] = (1, 1), dilation: tuple[int, int] = (1, 1), act: int = 0) -> Options:
    return "Conv2DOptions", {
        "padding": padding, "strideH": stride[0], "strideW": stride[1], "dilationHFactor": dilation[0],
        "dilationWFactor": dilation[1], "fusedActivationFunction": act,
    }  # fmt: skip


def depthwise(multiplier: int, *args: Any, **kwargs: Any) -> Options:
    return "DepthwiseConv2DOptions", {**conv(*args, **kwargs)[1], "depthMultiplier": multiplier}


def pool(padding: int, kernel: tuple[int, int], stride: tuple[int, int], act: int = 0) -> Options:
    names = ("filterHeight", "filterWidth", "strideH", "strideW")
    return "Pool2DOptions", {"padding": padding, "fusedActivationFunction": act, **dict(zip(names, (*kernel, *stride), strict=True))}


def reduce(keep: bool) -> Options:
    return "ReducerOptions", {"keepDims": keep}


def strided(**masks: int) -> Options:
    return "StridedSliceOptions", masks


X4 = Act((1, 8, 7, 4))
CONVOLUTIONS = [
    Case("conv_same", "CONV_2D", (X4, Weights(normal(5, 3, 3, 4), 0), Bias(normal(5))), ((1, 8, 7, 5),), conv()),
    Case("conv_valid_stride", "CONV_2D", (X4, Weights(normal(6, 3, 2, 4), 0), Bias(normal(6))), ((1, 3, 3, 6),), conv(1, (2, 2), act=1)),
    Case("conv_same_stride", "CONV_2D", (X4, Weights(normal(6, 3, 4, 4), 0), Bias(normal(6))), ((1, 4, 3, 6),), conv(0, (2, 3), act=3)),
    Case("conv_dilated", "CONV_2D", (X4, Weights(normal(3, 3, 3, 4), 0), Bias(normal(3))), ((1, 8, 7, 3),), conv(0, (1, 1), (2, 3), act=2)),
    Case("conv_grouped", "CONV_2D", (X4, Weights(normal(6, 3, 3, 2), 0), Bias(normal(6))), ((1, 6, 5, 6),), conv(1)),
    Case("depthwise", "DEPTHWISE_CONV_2D", (X4, Weights(normal(1, 3, 3, 4), 3), Bias(normal(4))), ((1, 8, 7, 4),), depthwise(1, act=1)),
    Case(
        "depthwise_multiplier",
        "DEPTHWISE_CONV_2D",
        (X4, Weights(normal(1, 3, 3, 12), 3), Bias(normal(12))),
        ((1, 4, 4, 12),),
        depthwise(3, 0, (2, 2)),
    ),
    Case(
        "depthwise_dilated",
        "DEPTHWISE_CONV_2D",
        (X4, Weights(normal(1, 3, 2, 4), 3), Bias(normal(4))),
        ((1, 4, 5, 4),),
        depthwise(1, 1, (1, 1), (2, 2)),
    ),
    *(
        Case(
            f"transposed_{'valid' if padding else 'same'}_{'x'.join(map(str, shape))}",
            "TRANSPOSE_CONV",
            (Ints((1, *shape, 3)), Weights(normal(3, 3, 4, 4), 0), Act((1, 4, 5, 4)), Bias(normal(3))),
            ((1, *shape, 3),),
            ("TransposeConvOptions", {"padding": padding, "strideH": 2, "strideW": 2}),
        )
        for padding, shape in ((0, (8, 10)), (0, (7, 9)), (1, (9, 12)), (1, (10, 13)))
    ),
]
FC = "FullyConnectedOptions"
PRODUCTS = [
    Case(
        "fc",
        "FULLY_CONNECTED",
        (Act((1, 12)), Weights(normal(7, 12), None), Bias(normal(7))),
        ((1, 7),),
        (FC, {"fusedActivationFunction": 1}),
    ),
    Case("fc_no_bias", "FULLY_CONNECTED", (Act((3, 12)), Weights(normal(7, 12), None), None), ((3, 7),), (FC, {})),
    Case("fc_flattens", "FULLY_CONNECTED", (Act((2, 3, 4)), Weights(normal(5, 12), None), Bias(normal(5))), ((2, 5),), (FC, {})),
    Case(
        "fc_keeps",
        "FULLY_CONNECTED",
        (Act((2, 3, 4)), Weights(normal(5, 4), None), Bias(normal(5))),
        ((2, 3, 5),),
        (FC, {"keepNumDims": True}),
    ),
    Case("matmul", "BATCH_MATMUL", (Act((2, 3, 4)), Act((2, 4, 5), -1, 1)), ((2, 3, 5),), ("BatchMatMulOptions", {})),
    Case(
        "matmul_adjoint",
        "BATCH_MATMUL",
        (Act((2, 4, 3)), Act((2, 5, 4), -1, 1)),
        ((2, 3, 5),),
        ("BatchMatMulOptions", {"adjX": True, "adjY": True}),
    ),
    Case("matmul_constant", "BATCH_MATMUL", (Act((2, 3, 4)), Weights(normal(4, 5), None)), ((2, 3, 5),), ("BatchMatMulOptions", {})),
]
BINARY = [
    *(
        Case(f"{kind.lower()}_{name}", kind, (Act((1, 3, 4, 5)), other), ((1, 3, 4, 5),), (table, {"fusedActivationFunction": act}))
        for kind, table in (("ADD", "AddOptions"), ("SUB", "SubOptions"), ("MUL", "MulOptions"))
        for name, other, act in (
            ("equal", Act((1, 3, 4, 5), -1, 0.5), 1),
            ("row", Act((5,), -0.1, 4), 0),
            ("constant", Const(normal(1, 1, 4, 1)), 3),
            ("scalar", Const(np.array(0.7, np.float32)), 0),
        )
    ),
    *(
        Case(f"{kind.lower()}_{name}", kind, (Act((1, 3, 4, 5)), other), ((1, 3, 4, 5),), ("MaximumMinimumOptions", {}), "same")
        for kind in ("MINIMUM", "MAXIMUM")
        for name, other in (("equal", Act((1, 3, 4, 5))), ("row", Act((5,))), ("constant", Const(normal(1, 1, 4, 1))))
    ),
    Case("div", "DIV", (Act((2, 3)), Act((3,), 0.5, 2)), ((2, 3),), ("DivOptions", {"fusedActivationFunction": 1})),
    Case("div_constant", "DIV", (Act((2, 3)), Const(np.array([2, -2.5, 7], np.float32))), ((2, 3),), ("DivOptions", {}), micro=False),
    Case("squared_difference", "SQUARED_DIFFERENCE", (Act((2, 3)), Act((2, 3))), ((2, 3),), ("SquaredDifferenceOptions", {})),
    Case(
        "squared_difference_row", "SQUARED_DIFFERENCE", (Act((2, 5, 3)), Act((3,), -0.3, 1)), ((2, 5, 3),), ("SquaredDifferenceOptions", {})
    ),
]
BINARY += [
    Case("pow", "POW", (Act((2, 3), 0.1, 2), Const(np.array(1.7, np.float32))), ((2, 3),), ("PowOptions", {}), micro=False),
    Case("add_n", "ADD_N", (Act((2, 3)), Act((2, 3), -1, 1), Act((2, 3))), ((2, 3),), ("AddNOptions", {}), micro=False),
    Case("l2_normalization", "L2_NORMALIZATION", (Act((2, 7)),), ((2, 7),), ("L2NormOptions", {}), (1 / 128, 0, 0)),
    Case("l2_normalization_image", "L2_NORMALIZATION", (Act((1, 6, 40), -0.1, 3),), ((1, 6, 40),), ("L2NormOptions", {}), (1 / 128, 0, 0)),
]
UNIT = Act((1, 4, 6, 3), -6, 6)
POSITIVE = Act((2, 30), 0.05, 4)
ACTIVATIONS = [
    Case("relu", "RELU", (UNIT,), (UNIT.shape,)),
    Case("relu6", "RELU6", (UNIT,), (UNIT.shape,), None, "same"),
    Case("relu_n1_to_1", "RELU_N1_TO_1", (UNIT,), (UNIT.shape,), micro=False),
    Case("relu_0_to_1", "RELU_0_TO_1", (UNIT,), (UNIT.shape,), micro=False),
    Case("leaky", "LEAKY_RELU", (UNIT,), (UNIT.shape,), ("LeakyReluOptions", {"alpha": 0.3})),
    Case("prelu", "PRELU", (UNIT, Const(np.array([[[0.1, -0.4, 0.25]]], np.float32))), (UNIT.shape,)),
    Case("prelu_shared", "PRELU", (UNIT, Const(np.array([[[0.2]]], np.float32))), (UNIT.shape,)),
    Case("logistic", "LOGISTIC", (UNIT,), (UNIT.shape,), None, (1 / 256, -128, 0)),
    Case("tanh", "TANH", (UNIT,), (UNIT.shape,), None, (1 / 128, 0, 0)),
    Case("hard_swish", "HARD_SWISH", (UNIT,), (UNIT.shape,), ("HardSwishOptions", {})),
    Case("gelu", "GELU", (UNIT,), (UNIT.shape,), ("GeluOptions", {}), micro=False),
    Case("gelu_tanh", "GELU", (UNIT,), (UNIT.shape,), ("GeluOptions", {"approximate": True}), micro=False),
    Case("elu", "ELU", (UNIT,), (UNIT.shape,)),
    Case("exp", "EXP", (Act((2, 30), -3, 2),), ((2, 30),), ("ExpOptions", {}), micro=False),
    Case("sqrt", "SQRT", (POSITIVE,), (POSITIVE.shape,), micro=False),
    Case("rsqrt", "RSQRT", (POSITIVE,), (POSITIVE.shape,)),
    Case("abs", "ABS", (UNIT,), (UNIT.shape,), ("AbsOptions", {}), (6 / 127, 3, 0)),
    Case("neg", "NEG", (UNIT,), (UNIT.shape,), ("NegOptions", {}), micro=False),
    Case("log", "LOG", (POSITIVE,), (POSITIVE.shape,), micro=False),
    Case("floor", "FLOOR", (Act((2, 9), -5.9, 6.3),), ((2, 9),), micro=False),
    Case("ceil", "CEIL", (Act((2, 9), -5.9, 6.3),), ((2, 9),), micro=False),
    Case("round", "ROUND", (Act((2, 9), -5.9, 6.3),), ((2, 9),), micro=False),
    Case("sin", "SIN", (UNIT,), (UNIT.shape,), micro=False),
    Case("cos", "COS", (UNIT,), (UNIT.shape,), ("CosOptions", {}), micro=False),
    Case("sign", "SIGN", (UNIT,), (UNIT.shape,), micro=False),
    Case("square", "SQUARE", (UNIT,), (UNIT.shape,), ("SquareOptions", {}), micro=False),
    Case("softmax", "SOFTMAX", (Act((1, 12), -8, 8),), ((1, 12),), ("SoftmaxOptions", {"beta": 1.0}), (1 / 256, -128, 0)),
    Case("log_softmax", "LOG_SOFTMAX", (Act((2, 3, 5), -8, 8),), ((2, 3, 5),), ("LogSoftmaxOptions", {}), (1 / 16, 127, 0)),
    Case("log_softmax_wide", "LOG_SOFTMAX", (Act((4, 90), -0.3, 0.2),), ((4, 90),), ("LogSoftmaxOptions", {}), (1 / 16, 127, 0)),
    Case("log_softmax_coarse", "LOG_SOFTMAX", (Act((4, 10), -90, 60),), ((4, 10),), ("LogSoftmaxOptions", {}), (1 / 16, 127, 0)),
    Case("softmax_beta", "SOFTMAX", (Act((2, 3, 5), -8, 8),), ((2, 3, 5),), ("SoftmaxOptions", {"beta": 0.5}), (1 / 256, -128, 0)),
]
POOLS = [
    *(
        Case(f"{kind.lower()}_{name}", kind, (X4,), (shape,), options, "same")
        for kind in ("AVERAGE_POOL_2D", "MAX_POOL_2D")
        for name, shape, options in (
            ("valid", (1, 4, 3, 4), pool(1, (2, 2), (2, 2))),
            ("same", (1, 4, 4, 4), pool(0, (3, 3), (2, 2), 1)),
            ("global", (1, 1, 1, 4), pool(1, (8, 7), (1, 1))),
        )
    ),
    *(
        Case(f"{kind.lower()}_{name}", kind, (X4, Ints(axes)), (shape,), reduce(keep), scale)
        for kind, scale in (("MEAN", "fit"), ("SUM", "fit"), ("REDUCE_MAX", "same"), ("REDUCE_MIN", "same"))
        for name, axes, keep, shape in (
            ("space", (1, 2), False, (1, 4)),
            ("space_keep", (2, 1), True, (1, 1, 1, 4)),
            ("last", (-1,), False, (1, 8, 7)),
            ("rows", (1,), True, (1, 1, 7, 4)),
        )
    ),
]
SPLIT = "SplitOptions"
MOVEMENTS = [
    Case(
        "concat",
        "CONCATENATION",
        (X4, Act((1, 8, 7, 2)), Const(normal(1, 8, 7, 1))),
        ((1, 8, 7, 7),),
        ("ConcatenationOptions", {"axis": -1}),
        "same",
    ),
    Case("concat_rows", "CONCATENATION", (X4, Act((1, 2, 7, 4))), ((1, 10, 7, 4),), ("ConcatenationOptions", {"axis": 1}), "same"),
    Case("split", "SPLIT", (Ints(3), X4), ((1, 8, 7, 2), (1, 8, 7, 2)), (SPLIT, {"numSplits": 2}), "same"),
    Case(
        "split_v",
        "SPLIT_V",
        (X4, Ints((1, -1, 2)), Ints(2)),
        ((1, 8, 1, 4), (1, 8, 4, 4), (1, 8, 2, 4)),
        ("SplitVOptions", {"numSplits": 3}),
        "same",
    ),
    Case("slice", "SLICE", (X4, Ints((0, 2, 1, 0)), Ints((1, 3, -1, 2))), ((1, 3, 6, 2),), ("SliceOptions", {}), "same"),
    Case("strided", "STRIDED_SLICE", (X4, Ints((0, 1, 0, 0)), Ints((1, 8, 7, 4)), Ints((1, 2, 3, 1))), ((1, 4, 3, 4),), strided(), "same"),
    Case(
        "strided_back",
        "STRIDED_SLICE",
        (X4, Ints((0, -1, 0, 0)), Ints((1, 0, 7, -1)), Ints((1, -2, 1, 1))),
        ((1, 4, 7, 3),),
        strided(beginMask=4, endMask=4),
        "same",
    ),
    Case(
        "strided_shrink",
        "STRIDED_SLICE",
        (X4, Ints((0, 3, 0, 0)), Ints((0, 4, 0, 0)), Ints((1, 1, 1, 1))),
        ((1, 7, 4),),
        strided(beginMask=13, endMask=13, shrinkAxisMask=2),
        "same",
    ),
    Case(
        "strided_ellipsis",
        "STRIDED_SLICE",
        (X4, Ints((0, 1)), Ints((0, 3)), Ints((1, 1))),
        ((1, 8, 7, 2),),
        strided(ellipsisMask=1),
        "same",
        micro=False,
    ),
    Case(
        "strided_new_axis",
        "STRIDED_SLICE",
        (X4, Ints((0, 0, 1)), Ints((1, 0, 5)), Ints((1, 1, 2))),
        ((1, 1, 2, 7, 4),),
        strided(newAxisMask=2),
        "same",
        micro=False,
    ),
    Case("pad", "PAD", (X4, Ints(((0, 0), (1, 2), (0, 1), (3, 0)))), ((1, 11, 8, 7),), ("PadOptions", {}), "same"),
    Case(
        "padv2",
        "PADV2",
        (X4, Ints(((0, 0), (1, 2), (0, 1), (0, 0))), Const(np.array(1.25, np.float32))),
        ((1, 11, 8, 4),),
        ("PadV2Options", {}),
        "same",
    ),
    Case(
        "mirror_reflect",
        "MIRROR_PAD",
        (X4, Ints(((0, 0), (1, 2), (2, 1), (0, 0)))),
        ((1, 11, 10, 4),),
        ("MirrorPadOptions", {"mode": 0}),
        "same",
    ),
    Case(
        "mirror_symmetric",
        "MIRROR_PAD",
        (X4, Ints(((0, 0), (1, 1), (0, 1), (0, 0)))),
        ((1, 10, 8, 4),),
        ("MirrorPadOptions", {"mode": 1}),
        "same",
    ),
    Case(
        "mirror_symmetric_wide",
        "MIRROR_PAD",
        (X4, Ints(((0, 0), (3, 2), (0, 4), (1, 0)))),
        ((1, 13, 11, 5),),
        ("MirrorPadOptions", {"mode": 1}),
        "same",
    ),
    Case("tile", "TILE", (Act((2, 3, 4)), Ints((1, 3, 2))), ((2, 9, 8),), ("TileOptions", {}), "same", micro=False),
    Case("tile_once", "TILE", (Act((2, 3)), Ints((1, 1))), ((2, 3),), ("TileOptions", {}), "same", micro=False),
    Case("broadcast_to", "BROADCAST_TO", (Act((3, 1, 4)), Ints((2, 3, 5, 4))), ((2, 3, 5, 4),), None, "same"),
    Case("reverse", "REVERSE_V2", (Act((2, 5, 4)), Ints((1,))), ((2, 5, 4),), ("ReverseV2Options", {}), "same", micro=False),
    *(
        Case(
            f"space_to_batch_{name}",
            "SPACE_TO_BATCH_ND",
            (Act(shape), Ints(block), Ints(pads)),
            (out,),
            ("SpaceToBatchNDOptions", {}),
            "same",
            micro=name == "plain",  # TensorFlow Lite Micro pads with bytes of 0, whatever the zero point
        )
        for name, shape, block, pads, out in (
            ("4d", (1, 5, 6, 3), (2, 3), ((1, 0), (0, 3)), (6, 3, 3, 3)),
            ("plain", (2, 4, 4, 1), (2, 2), ((0, 0), (0, 0)), (8, 2, 2, 1)),
            ("3d", (1, 9, 2), (4,), ((2, 1),), (4, 3, 2)),
        )
    ),
    *(
        Case(
            f"batch_to_space_{name}",
            "BATCH_TO_SPACE_ND",
            (Act(shape), Ints(block), Ints(crops)),
            (out,),
            ("BatchToSpaceNDOptions", {}),
            "same",
        )
        for name, shape, block, crops, out in (
            ("4d", (6, 3, 3, 3), (2, 3), ((1, 0), (0, 3)), (1, 5, 6, 3)),
            ("plain", (8, 2, 2, 1), (2, 2), ((0, 0), (0, 0)), (2, 4, 4, 1)),
            ("3d", (4, 3, 2), (4,), ((2, 1),), (1, 9, 2)),
        )
    ),
    Case("reshape", "RESHAPE", (X4, Ints((-1, 14, 4))), ((4, 14, 4),), ("ReshapeOptions", {}), "same"),
    Case("reshape_option", "RESHAPE", (X4,), ((2, 112),), ("ReshapeOptions", {"newShape": [2, 112]}), "same", micro=False),
    Case("transpose", "TRANSPOSE", (X4, Ints((0, 3, 1, 2))), ((1, 4, 8, 7),), ("TransposeOptions", {}), "same"),
    Case("squeeze", "SQUEEZE", (Act((1, 3, 1, 4)),), ((3, 1, 4),), ("SqueezeOptions", {"squeezeDims": [0]}), "same"),
    Case("squeeze_all", "SQUEEZE", (Act((1, 3, 1, 4)),), ((3, 4),), ("SqueezeOptions", {}), "same"),
    Case("expand_dims", "EXPAND_DIMS", (Act((3, 4)), Ints(-2)), ((3, 1, 4),), ("ExpandDimsOptions", {}), "same"),
    Case("gather", "GATHER", (X4, Ints(((6, 0, 3), (1, 1, 2)))), ((1, 8, 2, 3, 4),), ("GatherOptions", {"axis": 2}), "same"),
    Case(
        "pack",
        "PACK",
        (Act((3, 4)), Act((3, 4)), Const(normal(3, 4))),
        ((3, 3, 4),),
        ("PackOptions", {"axis": 1, "valuesCount": 3}),
        "same",
    ),
    Case("unpack", "UNPACK", (Act((3, 2, 4)),), ((3, 4), (3, 4)), ("UnpackOptions", {"axis": 1, "num": 2}), "same"),
    Case("depth_to_space", "DEPTH_TO_SPACE", (X4,), ((1, 16, 14, 1),), ("DepthToSpaceOptions", {"blockSize": 2}), "same"),
    Case("space_to_depth", "SPACE_TO_DEPTH", (Act((1, 4, 6, 3)),), ((1, 2, 3, 12),), ("SpaceToDepthOptions", {"blockSize": 2}), "same"),
    *(
        Case(
            f"{kind.lower()}_{'x'.join(map(str, size))}_{'_'.join(flags)}",
            f"RESIZE_{kind}",
            (X4, Ints(size)),
            ((1, *size, 4),),
            (table, dict.fromkeys(flags, True)),
            "same",
        )
        for kind, table in (("BILINEAR", "ResizeBilinearOptions"), ("NEAREST_NEIGHBOR", "ResizeNearestNeighborOptions"))
        for size in ((16, 14), (5, 11))
        for flags in ((), ("alignCorners",), ("halfPixelCenters",))
    ),
]
CASES = [*CONVOLUTIONS, *PRODUCTS, *BINARY, *ACTIVATIONS, *POOLS, *MOVEMENTS]
