"""edgeq build --budget ram=, --plan-only and --stream: what they write, what they show, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from installed import need_emulator
from random_graphs import Builder

from edgeq import graphfile
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.conv2d import Conv2d
from edgeq.record import manifest


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


def test_weights_in_ram_take_fewer_cycles_and_must_fit(edgeq, tmp_path: Path) -> None:
    need_emulator("nucleo-l4r5")
    b = Builder(1, "tflm")
    x = b.linear(Conv2d((2, 2)), b.input(1, 24, 24, 16), (16, 3, 3, 16), 0, 0.0)
    x = b.linear(Conv2d(), x, (16, 3, 3, 16), 0, 0.0)  # while it runs the input's place is free for two rows of its weights
    graphfile.save(b.graph(x), tmp_path / "m.eqg")
    cycles, found = {}, {}
    for place in ("flash", "auto", "ram"):
        out = tmp_path / place
        made = edgeq("build", tmp_path / "m.eqg", "-o", out, "-t", "nucleo-l4r5", "--weights-in", place, "--json").json
        found[place] = manifest(out)
        assert made["weights_in"] == found[place].weights_in == place and made["comparisons"]["unicorn"]["difference"] is None
        cycles[place] = made["runs"]["unicorn"]["cycles"]["total"]
    assert cycles["ram"] < cycles["auto"] < cycles["flash"]
    ram, auto = found["ram"], found["auto"]
    assert ram.weight_bytes > 4000 and ram.ram_bytes == ram.arena_bytes + ram.weight_bytes and auto.ram_bytes == auto.arena_bytes
    assert edgeq("report", tmp_path / "ram").code == 0
    shown = (tmp_path / "ram" / "report.html").read_text().split("RAM</h3>")[1].split("<h3>")[0]
    assert "<dt>weights</dt>" in shown
    little = edgeq("build", tmp_path / "m.eqg", "-o", tmp_path / "o", "-t", "nucleo-l4r5", "--weights-in", "ram", "--budget", "ram=12K")
    assert (
        "of RAM" in little.error and ", weights " in little.error and "--weights-in auto" in little.error and not (tmp_path / "o").exists()
    )
    host = edgeq("build", tmp_path / "m.eqg", "-o", tmp_path / "o", "--weights-in", "ram")
    assert "on target host" in host.error and not (tmp_path / "o").exists()
    assert "choose one of auto, flash, ram" in edgeq("build", tmp_path / "m.eqg", "-o", tmp_path / "o", "--weights-in", "rom").error
