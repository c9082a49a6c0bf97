"""The denoiser example: its front end in C and numpy, files, sound, networks, training, and the program around the emitted C."""

from __future__ import annotations

import argparse
import ctypes
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import wavfile

EXAMPLE = Path(__file__).parent.parent / "examples" / "denoiser"
sys.path.insert(0, str(EXAMPLE))
sys.path.insert(0, str(EXAMPLE.parent.parent))

import audio  # noqa: E402
import deploy  # noqa: E402
import frontend  # noqa: E402
import metrics  # noqa: E402
import recordings  # noqa: E402
import sound  # noqa: E402
import stft  # noqa: E402
import tables  # noqa: E402

from benchmarks import exact  # noqa: E402
from edgeq import api  # noqa: E402
from edgeq.build import COMMON_FLAGS  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.resources import resource  # noqa: E402
from edgeq.simulate import dequantize_array, simulate  # noqa: E402

Array = np.ndarray[Any, Any]
COMPILERS = {"gcc": ["gcc"], "clang": ["clang"], "zig": [sys.executable, "-m", "ziglang", "cc"]}
STRICT = [*COMMON_FLAGS, "-pedantic", "-Wmissing-prototypes", "-Wstrict-prototypes", "-Wcast-qual", "-Wundef"]


def signal(samples: int = 4321) -> Array:
    """Loud noise, silence, soft noise, and clipping."""
    rng = np.random.default_rng(1)
    parts = rng.normal(0, 9000, samples // 3), np.full(50, 32767), np.full(50, -32768), np.zeros(1000), rng.normal(0, 3, samples)
    return np.clip(np.concatenate(parts)[:samples], -32768, 32767).astype(np.int16)


def masks_for(pcm: Array) -> Array:
    """Any values up to 1.5, some exactly 0 and 1."""
    rng = np.random.default_rng(2)
    m = rng.random((len(stft.frames(pcm)), stft.BINS), np.float32) * np.float32(1.5)
    m[m < 0.1] = 0
    m[3] = 1
    return m


def test_spectrum() -> None:
    x = stft.frames(signal())
    re, im = stft.analyse(x)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    expected = np.fft.rfft(x / 32768 * hann, 512)
    assert re.dtype == im.dtype == np.float32
    assert np.abs(re + 1j * im - expected).max() < 4e-7 * np.abs(expected).max()
    assert np.abs(stft.magnitude(re, im) - np.abs(expected)).max() < 4e-7 * np.abs(expected).max()


@pytest.mark.parametrize("samples", [0, 1, 99, 100, 101, 4321])
def test_a_mask_of_ones_gives_the_sound_back(samples: int) -> None:
    x = signal()[:samples]
    y = stft.denoise(x, np.ones((len(stft.frames(x)), stft.BINS), np.float32))
    np.testing.assert_array_equal(y, x)


def test_the_tables_in_c_are_those_of_numpy() -> None:
    assert tables.FILE.read_text(encoding="ascii") == tables.text(), "run `python examples/denoiser/tables.py`"


@pytest.mark.parametrize("optimize", ["-O2", "-O3", "-O1 -fsanitize=undefined -fno-sanitize-recover=all"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_c_gives_the_bytes_of_numpy(compiler: str, optimize: str, tmp_path: Path) -> None:
    if shutil.which(COMPILERS[compiler][0]) is None:
        pytest.skip(f"{compiler} is not installed")
    if "sanitize" in optimize and compiler != "gcc":
        pytest.skip("one compiler's sanitizer is enough")
    include = f"-I{resource('templates') / 'runtime'}"
    files = [EXAMPLE / "c" / "stft.c", "-o", tmp_path / "stft.so"]
    words = [*COMPILERS[compiler], *STRICT, *optimize.split(), "-shared", "-fPIC", include, *files]
    subprocess.run(words, check=True, env={**os.environ, "ZIG_LOCAL_CACHE_DIR": str(tmp_path / "cache")})
    c = ctypes.CDLL(str(tmp_path / "stft.so"))
    pcm = signal()
    masks = masks_for(pcm)
    samples = np.zeros((len(masks), stft.HOP), np.int16)
    samples.reshape(-1)[: len(pcm)] = pcm
    state, magnitudes = np.zeros(4096, np.float32), np.zeros_like(masks)

    def pointer(a: Array) -> ctypes.c_void_p:
        return ctypes.c_void_p(a.ctypes.data)

    c.stft_reset(pointer(state))
    for t in range(len(masks)):
        c.stft_analyse(pointer(state), pointer(samples[t]), pointer(magnitudes[t]))
        c.stft_synthesise(pointer(state), pointer(masks[t]), pointer(samples[t]))
    expected = frontend.expected(pcm, masks)
    np.testing.assert_array_equal(magnitudes, expected["magnitude"])
    np.testing.assert_array_equal(samples, expected["samples"])


@pytest.mark.parametrize("target", ["cortex-m4", "riscv-f", "riscv"])
def test_chips_give_the_bytes_of_numpy(target: str) -> None:
    pcm = signal(2000)
    masks = masks_for(pcm)
    run = frontend.measure(target, pcm, masks)
    for name, array in frontend.expected(pcm, masks).items():
        np.testing.assert_array_equal(run.outputs[name], array)
    assert run.instructions is not None and run.instructions < (3_000_000 if target == "riscv" else 80_000)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.float32])
def test_wav_files_of_any_kind(dtype: type, tmp_path: Path) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    scale, zero = {np.uint8: (127, 128), np.int16: (32767, 0), np.int32: (2**31 - 1, 0), np.float32: (1, 0)}[dtype]
    stereo = np.stack([tone * scale + zero, np.zeros_like(tone)], 1).astype(dtype)
    wavfile.write(tmp_path / "x.wav", 48000, stereo)
    x = audio.read_wav(tmp_path / "x.wav")
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert len(x) == 16000 and np.abs(x - expected)[500:-500].max() < 0.012
    audio.write_wav(tmp_path / "y.wav", audio.to_pcm(x))
    np.testing.assert_allclose(audio.read_wav(tmp_path / "y.wav"), x, atol=2**-15)
    with pytest.raises(ValueError, match="int16"):
        audio.write_wav(tmp_path / "y.wav", x)


def test_sound_is_reproducible_and_mixed_as_asked() -> None:
    clean, noisy = sound.pair(7, 0.5, 5)
    again = sound.pair(7, 0.5, 5)
    assert np.array_equal(clean, again[0]) and np.array_equal(noisy, again[1]) and clean.dtype == np.float32
    assert metrics.decibels(clean, noisy - clean) == pytest.approx(5, abs=0.01)
    assert not np.array_equal(clean, sound.pair(8, 0.5)[0])
    for make in sound.NOISES.values():
        x = make(np.random.default_rng(0), 4000)
        assert x.shape == (4000,) and np.isfinite(x).all() and 0.02 < np.std(x) < 0.08


def test_folders_of_recordings(tmp_path: Path) -> None:
    for folder in ("clean", "noisy", "calibration"):
        audio.write_wav(tmp_path / folder / "a.wav", signal(3000))
    (u,) = recordings.test_set(tmp_path, 6)
    assert u.name == "a" and np.array_equal(u.clean, u.noisy) and np.array_equal(recordings.calibration_set(tmp_path, 4)[0], u.clean)
    pool = recordings.Pool(np.random.default_rng(0), tmp_path, 2, 0.1)
    assert len(pool.clean) == len(pool.noises) == 3 and {len(x) for x in (*pool.clean, *pool.noises)} == {1600}
    with pytest.raises(ValueError, match="clean"):
        recordings.test_set(tmp_path / "noisy", 6)


def test_scores() -> None:
    x = sound.pair(3, 1)[0]
    assert metrics.si_sdr(x, 0.3 * x) > 100
    noise = np.random.default_rng(0).normal(size=len(x))
    noise *= np.linalg.norm(x) / np.linalg.norm(noise)
    assert metrics.si_sdr(x, x + noise) == pytest.approx(0, abs=0.5)
    assert metrics.mask_sqnr(np.ones(100), np.full(100, 0.9)) == pytest.approx(20)


@pytest.mark.skipif(bool(metrics.missing()), reason="pesq or pystoi is not installed (pip install edgeq[audio])")
def test_perceptual_scores() -> None:
    clean, noisy = (audio.to_pcm(x) for x in sound.pair(3, 2))
    assert metrics.pesq(clean, clean) > 4.5 > metrics.pesq(clean, noisy) > 1
    assert metrics.stoi(clean, clean) > 0.99 > metrics.stoi(clean, noisy)


@pytest.fixture(scope="module")
def network() -> deploy.Network:
    return deploy.read(EXAMPLE / "denoiser.onnx")


def test_the_network_of_the_example(network: deploy.Network) -> None:
    assert (EXAMPLE / "denoiser.onnx").stat().st_size < 300_000
    assert network.graph.states == tuple((f"rnn{k}_h_state_in", f"rnn{k}_h_state_out") for k in (1, 2))
    assert {n.op.kind() for n in network.graph.nodes} == {"fully_connected", "gru", "sigmoid"}


def test_it_denoises(network: deploy.Network) -> None:
    gains = []
    for u in recordings.synthetic(recordings.TEST_SEED, 3, 2.0):
        better = stft.denoise(u.noisy, network.masks(u.noisy))
        gains.append(metrics.si_sdr(u.clean, better) - metrics.si_sdr(u.clean, u.noisy))
    assert min(gains) > 0 and np.mean(gains) > 2.5, gains


def test_another_model_is_refused() -> None:
    with pytest.raises(EdgeqError, match="not a denoiser"):
        deploy.read(EXAMPLE.parent / "digits" / "digits.onnx")


@pytest.mark.parametrize("recipe", ["fp16", "int8"])
def test_the_program_computes_what_the_simulator_says(network: deploy.Network, recipe: str, tmp_path: Path) -> None:
    u = recordings.synthetic(5, 1, 1.0)[0]
    (built,) = deploy.emit(network, deploy.Precision(recipe), [u.noisy], ["host"], tmp_path)
    program = deploy.compile_program(built.folder, tmp_path / "denoise")
    y, masks = program.run(u.noisy, tmp_path)
    assert len(y) == len(u.noisy)
    np.testing.assert_array_equal(y, stft.denoise(u.noisy, masks))
    got = simulate(built.graph, network.samples([u.noisy])).outputs[network.output]
    t = built.graph.type(network.output)
    meant = got.view(np.float16).astype(np.float32) if t.q is None else dequantize_array(got, t.scale, t.zero_point)
    np.testing.assert_array_equal(masks, meant.reshape(masks.shape))
    assert metrics.mask_sqnr(network.masks(u.noisy), masks) > (45 if recipe == "fp16" else 8)

    for wrong, why in ((b"nothing", "RIFF"), (u.noisy.tobytes(), "RIFF")):
        (tmp_path / "wrong.wav").write_bytes(wrong)
        done = subprocess.run([program.file, tmp_path / "wrong.wav", tmp_path / "y.wav"], capture_output=True, text=True, check=False)
        assert done.returncode == 1 and why in done.stderr
    wavfile.write(tmp_path / "wrong.wav", 48000, u.noisy)
    done = subprocess.run([program.file, tmp_path / "wrong.wav", tmp_path / "y.wav"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "16 kHz mono" in done.stderr


def test_the_demo(network: deploy.Network, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two precisions, one of them quantized beforehand; the tables, the sound, the page."""
    import demo

    api.write_quantized(network.graph, tmp_path / "h", recipe="fp16")
    words = ["--precisions", f"half={tmp_path / 'h'}", "fp16", "--recordings", "1", "--calibration", "1", "--targets", "host"]
    noisy, real, half, fp16 = demo.run(demo.parse([*words, "--output", str(tmp_path / "out")]))
    assert np.array_equal(half.masks[0], fp16.masks[0]) and half.flash == fp16.flash
    assert fp16.scores[0, 2] == pytest.approx(real.scores[0, 2], abs=0.1) and real.scores[0, 2] > noisy.scores[0, 2]
    printed = capsys.readouterr().out
    assert "mask SQNR dB" in printed and "half" in printed and len(list((tmp_path / "out" / "sound").glob("*.wav"))) == 5
    assert (tmp_path / "out" / "report.html").read_text(encoding="utf-8").count("<audio") == 5
    with pytest.raises(SystemExit):
        demo.parse(["--precisions", "fp99"])


needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed (pip install edgeq[torch])")


@needs_torch
def test_sizes_of_the_networks() -> None:
    from model import NETWORKS, Denoiser

    counts = {name: Denoiser(shape).parameter_count() for name, shape in NETWORKS.items()}
    assert counts == {"LSTM256": 1_252_357, "GRU256": 988_933, "LSTM128": 496_005, "GRU128": 413_445, "GRU48": 66_881}


@needs_torch
@pytest.mark.parametrize("cell", ["LSTM", "GRU"])
def test_one_step_exported_is_the_sequence(cell: str, tmp_path: Path) -> None:
    import torch
    from model import Denoiser, Shape, export

    torch.manual_seed(1)
    torch.set_num_threads(1)
    model = Denoiser(Shape(cell, 12, 10), torch.linspace(0.5, 2, stft.BINS)).eval()
    export(model, tmp_path / "m.onnx")
    net = deploy.read(tmp_path / "m.onnx")
    assert len(net.graph.states) == (4 if cell == "LSTM" else 2)
    u = recordings.synthetic(5, 1, 0.3)[0]
    x = net.samples([u.noisy])[net.input]
    with torch.no_grad():
        expected = model(torch.from_numpy(x))
    np.testing.assert_allclose(net.masks(u.noisy), expected.numpy()[:, 0], atol=2e-6)


@needs_torch
def test_training_goes_on_where_it_was_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    import train

    for name, value in {"SECONDS": 0.2, "BATCH": 2, "PIECES": 2, "REPORT": 1}.items():
        monkeypatch.setattr(train, name, value)

    def run(name: str) -> dict[str, Any]:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        files = {"output": folder / "m.onnx", "checkpoint": folder / "m.pt"}
        parsed = argparse.Namespace(network="GRU48", data=None, steps=3, minutes=None, seed=1, **files)
        monkeypatch.setattr(train, "parse", lambda: parsed)
        train.main()
        return dict(torch.load(parsed.checkpoint)["network"])

    def save_and_stop(*arguments: Any) -> None:
        save(*arguments)
        raise KeyboardInterrupt

    whole, save = run("whole"), torch.save
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(torch, "save", save_and_stop)
        run("parts")
    parts = run("parts")
    assert all(torch.equal(whole[k], parts[k]) for k in whole)
    assert (tmp_path / "whole" / "m.onnx").read_bytes() == (tmp_path / "parts" / "m.onnx").read_bytes()


@pytest.mark.parametrize("chip", ["cortex-m4", "riscv-f"])
def test_the_shipped_network_is_bit_exact(chip: str, tmp_path: Path) -> None:
    """A few frames of it; `python -m benchmarks.exact` takes 200, and larger networks."""
    network = deploy.read(exact.MODELS["denoiser"])
    samples = {n: a[:100] for n, a in network.samples(recordings.calibration_set(None, 1)).items()}
    graph = api.quantize(network.graph, samples, recipe="mixed").graph
    assert len(list(exact.check(network, graph, chip, 12, tmp_path))) == 1
