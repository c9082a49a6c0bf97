"""edgeq build --budget ram=, --plan-only and --stream: what they write, what they show, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from random_graphs import Builder

from edgeq import graphfile
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d


@pytest.fixture
def tall(tmp_path: Path) -> Path:
    """Two convolutions without padding over 24 rows, and a mean of all."""
    b = Builder(1, "single")
    x = b.linear(Conv2d(clamp=(0.0, 6.0)), b.input(1, 24, 4, 1), (4, 3, 1, 1), 0, 0.0)
    x = b.linear(Conv2d(), x, (4, 3, 1, 4), 0, 0.0)
    graph = b.graph(b.dense(b.flatten(b.node(AveragePool2d((20, 4)), x)), 3))
    graphfile.save(graph, tmp_path / "tall.eqg")
    return tmp_path / "tall.eqg"


def test_bands_are_in_the_manifest_inspect_and_the_report(edgeq, tall: Path, tmp_path: Path, chain: str) -> None:
    out = tmp_path / "out"
    assert edgeq("build", tall, "-o", out, "--toolchain", chain, "--budget", "ram=least").code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    (band,) = manifest["bands"]
    inside = [i for i, s in enumerate(manifest["steps"]) if s["band"] is not None]
    assert inside == list(range(band["first"], band["last"] + 1)) and len(band["rows"]) == len(inside) and max(band["rows"]) < 20
    kept = {x["tensor"]: x for x in band["lines"]}
    assert set(kept) == {s["tensor"] for s in manifest["steps"] if not s["whole"]}
    assert all(0 <= x["rows"] < x["height"] and (x["rows"] > 0 or x["beside"]) for x in kept.values())
    assert kept[manifest["steps"][0]["tensor"]]["rows"] == 3
    shown = edgeq("inspect", out)
    assert "rows kept" in shown.out and "3 of 22" in shown.out
    assert [b["name"] for b in edgeq("inspect", out, "--json").json["bands"]] == [manifest["steps"][i]["name"] for i in inside]
    assert edgeq("report", out).code == 0 and "3 of 22" in (out / "report.html").read_text()


def test_without_a_budget_there_are_none(edgeq, tall: Path, tmp_path: Path, chain: str) -> None:
    assert edgeq("build", tall, "-o", tmp_path / "out", "--toolchain", chain).code == 0
    assert json.loads((tmp_path / "out" / "manifest.json").read_text())["bands"] == []
    assert "rows kept" not in edgeq("inspect", tmp_path / "out").out


def test_a_stream_keeps_states_and_says_what_it_found(edgeq, tall: Path, tmp_path: Path, chain: str) -> None:
    made = edgeq("build", tall, "-o", tmp_path / "out", "--toolchain", chain, "--stream", "time")
    assert made.code == 0 and "1 new of 24 frames a step" in made.out and "results count from 24 frames on" in made.out
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["states"] and manifest["inputs"][0]["shape"] == [1, 1, 4, 1]
    found = json.loads((tmp_path / "out" / "measurements.json").read_text())["quantization"]["stream"]
    assert found["exact"] and found["difference"]["equal"] == found["difference"]["answers"] > 0
    assert edgeq("quantize", tall, "--stream", "time,hop=2", "-o", tmp_path / "two.eqg").code == 0
    assert edgeq("simulate", tmp_path / "two.eqg").code == 0
    assert graphfile.load(tmp_path / "two.eqg").type("x0").shape == (1, 2, 4, 1)


@pytest.mark.parametrize(("text", "told"), [("space", "says nothing about a stream"), ("9", "no frames"), ("y=1", "no input")])
def test_a_stream_that_cannot_be_is_told(edgeq, tall: Path, tmp_path: Path, text: str, told: str) -> None:
    assert told in edgeq("build", tall, "-o", tmp_path / "out", "--stream", text).error
    assert not (tmp_path / "out").exists()


def test_ways_to_use_memory_are_those_of_one_core(edgeq, tall: Path, tmp_path: Path) -> None:
    drawn = tmp_path / "ways.svg"
    assert "whole tensors" in edgeq("build", tall, "--plan-only", "--plot", drawn).out
    found = edgeq("build", tall, "--plan-only", "--json").json["ways"]
    assert drawn.read_text().count("<circle") == len(found) > 2 and "bands, fed by rows" in drawn.read_text()
    assert edgeq("build", tall, "--plan-only", "--plot", tmp_path / "ways.png").code != 0
    refused = edgeq("build", tall, "--plan-only", "--cores", 2)
    assert refused.code == 2 and "one core" in refused.err
