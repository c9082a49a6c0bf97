"""Records: what is written is read back equal, and what anybody else wrote is checked entry by entry."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import quickest

from edgeq import api, record
from edgeq.errors import EdgeqError
from edgeq.files import json_text
from edgeq.folder import SEAL, digest
from edgeq.ir import Graph, Node, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected

SHA = "0" * 64
STEP = record.StepRecord("y", "s8", (1, 4), 4, "fc", "fully_connected", (), "k", "single", ("x",), 8, 16, 4, ("m_s0_weights",))
X = record.Placed("x", (1, 2), "s8", 2, 0.5, -3, 0)
MANIFEST = record.Manifest(
    format=1, model="m", target="host", law="single", inputs=(X,), outputs=(replace(X, name="y"),), arena_bytes=64, arena_alignment=16,
    arena_lower_bound=60, arena_method="greedy", state_bytes=0, io_bytes=4, weight_bytes=8, macs=8,
    states=(record.StateRecord("s", (1, 2), "s16", 4, 0.25, 0, 0, "t"),), steps=(STEP,),
    lifetimes=(record.Lifetime("x", 2, 0, -1, 0), record.Lifetime("y", 4, 16, 0, 1, "x")), tables={"m_s0_weights": "0123abcd"},
    table_bytes={"m_s0_weights": 8}, hardened=False, fault_tables={"m_s0_weights": 0}, sources_sha256=SHA, files={"m.c": SHA},
    instructions=record.InstructionsRecord(True, 4, "unicorn", "zig", "s"),
)  # fmt: skip
COMPARISON = record.ComparisonRecord("host", None, "s", 1, 2, 3, False, record.DifferenceRecord("y", 0, (0, 1), 1.5, "nan", 1, 4))
MEASURED = record.Measured(
    sources_sha256=SHA, build=record.BuildRecord("zig", "s", None, 8), quantization={"samples": 3}, comparisons={"host": COMPARISON},
    runs={"host": record.RunRecord("host", None, "s", 1, 10, True, None, (4, 5))}, accuracy={"float": record.Score(1, 2)},
    activations=record.Activations(1, (record.ActivationRecord("x", -1.0, 1.0, 0.5),)), files={"report.html": SHA},
)  # fmt: skip


def sealed(folder: Path, data: dict[str, Any]) -> None:
    rest = {k: v for k, v in data.items() if k != SEAL}
    (folder / "manifest.json").write_text(json.dumps({**rest, SEAL: digest(json_text(rest).encode())}))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(MANIFEST.text())
    assert record.manifest(tmp_path) == MANIFEST
    record.note(tmp_path, MEASURED)
    assert record.measured(tmp_path, SHA) == MEASURED and record.measured(tmp_path, "1" * 64) == record.Measured(sources_sha256="1" * 64)
    assert set(json.loads(record.Measured().text())) == {"format", "sources_sha256"}


@pytest.mark.parametrize(
    "change",
    [
        {"arena_bytes": -1}, {"arena_bytes": 2**31}, {"arena_bytes": 1.5}, {"arena_bytes": True}, {"arena_bytes": "64"},
        {"arena_alignment": 0},
        {"model": "../m"}, {"model": "m;rm"}, {"model": ""}, {"target": "a/b"},
        {"target": "x.toml"}, {"target": ""}, {"model": "m\n"}, {"steps": None}, {"steps": [{}]}, {"inputs": [[]]},
        {"tables": {"a b": "0123abcd"}}, {"tables": {"m_s0_weights": "xyz"}}, {"tables": {}}, {"table_bytes": {"m_s0_weights": -4}},
        {"fault_tables": {"other": 0}}, {"files": {"m.c": "0"}}, {"files": []}, {"sources_sha256": None}, {"hardened": 1}, {"law": 3},
    ],
    ids=str,
)  # fmt: skip
def test_a_resealed_manifest_is_checked_all_the_same(tmp_path: Path, change: dict[str, Any]) -> None:
    sealed(tmp_path, {**json.loads(MANIFEST.text()), **change})
    with pytest.raises(EdgeqError, match=r"manifest\.json is of another format"):
        record.manifest(tmp_path)


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value of a JSON document."""
    inner = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(p for k, v in inner for p in places(v, (*path, k)))]


@pytest.mark.parametrize("seed", range(8))
def test_no_mutation_gets_past_the_reader_as_anything_but_a_record(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    values = [None, -1, 2**40, 0.5, math.nan, "", "..", "x" * 5000, [], {}, [[]], True, {"a": {}}]
    for text, read in ((MANIFEST.text(), record.manifest), (MEASURED.text(), lambda folder: record.measured(folder, SHA))):
        for _ in range(100):
            data = json.loads(text)
            *path, last = rng.choice(places(data)[1:])
            at: Any = data
            for key in path:
                at = at[key]
            at[last] = rng.choice(values)
            try:
                sealed(tmp_path, data)
            except ValueError:
                (tmp_path / "manifest.json").write_text(json.dumps(data))
            (tmp_path / "measurements.json").write_text(json.dumps(data))
            try:
                assert isinstance(read(tmp_path), (record.Manifest, record.Measured))
            except EdgeqError as e:
                assert len(str(e)) < 1500


def test_a_manifest_says_whether_inputs_take_the_same_number_of_instructions(tmp_path: Path) -> None:
    """Integers do on every core; halves do not where floats are software; where nothing counts, nothing is said."""
    rng = np.random.default_rng(0)
    data = {"x": Tensor("x", TensorType((1, 8))), "y": Tensor("y", TensorType((1, 4)))}
    for name, shape in (("w", (4, 8)), ("b", (4,))):
        data[name] = Tensor(name, TensorType(shape), rng.standard_normal(shape).astype(np.float32))
    graph = Graph("m", (Node("fc", FullyConnected(), ("x", "w", "b"), ("y",)),), data, ("x",), ("y",))
    halves, integers = api.quantize(graph, recipe="fp16"), api.quantize(graph, rng.standard_normal((8, 1, 8)).astype(np.float32))
    for step, target, constant in ((integers, "cortex-m3", True), (halves, "riscv", False), (integers, "host", None)):
        built = api.build(step, target=target, output=tmp_path / target, toolchain=quickest(target), vectors=12)
        said = record.manifest(tmp_path / target).instructions
        assert said == built.manifest.instructions and (None if said is None else said.constant) is constant
        assert said is None or (said.vectors, said.toolchain) == (12, quickest(target))


def test_what_is_not_finite_is_told_by_its_name() -> None:
    assert [record.finite(x) for x in (1.5, math.nan, -math.inf)] == [1.5, "nan", "-inf"]
