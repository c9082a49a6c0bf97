"""Every spelling of attention becomes one operator without a copy beside it, and equals onnxruntime."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parents[1] / "frontends")]
from attention_spellings import MASKS, PRODUCTS, SCALES, SHARING, SOFTMAX, Spelling, random_spelling
from onnx_models import feeds, load, onnxruntime_outputs, real_outputs

from edgeq.ir import Graph
from edgeq.passes import normalise

EACH = [
    *(Spelling(scale=s) for s in SCALES), *(Spelling(mask=m, batch=2) for m in MASKS), *(Spelling(sharing=s) for s in SHARING),
    *(Spelling(first=f, second=s) for f in PRODUCTS for s in PRODUCTS), *(Spelling(softmax=s) for s in SOFTMAX),
]  # fmt: skip


def check(spelling: Spelling) -> Graph:
    model = spelling.model()
    arrays = feeds(model, 2)
    if spelling.mask in ("given_bool", "bert"):
        arrays["mask"] = np.where(np.arange(spelling.t) < 3, np.float32(1), np.float32(0)) + 0 * arrays["mask"]
    if spelling.mask == "lengths":
        arrays["mask"] = np.full_like(arrays["mask"], 2)
    graph = normalise(load(model))
    kinds = [n.op.kind() for n in graph.nodes]
    computed = spelling.mask in ("given", "given_bool", "lengths", "bert", "given_and_own")
    assert kinds.count("masked_attention" if computed else "attention") == 1
    assert not {"softmax", "mat_mul", "exp", "transpose", "gather"} & set(kinds)
    (got,), (want,) = real_outputs(graph, arrays).values(), onnxruntime_outputs(model, arrays).values()
    np.testing.assert_allclose(got, want, rtol=0, atol=2e-5)
    return graph


@pytest.mark.parametrize("spelling", EACH, ids=str)
def test_each(spelling: Spelling) -> None:
    check(spelling)


@pytest.mark.parametrize("seed", range(12))
def test_random(seed: int) -> None:
    check(random_spelling(np.random.default_rng(seed)))


def test_shared_keys_are_not_repeated() -> None:
    for sharing in ("repeated", "expanded", "broadcast"):
        graph = check(Spelling(sharing=sharing))
        (node,) = (n for n in graph.nodes if n.op.kind() == "attention")
        assert graph.type(node.inputs[1]).shape[2] == Spelling(sharing=sharing).groups
