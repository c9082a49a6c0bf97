"""Voted biases have a power of two each; recipe robust refuses a result that is no good without faults."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

sys.path += [str(Path(__file__).parent)]
from test_normalised import dead

from edgeq import api, graphfile
from edgeq.compare import compare
from edgeq.errors import EdgeqError
from edgeq.formats.votes import ChannelVotes, Votes, bias_shifts
from edgeq.ir import Array, DType, Graph
from edgeq.quantize import evaluate_float
from edgeq.run import host
from edgeq.simulate import fit_inputs, real_array, simulate


def uneven() -> Graph:
    """One channel's weights are tiny and its bias is not: in steps of its scale the bias is huge."""
    graph = dead(3)
    w, b = (np.array(graph.tensors[n].data) for n in ("w", "b"))
    w[:], b[:] = np.random.default_rng(5).normal(0, 0.3, w.shape), 0.2
    w[3] *= 1e-5
    b[3] = 0.9
    return replace(graph, tensors={**graph.tensors, "w": replace(graph.tensors["w"], data=w), "b": replace(graph.tensors["b"], data=b)})


def samples(count: int = 48) -> dict[str, Array]:
    return {"x": np.random.default_rng(1).normal(0, 1, (count, 1, 6, 6, 2)).astype(np.float32)}


def decibels(real: Graph, graph: Graph) -> float:
    x = samples()
    want = evaluate_float(real, x)["y"].astype(np.float64)
    got = real_array(simulate(graph, x).outputs["y"], graph.type("y")).astype(np.float64)
    return float(10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()))


def test_a_large_bias_costs_the_others_nothing() -> None:
    real = uneven()
    robust, once = (api.quantize(real, samples(), recipe="robust", code=code).graph for code in ("7", "7+once"))
    assert any(isinstance(t.format, ChannelVotes) for t in robust.tensors.values())
    assert decibels(real, robust) > 30 and decibels(real, once) > 30
    each = {n: replace(t, format=Votes()) for n, t in robust.tensors.items() if isinstance(t.format, ChannelVotes)}
    old = replace(robust, tensors={**robust.tensors, **each})
    assert decibels(real, old) < 20


def test_c_computes_the_same(tmp_path: Path) -> None:
    graph = api.quantize(uneven(), samples(), recipe="robust", code="6+hamming").graph
    graphfile.save(graph, tmp_path / "g.eqg")
    loaded = graphfile.load(tmp_path / "g.eqg")
    x = fit_inputs(graph, samples(4))
    built = api.build(loaded, output=tmp_path / "out", check=False, vectors=0)
    found = simulate(graph, x, steps=True)
    assert compare(found, host.run(built.folder, x, steps=True)).bit_exact
    assert "eq_decode_biases_each(" in "".join(p.read_text() for p in built.folder.rglob("*.c"))


@pytest.mark.parametrize("seed", range(4))
def test_shifts_are_the_least(seed: int) -> None:
    rng = np.random.default_rng(seed)
    biases = (rng.normal(0, 1, 3000) * 2.0 ** rng.integers(0, 29, 3000)).astype(np.int32)
    form = ChannelVotes().fitted(biases)
    settled = form.settled(biases)
    assert np.array_equal(form.settled(settled), settled) and np.array_equal(form.decode(form.encode(settled), 3000), settled)
    assert (np.abs(settled.astype(np.int64) - biases) <= np.abs(biases.astype(np.int64)) / 1000 + 1e-9).all()
    exact = np.abs(biases) < 1024
    assert np.array_equal(settled[exact], biases[exact]) and not bias_shifts(biases)[exact].any()
    assert form.decode(form.encode(settled), 3000).dtype == np.int32 and DType.INT32.numpy == np.int32


def test_a_result_that_is_no_good_without_faults_is_refused() -> None:
    with pytest.raises(EdgeqError, match="without a single bit error"):
        api.quantize(dead(3), samples(), recipe="robust", code="2+once")


def test_the_least_energy_within_a_loss_is_chosen() -> None:
    usual = api.quantize(dead(3), samples(), recipe="robust", p=0.001).record["robust"]
    chosen = {}
    for loss in (0.3, 0.05):
        found = api.quantize(dead(3), samples(), recipe="robust", p=0.001, loss=loss).record["robust"]
        own = next(c for c in found["candidates"] if (c["code"], c["clip"]) == (found["code"], found["clip"]))
        assert own["worst"] <= loss and own is min((c for c in found["candidates"] if c["worst"] <= loss), key=lambda c: c["width"])
        chosen[loss] = own["energy"]
    dear = next(c["energy"] for c in usual["candidates"] if (c["code"], c["clip"]) == (usual["code"], usual["clip"]))
    assert chosen[0.3] <= chosen[0.05] < dear
    with pytest.raises(EdgeqError, match=r"no code keeps the loss at 0\.01 %"):
        api.quantize(dead(3), samples(), recipe="robust", p=0.05, code="8", loss=0.0001)
