"""Table operators: each against a formula of another origin, and law tflm against TensorFlow Lite Micro on all 256 inputs."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from harness import Case, activation, on_words, suite
from oracle import tflite_model, tflm

from edgeq.errors import EdgeqError
from edgeq.ir import Op, QParams, Tensor
from edgeq.ops import activations as act
from edgeq.ops import logic, registry
from edgeq.ops import mathematics as maths
from edgeq.ops import trigonometry as trig
from edgeq.ops.clamp import Clamp
from edgeq.ops.fake_quantize import FakeQuantize
from edgeq.ops.requantize import Requantize
from edgeq.ops.table import _Table

X = np.arange(-128, 128, dtype=np.int8)
SIGNED, POSITIVE = QParams((0.043,), 9), QParams((0.02,), -128)

# operator, scalar formula, output, input (scale 1/16, zero point 3 unless told)
FUNCTIONS: list[tuple[Op, Callable[[float], float], QParams, QParams]] = [
    (op, formula, out, QParams((0.0625,), 3) if source is None else source)
    for op, formula, out, source in [
        (act.Sigmoid(), lambda x: 0.5 * (1 + math.tanh(x / 2)), QParams((1 / 256,), -128), None),
        (act.Tanh(), lambda x: (math.exp(2 * x) - 1) / (math.exp(2 * x) + 1), QParams((1 / 128,), 0), None),
        (act.HardSigmoid(0.3, 0.4), lambda x: min(max(0.3 * x + 0.4, 0), 1), QParams((1 / 255,), -128), None),
        (act.HardSwish(), lambda x: 0 if x < -3 else x if x > 3 else x * x / 6 + x / 2, SIGNED, None),
        (act.Silu(), lambda x: x / (1 + math.exp(-x)), SIGNED, None),
        (act.Gelu(), lambda x: x * (1 - 0.5 * math.erfc(x / math.sqrt(2))), SIGNED, None),
        (act.Gelu(True), lambda x: x / (1 + math.exp(-2 * 0.7978845608028654 * (x + 0.044715 * x * x * x))), SIGNED, None),
        (act.LeakyRelu(0.3), lambda x: max(x, 0) + 0.3 * min(x, 0), SIGNED, None),
        (act.ThresholdedRelu(1.5), lambda x: x * (x > 1.5), SIGNED, None),
        (act.Elu(), lambda x: max(x, 0) + min(math.exp(x) - 1, 0), SIGNED, None),
        (act.Elu(0.7), lambda x: x if x > 0 else 0.7 * math.exp(x) - 0.7, SIGNED, None),
        (act.Selu(), lambda x: 1.05070098 * (x if x > 0 else 1.67326324 * math.exp(x) - 1.67326324), SIGNED, None),
        (act.Celu(0.6), lambda x: x if x > 0 else 0.6 * (math.exp(x / 0.6) - 1), SIGNED, None),
        (act.Softplus(), lambda x: math.log(1 + math.exp(x)), POSITIVE, None),
        (act.Softsign(), lambda x: x / (1 - x) if x < 0 else x / (1 + x), QParams((1 / 128,), 0), None),
        (act.Mish(), lambda x: x * (1 - 2 / ((1 + math.exp(x)) ** 2 + 1)), SIGNED, None),
        (maths.Abs(), lambda x: math.sqrt(x * x), POSITIVE, None),
        (maths.Neg(), lambda x: 0 - x, SIGNED, None),
        (maths.Exp(), lambda x: math.e**x, QParams((0.1,), -100), None),
        (maths.Log(), lambda x: math.log2(x) * math.log(2) if x > 0 else -1e9, SIGNED, None),
        (maths.Sqrt(), lambda x: max(x, 0) ** 0.5, POSITIVE, None),
        (maths.Rsqrt(), lambda x: x**-0.5 if x > 0 else 1e9, QParams((0.03,), -128), None),
        (maths.Reciprocal(), lambda x: x**-1 if x else 1e9, QParams((0.05,), -7), None),
        (maths.Square(), lambda x: abs(x) ** 2, QParams((0.2,), -128), None),
        (maths.Erf(), lambda x: 1 - math.erfc(x), QParams((1 / 127,), 0), None),
        (maths.Sin(), lambda x: math.cos(x - math.pi / 2), QParams((1 / 127,), 0), None),
        (maths.Cos(), lambda x: 1 - 2 * math.sin(x / 2) ** 2, QParams((1 / 127,), 0), None),
        (maths.Floor(), lambda x: x - x % 1, SIGNED, None),
        (maths.Ceil(), lambda x: x + -x % 1, SIGNED, None),
        (maths.Round(), round, SIGNED, None),
        (maths.Sign(), lambda x: (x > 0) - (x < 0), QParams((1 / 127,), 0), None),
        (maths.Pow(3.0), lambda x: x * x * x, QParams((0.5,), 3), None),
        (maths.Pow(0.5), lambda x: math.sqrt(max(x, 0)), POSITIVE, None),
        (trig.Tan(), lambda x: math.sin(x) / math.cos(x), SIGNED, QParams((0.012,), 0)),
        (trig.Sinh(), lambda x: (math.exp(x) - math.exp(-x)) / 2, QParams((0.1,), 3), None),
        (trig.Cosh(), lambda x: (math.exp(x) + math.exp(-x)) / 2, QParams((0.1,), -128), None),
        (trig.Asin(), lambda x: math.pi / 2 - math.acos(min(max(x, -1), 1)), QParams((0.0125,), 0), QParams((0.009,), 2)),
        (trig.Acos(), lambda x: math.pi / 2 - math.asin(min(max(x, -1), 1)), QParams((0.0125,), -128), QParams((0.009,), 2)),
        (trig.Atan(), lambda x: math.copysign(math.acos(1 / math.hypot(1, x)), x), QParams((0.0125,), 0), None),
        (trig.Asinh(), lambda x: math.copysign(math.log(abs(x) + math.hypot(1, x)), x), SIGNED, None),
        (trig.Acosh(), lambda x: math.log(x + math.sqrt(x * x - 1)) if x > 1 else 0, POSITIVE, None),
        (trig.Atanh(), lambda x: math.log((1 + x) / (1 - x)) / 2 if abs(x) < 1 else x * 1e9, SIGNED, QParams((0.009,), 2)),
        (logic.Step(), lambda x: x > 0, QParams((1 / 255,), -128), None),
        (logic.Step(1.0), lambda x: x >= 0, QParams((1 / 255,), -128), None),
        (logic.IsZero(), lambda x: x == 0, QParams((1 / 255,), -128), None),
        (Clamp((0, math.inf)), lambda x: x * (x > 0), POSITIVE, None),
        (Clamp((0, 6)), lambda x: min(max(x, 0), 6), QParams((6 / 255,), -128), None),
        (Clamp((-1, 1)), lambda x: sorted((-1, x, 1))[1], SIGNED, None),
        (Requantize(), lambda x: x, SIGNED, None),
        (FakeQuantize(scale=0.0437, zero_point=9), lambda x: 0.0437 * min(max(round(x / 0.0437), -137), 118), SIGNED, None),
        (Requantize(), lambda x: x, QParams((0.0007,), 50), QParams((0.0003,), -90)),
    ]
]
WIDER = {act.Elu: 2.1, act.HardSwish: 2.1, maths.Exp: 1.1}  # tflm's coarser arithmetic; exp's float32 argument
CASES = [
    Case(f"{op.kind()}_{i}", op, (activation((1, 7, 37), *source.scale, source.zero_point),), out, tolerance=WIDER.get(type(op), 1.02),
         half_tolerance=math.inf if isinstance(op, FakeQuantize) else 1.0)  # which is x itself on halves
    for i, (op, _, out, source) in enumerate(FUNCTIONS)
]  # fmt: skip
CURVE = 2.0**-15
WORDS = [
    *(on_words(Case(f"{op.kind()}_{i}", op, (activation((1, 7, 37), s * 256),)), CURVE, 5.0)
      for op in (act.Sigmoid(), act.Tanh()) for i, s in enumerate((2.0**-12, 2.0**-11, 0.0003, 0.01, 2.5))),
    *(on_words(Case(f"{op.kind()}_{k}_{i}", op, (activation((1, 7, 37), 0.04),), QParams((s,))))
      for k, op in enumerate((act.LeakyRelu(0.3), act.LeakyRelu(-0.7), Clamp((0.0, 6.0)), Clamp((-1.0, 1.0))))
      for i, s in enumerate((0.03, 0.2))),
]  # fmt: skip
test_table = suite([*CASES, *WORDS])


def table(op: Op, law: str, source: QParams, out: QParams) -> np.ndarray:
    x, y = (activation((1, 256), *q.scale, q.zero_point) for q in (source, out))
    return op.reference(op.bind(law, "here", (Tensor("x", x),), y), X)


@pytest.mark.parametrize(("op", "formula", "out", "source"), FUNCTIONS, ids=[c.name for c in CASES])
def test_law_single_rounds_the_formula_to_nearest(op: Op, formula: Callable[[float], float], out: QParams, source: QParams) -> None:
    scale = float(np.float32(source.scale[0]))
    exact = np.array([formula((int(q) - source.zero_point) * scale) for q in X]) / float(np.float32(out.scale[0])) + out.zero_point
    distance = np.abs(np.clip(exact, -128, 127) - table(op, "single", source, out))
    assert distance.max() <= 0.5 + 1e-5, X[distance.argmax()]


def test_halves_round_away_from_zero() -> None:
    assert table(Requantize(), "single", QParams((0.5,), 0), QParams((1.0,), 0))[128 - 3 : 128 + 4].tolist() == [-2, -1, -1, 0, 1, 1, 2]


def test_every_table_operator_has_a_formula() -> None:
    assert {c for c in registry().values() if issubclass(c, _Table)} == {type(op) for op, *_ in FUNCTIONS}


TFLM = [
    (act.Sigmoid, "LOGISTIC", None),
    (act.Tanh, "TANH", None),
    (act.HardSwish, "HARD_SWISH", ("HardSwishOptions", {})),
    (act.Elu, "ELU", None),
    (act.LeakyRelu, "LEAKY_RELU", "alpha"),
    (maths.Abs, "ABS", None),
    (Requantize, "QUANTIZE", ("QuantizeOptions", {})),
    (Clamp, "RELU", (0.0, math.inf)),
    (Clamp, "RELU6", (0.0, 6.0)),
]


@pytest.mark.parametrize(("cls", "builtin", "extra"), TFLM, ids=[t[1] for t in TFLM])
def test_law_tflm_equals_tensorflow_lite_micro(cls: type[Op], builtin: str, extra: object) -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        scale, out_scale = np.exp(rng.uniform(np.log(0.001), np.log(0.3), 2)).tolist()
        zero, out_zero = rng.integers(-128, 128, 2).tolist()
        source, out = QParams((scale,), zero), QParams((out_scale,), out_zero)
        options, op = extra, cls()
        if cls is act.Sigmoid:
            out = QParams((1 / 256,), -128)
        elif cls is act.Tanh:
            out = QParams((1 / 128,), 0)
        elif cls is act.HardSwish:
            out = QParams((max(out_scale, scale / 120),), out_zero)
        elif cls is Clamp:
            op, options = cls(extra), None  # type: ignore[call-arg]
            out = source if builtin == "RELU6" else out
        elif cls is act.LeakyRelu:
            alpha = float(np.float32(rng.uniform(-0.5, 1.5)))
            op, options = cls(alpha), ("LeakyReluOptions", {"alpha": alpha})  # type: ignore[call-arg]
        x, y = (activation((1, 256), *q.scale, q.zero_point) for q in (source, out))
        want = tflm(tflite_model(builtin, options, [Tensor("x", x)], y), [X[None, None]])  # type: ignore[arg-type]
        np.testing.assert_array_equal(table(op, "tflm", source, out), want[0, 0], str((op, source, out)))


def test_fixed_output_scales_are_demanded_in_law_tflm() -> None:
    with pytest.raises(EdgeqError, match="1/256"):
        table(act.Sigmoid(), "tflm", SIGNED, SIGNED)
    with pytest.raises(EdgeqError, match="1/128"):
        table(act.Tanh(), "tflm", SIGNED, SIGNED)
    with pytest.raises(EdgeqError, match="too fine"):
        table(act.HardSwish(), "tflm", QParams((1.0,), 0), QParams((0.001,), 0))
    with pytest.raises(EdgeqError, match="order"):
        Clamp((1.0, 0.0))
