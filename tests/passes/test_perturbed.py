"""Passes leave the meaning of graphs that merely resemble what they look for, and make of all of them what they did."""

from __future__ import annotations

import forms
import numpy as np
import pytest
from perturbed import random_inputs

from edgeq.evaluate import evaluate
from edgeq.ir import Array, Graph
from edgeq.ops.attention import MASKED
from edgeq.ops.softmax import Softmax
from edgeq.passes import normalise

EACH = 16  # of every graph


def values(graph: Graph, x: dict[str, Array]) -> dict[str, Array]:
    return dict(evaluate(graph, x, lambda node, arrays: node.op.real_all(*arrays), True))


def has_meaning(graph: Graph, found: dict[str, Array]) -> bool:
    """Whether every row of a softmax has an entry that counts: without any, attention gives zeros and a softmax something else."""
    rows = [found[n.inputs[0]] for n in graph.nodes if isinstance(n.op, Softmax)]
    return all((np.isfinite(a).any(-1) & (a > MASKED).any(-1)).all() for a in rows)


@pytest.mark.parametrize("name", forms.GRAPHS)
def test_what_is_nearly_right_keeps_its_meaning(name: str) -> None:
    compared = 0
    for tried, graph in enumerate(forms.beside(name, EACH)):
        x = random_inputs(graph)
        with np.errstate(all="ignore"):
            before, after = values(graph, x), values(normalise(graph), x)
        if not has_meaning(graph, before):
            continue
        compared += 1
        for output in graph.outputs:
            got, want = after[output], before[output]
            size = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
            near = np.isclose(got, want, rtol=1e-3, atol=1e-4 * size) | ~np.isfinite(want)
            assert near.all(), f"{output} of change {tried}"
    assert compared >= 2


@pytest.mark.parametrize("name", forms.ALL)
def test_forms_are_those_that_are_kept(name: str) -> None:
    assert not forms.difference(name), "if this is better, python tests/passes/forms.py --bless, and say why in the commit"


def test_every_form_that_is_kept_is_made() -> None:
    assert list(forms.kept()) == list(forms.ALL)
