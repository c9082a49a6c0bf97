"""edgeq quantize, and building float models: what is written, reviewed, fed back and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq import graphfile
from edgeq.api import is_quantized
from edgeq.ir import DType


def test_a_folder_to_review_and_build_from(edgeq, float_model: Path, samples: Path, tmp_path: Path, chain: str) -> None:
    result = edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "q", "--json")
    assert result.code == 0 and [line[:26] for line in result.err.splitlines()] == ["edgeq: warning: 40 samples"]
    assert sorted(p.name for p in (tmp_path / "q").iterdir()) == ["graph.eqg", "measurements.json", "precision.toml"]
    assert result.json["samples"] == 40 and result.json["law"] == "single"
    graph = graphfile.load(tmp_path / "q")
    assert is_quantized(graph)
    assert edgeq("build", tmp_path / "q", "-o", tmp_path / "a", "--toolchain", chain).code == 0
    assert edgeq("build", float_model, "--calib", samples, "-o", tmp_path / "b", "--toolchain", chain, "--name", "floaty").code == 0
    assert (tmp_path / "a" / "floaty_weights.c").read_bytes() == (tmp_path / "b" / "floaty_weights.c").read_bytes()
    assert (tmp_path / "b" / "precision.toml").read_bytes() == (tmp_path / "q" / "precision.toml").read_bytes()
    assert edgeq("compare", tmp_path / "b", "--input", samples).code == 0


def test_one_file(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    result = edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "q.eqg", "--law", "tflm", "--method", "minmax")
    assert result.code == 0, result.err
    assert graphfile.load(tmp_path / "q.eqg").law == "tflm"
    assert edgeq("simulate", tmp_path / "q.eqg", "--json").json["law"] == "tflm"


def test_an_edited_precision_is_obeyed(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    assert edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "q").code == 0
    edited = tmp_path / "edited.toml"
    edited.write_text('format = 1\n[tensors."y"]\nrange = [-32.0, 31.75]\n')
    assert edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "e", "--precision", edited).code == 0
    assert graphfile.load(tmp_path / "e").type("y").scale == 0.25
    edited.write_text('format = 1\n[tensors."nowhere"]\nrange = [-32.0, 31.75]\n')
    message = edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "f", "--precision", edited).error
    assert "edited.toml:2: the model has no tensor 'nowhere'" in message and not (tmp_path / "f").exists()
    assert (
        "no such file"
        in edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "f", "--precision", tmp_path / "no").error.lower()
    )


def test_one_node_in_half_precision_leaves_the_others_as_they_are(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    """A line for one node says nothing about the others; what follows from it elsewhere is told."""
    assert edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "q").code == 0
    text = (tmp_path / "q" / "precision.toml").read_text()
    whole = graphfile.load(tmp_path / "q")
    *others, last = [n for n in whole.nodes if n.op.traits.products]
    assert others
    (tmp_path / "edited.toml").write_text(text + f'[nodes]\n"{last.name}" = "float16"\n')
    for options, stored in (((), DType.INT8), (("--recipe", "fp16"), DType.FLOAT16)):
        result = edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "e", "--precision", tmp_path / "edited.toml", *options)
        assert result.code == 0, result.err
        graph = graphfile.load(tmp_path / "e")
        nodes = {n.name: n for n in graph.nodes}
        assert graph.type(nodes[last.name].outputs[0]).dtype is DType.FLOAT16
        for n in others:
            assert graph.type(nodes[n.name].outputs[0]).dtype is stored
        told = result.out[result.out.index("changed against the precision file") :]
        assert f"- layers.{last.name}: int8\n  + layers.{last.name}: float16" in told
        assert "'x' float16" in told or "tensors.x: float16" in told
        assert (f"layers.{others[0].name}:" in told) == (stored is DType.FLOAT16)
        again = edgeq(
            "quantize", float_model, "--calib", samples, "-o", tmp_path / "r", "--precision", tmp_path / "e" / "precision.toml", "--json"
        )
        assert "changed" not in again.json
        assert (tmp_path / "r" / "graph.eqg").read_bytes() == (tmp_path / "e" / "graph.eqg").read_bytes()
    unedited = tmp_path / "q" / "precision.toml"
    same = edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "s", "--precision", unedited, "--json")
    assert "changed" not in same.json


def test_random_calibration_must_be_asked_for_and_warns(edgeq, float_model: Path, tmp_path: Path, chain: str) -> None:
    message = edgeq("build", float_model, "-o", tmp_path / "out", "--toolchain", chain).error
    assert "no calibration samples" in message and "--calib random" in message and not (tmp_path / "out").exists()
    result = edgeq("build", float_model, "-o", tmp_path / "out", "--toolchain", chain, "--calib", "random")
    assert result.code == 0 and "warning: calibrated on random data" in result.err


def test_accuracy_of_float_and_quantized(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    from edgeq.quantize.floating import evaluate_float

    x = np.random.default_rng(4).standard_normal((50, 12)).astype(np.float32)
    y = evaluate_float(graphfile.load(float_model), {"x": x})["y"].reshape(50, -1).argmax(1)
    np.savez(tmp_path / "test.npz", x=x, y=y)
    alone = edgeq("accuracy", float_model, "--data", tmp_path / "test.npz", "--json").json
    assert alone["right"] == {"float": 50, "simulator": None, "runner": None}
    both = edgeq("accuracy", float_model, "--data", tmp_path / "test.npz", "--calib", samples, "--json").json
    assert both["right"]["float"] == 50 and 46 <= both["right"]["simulator"] <= 50
    edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "q")
    beside = edgeq("accuracy", tmp_path / "q", "--data", tmp_path / "test.npz", "--float-model", float_model, "--json").json
    assert beside["right"] == both["right"]
    assert "there is no C to run" in edgeq("accuracy", float_model, "--data", tmp_path / "test.npz", "--runner", "host").error


def test_folders_and_tables_hold_labelled_samples(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    """The same numbers as an .npz, in folders of classes and as a table, score alike; uint8 ones as pixels, too."""
    x = np.random.default_rng(5).integers(0, 256, (20, 12)).astype(np.uint8)
    y = np.arange(20) // 5
    np.savez(tmp_path / "a.npz", x=(x / 255 - 0.5) / 0.25, y=y)
    (tmp_path / "a.csv").write_text("label," + ",".join("abcdefghijkl") + "\n" + "".join(
        ",".join(["pqrs"[label], *map(str, row)]) + "\n" for row, label in zip(x, y, strict=True)
    ))  # fmt: skip
    for i, row in enumerate(x):
        (tmp_path / "set" / "pqrs"[y[i]]).mkdir(parents=True, exist_ok=True)
        np.save(tmp_path / "set" / "pqrs"[y[i]] / f"{i:02}.npy", row)
    want = edgeq("accuracy", float_model, "--data", tmp_path / "a.npz", "--calib", samples, "--json").json
    assert 0 < want["right"]["float"] < 20
    for name in ("a.csv", "set"):
        pixels = ("--mean", "0.5", "--std", "0.25")
        found = edgeq("accuracy", float_model, "--data", tmp_path / name, *pixels, "--json").json
        assert found["right"]["float"] == want["right"]["float"]
        other = edgeq("accuracy", float_model, "--data", tmp_path / name, *pixels, "--classes", "s,r,q,p", "--json").json
        assert other["right"] != found["right"]
        assert edgeq("quantize", float_model, "--calib", tmp_path / name, *pixels, "-o", tmp_path / f"{name}.eqg").code == 0
    assert (tmp_path / "a.csv.eqg").read_bytes() == (tmp_path / "set.eqg").read_bytes()
    raw = edgeq("accuracy", float_model, "--data", tmp_path / "set", "--json")
    assert raw.code == 0 and raw.err.count("taken as the real values 0 to 255") == 1
    assert "--mean" in edgeq("quantize", float_model, "--calib", samples, "--mean", "0.5", "-o", tmp_path / "f.eqg").error
    assert "no labels" in edgeq("accuracy", float_model, "--data", tmp_path / "set" / "p").error
    told = edgeq("accuracy", float_model, "--data", tmp_path / "a.csv", *pixels, "--json").err
    assert "alphabetical order: 0 p, 1 q, 2 r, 3 s" in told and told.count("--classes") == 1
    assert "alphabetical" not in raw.err + edgeq("accuracy", float_model, "--data", tmp_path / "a.csv", *pixels, "--classes", "p,q,r,s").err


def test_stored_integers_mean_real_values(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    x = np.load(samples)["x"]
    stored = np.clip(np.rint(x / 0.03125) + 3, -128, 127).astype(np.int8)
    np.savez(tmp_path / "stored.npz", x=stored, y=np.zeros(40, int))
    np.savez(tmp_path / "real.npz", x=(stored.astype(np.float32) - 3) * np.float32(0.03125), y=np.zeros(40, int))
    for name, extra in (("stored", ["--stored", "0.03125,3"]), ("real", [])):
        assert edgeq("quantize", float_model, "--calib", tmp_path / f"{name}.npz", "-o", tmp_path / f"{name}.eqg", *extra).code == 0
    assert (tmp_path / "stored.eqg").read_bytes() == (tmp_path / "real.eqg").read_bytes()
    assert "their scale is not known" in edgeq("quantize", float_model, "--calib", tmp_path / "stored.npz", "-o", tmp_path / "n.eqg").error
    assert "their scale is not known" in edgeq("accuracy", float_model, "--data", tmp_path / "stored.npz").error
    a = edgeq("accuracy", float_model, "--data", tmp_path / "stored.npz", "--stored", "0.03125,3", "--json").json
    assert a == edgeq("accuracy", float_model, "--data", tmp_path / "real.npz", "--json").json
    assert "not positive" in edgeq("accuracy", float_model, "--data", tmp_path / "stored.npz", "--stored", "0,3").error


def bad_samples() -> dict[str, tuple[dict[str, np.ndarray], str]]:
    x = np.zeros((4, 12), np.float32)
    return {
        "another shape": ({"x": x[:, :11]}, "does not fit"),
        "NaN": ({"x": np.where(np.arange(48).reshape(4, 12) == 7, np.nan, x)}, "NaN"),
        "infinity": ({"x": x + np.inf}, "NaN or infinity"),
        "no samples": ({"x": x[:0]}, "does not fit"),
        "text": ({"x": np.full((4, 12), "a")}, "not numbers"),
        "objects": ({"x": np.array([None, {}])}, "hold Python objects"),
        "so large that the model overflows": ({"x": x + np.float32(3e38)}, "computes NaN or infinity"),
    }


@pytest.mark.parametrize(("arrays", "message"), bad_samples().values(), ids=bad_samples().keys())
@pytest.mark.parametrize("verb", ["quantize", "build"])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_bad_calibration(edgeq, float_model: Path, tmp_path: Path, verb: str, arrays: dict[str, np.ndarray], message: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)
    assert message in edgeq(verb, float_model, "--calib", tmp_path / "bad.npz", "-o", tmp_path / "out").error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.npz", "floaty.eqg"]


def test_other_refusals(edgeq, float_model: Path, model: Path, samples: Path, tmp_path: Path) -> None:
    assert "no calibration" in edgeq("quantize", float_model, "-o", tmp_path / "q").error
    assert "no calibration data" in edgeq("quantize", float_model, "--calib", tmp_path / "none.npz", "-o", tmp_path / "q").error
    assert "quantized already" in edgeq("quantize", model, "--calib", "random", "-o", tmp_path / "q").error.replace("edgeq: warning", "")
    assert "unknown method 'best'" in edgeq("quantize", float_model, "--calib", samples, "--method", "best", "-o", tmp_path / "q").error
    assert "unknown law" in edgeq("quantize", float_model, "--calib", samples, "--law", "mine", "-o", tmp_path / "q").error
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("precious")
    assert "holds something else" in edgeq("quantize", float_model, "--calib", samples, "-o", tmp_path / "other").error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["calib.npz", "floaty.eqg", "other", "tiny.eqg"]


def test_weights_in_few_bits(edgeq, float_model: Path, samples: Path, tmp_path: Path, chain: str) -> None:
    """Build, self-test, report, faults and export know the format; the flash of weights falls."""
    sizes = {}
    for bits in ("int8", "4", "int3", "2"):
        folder = tmp_path / bits
        arguments = ("build", float_model, "--calib", samples, "-o", folder, "--toolchain", chain, "--weights", bits, "--json")
        result = edgeq(*arguments)
        assert result.code == 0, result.err
        sizes[bits] = result.json["flash"]["weights"]
        assert edgeq("compare", folder, "--input", samples).code == 0
        assert edgeq("report", folder).code == 0
        name = bits if bits.startswith("int") else f"int{bits}"
        assert f'weights = "{name}"' in (folder / "precision.toml").read_text()
    assert sizes["int8"] > sizes["4"] > sizes["int3"] > sizes["2"]
    labelled = tmp_path / "labelled.npz"
    x = np.random.default_rng(4).standard_normal((20, 12)).astype(np.float32)
    np.savez(labelled, x=x, y=np.zeros(20, np.int64))
    found = edgeq("faults", tmp_path / "4", "--data", labelled, "--p", "1%", "--patterns", 3)
    assert found.code == 0, found.err
    assert edgeq("build", tmp_path / "4", "-o", tmp_path / "h", "--toolchain", chain, "--hardened").code == 0
    run = edgeq("run", tmp_path / "h", "--vectors", 4, "--faults", "random", "--p", "1%")
    assert run.code == 0 and "bit-exact" in run.out, run.err
    assert edgeq("export", tmp_path / "4", "--format", "cmsis-pack", "-o", tmp_path / "pack").code == 0
    assert "choose one of" in edgeq("quantize", float_model, "--calib", samples, "--weights", "int9", "-o", tmp_path / "q").error
