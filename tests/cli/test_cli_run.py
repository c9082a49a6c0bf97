"""edgeq simulate, run, compare, accuracy: the contract for scripts, differences found, data refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeq import graphfile
from edgeq.simulate import dequantize_array, simulate

KEYS = {
    "target", "law", "vectors", "bit_exact", "instructions", "arena_bytes", "io_bytes", "state_bytes", "stack_bytes", "flash", "steps",
    "cycles",
}  # fmt: skip
EMULATOR = pytest.param("riscv", "unicorn", marks=pytest.mark.skipif(not shutil.which("riscv64-unknown-elf-gcc"), reason="no RISC-V GCC"))


def expected(model: Path, inputs: Path) -> np.ndarray:
    return simulate(graphfile.load(model), dict(np.load(inputs))).outputs["y"]


def test_simulate_keeps_the_contract(edgeq, model: Path, inputs: Path, tmp_path: Path) -> None:
    result = edgeq("simulate", model, "--input", inputs, "--output", tmp_path / "out.npz", "--json")
    assert result.code == 0 and result.err == ""
    data = result.json
    assert set(data) == KEYS
    assert (data["target"], data["law"], data["vectors"], data["bit_exact"], data["instructions"]) == ("host", "single", 5, None, None)
    assert data["io_bytes"] == 60 + 4 and data["state_bytes"] == 0 and data["stack_bytes"] is None
    assert data["flash"]["code"] is None and data["flash"]["weights"] > 400
    assert [(s["name"], s["op"], s["macs"], s["instructions"]) for s in data["steps"]] == [
        ("first/conv", "conv2d", 1620, None), ("dense <b>&", "fully_connected", 360, None),
    ]  # fmt: skip
    with np.load(tmp_path / "out.npz") as out:
        assert out.files == ["y"] and out["y"].dtype == np.int8
        np.testing.assert_array_equal(out["y"], expected(model, inputs))


def test_float_in_and_out(edgeq, model: Path, inputs: Path, tmp_path: Path) -> None:
    graph = graphfile.load(model)
    t = graph.type("x/in:0")
    np.savez(tmp_path / "real.npz", **{"x/in:0": dequantize_array(np.load(inputs)["x/in:0"], t.scale, t.zero_point)})
    result = edgeq("simulate", model, "--input", tmp_path / "real.npz", "--output", tmp_path / "out.npz", "--json", "--float")
    assert result.code == 0
    out = np.load(tmp_path / "out.npz")["y"]
    assert out.dtype == np.float32
    np.testing.assert_array_equal(out, dequantize_array(expected(model, inputs), graph.type("y").scale, graph.type("y").zero_point))


@pytest.mark.parametrize(("target", "runner"), [("host", "host"), EMULATOR])
def test_run_on_a_model_file(edgeq, model: Path, inputs: Path, tmp_path: Path, chain: str, target: str, runner: str) -> None:
    chosen = ("--target", target, "--toolchain", chain if target == "host" else "gcc")
    result = edgeq("run", model, *chosen, "-i", inputs, "-o", tmp_path / "out.npz", "--json")
    assert result.code == 0, result.err
    data = result.json
    assert set(data) == KEYS and data["bit_exact"] is True and data["target"] == target and data["vectors"] == 5
    np.testing.assert_array_equal(np.load(tmp_path / "out.npz")["y"], expected(model, inputs))
    if runner == "unicorn":
        assert data["instructions"] > 2000 and data["stack_bytes"] > 0 and data["flash"]["code"] > 200
        counts = [s["instructions"] for s in data["steps"]]
        assert all(counts) and 0 <= data["instructions"] - sum(counts) < 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npz", "out.npz", "tiny.eqg"]


def test_a_plain_int8_tflite_works_directly(edgeq, data: Path, tmp_path: Path, chain: str) -> None:
    x = np.random.default_rng(0).integers(-128, 128, (3, 640)).astype(np.int8)
    np.savez(tmp_path / "in.npz", input_1=x)
    model = data / "mlperf_tiny" / "ad01_int8.tflite"
    a = edgeq("simulate", model, "--input", tmp_path / "in.npz", "--output", tmp_path / "a.npz", "--json")
    b = edgeq(
        "run", model, "--target", "host", "--toolchain", chain, "--input", tmp_path / "in.npz", "--output", tmp_path / "b.npz", "--json"
    )
    assert a.code == b.code == 0, a.err + b.err
    assert a.json["law"] == "tflm" and b.json["bit_exact"] is True and sum(s["macs"] for s in b.json["steps"]) == 264192
    with np.load(tmp_path / "a.npz") as left, np.load(tmp_path / "b.npz") as right:
        assert left.files == right.files == ["Identity"]
        np.testing.assert_array_equal(left["Identity"], right["Identity"])


def test_run_without_the_comparison(edgeq, folder: Path) -> None:
    assert edgeq("run", folder, "--no-check", "--json").json["bit_exact"] is None


def break_weights(folder: Path) -> None:
    """One weight of the last layer is off by one."""
    path = folder / "tiny_weights.c"
    text = path.read_text()
    at = text.index("tiny_s1_weights")
    at += re.search(r"\{\s*", text[at:]).end()  # type: ignore[union-attr]
    number = re.match(r"-?\d+", text[at:]).group()  # type: ignore[union-attr]
    path.write_text(text[:at] + str(int(number) + (1 if int(number) < 0 else -1)) + text[at + len(number) :])


def test_compare_finds_one_wrong_weight(edgeq, folder: Path) -> None:
    good = edgeq("compare", folder, "--vectors", 32)
    assert good.code == 0 and good.out.startswith("bit-exact: host = simulator in 32 vectors, 2 tensors")
    break_weights(folder)
    bad = edgeq("compare", folder, "--vectors", 32, "--trust")
    assert bad.code == 1
    assert re.search(r"first difference: tensor 'y', vector \d+, index \[0, 0\]: expected -?\d+, got -?\d+ \(\d+ of 128 values", bad.out)
    data = edgeq("compare", folder, "--vectors", 32, "--trust", "--json")
    assert data.code == 1 and data.json["bit_exact"] is False
    assert data.json["comparisons"][0]["difference"]["tensor"] == "y" and data.json["comparisons"][0]["runner"] == "host"
    ran = edgeq("run", folder, "--vectors", 32, "--trust", "--json")
    assert ran.code == 1 and ran.json["bit_exact"] is False and "DIFFERS" in ran.err
    measured = json.loads((folder / "measurements.json").read_text())
    assert measured["comparisons"]["host"]["bit_exact"] is False
    assert "Differs from the simulator" in edgeq_report(edgeq, folder)


def edgeq_report(edgeq, folder: Path) -> str:
    assert edgeq("report", folder).code == 0
    return (folder / "report.html").read_text(encoding="utf-8")


def test_a_weaker_comparison_does_not_replace_a_stronger_one(edgeq, folder: Path) -> None:
    assert edgeq("compare", folder, "--vectors", 32).code == 0
    assert edgeq("run", folder, "--vectors", 2).code == 0
    measured = json.loads((folder / "measurements.json").read_text())
    assert measured["comparisons"]["host"]["vectors"] == 32 and measured["comparisons"]["host"]["tensors"] == 2


def test_accuracy(edgeq, folder: Path, model: Path, inputs: Path, tmp_path: Path) -> None:
    answers = expected(model, inputs).reshape(5, -1).argmax(1)
    labels = answers.copy()
    labels[3] = (labels[3] + 1) % 4
    np.savez(tmp_path / "test.npz", x=np.load(inputs)["x/in:0"], y=labels)
    data = edgeq("accuracy", folder, "--data", tmp_path / "test.npz", "--runner", "host", "--json").json
    assert data == {
        "samples": 5, "runner_name": "host", "bit_exact": True, "top1": {"float": None, "simulator": 0.8, "runner": 0.8},
        "right": {"float": None, "simulator": 4, "runner": 4},
    }  # fmt: skip
    assert json.loads((folder / "measurements.json").read_text())["accuracy"]["simulator"] == {
        "right": 4, "samples": 5, "confusion": [[2, 0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    }  # fmt: skip
    table = edgeq("accuracy", folder, "--data", tmp_path / "test.npz", "--limit", 3)
    assert table.code == 0 and "100.00 %" in table.out and "3 of 3" in table.out
    np.savez(tmp_path / "hot.npz", x=np.load(inputs)["x/in:0"], labels=np.eye(4)[labels])
    assert edgeq("accuracy", folder, "--data", tmp_path / "hot.npz", "--json").json["right"]["simulator"] == 4


def bad_arrays() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    x = np.zeros((2, 1, 6, 5, 2), np.int8)
    return {
        "another shape": ({"x/in:0": x[:, :, :, 1:]}, "does not fit"),
        "NaN": ({"x/in:0": np.full((2, 60), np.nan, np.float32)}, "NaN"),
        "values beyond int8": ({"x/in:0": np.full((2, 60), 300, np.int32)}, "does not fit s8"),
        "no vectors": ({"x/in:0": x[:0]}, "does not fit"),
        "other names": ({"a": x, "b": x}, "no array for input 'x/in:0'"),
        "complex numbers": ({"x/in:0": x.astype(complex)}, "not numbers"),
        "objects": ({"x/in:0": np.array([None, {}])}, "cannot read arrays"),
    }


@pytest.mark.parametrize(("arrays", "message"), bad_arrays().values(), ids=bad_arrays().keys())
@pytest.mark.parametrize("verb", ["simulate", "run", "compare"])
def test_bad_inputs(edgeq, model: Path, tmp_path: Path, chain: str, verb: str, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    extra = [] if verb == "compare" else ["--output", tmp_path / "out.npz"]
    extra += ["--toolchain", chain] if verb != "simulate" else []
    assert message in edgeq(verb, model, "--input", tmp_path / "bad.npz", *extra).error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "tiny.eqg"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04garbage", b"\x93NUMPY\x01\x00\xff\xff{", b"text"])
@pytest.mark.parametrize("suffix", [".npz", ".npy"])
def test_damaged_arrays(edgeq, model: Path, tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / f"x{suffix}").write_bytes(content)
    assert "cannot read arrays" in edgeq("simulate", model, "--input", tmp_path / f"x{suffix}").error
    assert "cannot read arrays" in edgeq("accuracy", model, "--data", tmp_path / f"x{suffix}").error


def test_bad_labels(edgeq, model: Path, inputs: Path, tmp_path: Path) -> None:
    x = np.load(inputs)["x/in:0"]
    for arrays, message in (
        ({"x": x}, "no labels"),
        ({"x": x, "y": np.zeros(4, int)}, "4 labels for 5 vectors"),
        ({"x": x, "y": np.full(5, 9)}, "4 classes"),
        ({"x": x, "y": np.full(5, 0.5)}, "no class numbers"),
    ):
        np.savez(tmp_path / "test.npz", **arrays)
        assert message in edgeq("accuracy", model, "--data", tmp_path / "test.npz").error


def test_float_models_are_not_simulated(edgeq, float_model: Path) -> None:
    for verb in ("simulate", "run", "compare"):
        assert "the model is float" in edgeq(verb, float_model).error


def test_outputs_that_cannot_be_written(edgeq, model: Path, inputs: Path, tmp_path: Path) -> None:
    assert "cannot write" in edgeq("simulate", model, "--input", inputs, "--output", tmp_path / "no" / "out.npz").error
    assert "cannot write" in edgeq("simulate", model, "--input", inputs, "--output", tmp_path).error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.npz", "tiny.eqg"]


def test_a_runner_that_the_target_lacks(edgeq, folder: Path) -> None:
    assert "no runner 'qemu'" in edgeq("run", folder, "--runner", "qemu").error
    assert "no runner 'board9'" in edgeq("run", folder, "--runner", "board9").error
