"""Journals: a run that was ended goes on, with the same result; what does not belong to it is not read."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from kills import model
from random_graphs import Builder

from edgeq import api, journal
from edgeq.api.robustness import Robustness, robustness
from edgeq.api.scoring import hits
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.leftovers import Ended
from edgeq.ops.fully_connected import FullyConnected
from edgeq.tune import kernels

module = sys.modules[Robustness.__module__]  # its name in edgeq.api is the function


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGEQ_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(journal, "SECONDS", 0.0)
    return tmp_path / "cache"


def ended(verb: str = "v", parts: tuple[str, ...] = ("a",), **found: object) -> Path:
    """The journal of a run that was ended after some results."""
    with pytest.raises(Ended), journal.journal(verb, parts) as kept:
        for name, result in found.items():
            kept.note(name, result)
        raise Ended(15)
    return kept.path


def test_a_run_that_was_ended_goes_on_and_leaves_nothing(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = ended(one=1, two=[2, "x"])
    with journal.journal("v", ["a"]) as kept:
        assert kept.found == {"one": 1, "two": [2, "x"]} and kept.path == path
        kept.note("three", None)
    assert list(cache.iterdir()) == [] and f"2 results are in {path}" in caplog.text


def test_what_came_last_is_written_when_a_run_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Results of the last second, too."""
    monkeypatch.setattr(journal, "SECONDS", 1e9)
    path = ended(one=1)
    with journal.journal("v", ["a"]) as kept:
        assert kept.found == {"one": 1} and kept.path == path


def test_another_input_verb_or_version_is_another_run(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {ended("v", ("a", "b"), n=1), ended("v", ("ab",), n=1), ended("w", ("a", "b"), n=1)}
    monkeypatch.setattr("edgeq.__version__", "0.0.0", raising=False)
    paths.add(ended("v", ("a", "b"), n=1))
    assert len(paths) == len(list(cache.iterdir())) == 4


@pytest.mark.parametrize("how", ["half", "empty", "changed", "another", "list", "bytes"])
def test_a_damaged_journal_is_named_and_not_read(how: str, caplog: pytest.LogCaptureFixture) -> None:
    path = ended(one=1)
    text = path.read_text()
    changes = {
        "half": text[: len(text) // 2], "empty": "", "changed": text.replace('"one": 1', '"one": 2'), "list": "[]",
        "another": ended(parts=("other",), one=1).read_text(), "bytes": "\udcff",
    }  # fmt: skip
    path.write_text(changes[how], encoding="utf-8", errors="surrogateescape")
    with journal.journal("v", ["a"]) as kept:
        assert kept.found == {}
    assert f"{path} is not read" in caplog.text and not path.exists()


def test_a_place_that_cannot_be_written_is_told_once(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.write_text("a file where the folder should be")
    with journal.journal("v", ["a"]) as kept:
        kept.note("one", 1)
        kept.note("two", 2)
    assert [r.levelno for r in caplog.records] == [logging.WARNING] and "cannot be written" in caplog.text


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_CACHE", "")
    assert journal.folder() == journal.system.cache() / "edgeq"


def test_old_journals_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, other = ended(parts=("old",), n=1), cache / "notes.txt"
    other.write_text("a user's")
    for path in (old, other):
        os.utime(path, (0, 0))
    new = ended(n=1)
    assert sorted(cache.iterdir()) == sorted([new, other])


class _Stop(Exception):
    pass


def test_faults_go_on_where_they_were_ended(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, data = model(tmp_path), tmp_path / "labelled.npz"

    def study() -> Robustness:
        return robustness(file, data, rates=[0.01, 0.05], patterns=4, device_name="simulator")

    whole = study()
    plain = hits
    calls: list[int] = []

    def stopping(*given: object) -> int:
        calls.append(1)
        if len(calls) == 7:
            raise _Stop
        return plain(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "hits", stopping)
    with pytest.raises(_Stop):
        study()
    monkeypatch.setattr(module, "hits", lambda *given: calls.append(1) or plain(*given))
    calls.clear()
    assert study() == whole
    assert len(calls) == 1 + 2 * 4 + 4 - 6 and list(cache.iterdir()) == []


def network() -> Graph:
    b = Builder(5, "single", clamps=False)
    return b.graph(b.conv(b.input(1, 5, 4, 8), 6, 3, pads=(1, 1, 1, 1)))


def test_tuning_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def tune(name: str) -> bytes:
        return api.tune(network(), output=tmp_path / name, target="cortex-m3").path.read_bytes()

    plain, calls = kernels.executed, list[int]()
    monkeypatch.setattr(kernels, "executed", lambda *given: calls.append(1) or plain(*given))
    whole, turns = tune("whole"), len(calls)
    assert turns > 1

    def stopping(*given: object) -> object:
        calls.append(1)
        if len(calls) == turns:
            raise EdgeqError("ended")
        return plain(*given)  # type: ignore[arg-type]

    calls.clear()
    monkeypatch.setattr(kernels, "executed", stopping)
    with pytest.raises(EdgeqError, match="ended"):
        tune("part")
    calls.clear()
    monkeypatch.setattr(kernels, "executed", lambda *given: calls.append(1) or plain(*given))
    assert tune("part") == whole and len(calls) == 1


def dense(layers: int) -> Graph:
    """Float, one layer after the other."""
    rng = np.random.default_rng(3)
    tensors, nodes = {"t0": Tensor("t0", TensorType((8,)))}, []
    for i in range(layers):
        w = Tensor(f"w{i}", TensorType((8, 8)), rng.normal(0, 0.4, (8, 8)).astype(np.float32))
        b, y = Tensor(f"b{i}", TensorType((8,)), np.zeros(8, np.float32)), Tensor(f"t{i + 1}", TensorType((8,)))
        tensors |= {t.name: t for t in (w, b, y)}
        nodes.append(Node(f"n{i}", FullyConnected(), (f"t{i}", w.name, b.name), (y.name,)))
    return Graph("dense", tuple(nodes), tensors, ("t0",), (f"t{layers}",))


@pytest.mark.parametrize(("recipe", "budget"), [("auto", {"ram": 1e6}), ("few-bits", {"drop": 20.0})])
def test_recipes_go_on_where_they_were_ended(
    recipe: str, budget: dict[str, float], tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After any measurement, to the same bytes; what other samples or another budget gave is not taken."""
    graph, x, noted = dense(2), np.random.default_rng(4).normal(0, 1, (80, 8)).astype(np.float32), list[str]()
    plain = journal.Journal.note

    def run(stop: int = 0, budget: dict[str, float] = budget, x: Array = x) -> bytes:
        """The quantized model; ended when so much is measured."""

        def note(self: journal.Journal, name: str, result: object) -> None:
            plain(self, name, result)
            noted.append(name)
            if len(noted) == stop:
                raise _Stop

        noted.clear()
        monkeypatch.setattr(journal.Journal, "note", note)
        api.write_quantized(graph, tmp_path / "m.eqg", calibration={"t0": x}, recipe=recipe, budget=budget)
        return (tmp_path / "m.eqg").read_bytes()

    whole, count = run(), len(noted)
    assert count > 8 and {n.split()[0] for n in noted} == {"noise", "costs", "trial"} and list(cache.iterdir()) == []
    for stop in (1, count // 2, count):
        with pytest.raises(_Stop):
            run(stop)
        (left,) = cache.iterdir()
        others = ({"budget": {**budget, "flash": 1e6}}, {"x": x[::-1].copy()}) if stop == count else ()
        for other in others:
            run(**other)  # type: ignore[arg-type]
            assert len(noted) >= count - 1 and list(cache.iterdir()) == [left], "another run measures all"
        assert run() == whole and len(noted) == count - stop and list(cache.iterdir()) == []


def test_a_journal_is_readable_json(cache: Path) -> None:
    assert json.loads(ended(one=1).read_text())["found"] == {"one": 1}
