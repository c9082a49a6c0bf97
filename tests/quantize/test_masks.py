"""Masks before a softmax: in int8 the scores keep their steps, whatever number stands for minus infinity and however it gets there."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from onnx import ModelProto
from onnx_models import Net, close, load, onnxruntime_outputs, real_outputs

from edgeq import api
from edgeq.ir import Array
from edgeq.passes import normalise
from edgeq.simulate import dequantize_array, simulate

T, D, HEADS = 12, 32, 4
F = np.float32
CAUSAL = np.triu(np.ones((T, T), bool), 1)
VALUES = {"1e4": -1e4, "1e9": -1e9, "float_min": float(np.finfo(F).min), "infinity": -np.inf}
Masking = Callable[[Net, str, float], str]


def added(net: Net, scores: str, value: float) -> str:
    return str(net.op("Add", scores, net.const(np.where(CAUSAL, value, 0), F)))


def added_bias(net: Net, scores: str, value: float) -> str:
    """A bias by distance (ALiBi) and the mask in one constant."""
    distance = np.arange(T)[None, :] - np.arange(T)[:, None]
    return str(net.op("Add", net.const(np.where(CAUSAL, value, 0.3 * distance), F), scores))


def selected(net: Net, scores: str, value: float) -> str:
    return str(net.op("Where", net.const(CAUSAL), net.const(value, F), scores))


def selected_scores(net: Net, scores: str, value: float) -> str:
    return str(net.op("Where", net.const(~CAUSAL), scores, net.const(value, F)))


def computed(net: Net, scores: str, value: float) -> str:
    """By a condition on an input: the last positions are padding."""
    return str(net.op("Where", net.op("Greater", net.input(1, 1, 1, T, name="mask"), net.const(0.5, F)), scores, net.const(value, F)))


def spelled(net: Net, scores: str, value: float) -> str:
    """(1 - mask) * value, as BERT has it."""
    outside = net.op("Sub", net.const(1.0, F), net.input(1, 1, 1, T, name="mask"))
    return str(net.op("Add", scores, net.op("Mul", outside, net.const(max(value, VALUES["float_min"]), F))))


def subtracted(net: Net, scores: str, value: float) -> str:
    """What is far from the scores taken away."""
    outside = net.op("Sub", net.const(1.0, F), net.input(1, 1, 1, T, name="mask"))
    return str(net.op("Sub", scores, net.op("Mul", outside, net.const(min(-value, 1e30), F))))


def scaled_after(net: Net, scores: str, value: float) -> str:
    """The mask first, the division by sqrt(d) after it; limited to the least number, as OPT has it."""
    masked = net.op("Add", net.op("Mul", scores, net.const(2.0, F)), net.const(np.where(CAUSAL, value, 0), F))
    return str(net.op("Div", net.op("Max", masked, net.const(VALUES["float_min"], F)), net.const(2.0, F)))


FORMS: tuple[Masking, ...] = (added, added_bias, selected, selected_scores, computed, spelled, subtracted, scaled_after)


def attention(masking: Masking, value: float) -> ModelProto:
    net = Net()
    x = net.input(1, T, D)

    def heads(*order: int) -> str:
        projected = net.op("MatMul", x, net.const(net.rng.normal(0, D**-0.5, (D, D)), F))
        return str(net.op("Transpose", net.op("Reshape", projected, net.ints(1, T, HEADS, D // HEADS)), perm=order))

    scores = net.op("MatMul", heads(0, 2, 1, 3), heads(0, 2, 3, 1))
    weights = net.op("Softmax", masking(net, net.op("Mul", scores, net.const((D // HEADS) ** -0.5, F)), value), axis=-1)
    mixed = net.op("Transpose", net.op("MatMul", weights, heads(0, 2, 1, 3)), perm=(0, 2, 1, 3))
    out = net.op("MatMul", net.op("Reshape", mixed, net.ints(1, T, D)), net.const(net.rng.normal(0, D**-0.5, (D, D)), F))
    return net.model(out)


def samples(model: ModelProto) -> dict[str, Array]:
    rng = np.random.default_rng(5)
    x = {"input": rng.normal(0, 1.5, (32, 1, T, D)).astype(F)}
    if len(model.graph.input) > 1:
        x["mask"] = (np.arange(T) < rng.integers(3, T + 1, (32, 1, 1, 1, 1))).astype(F)
    return x


def decibels(model: ModelProto, x: dict[str, Array], passes: bool = False) -> float:
    """Of an int8 model's outputs against float; `passes`: with its attention as one operator."""
    graph = normalise(load(model)) if passes else load(model)
    quantized = api.quantize(graph, x, recipe="int8").graph
    (name,) = graph.outputs
    want, t = real_outputs(graph, x)[name].astype(np.float64), quantized.type(name)
    got = dequantize_array(simulate(quantized, x).outputs[name], t.scale, t.zero_point)
    return float(10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()))


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("masking", FORMS, ids=lambda f: f.__name__)
def test_scores_keep_their_steps(masking: Masking, value: str) -> None:
    model = attention(masking, VALUES[value])
    found = decibels(model, samples(model))
    assert found >= 25


def test_a_moderate_mask() -> None:
    """-100, as shifted windows have it."""
    model = attention(added, -100.0)
    found = decibels(model, samples(model))
    assert found >= 25


@pytest.mark.parametrize("value", ["1e4", "1e9", "float_min"])
def test_a_mask_that_is_given(value: str) -> None:
    """As an input that holds 0 and a number for minus infinity."""

    def given(net: Net, scores: str, _: float) -> str:
        return str(net.op("Add", scores, net.input(1, 1, T, T, name="mask")))

    model = attention(given, 0.0)
    mask = np.where(CAUSAL, VALUES[value], 0).astype(F)
    found = decibels(model, {**samples(model), "mask": np.broadcast_to(mask, (32, 1, 1, T, T))})
    assert found >= 25


def test_a_bias_beside_excluded_keys() -> None:
    """Both in one input: the number for minus infinity takes nothing of the bias's range; no key at all gives 0."""

    def given(net: Net, scores: str, _: float) -> str:
        return str(net.op("Add", scores, net.input(1, HEADS, T, T, name="mask")))

    model, rng = attention(given, 0.0), np.random.default_rng(6)
    mask = np.where(CAUSAL, -1e9, rng.normal(0, 2, (32, 1, HEADS, T, T))).astype(F)
    assert decibels(model, {**samples(model), "mask": mask}, passes=True) >= 25


@pytest.mark.parametrize("masking", [computed, spelled, subtracted], ids=lambda f: f.__name__)
def test_computed_masks_of_one_operator(masking: Masking) -> None:
    model = attention(masking, VALUES["1e9"])
    assert decibels(model, samples(model), passes=True) >= 25


@pytest.mark.parametrize("value", ["1e9", "float_min"])
def test_a_row_that_a_constant_masks_as_a_whole(value: str) -> None:
    """Float32 loses its scores: the keys with the largest mask count alike, as in onnxruntime."""

    def rows(net: Net, scores: str, value: float) -> str:
        mask = np.where(CAUSAL, value, 0) / 2
        mask[3], mask[5] = value / 2, mask[5] + value / 2
        return str(net.op("Add", net.const(mask, F), scores))

    model = attention(rows, VALUES[value])
    x = {n: a[:3] for n, a in samples(model).items()}
    for graph in (load(model), normalise(load(model))):
        close(real_outputs(graph, x), onnxruntime_outputs(model, x))
    assert decibels(model, samples(model)) >= 25


@pytest.mark.parametrize("move", ["none", "transpose", "reshape"])
def test_rows_of_a_mask_that_are_none_of_the_softmax(move: str) -> None:
    """A softmax over queries, or over queries and keys: a row of the mask excludes some of what it normalises, not all."""
    net = Net()
    mask = np.zeros((T, T), F)
    mask[[2, 5]] = -1e9
    masked = net.op("Add", net.input(1, T, T), net.const(mask, F))
    moved = {
        "none": lambda: masked, "transpose": lambda: net.op("Transpose", masked, perm=(0, 2, 1)),
        "reshape": lambda: net.op("Reshape", masked, net.ints(1, T * T)),
    }[move]()  # fmt: skip
    model = net.model(net.op("Softmax", moved, axis=-2 if move == "none" else -1))
    x = {"input": np.random.default_rng(4).normal(0, 2, (3, 1, T, T)).astype(F)}
    close(real_outputs(load(model), x), onnxruntime_outputs(model, x))
