"""Recipe auto within a drop of right answers, and the drawing of what it chose from."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from installed import need_emulator
from typer.testing import CliRunner

from edgeq import api, graphfile
from edgeq.api.budget import parse
from edgeq.cli.main import app
from edgeq.errors import EdgeqError
from edgeq.ir import Array, Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected
from edgeq.quantize import evaluate_float
from edgeq.report.page import render

RNG = np.random.default_rng(11)
X = RNG.normal(0, 1, (120, 1, 12)).astype(np.float32)


@pytest.fixture(scope="module")
def classifier() -> Graph:
    """Two layers, six classes."""
    shapes = {"w1": (16, 12), "b1": (16,), "w2": (6, 16), "b2": (6,)}
    tensors = {n: Tensor(n, TensorType(s), RNG.normal(0, 0.4, s).astype(np.float32)) for n, s in shapes.items()}
    tensors |= {n: Tensor(n, TensorType((1, k))) for n, k in (("x", 12), ("h", 16), ("y", 6))}
    first = Node("one", FullyConnected((0.0, np.inf)), ("x", "w1", "b1"), ("h",))
    return Graph("classes", (first, Node("two", FullyConnected(), ("h", "w2", "b2"), ("y",))), tensors, ("x",), ("y",))


@pytest.fixture(scope="module")
def labels(classifier: Graph) -> Array:
    """What the float model answers: every answer of it is right."""
    return evaluate_float(classifier, {"x": X})["y"].reshape(len(X), -1).argmax(axis=1)


def test_a_drop_in_percent_is_one_of_answers() -> None:
    assert parse("drop=1.5%,flash=2K") == {"loss": 1.5, "flash": 2048} and parse("drop=30dB") == {"drop": 30.0}
    assert parse("drop=0%") == {"loss": 0.0}
    for bad in ("drop=-1%", "flash=3%", "drop=%"):
        with pytest.raises(EdgeqError):
            parse(bad)


def test_answers_are_kept(classifier: Graph, labels: Array) -> None:
    def chosen(loss: float) -> dict[str, object]:
        data = {"x": X, "y": labels}
        return dict(api.quantize(classifier, data, recipe="auto", budget={"loss": loss}).record["allocation"])

    strict, loose = chosen(0.0), chosen(50.0)
    assert strict["loss"] == 0 and 0 <= float(str(loose["loss"])) <= 50

    def flash(found: dict[str, object]) -> int:
        return next(p["flash"] for p in found["pareto"] if p["chosen"])  # type: ignore[attr-defined, no-any-return]

    assert flash(loose) <= flash(strict)
    with pytest.raises(EdgeqError, match="no labels"):
        api.quantize(classifier, {"x": X}, recipe="auto", budget={"loss": 1.0})
    with pytest.raises(EdgeqError, match="fits the budget"):
        api.quantize(classifier, {"x": X, "y": labels}, recipe="auto", budget={"loss": 0.0, "flash": 10})


def test_a_budget_of_cycles_chooses_by_cycles_and_its_refusal_names_the_fastest(classifier: Graph) -> None:
    need_emulator("riscv")

    def chosen(**budget: float) -> dict[str, Any]:
        return api.quantize(classifier, {"x": X}, recipe="auto", budget={"drop": 10.0, **budget}, target="riscv").record["allocation"]

    with pytest.raises(EdgeqError, match="fits the budget") as refused:
        chosen(cycles=10)
    least = int(re.search(r"the fastest takes (\d+) cycles", str(refused.value)).group(1))  # type: ignore[union-attr]
    found = next(p for p in chosen(cycles=least + 1)["pareto"] if p["chosen"])
    assert found["instructions"] <= least + 1


def test_it_is_drawn(classifier: Graph, labels: Array, tmp_path: Path) -> None:
    model, data, plot = tmp_path / "m.eqg", tmp_path / "d.npz", tmp_path / "p.svg"
    model.write_bytes(graphfile.dumps(classifier))
    np.savez(data, x=X, y=labels)
    command = ["build", str(model), "--calib", str(data), "--recipe", "auto", "--budget", "drop=2%", "-o", str(tmp_path / "out"), "--plot"]
    done = CliRunner().invoke(app, [*command, str(plot), "--no-check"])
    assert done.exit_code == 0, done.output
    drawing = ElementTree.fromstring(plot.read_text())
    points = [c for c in drawing.iter() if c.tag.endswith("circle")]
    rows = json.loads((tmp_path / "out" / "measurements.json").read_text())["quantization"]["allocation"]["pareto"]
    assert len(points) == 2 * len(rows) and sum(p.get("r") == "6" for p in points) == 2
    page = render(tmp_path / "out")
    assert plot.read_text().strip() in page and "of the right answers lost" in page
    done = CliRunner().invoke(app, [*command, str(tmp_path / "p.png")])
    assert done.exit_code == 1 and not (tmp_path / "p.png").exists()
