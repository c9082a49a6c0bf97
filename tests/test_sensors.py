"""Windows of sensors: near their formulas, the same bytes in C and on chips, a model behind them, refusals, the verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from installed import need_emulator
from test_features import classifier, pushed
from typer.testing import CliRunner

from edgeq import api, features, target
from edgeq.cli import main
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.graphfile import save
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.reshape import Reshape
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import dequantize_array, simulate

IMU = {
    "kind": "imu", "channels": 6, "window": 32, "hop": 8, "scale": [1 / 16384] * 3 + [1 / 131] * 3, "mean": [0, 0, 1, 0, 0, 0],
    "std": [0.5, 0.5, 0.25, 40, 40, 20],
}  # fmt: skip
CASES = {"samples": {}, "magnitude": {"spectrum": "magnitude"}, "db": {"spectrum": "db", "n_fft": 60, "window_function": "hamming"}}


def motion(moments: int) -> Array:
    """A wrist that swings, int16 ``[moments, 6]``; it stands still, then knocks against the ends of the range."""
    t, rng = np.arange(moments)[:, None], np.random.default_rng(0)
    swing = np.sin(t * np.array([0.3, 0.35, 0.1, 0.9, 0.7, 0.2]) + np.arange(6)) * 9000 + rng.normal(0, 90, (moments, 6))
    swing[:, 2] += 16384
    swing[moments // 2 : moments // 2 + 40] = 0
    swing[-3:] = [[32767], [-32768], [40000]]
    return swing.clip(-32768, 32767).astype(np.int16)


def formula(d: features.SensorDescription, samples: Array) -> Array:
    """All windows in float64; before the first moment each channel has its mean."""
    factor, offset = d.affine()
    x = np.concatenate([np.zeros((d.window - d.step, d.channels)), samples * factor + offset])
    found = np.stack([x[i : i + d.window] for i in range(0, len(x) - d.window + 1, d.step)])
    if d.spectrum == "none":
        return found
    weights = scipy.signal.get_window(d.window_function, d.window)
    magnitude = np.abs(np.fft.rfft(found.swapaxes(1, 2) * weights, d.length))
    return magnitude if d.spectrum == "magnitude" else 20 * np.log10(np.maximum(magnitude, d.log_floor))


def written(graph: Graph, chip: str, path: Path) -> Path:
    program = lower(graph, target.load(chip))
    write(emit(program, plan(program), "listen"), path)
    return path


@pytest.mark.parametrize("case", CASES)
def test_windows_are_those_of_the_formula(case: str, tmp_path: Path) -> None:
    """From 60 dB on, spectra in dB to 0.1 where they are above what a step of the samples is; the same bytes from C and chips."""
    d = features.parse_sensor({**IMU, **CASES[case]})
    graph, x = normalise(features.build_sensor(d)), motion(240)
    steps = x.reshape(-1, d.step, d.channels)
    got = simulate(graph, {features.SAMPLES: steps})
    t = graph.type(graph.results[0])
    real, want = dequantize_array(got.outputs[graph.results[0]], t.scale, 0), formula(d, x)
    if case == "db":
        heard = want > 10
        assert heard.sum() > 500 and np.abs(real - want)[heard].max() < 0.1
    else:
        assert 10 * np.log10((want**2).sum() / ((real - want) ** 2).sum()) > 60
    for chip in ("host", "cortex-m4", "riscv"):
        if chip != "host":
            need_emulator(chip)
        chain = "gcc" if chip == "host" else None
        found = run(written(graph, chip, tmp_path / chip), target.load(chip), {features.SAMPLES: steps}, chain=chain)
        assert compare(got, found).bit_exact, chip


def identity(shape: tuple[int, ...], scale: float) -> Graph:
    """A network that gives its input."""
    q = QParams((scale,), 5)
    tensors = [Tensor("x", TensorType(shape, DType.INT8, q)), Tensor("y", TensorType((1, int(np.prod(shape))), DType.INT8, q))]
    node = Node("y", Reshape((1, int(np.prod(shape)))), ("x",), ("y",))
    return Graph("net", (node,), {t.name: t for t in tensors}, ("x",), ("y",))


@pytest.mark.parametrize(
    ("shape", "more", "turned"),
    [
        ((1, 32, 6), {}, False), ((1, 6, 32), {}, True), ((1, 1, 32, 6), {}, False), ((192,), {}, False),
        ((192,), {"layout": "channels_first"}, True), ((1, 6, 17, 1), {"spectrum": "magnitude"}, False),
        ((1, 17, 6), {"spectrum": "magnitude"}, True), ((102,), {"spectrum": "db", "layout": "time_first"}, True),
    ],
)  # fmt: skip
def test_a_network_reads_windows_in_its_own_order(shape: tuple[int, ...], more: dict[str, Any], turned: bool, tmp_path: Path) -> None:
    save(identity(shape, 0.4), tmp_path / "net.eqg")
    lines = [f"{k} = {v!r}" for k, v in {**IMU, **more, "model": "net.eqg"}.items()]
    (tmp_path / "wrist.toml").write_text("\n".join(lines))
    graph, x = api.load(tmp_path / "wrist.toml"), motion(96)
    got = simulate(graph, {features.SAMPLES: x.reshape(-1, 8, 6)}).outputs[graph.results[0]]
    want = formula(features.parse_sensor({**IMU, **more}), x)
    want = (want.swapaxes(1, 2) if turned else want).reshape(len(got), -1)
    steps = np.clip(want / 0.4 + 5, -128, 127)
    apart = np.abs(got.reshape(len(got), -1) - steps)[want > (10 if more.get("spectrum") == "db" else -np.inf)]
    assert apart.max() < (1.1 if "spectrum" in more else 0.51)


def test_blocks_of_any_size_give_what_whole_steps_give(tmp_path: Path) -> None:
    net = classifier(6, 32)
    save(net, tmp_path / "net.eqg")
    lines = [f"{k} = {v!r}" for k, v in {**IMU, "model": "net.eqg"}.items()]
    (tmp_path / "wrist.toml").write_text("\n".join(lines))
    graph, x = api.load(tmp_path / "wrist.toml"), motion(1600)
    want = simulate(graph, {features.SAMPLES: x.reshape(-1, 8, 6)}).outputs[graph.results[0]]
    np.testing.assert_array_equal(pushed(written(graph, "host", tmp_path / "m"), x.ravel(), 5, 48), want.reshape(len(want), -1))


REFUSED = {
    "did you mean 'window'": {"windw": 3},
    "expected a whole number": {"channels": 1.5},
    "channels = 0": {"channels": 0},
    "hop = 200 does not fit a window of 128": {"hop": 200},
    "mean has 2 numbers for 3 channels": {"channels": 3, "mean": [1, 2]},
    "must be above 0": {"std": [0]},
    "expected a list of numbers": {"std": ["a"]},
    "a window of 9000 samples": {"window": 9000},
    "n_fft = 64 for a window of 128": {"spectrum": "db", "n_fft": 64},
    "has the factor 7": {"spectrum": "db", "window": 112},
    "window = 'round'": {"spectrum": "db", "window_function": "round"},
    "one of 'none', 'magnitude', 'db'": {"spectrum": "power"},
    "numbers are finite": {"mean": 10**400},
    "1e+30 at most": {"sample_rate": 10**400},
    "must be finite in float32": {"std": 1e-320},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_with_its_numbers(message: str) -> None:
    with pytest.raises(EdgeqError) as refused:
        features.parse_sensor({"kind": "sensor", **REFUSED[message]})
    assert message in f"{refused.value.what} {refused.value.why} {refused.value.fix}"


def test_a_network_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    d = features.parse_sensor(IMU)
    with pytest.raises(EdgeqError, match="do not fit input 'x'") as refused:
        features.join_sensor(d, identity((1, 32, 5), 0.1), "m")
    assert "windows are 32 x 6, the model reads x s8[1x32x5]" in refused.value.why
    with pytest.raises(EdgeqError, match="do not fit the network's input"):
        whole = features.join_sensor(features.parse_sensor({**IMU, "scale": [1e9]}), identity((1, 32, 6), 0.1), "m")
        lower(normalise(whole), target.load("host"))


def test_the_verb_computes_the_windows_of_a_recording(tmp_path: Path) -> None:
    x = motion(64)
    (tmp_path / "wrist.toml").write_text("\n".join(f"{k} = {v!r}" for k, v in IMU.items()))
    values = (x * np.array(IMU["scale"])).tolist()
    rows = [",".join(map(repr, [i / 100, *row])) for i, row in enumerate(values)]
    (tmp_path / "walk.csv").write_text("\n".join(["time,ax,ay,az,gx,gy,gz", *rows]))
    arguments = ["features", *(str(tmp_path / n) for n in ("wrist.toml", "walk.csv"))]
    done = CliRunner().invoke(main.app, [*arguments, "-o", str(tmp_path / "f.npz"), "--frames", str(tmp_path / "s.npz")])
    assert done.exit_code == 0 and "walk  5 windows" in done.output and "0.32 s every 0.08 s at 100 Hz" in done.output
    np.testing.assert_array_equal(np.load(tmp_path / "s.npz")[features.SAMPLES].reshape(-1, 6), x)
    np.testing.assert_allclose(np.load(tmp_path / "f.npz")["walk"], formula(features.parse_sensor(IMU), x)[3:], atol=2e-3)
    with pytest.raises(EdgeqError, match="something else than numbers"):
        api.sensor_features(tmp_path / "wrist.toml", np.full((64, 6), np.nan))
    with pytest.raises(EdgeqError, match="samples of shape"):
        api.sensor_features(tmp_path / "wrist.toml", x[:, :5])
    with pytest.raises(EdgeqError, match="a recording for a description of sensors"):
        api.sound_features(tmp_path / "wrist.toml", x[:, 0])
