"""Ways to allocate storages: limits are kept, aims are told apart, and what is promised of other recordings."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import edgeq
from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.mul import Mul
from edgeq.quantize.allocate import ALLOCATORS, Allocator, Costs, Goal, Problem
from edgeq.quantize.calibrate import calibrate
from edgeq.quantize.storage import HALF, units
from edgeq.tune.precision import Found, warn_of_amplification

RNG = np.random.default_rng(5)
X = RNG.normal(0, 1, (160, 12)).astype(np.float32)


def chain(layers: int = 4) -> Graph:
    """Dense layers in a row."""
    tensors = {f"t{i}": Tensor(f"t{i}", TensorType((12,))) for i in range(layers + 1)}
    nodes = []
    for i in range(layers):
        for name, shape in ((f"w{i}", (12, 12)), (f"b{i}", (12,))):
            data = RNG.normal(0, 0.3, shape).astype(np.float32)
            tensors[name] = Tensor(name, TensorType(shape), data)
        nodes.append(Node(f"n{i}", FullyConnected(), (f"t{i}", f"w{i}", f"b{i}"), (f"t{i + 1}",)))
    return Graph("chain", tuple(nodes), tensors, ("t0",), (f"t{layers}",))


def problem(graph: Graph) -> Problem:
    """int8 takes half the flash; each layer's noise is four times that of the one before."""
    found = tuple(units(graph))
    pairs = [(u.name, s) for u in found for s in u.choices]
    order = {u.name: i for i, u in enumerate(found)}
    flash = {(u, s): 288 if s == HALF else 150 for u, s in pairs}
    work = {(u, s): 500.0 if s == HALF else 200.0 for u, s in pairs}
    noise = {(u, s): np.array([0.0 if s == HALF else 1e-4 * 4.0 ** order[u] * (0.5 if s != "int8" else 1)]) for u, s in pairs}
    return Problem(graph, found, Costs(flash, work, {"quantize": 0.1, "dequantize": 0.1}, noise, np.zeros(1), False))


@pytest.mark.parametrize("method", list(ALLOCATORS))
def test_every_method_keeps_to_its_limits(method: str) -> None:
    allocator = Allocator(problem(chain()), method)
    whole = allocator.solve(Goal(drop=-100.0))
    assert whole is not None and HALF not in whole.chosen.values()
    for drop in (18.0, 24.0, 33.0, 37.0):
        point = allocator.solve(Goal(drop=drop))
        assert point is not None and point.sqnr_db >= drop and point.flash >= whole.flash
    small = allocator.solve(Goal(flash=900, aim="noise"))
    assert small is not None and small.flash <= 900 and small.sqnr_db > whole.sqnr_db
    assert allocator.solve(Goal(flash=10)) is None and allocator.solve(Goal(instructions=10, aim="noise")) is None
    assert allocator.solve(Goal(), ram=3) is None


def test_the_exact_program_is_never_beaten() -> None:
    costs = problem(chain())
    for drop in (15.0, 20.0, 25.0, 30.0, 35.0):
        exact, *others = (Allocator(costs, m).solve(Goal(drop=drop)) for m in ("integer-program", "equal-loss", "bisection"))
        price = costs.price("flash")
        for quick in others:
            assert exact is not None and quick is not None
            assert (price * costs.variables(exact.chosen)).sum() <= (price * costs.variables(quick.chosen)).sum() + 1e-9


def test_bisection_moves_the_least_sensitive_first() -> None:
    point = Allocator(problem(chain()), "bisection").solve(Goal(drop=24.0))
    assert point is not None
    halves = [s == HALF for s in point.chosen.values()]
    assert halves == sorted(halves) and any(halves) and not all(halves)


def test_equal_loss_gives_up_the_noisiest_first() -> None:
    point = Allocator(problem(chain()), "equal-loss").solve(Goal(drop=24.0))
    assert point is not None
    halves = [s == HALF for s in point.chosen.values()]
    assert halves == sorted(halves) and any(halves) and not all(halves)


def test_a_lifted_limit_is_not_an_aim() -> None:
    """Room for everything in halves is no wish for that; noise as the aim is."""
    graph = chain(2)
    plain = api.quantize(graph, X, recipe="auto").record["allocation"]
    roomy = api.quantize(graph, X, recipe="auto", budget={"flash": 64e6}).record["allocation"]
    quiet = api.quantize(graph, X, recipe="auto", budget={"flash": 64e6}, aim="noise", allocate="equal-loss").record["allocation"]
    storages = [n["storage"] for n in plain["nodes"]]
    assert storages == [n["storage"] for n in roomy["nodes"]] and HALF not in storages
    assert [n["storage"] for n in quiet["nodes"]] == [HALF, HALF] and quiet["sqnr_db"] > roomy["sqnr_db"]
    for choices in ({"aim": "speed"}, {"allocate": "by-hand"}):
        with pytest.raises(EdgeqError, match="unknown"):
            edgeq.quantize(graph, X, recipe="auto", **choices)  # type: ignore[arg-type]


def test_what_is_promised_is_what_so_many_parts_show() -> None:
    """Of n that all hold, a tenth of all would not with a chance of 0.9^n."""
    found = api.quantize(chain(2), X, recipe="auto").record["allocation"]
    assert found["pieces"] == 4 and found["worst_piece_db"] >= 24
    assert pytest.approx(1 - (1 - found["below_at_most"]) ** 4, abs=2e-3) == 0.9
    assert Found.below(type("F", (), {"pieces": (30.0,) * 22})()) == pytest.approx(0.1, abs=2e-3)  # type: ignore[arg-type]


def test_a_network_that_amplifies_is_named(caplog: pytest.LogCaptureFixture) -> None:
    """Differences beside a large sum: (x + 1e4) - 1e4 twice over, times 1e3."""
    tensors = {n: Tensor(n, TensorType((12,))) for n in ("x", "d", "y")}
    tensors["one"] = Tensor("one", TensorType((12,)), np.full(12, -1.0, np.float32))
    tensors["gain"] = Tensor("gain", TensorType((12,)), np.full(12, 1e3, np.float32))
    nodes = (Node("minus", Add(), ("x", "one"), ("d",)), Node("times", Mul(), ("d", "gain"), ("y",)))
    graph = Graph("near", nodes, tensors, ("x",), ("y",))
    near = {"x": (1 + 1e-4 * X).astype(np.float32)}
    with caplog.at_level(logging.WARNING, logger="edgeq"):
        warn_of_amplification(graph, calibrate(graph, near), Goal(drop=24.0))
    assert "amplifies" in caplog.text and "24 dB" in caplog.text
    caplog.clear()
    warn_of_amplification(chain(), calibrate(chain(), {"t0": X}), Goal(drop=24.0))
    assert "amplifies" not in caplog.text
