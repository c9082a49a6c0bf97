"""Sound features: near the formulas of librosa and torchaudio, the same bytes in C and on chips, refusals, and a model behind them."""

from __future__ import annotations

import ctypes
import io
import subprocess
import wave
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.fft
import scipy.signal
from installed import need_emulator, need_programs
from typer.testing import CliRunner
from week_of_noise import hear

from edgeq import api, features, target
from edgeq.api.sounds import features_of
from edgeq.cli import main
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.features.description import mel_bank
from edgeq.graphfile import save
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.lower import lower
from edgeq.numerics import quantize
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.reshape import Reshape
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import dequantize_array, simulate

LIBROSA = {"n_fft": 512, "win_length": 400}  # decibels over Slaney's bands
TORCHAUDIO = {"n_fft": 480, "hop_length": 240, "frames": 2, "log": "ln", "log_mode": "add", "log_floor": 1e-6, "htk": True, "norm": "none"}
TORCHAUDIO |= {"lifter": 22}
CASES = [(k, p, more) for k in ("stft", "log_mel", "mfcc", "pcen") for p in ("float32", "half", "int16") for more in (LIBROSA, TORCHAUDIO)]
LEAST = {"float32": 60, "half": 50, "int16": 40}  # dB


def description(kind: str, precision: str, more: dict[str, Any]) -> features.Description:
    return features.parse({"kind": kind, "precision": precision, **({"power": 1} if kind == "stft" else {}), **more})


def formula(d: features.Description, x: Array) -> Array:
    """The features in float64, written anew; before the first sample stand zeros."""
    before = np.zeros(d.length - d.hop_length)
    _, _, spectrum = scipy.signal.stft(
        np.concatenate([before, x / 32768]), window=d.window, nperseg=d.length, noverlap=d.length - d.hop_length, nfft=d.n_fft,
        boundary=None, padded=False, scaling="spectrum",
    )  # fmt: skip
    energy = d.scale * np.abs(spectrum.T * scipy.signal.get_window(d.window, d.length).sum()) ** d.power
    if d.kind == "stft":
        return np.asarray(energy)
    v = energy @ mel_bank(d).T
    if d.kind == "pcen":
        t = d.time_constant * d.sample_rate / d.hop_length
        b = (np.sqrt(1 + 4 * t**2) - 1) / (2 * t**2)
        mean = scipy.signal.lfilter([b], [1, b - 1], v, axis=0, zi=np.full((1, v.shape[1]), 1 - b))[0]
        return np.asarray((v / (d.eps + mean) ** d.gain + d.bias) ** d.pcen_power - d.bias**d.pcen_power)
    limited = np.maximum(v, d.log_floor) if d.log_mode == "max" else v + d.log_floor
    y = {"db": 10 * np.log10(limited), "ln": np.log(limited)}[d.log]
    lift = 1 + d.lifter / 2 * np.sin(np.pi * (np.arange(d.n_mfcc) + 1) / (d.lifter or 1))  # librosa.feature.mfcc
    return np.asarray(scipy.fft.dct(y, norm="ortho")[:, : d.n_mfcc] * lift if d.kind == "mfcc" else y)


@pytest.fixture(scope="module")
def speech() -> Array:
    """Two seconds of spoken digits at 16 kHz, or noise in bursts where there are none; int16."""
    path = Path(__file__).parents[2] / "shared" / "data" / "fsdd" / "fsdd_wav.zip"
    if not path.is_file():
        rng = np.random.default_rng(0)
        return np.asarray(rng.normal(size=32000) * 8000 * np.abs(np.sin(np.arange(32000) / 3000)) ** 4, np.int16)
    with zipfile.ZipFile(path) as archive:
        parts = []
        for name in sorted(n for n in archive.namelist() if n.endswith(".wav"))[::97][:6]:
            with wave.open(io.BytesIO(archive.read(name))) as sound:
                parts.append(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"))
    return np.asarray(scipy.signal.resample_poly(np.concatenate(parts), 2, 1)[:32000].clip(-32768, 32767), np.int16)


def steps(graph: Graph, x: Array) -> Array:
    size = graph.type("samples").size
    return x[: len(x) // size * size].reshape(-1, size)


LIBROSAS: list[tuple[dict[str, Any], list[tuple[float, float]]]] = [  # of librosa.filters.mel (0.11): sum and centre, in bins
    ({}, [(0.03127548, 2.392371), (0.03203296, 56.26592), (0.03198153, 237.7501)]),
    ({"htk": True, "norm": "none"}, [(1.320111, 1.46653), (5.032242, 59.13788), (16.0917, 239.7287)]),
    ({"sr": 22050, "n_fft": 1024, "n_mels": 64, "fmin": 60, "fmax": 9000},
     [(0.0477566, 4.976004), (0.04676763, 87.99276), (0.04644097, 398.398)]),
    ({"sr": 8000, "n_fft": 256, "n_mels": 20, "htk": True, "fmin": 125},
     [(0.03135482, 6.378811), (0.03183687, 43.42727), (0.03199447, 116.3566)]),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "want"), LIBROSAS)
def test_bands_are_librosas(settings: dict[str, Any], want: list[tuple[float, float]]) -> None:
    """The first, the middle and the last one."""
    bank = mel_bank(features.parse({"kind": "mel", **settings}))
    rows = bank[[0, len(bank) // 2, -1]]
    found = np.stack([rows.sum(1), rows @ np.arange(bank.shape[1]) / rows.sum(1)], 1)
    np.testing.assert_allclose(found, want, rtol=2e-6)


@pytest.mark.parametrize(("kind", "precision", "more"), CASES)
def test_features_are_those_of_the_formula(kind: str, precision: str, more: dict[str, Any], speech: Array, tmp_path: Path) -> None:
    d = description(kind, precision, more)
    graph = normalise(features.build(d))
    x = steps(graph, speech)
    got = simulate(graph, {"samples": x})
    t, values = graph.type(graph.results[0]), got.outputs[graph.results[0]].reshape(-1, d.width)
    real = dequantize_array(values, t.scale, t.zero_point) if t.q else values.astype(float)
    want = formula(d, x.ravel())
    assert 10 * np.log10((want**2).sum() / ((real - want) ** 2).sum()) > LEAST[precision]
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(got, run(tmp_path / "m", target.load("host"), {"samples": x}, chain="gcc")).bit_exact


def test_pcen_keeps_the_digits_of_small_means(speech: Array) -> None:
    """Magnitudes of speech at a thousandth of full scale, under a mean that follows fast; a silence does not begin anew."""
    more = {"power": 1, "n_fft": 64, "hop_length": 16, "n_mels": 4, "time_constant": 0.06, "bias": 10.0, "pcen_power": 0.25}
    d, quiet = features.parse({"kind": "pcen", **more}), speech[:8000] // 1000
    x = np.concatenate([np.zeros(16000, np.int16), quiet])
    want, got = formula(d, x), features_of(d, x)
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > LEAST["float32"]


@pytest.mark.parametrize("gain", [0.5, 0.8, 0.98])
@pytest.mark.parametrize(("power", "more"), [(1, {"htk": True, "norm": "none"}), (1, {}), (2, {}), (2, {"bias": 10.0, "pcen_power": 0.25})])
@pytest.mark.parametrize(("rate", "hop", "n_fft"), [(8000, 80, 256), (16000, 160, 512), (44100, 441, 1024), (48000, 200, 1024)])
def test_pcen_in_int16_holds_quiet_bands(
    rate: int, hop: int, n_fft: int, power: int, more: dict[str, Any], gain: float, speech: Array
) -> None:
    """Speech at half its loudness, of which the bands take most of the recording to come down from librosa's first mean of 1."""
    values = {"kind": "pcen", "sample_rate": rate, "hop_length": hop, "n_fft": n_fft, "power": power, "gain": gain, **more}
    x = speech[:16000] // 2
    want, got = (features_of(features.parse({**values, "precision": p}), x).astype(float) for p in ("float32", "int16"))
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > 45


@pytest.mark.parametrize(("chip", "power"), [("cortex-m4", 1), ("cortex-m4", 2), ("riscv", 1), ("riscv", 2)])
def test_log_mel_on_a_chip_in_int16(chip: str, power: int, speech: Array, tmp_path: Path) -> None:
    """40 bands of 25 ms, byte for byte, in less than 60 000 instructions on a Cortex-M4, 120 000 on RV32IM, compiled for size."""
    need_emulator(chip)
    more = {**LIBROSA, "log": "ln", "log_mode": "add", "log_floor": 1e-6, "htk": True, "norm": "none", "power": power}
    graph, machine = normalise(features.build(description("log_mel", "int16", more))), target.load(chip)
    x = steps(graph, speech)[60:72]
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", machine, {"samples": x}, optimize="-Os")
    assert compare(simulate(graph, {"samples": x}), got).bit_exact
    assert got.instructions is not None and got.instructions < {"cortex-m4": 60_000, "riscv": 120_000}[chip]


@pytest.mark.parametrize("precision", LEAST)
def test_silence_and_clipping_are_defined(precision: str, tmp_path: Path) -> None:
    graph = normalise(features.build(description("log_mel", precision, LIBROSA)))
    size = graph.type("samples").size
    x = np.concatenate([np.zeros((4, size)), np.full((4, size), 32767), np.tile([-32768, 32767], (4, size // 2))]).astype(np.int16)
    got = simulate(graph, {"samples": x})
    t, y = graph.type(graph.results[0]), got.outputs[graph.results[0]]
    real = dequantize_array(y, t.scale, 0) if t.q else y.astype(float)
    assert np.isfinite(real).all() and np.allclose(real[3], -100, atol=0.1)
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(got, run(tmp_path / "m", target.load("host"), {"samples": x}, chain="gcc")).bit_exact
    with pytest.raises(EdgeqError, match="NaN"):
        simulate(graph, {"samples": np.full((1, size), np.nan)})


@pytest.mark.parametrize(("kind", "precision"), [(k, p) for k in ("pcen", "log_mel", "mfcc") for p in ("float32", "half", "int16")])
def test_spectra_may_be_scaled(kind: str, precision: str, speech: Array) -> None:
    """As in librosa.pcen(S * 2**31)."""
    d, x = features.parse({"kind": kind, "precision": precision, "scale": 2.0**10 if precision == "int16" else 2.0**31}), speech[:16000]
    want, got = formula(d, x), features_of(d, x).astype(float)
    assert 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > LEAST[precision]
    assert not np.allclose(want, formula(replace(d, scale=1.0), x), atol=0.1)


def test_pcen_of_bands_beyond_integers_is_refused() -> None:
    with pytest.raises(EdgeqError, match="PCEN in int16 of such loud bands"):
        features.build(features.parse({"kind": "pcen", "precision": "int16", "scale": 2.0**31}))


REFUSED = {
    "hop_length = 600 does not fit a window of 512": {"hop_length": 600},
    "win_length = 800 does not fit n_fft = 512": {"win_length": 800},
    "bands from 0 to 9000 Hz do not fit a sample rate of 16000 Hz": {"fmax": 9000},
    "a mel band holds no bin of 62.5 Hz": {"n_fft": 256, "n_mels": 128, "hop_length": 100},
    "'hop_length' is given twice": {"hop_length": 160, "frame_step": 160},
    "did you mean 'n_mels'": {"n_mel": 40},
    "expected a whole number": {"n_fft": 512.5},
    "n_mfcc = 50 of n_mels = 40": {"kind": "mfcc", "n_mfcc": 50},
    "has the factor 7": {"n_fft": 448},
    "span more than int16 holds": {"kind": "mel", "precision": "int16"},
    "sample_rate = 16": {"sr": 16},
    "window = 'round'": {"window": "round"},
    "center = True": {"center": True},
    "top_db = 80": {"top_db": 80},
    "mel_scale = 'bark'": {"mel_scale": "bark"},
    "lifter = -1": {"kind": "mfcc", "lifter": -1},
    "gain = 0": {"kind": "pcen", "gain": 0.0},
    "pcen_power = -0.5": {"kind": "pcen", "pcen_power": -0.5},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_with_its_numbers(message: str) -> None:
    with pytest.raises(EdgeqError, match=message.replace("(", "\\(")):
        features.parse(REFUSED[message])


def transform(kind: str, **values: Any) -> Any:
    """What torchaudio's transforms hold, which need not be installed."""
    return type(kind, (), {"__module__": "torchaudio.transforms._transforms", **values})()


def spectrogram(**values: Any) -> Any:
    own = {"n_fft": 512, "win_length": 400, "hop_length": 160, "window": np.hamming(401)[:-1].astype(np.float32), "pad": 0, "power": 2.0}
    return transform("Spectrogram", **{**own, "normalized": False, "center": False, "onesided": True, **values})


def mel_spectrogram(**values: Any) -> Any:
    bank = transform("MelScale", n_mels=40, f_min=20.0, f_max=7600.0, norm=None, mel_scale="htk")
    return transform("MelSpectrogram", sample_rate=16000, spectrogram=spectrogram(**values), mel_scale=bank)


def test_torchaudios_transforms_are_read() -> None:
    common = {"n_fft": 512, "win_length": 400, "hop_length": 160, "window": "hamming", "sample_rate": 16000}
    bands = {**common, "n_mels": 40, "f_min": 20.0, "f_max": 7600.0, "htk": True, "norm": "none"}
    assert features.of_transform(spectrogram(), sample_rate=16000) == features.parse({"kind": "stft", **common})
    assert features.of_transform(mel_spectrogram(), frames=2) == features.parse({"kind": "mel", **bands, "frames": 2})
    cepstrum = transform("MFCC", n_mfcc=20, dct_type=2, norm="ortho", log_mels=True, MelSpectrogram=mel_spectrogram())
    log = {"log": "ln", "log_mode": "add", "log_floor": 1e-6}
    assert features.of_transform(cepstrum) == features.parse({"kind": "mfcc", "n_mfcc": 20, **bands, **log})
    decibels = {"amin": 1e-10, "top_db": None, "multiplier": 10.0, "db_multiplier": 0.0}
    both = type("Sequential", (list,), {})([mel_spectrogram(), transform("AmplitudeToDB", **decibels)])
    assert features.of_transform(both, precision="int16") == features.parse({**bands, "precision": "int16"})
    assert features.is_transform(both) and not features.is_transform([1])
    assert not features.is_transform(type("Sequential", (), {})())  # Keras' own, which is no sequence
    assert api.load(cepstrum).type("samples").size == 160
    with pytest.raises(EdgeqError, match="example inputs, shapes for a transform"):
        api.load(cepstrum, np.zeros((1, 400)), shapes={"x": (1, 400)})
    refusals = {
        "center = True": mel_spectrogram(center=True), "power = None": spectrogram(power=None),
        "the window of 400": spectrogram(window=np.linspace(0, 1, 400)), "GriffinLim is not": transform("GriffinLim"),
    }  # fmt: skip
    for message, refused in refusals.items():
        with pytest.raises(EdgeqError, match=message):
            features.of_transform(refused)


def classifier(width: int, frames: int) -> Graph:
    """An int8 layer that reads all frames."""
    rng = np.random.default_rng(0)
    values = rng.integers(-99, 99, (5, width * frames)).astype(np.int8)
    w = Tensor("w", TensorType(values.shape, DType.INT8, QParams((0.01,) * 5, 0, 0)), values)
    b = Tensor("b", TensorType((5,), DType.INT32), np.zeros(5, np.int32))
    tensors = [
        Tensor("x", TensorType((1, frames, width, 1), DType.INT8, QParams((0.5,), 20))), w, b,
        Tensor("flat", TensorType((1, width * frames), DType.INT8, QParams((0.5,), 20))),
        Tensor("y", TensorType((1, 5), DType.INT8, QParams((9.0,), -3))),
    ]  # fmt: skip
    nodes = Node("flat", Reshape((1, width * frames)), ("x",), ("flat",)), Node("y", FullyConnected(), ("flat", "w", "b"), ("y",))
    return Graph("net", nodes, {t.name: t for t in tensors}, ("x",), ("y",))


@pytest.mark.parametrize("precision", LEAST)
def test_a_model_behind_features_takes_samples_as_they_come(precision: str, speech: Array, tmp_path: Path) -> None:
    """One folder; blocks of any size give what whole steps give, and the parts give what the whole does."""
    need_programs("gcc")
    save(classifier(40, 7), tmp_path / "net.eqg")
    text = f'precision = "{precision}"\nmodel = "net.eqg"\nwin_length = 400\n'
    (tmp_path / "listen.toml").write_text(text)
    graph = api.load(tmp_path / "listen.toml")
    x = steps(graph, speech)[:60]
    want = simulate(graph, {"samples": x}).outputs[graph.results[0]]
    d = features.parse({"precision": precision, "win_length": 400})
    front = normalise(features.build(d, "front", QParams((0.5,), 20)))
    levels = simulate(front, {"samples": x}).outputs[front.results[0]].reshape(-1, 40)
    history = np.concatenate([np.full((6, 40), 20, np.int8), levels])
    frames = np.stack([history[i : i + 7] for i in range(len(levels))])[..., None]
    np.testing.assert_array_equal(want, simulate(classifier(40, 7), {"x": frames[:, None]}).outputs["y"])
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "listen"), tmp_path / "m")
    np.testing.assert_array_equal(pushed(tmp_path / "m", x.ravel(), want.shape[-1]), want.reshape(len(want), -1))


def pushed(folder: Path, samples: Array, width: int, step: int = 160) -> Array:
    """The answers to samples that come in blocks of odd sizes, by the emitted header alone; one for every `step` samples."""
    (folder / "push.c").write_text(
        """#include "listen.h"
static _Alignas(16) unsigned char arena[LISTEN_ARENA_BYTES], state[LISTEN_STATE_BYTES];
static listen_stream stream;
int32_t push(const int16_t *samples, int32_t count, int8_t *answers)
{
    int32_t found = 0, at = 0, block = 1;
    listen_reset(state);
    while (at < count) {
        int32_t ready = 0, size = block < count - at ? block : count - at;
        block = block % 397 + 57;
        for (int32_t done = 0; done < size;) {
            done += listen_push_samples(&stream, arena, state, samples + at + done, size - done, &ready, answers + found * WIDTH);
            found += ready;
        }
        at += size;
    }
    return found;
}
""".replace("WIDTH", str(width))
    )
    files = [str(p) for p in folder.glob("*.c") if p.name != "main.c"]
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-ffp-contract=off", *files, "-o", str(folder / "push.so")], check=True, timeout=120)
    answers = np.zeros((len(samples) // step + 1, width), np.int8)
    x, y = (a.ctypes.data_as(ctypes.c_void_p) for a in (samples, answers))
    found = ctypes.CDLL(str(folder / "push.so")).push(x, len(samples), y)
    return answers[:found]


@pytest.mark.parametrize("law", ["single", "tflm"])
def test_the_header_quantizes_as_the_desktop_does(law: str, tmp_path: Path) -> None:
    need_programs("gcc")
    net = classifier(4, 2)
    net = Graph(net.name, net.nodes, net.tensors, net.inputs, net.outputs, law)
    program = lower(net, target.load("host"))
    write(emit(program, plan(program), "net"), tmp_path / "m")
    (tmp_path / "m" / "use.c").write_text(
        """#include "net.h"
void use(const float *x, int8_t *q, float *back, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        q[i] = net_quantize_x(x[i]);
        back[i] = net_dequantize_y(q[i]);
    }
}
int32_t best(const int8_t *y) { return net_argmax_y(y); }
float scale(void) { return NET_INPUT_SCALE * (float)NET_INPUT_ZERO_POINT + NET_OUTPUT_SCALE * (float)NET_OUTPUT_ZERO_POINT; }
"""
    )
    library = str(tmp_path / "use.so")
    flags = ["-Wall", "-Wextra", "-Wconversion", "-Werror", "-shared", "-fPIC"]
    subprocess.run(["gcc", *flags, str(tmp_path / "m" / "use.c"), "-o", library], check=True, timeout=120)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 40, 500), np.arange(-300, 300) / 4, [np.inf, -np.inf, np.nan, 1e30, -1e30]]).astype(np.float32)
    q, back, code = np.zeros(len(x), np.int8), np.zeros(len(x), np.float32), ctypes.CDLL(library)
    code.use(*(a.ctypes.data_as(ctypes.c_void_p) for a in (x, q, back)), len(x))
    np.testing.assert_array_equal(q, quantize(law, x, 0.5, 20, -128, 127))
    np.testing.assert_array_equal(back, dequantize_array(q, 9.0, -3))
    code.scale.restype = ctypes.c_float
    assert code.scale() == 0.5 * 20 - 27 and code.best(np.int8([-5, 9, 3, 9, 1]).ctypes.data_as(ctypes.c_void_p)) == 1


def test_the_verb_computes_the_features_of_a_recording(speech: Array, tmp_path: Path) -> None:
    (tmp_path / "listen.toml").write_text('kind = "mfcc"\nprecision = "int16"\n')
    with wave.open(str(tmp_path / "yes.wav"), "wb") as sound:
        sound.setparams((1, 2, 16000, 0, "NONE", ""))
        sound.writeframes(speech.astype("<i2").tobytes())
    arguments = ["features", *(str(tmp_path / n) for n in ("listen.toml", "yes.wav")), "-o", str(tmp_path / "f.npz")]
    done = CliRunner().invoke(main.app, arguments)
    assert done.exit_code == 0 and "yes  200 frames" in done.output
    got = np.load(tmp_path / "f.npz")["yes"]
    want = formula(features.parse({"kind": "mfcc"}), speech[: len(got) * 160])
    assert got.shape == (200, 13) and 10 * np.log10((want**2).sum() / ((got - want) ** 2).sum()) > 40
    (tmp_path / "slow.toml").write_text("sample_rate = 8000\n")
    with pytest.raises(EdgeqError, match="16000 Hz, 16 bits, 1 channels") as refused:
        api.sound_features(tmp_path / "slow.toml", tmp_path / "yes.wav")
    assert "8000 Hz" in refused.value.why


@pytest.mark.parametrize(("kind", "precision", "most"), [("pcen", "int16", 1), ("pcen", "float32", 1e-5), ("log_mel", "int16", 0)])
def test_noise_neither_overflows_nor_drifts(kind: str, precision: str, most: float, tmp_path: Path) -> None:
    """A short form of `python -m tests.week_of_noise`."""
    need_programs("gcc")
    small = {"sample_rate": 8000, "n_fft": 64, "hop_length": 48, "n_mels": 4}
    graph = normalise(features.build(features.parse({"kind": kind, "precision": precision, **small})))
    assert hear(graph, 48 / 8000, 0.1, tmp_path).largest <= most
