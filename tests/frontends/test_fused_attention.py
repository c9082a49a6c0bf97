"""onnxruntime's own attention operators, against onnxruntime: masks of keys in all forms, biases of scores, packed operands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto
from onnx_models import Net, kinds, load, onnxruntime_outputs, real_outputs

from edgeq.errors import EdgeqError
from edgeq.ir import Array
from edgeq.passes import normalise

B, T, N, D = 2, 5, 2, 4
C, F = N * D, np.float32
MS = "com.microsoft"
Given = dict[str, Array]
KEPT = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 0]])


def whole(net: Net, mask: str = "", bias: str = "", **attributes: Any) -> str:
    """`Attention` of three outputs' worth of weights."""
    x, w, b = net.input(B, T, C), net.const(net.rng.normal(0, 0.4, (C, 3 * C)), F), net.const(net.rng.normal(0, 1, 3 * C), F)
    return str(net.op("Attention", x, w, b, mask, "", bias, domain=MS, num_heads=N, **attributes))


def apart(net: Net, mask: str = "", bias: str = "", form: str = "", row: bool = True, unpacked: bool = False, **attributes: Any) -> str:
    """`MultiHeadAttention` of what projections give; `unpacked`: what is packed is taken apart before, as onnxruntime on a CPU wants it."""
    x = net.input(B, T, C)
    shapes = {"": (1, 1, 1), "packed": (3,), "pairs": (1, 2), "heads": (1, 1, 1)}[form]
    inputs = [str(net.op("MatMul", x, net.const(net.rng.normal(0, 0.4, (C, n * C)), F))) for n in shapes]
    for i, n in enumerate(shapes):
        if n > 1:
            inputs[i] = str(net.op("Reshape", inputs[i], net.ints(B, T, N, n, D)))
        elif form == "heads" and i:
            inputs[i] = str(net.op("Transpose", net.op("Reshape", inputs[i], net.ints(B, T, N, D)), perm=[0, 2, 1, 3]))
        if n > 1 and unpacked:
            parts = [net.op("Gather", inputs[i], net.const(j, np.int64), axis=3) for j in range(n)]
            inputs[i : i + 1] = [str(net.op("Reshape", one, net.ints(B, T, C))) for one in parts]
    inputs += [""] * (3 - len(inputs))
    added = net.const(net.rng.normal(0, 1, 3 * C), F) if row and not form else ""
    return str(net.op("MultiHeadAttention", *inputs, added, mask, bias, domain=MS, num_heads=N, **attributes))


def constant(net: Net, data: object) -> str:
    return net.const(data, np.int32)


def given(net: Net, *shape: int) -> str:
    return net.input(*shape, name="mask", dtype=TensorProto.INT32)


CASES: dict[str, Callable[[Net], str]] = {
    "whole": whole,
    "whole causal": lambda n: whole(n, unidirectional=1, scale=0.3),
    "whole lengths": lambda n: whole(n, constant(n, [3, 3])),
    "whole mask": lambda n: whole(n, constant(n, KEPT[:1].repeat(B, 0))),
    "whole given": lambda n: whole(n, given(n, B, T)),
    "whole given rows": lambda n: whole(n, given(n, B, T, T), unidirectional=1),
    "whole given lengths": lambda n: whole(n, given(n, B)),
    "whole bias": lambda n: whole(n, "", n.const(n.rng.normal(0, 1, (1, N, T, T)), F)),
    "whole bias and mask": lambda n: whole(n, given(n, B, T), n.const(n.rng.normal(0, 1, (1, N, T, T)), F)),
    "apart": apart,
    "apart without bias": lambda n: apart(n, row=False, scale=0.7),
    "apart heads": lambda n: apart(n, form="heads"),
    "apart packed": lambda n: apart(n, form="packed"),
    "apart pairs": lambda n: apart(n, form="pairs"),
    "apart causal": lambda n: apart(n, unidirectional=1),
    "apart given": lambda n: apart(n, given(n, B, T)),
    "apart given lengths": lambda n: apart(n, given(n, B)),
    "apart given bias": lambda n: apart(n, "", n.input(1, 1, T, T, name="bias")),
}


def samples(model: ModelProto) -> Given:
    rng = np.random.default_rng(3)
    found: Given = {}
    for info in model.graph.input:
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        found[info.name] = rng.normal(0, 1, (2, *shape)).astype(F)
        if info.name == "mask":
            kept = KEPT.sum(1) if len(shape) == 1 else KEPT if len(shape) == 2 else KEPT[:, None].repeat(T, 1)
            found[info.name] = np.stack([kept, kept[::-1]]).astype(np.int32)
    return found


@pytest.mark.parametrize("name", CASES)
def test_equals_onnxruntime(name: str) -> None:
    net = Net()
    model = net.model(CASES[name](net))
    arrays = samples(model)
    graph = normalise(load(model))
    assert sum(k.endswith("attention") for k in kinds(graph)) == 1 and not {"softmax", "mat_mul", "transpose"} & set(kinds(graph))
    if name.split()[-1] in ("packed", "pairs"):
        net = Net()
        model = net.model(apart(net, form=name.split()[-1], unpacked=True))
    (want,) = onnxruntime_outputs(model, arrays).values()
    (got,) = real_outputs(graph, {n: a.astype(F) for n, a in arrays.items()}).values()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("name", "message"),
    [("rotary", "rotary embeddings"), ("cache", "a cache's length"), ("shape", r"mask of shape \[3\]"),
     ("other rows", "which of 5 keys 3 queries")],
)  # fmt: skip
def test_refused(name: str, message: str) -> None:
    net = Net()
    if name == "rotary":
        y = whole(net, do_rotary=1)
    elif name == "other rows":  # onnxruntime masks all rows but the last one
        q, k, v = net.input(B, 3, C, name="q"), net.input(B, 5, C, name="k"), net.input(B, 5, C, name="v")
        y = str(net.op("MultiHeadAttention", q, k, v, domain=MS, num_heads=N, unidirectional=1))
    elif name == "shape":
        y = whole(net, constant(net, [1, 2, 3]))
    else:
        x, w = net.input(B, T, C), net.const(net.rng.normal(0, 0.4, (C, 3 * C)), F)
        past, length = net.input(2, B, N, 3, D, name="past"), net.const([3], np.int32)
        y = str(net.op("Attention", x, w, "", "", past, "", length, domain=MS, num_heads=N))
    with pytest.raises(EdgeqError, match=message):
        load(net.model(y))


def cached(net: Net, whole: bool, causal: int) -> tuple[str, ...]:
    """Rows behind those of a cache, which come out together."""
    x, w = net.input(B, 2, C), net.const(net.rng.normal(0, 0.4, (C, 3 * C)), F)
    options = {"domain": MS, "num_heads": N, "unidirectional": causal}
    if whole:
        bias, past = net.const(net.rng.normal(0, 1, 3 * C), F), net.input(2, B, N, 3, D, name="past")
        return tuple(net.op("Attention", x, w, bias, "", past, outputs=2, **options))
    q, k, v = net.op("Split", net.op("MatMul", x, w), net.ints(C, C, C), axis=2, outputs=3)
    pasts = [net.input(B, N, 3, D, name=f"past_{t}") for t in "kv"]
    return tuple(net.op("MultiHeadAttention", q, k, v, "", "", "", *pasts, outputs=3, **options))


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "apart"])
def test_growing_caches(whole: bool, causal: int) -> None:
    net = Net()
    model = net.model(*cached(net, whole, causal))
    arrays = samples(model)
    want, got = onnxruntime_outputs(model, arrays), real_outputs(normalise(load(model)), arrays)
    for a, b in zip(got.values(), want.values(), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=2e-5)


@pytest.mark.parametrize("dynamic", [False, True], ids=["static", "dynamic"])
def test_of_integers(dynamic: bool) -> None:
    """`QAttention`, as the optimizer of transformers writes it, on int8 or on what is quantized at run time."""
    net = Net(13)
    x = net.input(B, T, C)
    w = net.const(net.rng.integers(-127, 128, (C, 3 * C)), np.int8)
    q, scale, zero = net.op("DynamicQuantizeLinear", x, outputs=3)
    if not dynamic:
        scale, zero = net.const(0.03, F), net.const(128, np.uint8)
        q = net.op("QuantizeLinear", x, scale, zero)
    own, bias = net.const(0.004, F), net.const(net.rng.normal(0, 1, 3 * C), F)
    mask = constant(net, KEPT[:1].repeat(B, 0))
    model = net.model(net.op("QAttention", q, w, bias, scale, own, mask, zero, net.const(0, np.int8), domain=MS, num_heads=N))
    arrays = samples(model)
    graph = normalise(load(model))
    values = {n: a.astype(F) for n, a in arrays.items()}
    (got,), (want,) = real_outputs(graph, values).values(), onnxruntime_outputs(model, arrays).values()
    assert float(((got - want) ** 2).mean() / (want**2).mean()) < 1e-3  # 30 dB: the input's rounding
