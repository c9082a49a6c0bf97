"""Comparisons, truth values, selection, indices, contractions and normalizations against onnxruntime, as read and as normalised."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx_models import Net, close, load, onnxruntime_outputs, real_outputs

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.passes import normalise

F = np.float32
R = np.random.default_rng(3)
MASK = np.triu(np.ones((5, 5), bool), 1)
Build = Callable[[Net], str]


def cast(b: Net, x: str) -> str:
    return str(b.op("Cast", x, to=1))


def image(b: Net) -> str:
    return b.input(1, 4, 6, 5)


def hidden_rows(b: Net) -> str:
    """What exporters write around a softmax, so that a row that is masked entirely gives zeros."""
    mask = np.where(np.arange(5)[:, None] == 2, -np.inf, np.where(MASK, -np.inf, 0))
    x = b.op("Softmax", b.op("Add", b.input(2, 5, 5), b.const(mask, F)), axis=-1)
    return str(b.op("Where", b.op("IsNaN", x), b.const(0.0, F), x))


def diagonal(b: Net) -> str:
    """torch.diagonal(x, 1) as both of PyTorch's exporters write it: a mask by EyeLike, a sum, a slice."""
    mask = b.op("EyeLike", b.op("ConstantOfShape", b.ints(5, 6)), k=1, dtype=1)
    total = b.op("ReduceSum", b.op("Mul", b.input(2, 5, 6), mask), b.ints(1), keepdims=0)
    return str(b.op("Slice", total, b.ints(1), b.ints(6), b.ints(1)))


def angle(b: Net) -> str:
    """torch.atan2 as PyTorch's exporter writes it: a quotient, two corrections, zeros for what is no number."""
    y, x = b.op("Split", b.input(2, 8), axis=-1, num_outputs=2, outputs=2)
    slope = b.op("Atan", b.op("Div", y, x))
    other = b.op("Where", b.op("Greater", y, b.const(0.0, F)), b.op("Add", slope, b.const(np.pi, F)), b.op("Sub", slope, b.const(np.pi, F)))
    found = b.op("Where", b.op("Less", x, b.const(0.0, F)), other, slope)
    return str(b.op("Where", b.op("IsNaN", found), b.const(0.0, F), found))


def without_infinities(b: Net) -> str:
    """torch.nan_to_num."""
    x = b.op("Where", b.op("IsNaN", b.input(2, 5)), b.const(0.0, F), "input")
    for sign, limit in (("Less", -3.4e38), ("Greater", 3.4e38)):
        x = b.op("Where", b.op("And", b.op(sign, x, b.const(0.0, F)), b.op("IsInf", x)), b.const(limit, F), x)
    return str(b.op("Neg", x))


CASES: dict[str, Build] = {
    "diagonal": diagonal,
    "angle": angle,
    "no infinities": without_infinities,
    "eye of a computed shape": lambda b: b.op("Add", b.input(4, 3), b.op("EyeLike", "input", k=-1)),
    "never true": lambda b: cast(
        b, b.op("Or", b.op("IsInf", b.input(2, 3), detect_negative=0), b.op("Less", "input", b.const(0.0, F)))
    ),
    **{
        k: lambda b, k=k: cast(b, b.op(k, b.op("Round", b.input(2, 3, 4)), b.const(0.0, F)))  # type: ignore[misc]
        for k in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
    },
    "less than a vector": lambda b: cast(b, b.op("Less", b.input(2, 3, 4), b.random(4))),
    "and or xor not": lambda b: cast(
        b,
        b.op(
            "Xor",
            b.op("And", b.op("Greater", b.input(2, 6), b.const(0.2, F)), b.op("Less", "input", b.const(1.0, F))),
            b.op("Not", b.op("Or", b.op("Less", "input", b.const(-1.0, F)), b.op("Greater", "input", b.const(0.5, F)))),
        ),
    ),
    "where computed": lambda b: b.op("Where", b.op("Greater", b.input(2, 6), b.const(0.0, F)), "input", b.op("Neg", b.op("Exp", "input"))),
    "where constant": lambda b: b.op("Where", b.const(MASK), b.op("Exp", b.input(2, 5, 5)), "input"),
    "where zero": lambda b: b.op("Where", b.op("Less", b.input(2, 6), b.const(0.1, F)), b.const(0.0, F), "input"),
    "where widens": lambda b: b.op("Where", b.const(MASK), b.op("Exp", b.input(1, 5)), b.const(2.0, F)),
    "mask by where": lambda b: b.op("Softmax", b.op("Where", b.const(MASK), b.const(-np.inf, F), b.input(2, 5, 5)), axis=-1),
    "mask by sum": lambda b: b.op("Softmax", b.op("Add", b.input(2, 5, 5), b.const(np.where(MASK, -np.inf, 0), F)), axis=-1),
    "mask by lowest": lambda b: b.op("Softmax", b.op("Add", b.input(2, 5, 5), b.const(np.where(MASK, -3.4e38, 0), F)), axis=-1),
    "cast to integer": lambda b: cast(b, b.op("Cast", b.op("Mul", b.input(2, 6), b.const(3.0, F)), to=7)),
    "integer division": lambda b: cast(
        b, b.op("Div", b.op("Cast", b.op("Mul", b.input(2, 6), b.const(9.0, F)), to=7), b.const([3, -2, 7, 1, 5, 4], np.int64))
    ),
    "mod": lambda b: cast(
        b, b.op("Mod", b.op("Cast", b.op("Mul", b.input(2, 6), b.const(9.0, F)), to=7), b.const([3, -2, 7, 1, 5, 4], np.int64))
    ),
    "fmod": lambda b: b.op("Mod", b.op("Mul", b.input(2, 6), b.const(5.0, F)), b.const([3, -2, 7, 1.5, 5, 4], F), fmod=1),
    "embedding": lambda b: b.op("Gather", b.random(9, 4), b.op("Cast", b.op("Abs", b.op("Mul", b.input(2, 3), b.const(2.0, F))), to=7)),
    "rows at computed places": lambda b: b.op(
        "GatherND", b.random(9, 4), b.op("Unsqueeze", b.op("ArgMax", b.input(2, 3, 9), axis=-1, keepdims=0), b.ints(2))
    ),
    "gather elements": lambda b: b.op("GatherElements", b.input(3, 4), b.const([[0, -1, 2, 1]], np.int64), axis=0),
    "gather best": lambda b: b.op("GatherElements", b.input(3, 7), b.op("ArgMax", "input", axis=1, keepdims=1), axis=1),
    "gather nd": lambda b: b.op("GatherND", b.input(3, 4, 2), b.const([[0, 1], [2, 3]], np.int64)),
    "gather nd of batches": lambda b: b.op("GatherND", b.input(3, 4, 2), b.const([[1], [0], [3]], np.int64), batch_dims=1),
    "scatter nd": lambda b: b.op("ScatterND", b.input(4, 3), b.const([[2], [0]], np.int64), b.random(2, 3)),
    "scatter elements": lambda b: b.op("ScatterElements", b.input(4, 3), b.const([[2, 1, 0], [0, 0, 3]], np.int64), b.random(2, 3), axis=0),
    "scatter sum": lambda b: b.op(
        "ScatterElements", b.input(4, 3), b.const([[2, 2, 2], [0, 0, 0]], np.int64), b.random(2, 3), axis=1, reduction="add"
    ),
    **{
        f"scatter {k}": lambda b, k=k: b.op(  # type: ignore[misc]
            "ScatterElements", b.input(4, 3), b.const([[2, 2, 2], [2, 0, 1]], np.int64), b.random(2, 3), axis=1, reduction=k
        )
        for k in ("min", "max")
    },
    **{
        f"{k} {last} {axis}": lambda b, k=k, last=last, axis=axis: cast(  # type: ignore[misc]
            b, b.op(k, b.op("Round", b.input(3, 5, 4)), axis=axis, keepdims=last, select_last_index=last)
        )
        for k in ("ArgMax", "ArgMin") for last in (0, 1) for axis in (0, 1, -1)
    },
    "hardmax": lambda b: b.op("Hardmax", b.op("Round", b.input(3, 7)), axis=-1),
    "top k": lambda b: b.op("TopK", b.op("Round", b.op("Mul", b.input(3, 7), b.const(2.0, F))), b.ints(3), axis=-1, outputs=2)[0],
    "top k sorted": lambda b: b.op("TopK", b.input(3, 7), b.ints(7), axis=-1, sorted=1, outputs=2)[0],
    "top k index": lambda b: cast(b, b.op("TopK", b.input(5, 3), b.ints(2), axis=0, largest=0, outputs=2)[1]),
    "one hot": lambda b: b.op("OneHot", b.op("Cast", b.op("Abs", b.input(2, 3)), to=7), b.ints(5), b.const([-1, 2], F), axis=1),
    "cumsum": lambda b: b.op("CumSum", b.input(2, 5, 3), b.const(1, np.int64)),
    "cumsum back": lambda b: b.op("CumSum", b.input(2, 5, 3), b.const(-1, np.int64), exclusive=1, reverse=1),
    "cumsum of constants": lambda b: b.op("Mul", b.input(2, 3), b.op("CumSum", b.const([3, 1, 2], F), b.ints(0))),
    "hidden rows": hidden_rows,
    "product of an axis": lambda b: b.op("ReduceProd", b.input(2, 5), b.ints(1), noop_with_empty_axes=1),
    "reduce product": lambda b: b.op("ReduceProd", b.input(2, 5, 7), axes=[1, 2], keepdims=0),
    "trilu": lambda b: b.op("Trilu", b.input(2, 4, 5), b.const(1, np.int64), upper=0),
    "instance": lambda b: b.op("InstanceNormalization", image(b), b.random(4, low=0.5), b.random(4)),
    "lp 1": lambda b: b.op("LpNormalization", b.input(3, 6), axis=1, p=1),
    "lp 2": lambda b: b.op("LpNormalization", b.input(3, 6), axis=0, p=2),
    "lrn": lambda b: b.op("LRN", image(b), size=3, alpha=0.5, beta=0.6, bias=1.5),
    "mean variance": lambda b: b.op("MeanVarianceNormalization", image(b), axes=[0, 2, 3]),
    **{
        f"einsum {e}": lambda b, e=e, s=s: b.op("Einsum", *(b.input(*x) if i == 0 else b.random(*x) for i, x in enumerate(s)), equation=e)  # type: ignore[misc]
        for e, s in {
            "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "bhqd,bhkd->bhqk": ((1, 2, 3, 4), (1, 2, 5, 4)), "ij->ji": ((3, 4),),
            "...ij,jk->...ik": ((2, 3, 4), (4, 5)), "i,j->ij": ((3,), (4,)), "bij,jk,kl": ((2, 3, 4), (4, 5), (5, 2)),
            "ij,ij->": ((3, 4), (3, 4)), "ij->i": ((3, 4),), "ijj->ij": ((2, 4, 4),),
            "iijkj,jl->kl": ((3, 3, 4, 2, 4), (4, 5)), "ii": ((4, 4),),
        }.items()
    },
    **{k: lambda b, k=k: b.op(k, b.op("Clip", b.input(2, 8), b.const(-0.9, F), b.const(0.9, F)))  # type: ignore[misc]
       for k in ("Tan", "Sinh", "Cosh", "Asin", "Acos", "Atan", "Asinh", "Atanh")},
    "Acosh": lambda b: b.op("Acosh", b.op("Exp", b.op("Abs", b.input(2, 8)))),
    "cubic": lambda b: b.op("Resize", b.input(1, 2, 5, 4), "", b.const([1, 1, 2, 1.5], F), mode="cubic"),
    "cubic of sizes": lambda b: b.op("Resize", b.input(1, 2, 5, 4), "", "", b.ints(1, 2, 3, 9), mode="cubic", cubic_coeff_a=-0.5),
    "cubic of sizes alone": lambda b: b.op(
        "Resize", b.input(1, 2, 5, 4), b.const([], F), b.const([], F), b.ints(1, 2, 3, 9), mode="cubic"),
    "rnn": lambda b: b.op("RNN", b.input(6, 2, 3), b.random(1, 4, 3), b.random(1, 4, 4), b.random(1, 8), hidden_size=4, outputs=2)[0],
    "rnn both": lambda b: b.op(
        "RNN", b.input(6, 1, 3), b.random(2, 4, 3), b.random(2, 4, 4), b.random(2, 8), "", b.random(2, 1, 4), hidden_size=4,
        direction="bidirectional", activations=["Relu", "Tanh"], outputs=2)[1],
    "gru batch": lambda b: b.op(
        "GRU", b.input(6, 3, 3), b.random(1, 12, 3), b.random(1, 12, 4), b.random(1, 24), hidden_size=4, outputs=2)[0],
    "lstm batch": lambda b: b.op(
        "LSTM", b.input(6, 3, 3), b.random(2, 16, 3), b.random(2, 16, 4), b.random(2, 32), "", b.random(2, 3, 4), hidden_size=4,
        direction="bidirectional", outputs=3)[1],
    "average with ceil and padding": lambda b: b.op(
        "AveragePool", b.input(1, 3, 4, 5), ceil_mode=1, count_include_pad=1, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
    "average dilated": lambda b: b.op("AveragePool", b.input(1, 3, 8, 9), kernel_shape=[3, 2], dilations=[2, 3], pads=[1, 0, 2, 1]),
    "pool of volumes": lambda b: b.op(
        "MaxPool", b.input(1, 2, 5, 6, 7), kernel_shape=[2, 3, 2], strides=[2, 1, 3], pads=[1, 0, 0, 0, 1, 1]),
    "mean of volumes": lambda b: b.op("AveragePool", b.input(1, 2, 5, 6, 7), kernel_shape=[2, 3, 2], pads=[1, 0, 0, 0, 1, 1]),
    "lp pool": lambda b: b.op("LpPool", b.input(1, 2, 6, 7), kernel_shape=[2, 3], pads=[1, 0, 0, 1], p=2),
    "powers": lambda b: b.op("Pow", b.input(2, 4), b.const([0, 1, 2, 3], F)),
    "clip by a computed bound": lambda b: b.op("Clip", b.input(2, 4), b.op("ReduceMin", "input", keepdims=0), b.const(0.5, F)),
    "shrink": lambda b: b.op("Shrink", b.input(2, 9), lambd=0.5, bias=0.25),
    "constant output": lambda b: b.op("Neg", b.const([1.0, 2.0], F)) if b.input(1) else "",
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_standards_results(name: str) -> None:
    b = Net(13 if name.startswith("reduce") else 19)
    model = b.model(CASES[name](b))
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim]
    arrays: dict[str, Any] = {"input": R.normal(0, 1, (4, *shape)).astype(F)}
    graph = load(model)
    wanted = onnxruntime_outputs(model, arrays)
    for form in (graph, normalise(graph)):
        found = real_outputs(form, arrays)
        if name == "constant output":
            found = {n: np.broadcast_to(a, (4, *a.shape[1:])) for n, a in found.items()}
        close(found, wanted, 1e-5)


def nothing_seen(b: Net) -> str:
    """A mask that hides a row, seen through a product: its row is no number."""
    mask = b.const(np.where(np.arange(5)[:, None] == 2, -np.inf, 0), F)
    y = b.op("MatMul", b.op("Softmax", b.op("Add", b.input(2, 5, 5), mask), axis=-1), b.random(2, 5, 3))
    return str(b.op("Where", b.op("IsNaN", y), b.const(0.0, F), y))


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda b: b.op("IsNaN", b.input(2, 3)), "an output says which activations are NaN or infinite"),
        (lambda b: b.op("IsInf", b.op("Exp", b.input(2, 3))), "an output says which activations are NaN or infinite"),
        (nothing_seen, "comes from an infinite mask"),
        (lambda b: b.op("EyeLike", b.input(2, 3, 4)), "expected a matrix"),
    ],
)
def test_questions_about_infinity_are_refused_where_their_answer_counts(build: Build, words: str) -> None:
    b = Net(19)
    with pytest.raises(EdgeqError, match=words):
        load(b.model(build(b)))


@pytest.mark.parametrize("value", [-1e9, -3.4e38, -np.inf])
@pytest.mark.parametrize("form", ["sum", "where"])
def test_a_mask_before_a_softmax_is_a_number_that_a_half_holds(form: str, value: float) -> None:
    b = Net()
    x = b.input(2, 5, 5)
    masked = b.op("Add", x, b.const(np.where(MASK, value, 0), F)) if form == "sum" else b.op("Where", b.const(MASK), b.const(value, F), x)
    model = b.model(b.op("Softmax", b.op("Reshape", masked, b.ints(2, 5, 5)), axis=-1))
    arrays: dict[str, Any] = {"input": R.normal(0, 3, (4, 2, 5, 5)).astype(F)}
    graph = normalise(load(model))
    assert min(float(t.data.min()) for t in graph.tensors.values() if t.data is not None) == -1e4
    close(real_outputs(graph, arrays), onnxruntime_outputs(model, arrays))


def test_what_more_than_a_softmax_reads_keeps_its_numbers() -> None:
    b = Net()
    y = b.op("Add", b.input(2, 5, 5), b.const(np.where(MASK, -1e9, 0), F))
    graph = load(b.model(b.op("Softmax", y, axis=-1), b.op("ReduceMin", y)))
    assert min(float(t.data.min()) for t in graph.tensors.values() if t.data is not None) == F(-1e9)


@pytest.mark.parametrize(("kind", "bound"), [("Equal", 0.3751), ("Greater", 3e6), ("LessOrEqual", -2e5)])
def test_jumps_between_the_points_of_a_grid_are_kept(kind: str, bound: float) -> None:
    """A function is not taken for a constant because it is one on most points."""
    b = Net(19)
    model = b.model(cast(b, b.op("Not", b.op(kind, b.input(1, 6), b.const(bound, F)))))
    arrays: dict[str, Any] = {"input": np.array([[[bound, 0, 1, 2 * bound, -1, -2 * bound]]], F)}
    close(real_outputs(normalise(load(model)), arrays), onnxruntime_outputs(model, arrays))


@pytest.mark.parametrize("reduction", ["min", "max"])
def test_extremes_that_are_scattered_keep_their_steps(reduction: str) -> None:
    net = Net()
    out = net.op(
        "ScatterElements", net.input(6, 3), net.const([[2, 2, 0], [2, 0, 1]], np.int64), net.random(2, 3), axis=1, reduction=reduction
    )
    graph, rng = load(net.model(out)), np.random.default_rng(0)
    x = {"input": rng.normal(0, 1, (64, 6, 3)).astype(F)}
    (want,) = real_outputs(graph, x).values()
    for recipe, least in (("int8", 35), ("fp16", 60)):
        (got,) = api.simulate(api.quantize(graph, x, recipe=recipe).graph, x).outputs(real=True).values()
        assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > least
