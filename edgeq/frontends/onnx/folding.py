"""Nodes whose inputs are all known are computed while reading, by onnx's own reference implementation.

Only operators on a list are computed, each with a bound on its result's size that is checked first.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from onnx import NodeProto, ValueInfoProto, helper
from onnx.reference import ReferenceEvaluator

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.file import FOURS, array, dense
from edgeq.frontends.onnx.values import Constant
from edgeq.ir import Array

Arrays = Sequence[Array | None]
MAX_FOLDED = 2**26  # elements of one result

ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Celu Clip Cos
    Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean
    Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum Swish Tan
    Tanh ThresholdedRelu Where Xor
"""
SHRINKING = """
    ArgMax ArgMin Compress CumProd CumSum DepthToSpace Flatten Hardmax Identity LogSoftmax LpNormalization NonZero ReduceL1 ReduceL2
    ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Reshape Shape Size Slice Softmax
    SpaceToDepth Split Squeeze Transpose Trilu Unsqueeze
"""
MATRICES = frozenset({"Softmax", "LogSoftmax", "Hardmax"})
RESHAPES = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten", "Identity"})
MOVES = RESHAPES | {"Transpose", "Slice", "Split", "Concat", "Gather", "Expand", "Tile"}  # elements stay what they are


def _ints(value: Array | None) -> list[int]:
    return [] if value is None else [int(v) for v in value.ravel()]


def _broadcast(x: Arrays) -> int:
    return math.prod(np.broadcast_shapes(*(a.shape for a in x if a is not None)))


def _largest(x: Arrays) -> int:
    return max((a.size * max(a.ndim, 1) for a in x if a is not None), default=1)


def _expand(x: Arrays) -> int:
    assert x[0] is not None
    return math.prod(np.broadcast_shapes(x[0].shape, tuple(_ints(x[1]))))


def _range(x: Arrays) -> int:
    start, limit, delta = (float(np.ravel(a)[0]) for a in x if a is not None)
    return max(0, math.ceil((limit - start) / delta))


def _matmul(x: Arrays) -> int:
    a, b = x
    assert a is not None and b is not None
    rows, columns = (a.shape[-2] if a.ndim > 1 else 1), (b.shape[-1] if b.ndim > 1 else 1)
    elements = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2])) * rows * columns
    return int(elements * max(1, a.shape[-1] // 64)) if a.ndim and b.ndim else 1  # the work counts, too


def _pad(x: Arrays) -> int:
    assert x[0] is not None
    return math.prod(n + 2 * max((abs(p) for p in _ints(x[1])), default=0) for n in x[0].shape)


def _gather(x: Arrays) -> int:
    assert x[0] is not None and x[1] is not None
    return x[0].size * max(x[1].size, 1)


# operator -> a bound on the elements of its result
BOUNDS: dict[str, Callable[[Arrays], int]] = {
    **dict.fromkeys(ELEMENTWISE.split(), _broadcast),
    **dict.fromkeys(SHRINKING.split(), _largest),
    "Concat": lambda x: sum(a.size for a in x if a is not None),
    "ConstantOfShape": lambda x: math.prod(_ints(x[0])),
    "Expand": _expand,
    "Tile": lambda x: (x[0].size if x[0] is not None else 1) * math.prod(_ints(x[1])),
    "Range": _range,
    "Pad": _pad,
    "Gather": _gather,
    "GatherElements": lambda x: x[1].size if x[1] is not None else 1,
    "GatherND": _gather,
    "ScatterND": _largest,
    "ScatterElements": _largest,
    "MatMul": _matmul,
}


def foldable(call: Call) -> bool:
    """Whether all inputs are known and the operator can be computed while reading."""
    known = all(v is None or isinstance(v, Constant) for v in call.values)
    return known and call.kind in BOUNDS and call.node.domain in ("", "ai.onnx")


def fold(call: Call) -> list[Constant | None]:
    """Compute a node.

    Raises:
        EdgeqError: the result would be too large, or the inputs contradict each other.
    """
    inputs = [v.array if isinstance(v, Constant) else None for v in call.values]
    try:
        pads = call.integers("pads") if call.kind == "Pad" else None  # older versions have an attribute
        size = BOUNDS[call.kind](inputs if pads is None else [inputs[0], np.array(pads)])
    except (ValueError, ArithmeticError, LookupError, AssertionError) as e:
        raise EdgeqError(f"the constants of {call.kind} contradict each other", why=str(e)[:120]) from e
    if size > MAX_FOLDED:
        raise EdgeqError(f"the constant result of {call.kind} is too large", why=f"{size} elements")
    call.builder.spend(8 * size, f"the constant result of {call.kind}")
    results = _evaluate(call, inputs)
    first = call.values[0] if call.values else None
    four = call.kind in MOVES and isinstance(first, Constant) and first.four
    constants: list[Constant | None] = []
    for name, result in zip(call.node.output, results, strict=False):
        constants.append(Constant(name, np.asarray(result), four=four) if name else None)
    if isinstance(first, Constant) and first.stored and constants and constants[0] is not None:
        constants[0] = _keep_integers(call, first, constants[0])
    return constants


def _evaluate(call: Call, inputs: Arrays) -> list[Array]:
    """The results by the rules of the file's operator set."""
    node = NodeProto()
    node.CopyFrom(call.node)
    node.domain = ""
    del node.input[:], node.output[:]
    node.input.extend(f"i{k}" if a is not None else "" for k, a in enumerate(inputs))
    node.output.extend(f"o{k}" for k in range(len(call.node.output)))
    feeds = {f"i{k}": a for k, a in enumerate(inputs) if a is not None}
    if call.kind == "CumSum" and feeds["i1"].size == 1:  # PyTorch's older exporter writes a list of one axis
        feeds["i1"] = feeds["i1"].reshape(())
    flattened = None
    if call.kind in MATRICES and call.version < 13:  # older versions see a matrix; the evaluator has the newest alone
        flattened = feeds["i0"].shape
        rows = math.prod(flattened[: call.axis(1, len(flattened))])
        feeds["i0"] = feeds["i0"].reshape(rows, -1)
        del node.attribute[:]
        node.attribute.append(helper.make_attribute("axis", 1))
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape) for n, a in feeds.items()]
    results = [ValueInfoProto(name=n) for n in node.output]
    opsets = [helper.make_opsetid("", call.version)]
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            model = helper.make_model(helper.make_graph([node], "node", infos, results), opset_imports=opsets)
            found = list(ReferenceEvaluator(model).run(None, feeds))
            return found if flattened is None else [found[0].reshape(flattened)]
    except Exception as e:  # the evaluator raises whatever numpy or its own checks raise
        why = f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"[:160]
        raise EdgeqError(f"{call.kind} of constants cannot be computed", why=why) from e


def _keep_integers(call: Call, source: Constant, result: Constant) -> Constant:
    """Weights that were dequantized keep their integers through transposes and reshapes."""
    if call.kind == "Transpose":
        perm = call.integers("perm") or tuple(reversed(range(source.array.ndim)))
        return replace(result, name=source.name, stored=source.transposed(perm).stored)
    if call.kind in RESHAPES:
        return replace(result, name=source.name, stored=source.reshaped(result.array.shape).stored)
    return result


def constant_node(call: Call) -> Constant:
    """The Constant operator: a tensor, or numbers as attributes.

    Raises:
        EdgeqError: it holds strings.
    """
    value, four = call.tensor_attribute("value"), any(a.t.data_type in FOURS for a in call.node.attribute if a.name == "value")
    if value is None and call.has("sparse_value"):
        kept = next(a.sparse_tensor for a in call.node.attribute if a.name == "sparse_value")
        call.builder.spend(8 * max(math.prod(kept.dims), 0), "a sparse constant")
        value = array(dense(kept, call.label))
    elif value is None:
        for name, dtype in (("value_float", np.float32), ("value_int", np.int64), ("value_floats", np.float32), ("value_ints", np.int64)):
            if call.has(name):
                raw = next(a for a in call.node.attribute if a.name == name)
                value = np.array(helper.get_attribute_value(raw), dtype)
                break
        else:
            raise EdgeqError("Constant without a tensor or numbers is not supported")
    return Constant(call.output, value, four=four)
