"""Searching over options of quantization: what is learned, what is tried next, and what is kept."""

from __future__ import annotations

import itertools
import math
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from quantize.float_graphs import Floats

from edgeq import api, recipes
from edgeq.api.searching import Bench, Searched, choices, flags, space_of
from edgeq.errors import EdgeqError
from edgeq.ir import Graph
from edgeq.ops.activations import Tanh
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize.allocate import NOTHING
from edgeq.report import pareto
from edgeq.tune.explore import Model, Space, Trial, fit, front, propose
from edgeq.workers import spread

SPACE = Space({"a": ("a0", "a1", "a2"), "b": ("b0", "b1"), "c": ("c0", "c1", "c2", "c3")})
ADDED = {"a0": 0.0, "a1": -3.0, "a2": 2.0, "b0": 0.0, "b1": 1.0, "c0": 0.0, "c1": -8.0, "c2": -1.0, "c3": 4.0}
FACTOR = {"a0": 1.0, "a1": 0.5, "a2": 1.0, "b0": 1.0, "b1": 2.0, "c0": 1.0, "c1": 0.7, "c2": 1.1, "c3": 1.0}


def tried(point: tuple[str, ...]) -> Trial:
    """A world in which effects add up."""
    return Trial(point, 30 + sum(ADDED[v] for v in point), {"flash": 1000 * math.prod(FACTOR[v] for v in point)})


def test_effects_that_add_up_are_found() -> None:
    points = list(SPACE)
    effects = fit(SPACE, points, [tried(p).quality for p in points])
    for i, values in enumerate(SPACE.options.values()):
        for value in values:
            learned = effects.added[i][value] - effects.added[i][values[0]]
            assert learned == pytest.approx(ADDED[value], abs=0.2), value


def test_what_one_value_costs_is_not_ascribed_to_others() -> None:
    """Of single changes, all but one of which change nothing."""
    points = SPACE.first()
    added = fit(SPACE, points, [20.0 if "c1" in p else 30.0 for p in points]).added
    found = {v: a[v] - a[values[0]] for a, values in zip(added, SPACE.options.values(), strict=True) for v in values}
    assert found == {**dict.fromkeys(found, 0.0), "c1": pytest.approx(-10, abs=1)}


def test_values_that_were_refused_have_no_effect() -> None:
    trials = tuple(Trial(p, refused="cannot") if "c1" in p else tried(p) for p in SPACE.first())
    assert list(Searched(SPACE, trials, "dB", (32, 32, 0)).effects()["c"]) == ["c0", "c2", "c3"]


def test_single_changes_come_first_then_the_best_of_what_is_left() -> None:
    trials = [tried(p) for p in propose(SPACE, [], 99)]
    assert [t.point for t in trials] == [
        ("a0", "b0", "c0"), ("a1", "b0", "c0"), ("a2", "b0", "c0"), ("a0", "b1", "c0"),
        ("a0", "b0", "c1"), ("a0", "b0", "c2"), ("a0", "b0", "c3"),
    ]  # fmt: skip
    trials += [tried(p) for p in propose(SPACE, trials, 4)]
    whole = {t.point for t in front([tried(p) for p in SPACE])}
    assert whole - {t.point for t in front(trials)} == {("a1", "b0", "c1")}, "of the front the cheapest point, 19 dB, is not worth a trial"
    assert {t.point for t in front(trials)} <= whole and len({t.point for t in trials}) == 11


def test_the_front_keeps_what_nothing_beats() -> None:
    a, b = Trial(("a",), 10, {"flash": 5, "cycles": 5}), Trial(("b",), 10, {"flash": 5, "cycles": 6})
    c, d = Trial(("c",), 9, {"flash": 6, "cycles": 1}), Trial(("d",), 10, {"flash": 5, "cycles": 5})
    assert front([a, b, c, d, Trial(("e",), refused="no")]) == [a, c]


def test_a_refused_value_is_not_tried_again() -> None:
    def run(point: tuple[str, ...]) -> Trial:
        return Trial(point, refused="cannot") if "c1" in point else tried(point)

    trials: list[Trial] = []
    while points := propose(SPACE, trials, 1):
        trials += [run(p) for p in points]
    assert sum(bool(t.refused) for t in trials) == 1 and len(trials) == 1 + 3 * 2 * 3
    assert Model(SPACE, trials)(("a0", "b0", "c0")).quality == pytest.approx(30, abs=1)


def test_a_large_space_is_not_gone_through(monkeypatch: pytest.MonkeyPatch) -> None:
    """2^20 points in which effects add up: 20 single changes, then the best of all; the same once more, and as the whole of a small one."""
    large = Space({f"o{i}": (f"{i}n", f"{i}y") for i in range(20)})
    worth = np.random.default_rng(0).normal(size=20)

    def world(point: tuple[str, ...]) -> Trial:
        return Trial(point, float(sum(w for w, v in zip(worth, point, strict=True) if v.endswith("y"))), {"flash": 1.0})

    monkeypatch.setattr(Space, "__iter__", None)
    trials = [world(p) for p in propose(large, [], 99)]
    found = propose(large, trials, 3)
    assert len(trials) == 21 and len(large) == 2**20
    assert found == propose(large, trials, 3) and len(set(found)) == 3
    assert world(found[0]).quality == pytest.approx(worth[worth > 0].sum())


def test_a_climb_finds_what_going_through_all_does(monkeypatch: pytest.MonkeyPatch) -> None:
    trials = [tried(p) for p in SPACE.first()]
    whole = propose(SPACE, trials, 1)
    monkeypatch.setattr("edgeq.tune.explore.WHOLE", 0)
    assert propose(SPACE, trials, 1) == whole
    rest = propose(SPACE, trials, 9)
    assert len(rest) == len(set(rest)) and {*rest} <= {*SPACE} - {t.point for t in trials}


def test_values_that_leave_no_choice_are_tried_alone() -> None:
    for options in ({"recipe": ("int8", "fp16"), "a": ("0", "1", "2"), "b": ("0", "1")}, {"recipe": ("fp16", "int8"), "a": ("0", "1")}):
        space = Space(options, frozenset({"fp16"}))
        points = list(space)
        assert len(points) == len(set(points)) == len(space) and all(p in space for p in points)
        by_hand = [p for p in itertools.product(*options.values()) if p in space]
        assert set(points) == set(by_hand) and ("fp16", *space.usual[1:]) in points
    assert len(Space({"recipe": ("int8", "fp16"), "a": ("0", "1", "2")}, frozenset({"fp16"}))) == 4


def test_points_are_flags_of_build() -> None:
    space = space_of({"weights": ["int8", "int4"], "equalize": ["yes", "no"]})
    assert [flags(space.named(p)) for p in space.first()] == [
        "--weights int8 --equalize", "--weights int4 --equalize", "--weights int8 --no-equalize",
    ]  # fmt: skip
    assert "fp16" in choices()["recipe"] and "auto" not in choices()["recipe"]


@pytest.mark.parametrize(
    ("vary", "said"),
    [
        ({"waits": ["int8"]}, "'waits' is no option"),
        ({"weights": ["int9"]}, "'int9' is no value"),
        ({"method": []}, "is no value of 'method'"),
    ],
)
def test_unknown_options_are_refused(vary: dict[str, list[str]], said: str) -> None:
    with pytest.raises(EdgeqError, match=said):
        space_of(vary)


@pytest.fixture(scope="module")
def network() -> Graph:
    rng, f = np.random.default_rng(3), Floats()
    x = f.input(1, 12)
    hidden = f.layer(FullyConnected(clamp=(0.0, math.inf)), x, rng.normal(size=(10, 12)), rng.normal(size=10))
    return f.graph(f.layer(FullyConnected(), hidden, rng.normal(size=(4, 10))))


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> np.ndarray[Any, Any]:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    return np.random.default_rng(4).normal(size=(64, 1, 12)).astype(np.float32)


def test_a_search_goes_on_where_it_was_ended(network: Graph, samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    whole = Bench.__call__

    def counted(limit: int) -> Callable[[Bench, Any], Any]:
        def call(self: Bench, named: Any) -> Any:
            if len(made) == limit:
                raise KeyboardInterrupt
            made.append(flags(named))
            return whole(self, named)

        return call

    vary = {"recipe": ["int8", "fp16"], "weights": ["int8", "int4", "int2"]}
    monkeypatch.setattr(Bench, "__call__", counted(2))
    with pytest.raises(KeyboardInterrupt):
        api.search(network, vary=vary, calibration=samples)
    monkeypatch.setattr(Bench, "__call__", counted(99))
    found = api.search(network, vary=vary, calibration=samples)
    assert len(made) == len(set(made)) == len(found.trials) == 6 - 2, "what was there is not made again, nor are halves in int4 tried"
    quality = {flags(found.space.named(t.point)): t.quality for t in found.trials if not t.refused}
    assert quality["--recipe fp16 --weights int8"] > 50 > quality["--recipe int8 --weights int8"]
    assert quality["--recipe int8 --weights int8"] > quality["--recipe int8 --weights int4"] > 5
    assert found.samples == (32, 32, 0) and found.unit == "dB"
    assert found.effects()["weights"]["int2"]["flash"] < 0.95
    drawn = pareto.trials(found.record())
    assert drawn.count("<circle") == len(quality) and "quality, dB" in drawn


def test_labels_judge_where_they_are_given(network: Graph, samples: Any) -> None:
    y = np.zeros(64, np.int64)
    found = api.search(network, {"x": samples, "y": y}, vary={"weights": ["int8"]}, calibration=samples)
    outputs = api.quantize(network, samples).predict(samples)
    assert found.unit == "% right" and found.trials[0].quality == pytest.approx(100 * (outputs.argmax(1) == 0).mean(), abs=1e-3)


def test_some_samples_choose_nothing(network: Graph, samples: Any) -> None:
    many = np.concatenate([samples, samples[::-1] * 0.9])
    vary = {"weights": ["int8", "int2"]}
    found = api.search(network, vary=vary, calibration=many, unseen=True)
    assert found.samples == (64, 32, 32)
    plain = api.search(network, vary=vary, calibration=many)
    assert plain.samples == (64, 64, 0)
    for kept, whole in zip(found.trials, plain.trials, strict=True):
        assert whole.unseen is None and kept.unseen is not None
        assert min(kept.quality, kept.unseen) <= whole.quality <= max(kept.quality, kept.unseen), "the parts of one whole"
        assert kept.quality != kept.unseen
    assert found.record()["front"][0]["unseen"] == found.front[0].unseen
    with pytest.raises(EdgeqError, match="too few samples to keep some unseen"):
        api.search(network, vary=vary, calibration=samples, unseen=True)
    labelled = api.search(network, {"x": many, "y": np.arange(128) % 4}, vary=vary, calibration=samples, unseen=True)
    assert labelled.samples == (64, 64, 64) and all(0 <= (t.unseen or 0) <= 100 for t in labelled.trials)


def test_too_few_samples_are_told(network: Graph, samples: Any) -> None:
    with pytest.raises(EdgeqError, match="too few samples"):
        api.search(network, calibration=samples[:63])
    with pytest.raises(EdgeqError, match="no trial could be made"):
        api.search(network, vary={"weights": ["int4"]}, recipe="fp16", calibration=samples)


def test_what_cannot_be_searched_is_told_before_the_first_trial(network: Graph, samples: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bench, "__call__", None)
    several = replace(network, outputs=(*network.outputs, network.nodes[0].outputs[0]))
    y = np.zeros(64, np.int64)
    for graph, keywords, said in (
        (network, {"data": {"x": samples, "y": y[:6]}}, "6 labels for 64 vectors"),
        (network, {"data": {"x": samples, "y": y + 4}}, "labels from 4 to 4 for a model with 4 classes"),
        (several, {"data": {"x": samples, "y": y}}, "2 outputs"),
        (network, {"precision": "precision.toml"}, "precision file"), (network, {"workers": 0}, "by 0 workers"),
    ):  # fmt: skip
        with pytest.raises(EdgeqError, match=said):
            api.search(graph, calibration=samples, **keywords)


def test_a_network_without_weights_costs_nothing(samples: Any) -> None:
    f = Floats()
    found = api.search(f.graph(f.op(Tanh(), f.input(1, 12))), vary={"method": ["mse", "minmax"]}, calibration=samples)
    assert len(found.trials) == 2 and found.effects()["method"]["minmax"]["flash"] == 1


def test_an_overflow_is_worth_nothing(samples: Any) -> None:
    f, rng = Floats(), np.random.default_rng(0)
    loud = f.layer(FullyConnected((0.0, math.inf)), f.input(1, 12), 1000 * rng.normal(size=(10, 12)))
    graph = f.graph(f.layer(FullyConnected(), loud, rng.normal(size=(4, 10)) / 1000))
    louder = samples * np.where(np.arange(64) % 2, 100, 1)[:, None, None].astype(np.float32)
    found = api.search(graph, vary={"recipe": ["fp16"]}, calibration=louder)
    assert [t.quality for t in found.trials] == [NOTHING]


def _unknown(item: int) -> None:
    recipes.make("int9", {})


def test_a_trial_travels_to_another_process(network: Graph, samples: Any) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    from edgeq.api.searching import _bench

    bench = _bench(network, None, "", {"calibration": samples})
    points = [{"weights": "int8"}, {"weights": "int4"}]
    assert pickle.loads(pickle.dumps(bench))(points[0]) == bench(points[0])
    with spread(1) as here, spread(2) as there:
        assert list(there(bench, points)) == list(here(bench, points))
        with pytest.raises(EdgeqError, match="unknown recipe"):
            list(there(_unknown, [0]))


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed")
    monkeypatch.setattr("edgeq.workers.WAIT", 0.2)
    with pytest.raises(EdgeqError, match="no Dask scheduler answers"), spread("127.0.0.1:9"):
        pass
