"""edgeq faults, and recipe robust."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgeq import graphfile
from edgeq.faults import FaultMap, apply, hardened, parameters
from edgeq.formats.code import Code
from edgeq.ops.weights import has_weights
from edgeq.simulate import fit_inputs, simulate
from edgeq.target import load
from edgeq.tune import robust as robust_search


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    np.savez(tmp_path / "samples.npz", x=np.random.default_rng(4).standard_normal((48, 1, 12)).astype(np.float32))
    return tmp_path / "samples.npz"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    rng = np.random.default_rng(3)
    np.savez(tmp_path / "labelled.npz", x=rng.standard_normal((40, 1, 12)).astype(np.float32), y=rng.integers(0, 4, 40))
    return tmp_path / "labelled.npz"


def test_robust_is_searched_built_and_studied(edgeq, float_model: Path, samples: Path, labelled: Path, tmp_path: Path, chain: str) -> None:
    robust = tmp_path / "robust"
    found = edgeq("quantize", float_model, "--calib", samples, "--recipe", "robust", "--p", "1%", "-o", robust, "--json").json["robust"]
    tried = {c["code"]: c for c in found["candidates"] if c["clip"] == 1}
    widths = {code: c["width"] for code, c in tried.items()}
    assert found["p"] == 0.01 and widths["5+hamming"] == 8 and max(widths.values()) <= 14 and len(tried) > len(robust_search.CODES)
    assert tried[found["code"]]["worst"] < min(c["worst"] for code, c in tried.items() if code.startswith("8"))
    assert str(graphfile.load(robust).formats[0]) == found["code"]
    built = edgeq("build", robust, "-o", tmp_path / "c", "--toolchain", chain)
    assert built.code == 0 and "bit-exact" in built.out, built.err
    text = "".join(f.read_text() for f in (tmp_path / "c").glob("*.c"))
    assert "eq_decode_weights(" in text and "eq_decode_biases(" in text
    options = ("--data", labelled, "--p", "0.1%,2%", "--patterns", 3)
    cpu = edgeq("faults", robust, *options, "--json").json
    assert [p["p"] for p in cpu["points"]] == [0.001, 0.02] and len(cpu["points"][0]["errors"]) == 3 and len(cpu["layers"]) == 2
    simulated = edgeq("faults", robust, *options, "--device", "simulator", "--json").json
    assert simulated["points"] == cpu["points"] and simulated["layers"] == cpu["layers"]


def test_a_code_may_be_given(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    result = edgeq("quantize", float_model, "--calib", samples, "--recipe", "robust", "--code", "4+offset+once", "-o", tmp_path / "q.eqg")
    assert result.code == 0 and "4+offset+once" in result.out
    graph = graphfile.load(tmp_path / "q.eqg")
    assert graph.formats == (Code(4, True),) and np.abs(graph.tensors["w"].data).max() <= 7


def test_tables_small_enough_are_stored_three_times(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    small, large = sorted(t.data.size for t in graphfile.load(float_model).tensors.values() if t.data is not None and t.data.ndim > 1)
    options = ("--recipe", "robust", "--code", f"5+hamming+small{small}", "-o", tmp_path / "q.eqg", "--json")
    found = edgeq("quantize", float_model, "--calib", samples, *options).json["robust"]
    assert found["candidates"][0]["width"] == pytest.approx(8 * (3 * small + large) / (small + large))
    assert graphfile.load(tmp_path / "q.eqg").formats[0] == Code(5, check="hamming", votes=True, small=small)


def test_weights_with_a_zero_point_and_a_checksum(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    options = ("--calib", samples, "--recipe", "robust", "--code", "5+hamming+asymmetric+crc")
    for more in ((), ("--per-tensor",), ("--rounding", "truncate")):
        result = edgeq("quantize", float_model, *options, *more, "-o", tmp_path / "q.eqg", "--json")
        graph = graphfile.load(tmp_path / "q.eqg")
        w = graph.tensors["w"].data.astype(int).reshape(len(graph.tensors["w"].data), -1)
        low, high = np.minimum(w.min(1), 0), np.maximum(w.max(1), 0)
        assert graph.formats[0] == Code(5, check="hamming", votes=True, asymmetric=True, crc=True)
        assert (high - low).max() <= 31 and max(high.max(), -low.min()) > 16
        width = result.json["robust"]["candidates"][0]["width"]
        assert 8 < width < 8 + 48 / w.shape[1] + 1
    assert "needs 9 bits of 8" in edgeq("quantize", float_model, *options[:-1], "8+asymmetric", "-o", tmp_path / "n.eqg").error
    assert not (tmp_path / "n.eqg").exists()


def test_outputs_are_cut_to_the_range_of_calibration(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    """The same without faults; under faults nothing leaves the range that calibration reached."""
    options = ("--calib", samples, "--recipe", "robust", "--code", "5", "--equalize")
    found = {}
    for name, more in (("free", ()), ("cut", ("--clamp",))):
        result = edgeq("quantize", float_model, *options, *more, "-o", tmp_path / name, "--json")
        assert result.json["options"].get("clamp") == ("true" if more else None)
        graph = graphfile.load(tmp_path / name)
        program = hardened(graph, load("host"))
        with np.load(samples) as file:
            inputs = fit_inputs(graph, dict(file))
        runs = [simulate(graph, inputs, steps=True, parameters=parameters(apply(program, FaultMap(seed=5, p=p)))) for p in (0.0, 0.02)]
        layers = [call.output for call in program.calls if has_weights(call.params)]
        found[name] = [{n: dict(run.steps)[n] for n in layers} for run in runs]
    for n, clean in found["free"][0].items():
        assert np.array_equal(found["cut"][0][n], clean)
        under = found["cut"][1][n]
        assert clean.min() <= under.min() and under.max() <= clean.max() and not np.array_equal(under, clean)
    assert any((a.max() > found["free"][0][n].max()) or (a.min() < found["free"][0][n].min()) for n, a in found["free"][1].items())


@pytest.mark.parametrize("recipe", [(), ("--recipe", "robust", "--code", "6+hamming")], ids=["int8", "robust"])
def test_weights_per_tensor_and_truncated(edgeq, float_model: Path, samples: Path, tmp_path: Path, recipe: tuple[str, ...]) -> None:
    def stored(*options: str) -> tuple[set[float], np.ndarray, dict[str, str]]:
        place = tmp_path / "".join(options)
        result = edgeq("quantize", float_model, "--calib", samples, *recipe, *options, "-o", place, "--json")
        t = graphfile.load(place).tensors["w"]
        return set(t.type.q.scale), t.data.astype(int), result.json["options"]

    scales, _, _ = stored("--rounding", "nearest")
    one, nearest, options = stored("--rounding", "nearest", "--per-tensor")
    same, down, record = stored("--rounding", "truncate", "--per-tensor")
    assert len(scales) > 1 and one == same == {max(scales)} and options["per_tensor"] == "true" and record["rounding"] == "truncate"
    assert set(np.unique(np.abs(nearest) - np.abs(down))) == {0, 1} and 0.3 < (nearest != down).mean() < 0.7


def test_plots_and_tables(edgeq, model: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "d.npz", x=rng.integers(-128, 128, (10, 1, 6, 5, 2)).astype(np.int8), y=rng.integers(0, 4, 10))
    options = ("--data", tmp_path / "d.npz", "--p", "0.01%..5%", "--patterns", 2, "--device", "simulator")
    result = edgeq("faults", model, *options, "--plot", tmp_path / "plot.svg", "--map", "stuck")
    assert result.code == 0 and "± " in result.out and "0.793" in result.out, result.err
    assert (tmp_path / "plot.svg").read_text().startswith("<?xml")
    assert edgeq("faults", model, *options, "--map", "nothing").code == 1


def test_refusals(edgeq, model: Path, float_model: Path, samples: Path, labelled: Path, tmp_path: Path) -> None:
    out = tmp_path / "q"
    assert "add --recipe robust" in edgeq("quantize", float_model, "--calib", samples, "--p", "1%", "-o", out).err
    robust = ("--calib", samples, "--recipe", "robust", "-o", out)
    assert "no storage code" in edgeq("quantize", float_model, *robust, "--code", "9").err
    assert edgeq("quantize", float_model, *robust, "--p", "much").code == 2
    assert "bit error rate" in edgeq("quantize", float_model, *robust, "--p", "90%").err
    assert not out.exists()
    assert edgeq("faults", model, "--data", labelled, "--p", "5%..1%").code == 2
    assert "calibration" in edgeq("faults", float_model, "--data", labelled).err


def test_run_and_compare_under_a_map(edgeq, folder: Path, inputs: Path, tmp_path: Path) -> None:
    chosen = ("--faults", "asymmetric:3", "--p", "5%", "--seed", 4)
    clean = edgeq("run", folder, "-i", inputs, "-o", tmp_path / "a.npz")
    ran = edgeq("run", folder, "-i", inputs, "-o", tmp_path / "b.npz", *chosen)
    assert clean.code == ran.code == 0 and "bit-exact" in ran.out and "asymmetric, seed 4, p 5 %: " in ran.out and "faults" not in clean.out
    with np.load(tmp_path / "a.npz") as a, np.load(tmp_path / "b.npz") as b:
        assert not np.array_equal(a["y"], b["y"])
    record = edgeq("compare", folder, *chosen, "--json").json["comparisons"][0]
    assert record["bit_exact"] and record["faults"]["seed"] == 4 and record["faults"]["bits"] > 50
    assert edgeq("run", folder, *chosen, "--json").json["faults"] == record["faults"]
    (tmp_path / "list.json").write_text('{"faults": [["s0_weights", 1, 3], ["s1_bias", 0, 1, 0.5]]}')
    assert edgeq("run", folder, "--faults", tmp_path / "list.json", "--json").json["faults"]["bits"] == 3
    assert edgeq("run", folder, "--faults", tmp_path / "list.json", "--p", "1%", "--json").json["faults"]["tables"] == ["s0_weights"]


def test_maps_that_are_refused(edgeq, model: Path, folder: Path, tmp_path: Path) -> None:
    assert edgeq("run", folder, "--faults", "random").code == edgeq("run", folder, "--p", "1%").code == 2
    assert edgeq("compare", folder, "--seed", 1).code == edgeq("run", folder, "--faults", "random", "--p", "1%", "--seed", -1).code == 2
    assert "no fault map 'nothing'" in edgeq("compare", folder, "--faults", "nothing", "--p", "1%").error
    assert edgeq("build", model, "-o", tmp_path / "m4", "--target", "cortex-m4", "--no-check").code == 0
    assert "`edgeq build --hardened`" in edgeq("run", tmp_path / "m4", "--faults", "random", "--p", "1%").error
    result = edgeq("build", model, "-o", tmp_path / "z", "--hardened", "--tuning", tmp_path / "t")
    assert "both choose the kernels" in result.error and not (tmp_path / "z").exists()


def test_build_takes_the_rate_and_the_code(edgeq, float_model: Path, samples: Path, tmp_path: Path, chain: str) -> None:
    options = ("--calib", samples, "--toolchain", chain, "-o", tmp_path / "c", "--json")
    assert edgeq("build", float_model, "--recipe", "robust", "--p", "1%", "--code", "6+hamming", *options).code == 0
    assert str(graphfile.load(tmp_path / "c").formats[0]) == "6+hamming"
    assert "add --recipe robust" in edgeq("build", float_model, "--p", "1%", *options).err


def test_equalization_can_be_switched_off(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    found = []
    for option in (), ("--equalize",), ("--no-equalize",):
        edgeq("quantize", float_model, "--calib", samples, *option, "-o", tmp_path / "q.eqg")
        found.append((tmp_path / "q.eqg").read_bytes())
    plain = edgeq("quantize", float_model, "--calib", samples, "--no-equalize", "-o", tmp_path / "q.eqg", "--json").json
    assert found[0] == found[1] and plain["options"]["equalized_tensors"] == "0"
