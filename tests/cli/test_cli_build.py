"""edgeq build: what it writes, that it writes the same again, and what it refuses without leaving anything behind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeq import graphfile
from edgeq.emit import artifact

RISCV = "riscv64-unknown-elf-gcc"


def files(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def test_the_folder_is_enough_for_every_later_verb(edgeq, folder: Path, model: Path) -> None:
    names = set(files(folder))
    assert {"graph.eqg", "manifest.json", "measurements.json", "tiny.c", "tiny.h", "tiny_vectors.c", "main.c"} <= names
    assert graphfile.dumps(graphfile.load(folder)) == model.read_bytes()
    model.unlink()
    assert edgeq("simulate", folder).code == 0
    assert edgeq("compare", folder).code == 0
    assert edgeq("inspect", folder).code == 0
    assert edgeq("report", folder).code == 0


def test_json(edgeq, model: Path, tmp_path: Path, chain: str) -> None:
    result = edgeq("build", model, "-o", tmp_path / "out", "--toolchain", chain, "--json", "--name", "Net 1")
    assert result.code == 0, result.err
    data = result.json
    assert data["model"] == "net_1" and data["target"] == "host" and data["law"] == "single"
    assert data["macs"] == 6 * 5 * 3 * 18 + 90 * 4
    assert data["flash"]["weights"] == sum(json.loads((tmp_path / "out" / "manifest.json").read_text())["table_bytes"].values())
    assert data["build"]["optimize"] == "s" and data["build"]["toolchain"] == chain
    assert data["comparisons"]["host"]["bit_exact"] is True and data["comparisons"]["host"]["vectors"] == 4
    assert (tmp_path / "out" / "net_1.c").is_file()


def test_two_builds_give_the_same_bytes(model: Path, tmp_path: Path, chain: str) -> None:
    for seed, name in (("1", "a"), ("2", "b")):
        command = [sys.executable, "-m", "edgeq", "build", str(model), "-o", str(tmp_path / name / "out"), "--toolchain", chain]
        subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True)
    assert files(tmp_path / "a" / "out") == files(tmp_path / "b" / "out")


def test_an_earlier_folder_is_replaced_and_anything_else_is_not(edgeq, folder: Path, model: Path, chain: str) -> None:
    assert edgeq("report", folder).code == 0
    assert edgeq("build", model, "-o", folder, "--toolchain", chain, "--test-vectors", 0).code == 0
    assert not (folder / "report.html").exists() and not (folder / "tiny_vectors.c").exists()
    other = folder.parent / "precious"
    other.mkdir()
    (other / "manifest.json").write_text("{}")
    assert "holds something else" in edgeq("build", model, "-o", other, "--toolchain", chain).error
    assert files(other) == {"manifest.json": b"{}"}


def test_building_anew_from_a_folder(edgeq, folder: Path, tmp_path: Path, chain: str) -> None:
    assert edgeq("build", folder, "-o", tmp_path / "again", "--toolchain", chain).code == 0
    assert files(folder) == files(tmp_path / "again")


def test_vectors_come_from_calibration_samples(edgeq, model: Path, inputs: Path, tmp_path: Path, chain: str) -> None:
    assert edgeq("build", model, "-o", tmp_path / "out", "--toolchain", chain, "--calib", inputs, "--test-vectors", 2).code == 0
    text = (tmp_path / "out" / "tiny_vectors.c").read_text()
    first = np.load(inputs)["x/in:0"][0].ravel()[:6].tolist()
    assert ", ".join(map(str, first)) in text
    assert "#define TINY_VECTORS 2" in (tmp_path / "out" / "tiny_vectors.h").read_text()


@pytest.mark.skipif(shutil.which(RISCV) is None, reason=f"{RISCV} is not installed")
def test_code_size_on_a_chip(edgeq, model: Path, tmp_path: Path) -> None:
    data = edgeq("build", model, "-o", tmp_path / "out", "--target", "riscv", "--toolchain", "gcc", "--json").json
    assert 200 < data["flash"]["code"] < 16000
    assert data["runs"]["iss"]["cycles"]["total"] > data["runs"]["iss"]["instructions"] > 2000
    assert data["comparisons"]["iss"]["tensors"] == 2
    again = edgeq("build", model, "-o", tmp_path / "out", "-t", "riscv", "--toolchain", "gcc", "--json", "-O3", "--no-check").json
    assert again["flash"]["code"] > data["flash"]["code"] and again["comparisons"] == {}
    over = edgeq(
        "build", model, "-o", tmp_path / "no", "-t", "riscv", "--toolchain", "gcc", "--budget", f"flash={data['flash']['weights'] + 100}"
    )
    assert "of flash" in over.error and "code" in over.error and not (tmp_path / "no").exists()


REFUSED = {
    "an unknown target": (["--target", "z80"], "unknown target 'z80'"),
    "an unknown tool chain": (["--toolchain", "icc"], "no tool chain 'icc'"),
    "too little flash": (["--budget", "flash=300"], "too much"),
    "too little RAM": (["--budget", "ram=50"], "the peak is step 0 'first/conv'"),
    "a budget that is none": (["--budget", "flash=lots"], "not a size"),
    "a budget of something else": (["--budget", "time=3"], "not a budget"),
    "calibration of a quantized model": (["--method", "kl", "--no-equalize"], "quantized already. Fix: leave --method, --no-equalize out"),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(edgeq, model: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    before = sorted(tmp_path.rglob("*"))
    assert message in edgeq("build", model, "-o", tmp_path / "out", *arguments).error
    assert sorted(tmp_path.rglob("*")) == before


def test_too_much_says_by_how_much_and_where(edgeq, model: Path, tmp_path: Path) -> None:
    message = edgeq("build", model, "-o", tmp_path / "out", "--budget", "ram=100").error
    assert "of RAM, the budget has 100 B: " in message and "B too much" in message and "'hidden' 90 B" in message
    message = edgeq("build", model, "-o", tmp_path / "out", "--budget", "flash=0K,ram=1M").error
    assert "not positive" in message
    message = edgeq("build", model, "-o", tmp_path / "out", "--budget", "flash=400").error
    assert "largest tables: 'dense <b>&' 360 B, 'first/conv' 54 B" in message


def test_a_missing_tool_chain(edgeq, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    message = edgeq("build", model, "-o", tmp_path / "out", "--target", "cortex-m4", "--toolchain", "gcc").error
    assert "not installed" in message and "Fix: apt-get install" in message and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["model.tflite", "model.onnx", "model.eqg", "model.txt", "model"])
@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\x1c\0\0\0TFL3" + bytes(40), b"edgeq-graph 1\n99\n{}"], ids=["empty", "text", "tfl3", "eqg"]
)
def test_garbage(edgeq, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert name in edgeq("build", tmp_path / name, "-o", tmp_path / "out").error
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_places_that_cannot_be_written(edgeq, model: Path, tmp_path: Path, chain: str) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "out", Path("/proc/out")):
        message = edgeq("build", model, "-o", place, "--toolchain", chain).error
        assert str(place) in message
    assert "no such" in edgeq("build", tmp_path / "nowhere.onnx", "-o", tmp_path / "out").error.lower()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "tiny.eqg"]


def test_a_build_that_differs_is_not_written(edgeq, model: Path, tmp_path: Path, chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    original = artifact.Table

    def miscompiled(symbol: str, array: np.ndarray) -> object:
        return original(symbol, array + 50 if symbol.endswith("_bias") else array)

    monkeypatch.setattr(artifact, "Table", miscompiled)
    message = edgeq("build", model, "-o", tmp_path / "out", "--toolchain", chain).error
    assert "does not compute what the simulator says: first difference: tensor 'hidden', vector " in message
    assert not (tmp_path / "out").exists()
    assert edgeq("build", model, "-o", tmp_path / "out", "--toolchain", chain, "--no-check").code == 0
    assert edgeq("compare", tmp_path / "out").code == 1


def test_what_is_known_of_the_quantization_goes_along(edgeq, float_model: Path, tmp_path: Path, chain: str) -> None:
    assert edgeq("quantize", float_model, "--calib", "random", "-o", tmp_path / "q").code == 0
    assert edgeq("build", tmp_path / "q", "-o", tmp_path / "a", "--toolchain", chain).code == 0
    assert edgeq("build", tmp_path / "a", "-o", tmp_path / "b", "--toolchain", chain).code == 0
    first = json.loads((tmp_path / "q" / "measurements.json").read_text())["quantization"]
    for folder in ("a", "b"):
        assert json.loads((tmp_path / folder / "measurements.json").read_text())["quantization"] == first
        assert (tmp_path / folder / "precision.toml").read_bytes() == (tmp_path / "q" / "precision.toml").read_bytes()


@pytest.mark.parametrize("target", ["cortex-m55", "riscv-v", "riscv-vh", "riscv-b"])
def test_without_its_emulator_a_build_says_that_it_was_not_run(
    edgeq, model: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    which = shutil.which
    monkeypatch.setattr("shutil.which", lambda name: None if name.startswith("qemu") else which(name))
    text = edgeq("build", model, "-o", tmp_path / "a", "-t", target)
    assert text.code == 0 and "NOT RUN. QEMU is not installed" in text.out and "qemu-system-" in text.out
    data = edgeq("build", model, "-o", tmp_path / "b", "-t", target, "--json").json
    assert data["not_run"].startswith("QEMU is not installed") and not data["comparisons"] and data["flash"]["code"] > 0
    assert "QEMU is not installed" in edgeq("compare", tmp_path / "a").error


def test_a_build_tells_what_was_lost_and_how_to_go_on(edgeq, float_model: Path, samples: Path, tmp_path: Path, chain: str) -> None:
    shown = edgeq("build", float_model, "--calib", samples, "-o", tmp_path / "o p", "--toolchain", chain).out
    record = json.loads((tmp_path / "o p" / "measurements.json").read_text())["quantization"]
    tensors = {t["name"]: t for t in record["tensors"]}
    lost = min(tensors[n]["sqnr_db"] for n in graphfile.load(tmp_path / "o p").results)
    assert f"SQNR {lost:.1f} dB against the float model, 40 samples" in shown
    assert f"SQNR {record['unseen']['sqnr_db']:.1f} dB on 20 of the samples, calibrated with the other 20" in shown
    assert f"edgeq report '{tmp_path / 'o p'}'" in shown
    worst = min(tensors.values(), key=lambda t: t["sqnr_db"])
    assert (f"'{worst['name']}' {worst['sqnr_db']:.1f} dB" in shown) == (worst["sqnr_db"] < lost)
