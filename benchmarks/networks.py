"""Float networks with calibration inputs and other inputs that judge what becomes of them: the trained ones that the benchmarks compare."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy

from benchmarks.models import DATA, FLOAT, ROOT
from benchmarks.quantization import calibration, images, spoken
from edgeq import api
from edgeq.features.description import Description, mel_bank
from edgeq.ir import Array, Graph
from edgeq.quantize import evaluate_float
from edgeq.simulate import real_array, simulate

LABELLED, UNLABELLED = 1000, 300  # inputs that judge
WINDOWS = 1024  # that anomaly detection is calibrated on
RIGHT, SAME, ORDER, SIGNAL = "right", "same class", "same order", "dB"
FRAMES, HOP, SHIFTS = 5, 512, (0, 128, 256, 384)  # of anomaly detection's inputs
MELS = Description(kind="mel", n_mels=128, n_fft=1024, hop_length=HOP)


@dataclass(frozen=True, eq=False)
class Network:
    """A float network.

    Attributes:
        samples: that it is calibrated on, ``[V, *shape]``.
        x: that it is judged by, likewise; none of them is among `samples`.
        y: their labels, where there are some.
        score: `RIGHT`: answers that are right, in %. `SAME`: classes that are float's, in %. `ORDER`: pairs of inputs whose errors of
            reconstruction have the order that they have in float, in %, which is what an area under a curve depends on. `SIGNAL`: signal
            over noise of the output.
    """

    graph: Graph
    samples: Array
    x: Array
    y: Array | None
    score: str

    @cached_property
    def real(self) -> Array:
        """The float outputs, ``[V, n]``."""
        name = self.graph.given[0]
        shaped = {name: self.x.reshape(len(self.x), *self.graph.type(name).shape).astype(np.float32)}
        return evaluate_float(self.graph, shaped)[self.graph.results[0]].reshape(len(self.x), -1).astype(np.float64)

    def judge(self, found: Array, real: Array) -> float:
        """The score of outputs ``[V, n]``."""
        if self.score == RIGHT:
            return float(100 * np.mean(found.argmax(1) == self.y))
        if self.score == SAME:
            return float(100 * np.mean(found.argmax(1) == real.argmax(1)))
        if self.score == ORDER:
            flat = self.x.reshape(len(self.x), -1)
            a, b = (((o - flat) ** 2).mean(1) for o in (found, real))
            i, j = np.triu_indices(len(a), 1)
            return float(100 * np.mean((a[i] < a[j]) == (b[i] < b[j])))
        return float(min(99.0, 10 * np.log10((real**2).sum() / max(((found - real) ** 2).sum(), 1e-30))))

    def outputs(self, graph: Graph) -> Array:
        """What a quantized graph makes of the inputs, ``[V, n]``."""
        found = simulate(graph, {graph.given[0]: self.x}).outputs[graph.results[0]]
        return real_array(found, graph.type(graph.results[0])).reshape(len(self.x), -1).astype(np.float64)

    def limited(self, samples: int, judged: int) -> Network:
        """With at most so many samples and judges, drawn evenly; the first ones where there are states."""

        def picked(a: Array | None, count: int) -> Array | None:
            if a is None or len(a) <= count:
                return a
            return a[:count] if self.graph.states else a[np.arange(count) * len(a) // count]

        kept, x, y = picked(self.samples, samples), picked(self.x, judged), picked(self.y, judged)
        assert kept is not None and x is not None
        return replace(self, samples=kept, x=x, y=y)


def kws() -> Network:
    x, y = spoken()
    kept = np.arange(len(x)) % 5 > 0  # the others calibrate
    return Network(api.load(DATA / "mlperf_tiny" / FLOAT["kws"]), calibration("kws"), x[kept], y[kept], RIGHT)


def resnet8() -> Network:
    return Network(
        api.load(DATA / "mlperf_tiny" / FLOAT["resnet8"]), calibration("resnet8"), *images("test", LABELLED, 32), RIGHT
    )  # fmt: skip


def vww() -> Network:
    return Network(api.load(DATA / "mlperf_tiny" / FLOAT["vww"]), calibration("vww"), images("test", UNLABELLED, 96)[0] / 255, None, SAME)


def vision() -> Network:
    """The plain network of the example, which takes pixels from -1 to 1, channels first."""
    (train, _), (test, y) = images("train", 128, 32), images("test", LABELLED, 32)
    samples, x = (np.ascontiguousarray(a.transpose(0, 3, 1, 2) / np.float32(127.5) - 1) for a in (train, test))
    return Network(api.load(ROOT / "examples" / "robust_vision" / "plain.onnx"), samples, x, y, RIGHT)


def ad() -> Network:
    """Windows of five frames of log mel spectra, of noisy speech: its own machines are not at hand."""
    folder = DATA / "valentini"
    heard, unheard = (np.concatenate([_windows(p) for p in sorted((folder / kind).glob("*.wav"))]) for kind in ("calibration", "noisy"))
    samples, x = (a[np.arange(n) * len(a) // n] for a, n in ((heard, WINDOWS), (unheard, UNLABELLED)))
    return Network(api.load(DATA / "mlperf_tiny" / FLOAT["ad"]), samples, x, None, ORDER)


def _windows(path: Path) -> Array:
    """A recording as inputs of anomaly detection, float32 ``[V, 640]``: dB of 128 bands in five frames."""
    sys.path.append(str(ROOT / "examples" / "denoiser"))
    from audio import read_wav  # type: ignore[import-not-found]

    sound, rows = read_wav(path).astype(np.float64), []
    for shift in SHIFTS:
        frames = np.lib.stride_tricks.sliding_window_view(sound[shift:], MELS.n_fft)[::HOP]
        power = np.abs(scipy.fft.rfft(frames * scipy.signal.get_window("hann", MELS.n_fft))) ** 2
        bands = 10 * np.log10(power @ mel_bank(MELS).T + np.finfo(np.float64).eps)
        rows += [bands[i : i + FRAMES].reshape(-1) for i in range(len(bands) - FRAMES + 1)]
    return np.array(rows, np.float32)


def denoiser() -> Network:
    """The recurrent network of the example, a frame at a time, on synthetic voices."""
    sys.path.append(str(ROOT / "examples" / "denoiser"))
    from deploy import read  # type: ignore[import-not-found]
    from recordings import calibration_set, test_set  # type: ignore[import-not-found]

    network = read(ROOT / "examples" / "denoiser" / "denoiser.onnx")
    samples, x = (network.samples(sound)[network.input] for sound in (calibration_set(None, 2), [u.noisy for u in test_set(None, 2)]))
    return Network(network.graph, samples, x, None, SIGNAL)


def transformer() -> Network:
    """The keyword transformer of the example, on speakers held out."""
    sys.path.append(str(ROOT / "examples" / "keyword_spotting"))
    from float_pipeline import log_mel  # type: ignore[import-not-found]
    from sounds import HELD_OUT, clips, placed  # type: ignore[import-not-found]

    recordings = clips()
    heard, unheard = ([c for c in recordings if (c.speaker in HELD_OUT) == held] for held in (False, True))
    samples, x = (log_mel([placed(c.samples) for c in found]) for found in (heard[::15], unheard))
    graph = api.load(ROOT / "examples" / "keyword_transformer" / "words.onnx")
    return Network(graph, samples, x, np.array([c.word for c in unheard]), RIGHT)


NETWORKS: dict[str, Callable[[], Network]] = {
    "kws": kws, "resnet8": resnet8, "vww": vww, "robust_vision": vision, "ad": ad, "denoiser": denoiser, "transformer": transformer,
}  # fmt: skip
