"""A description as a graph: frames of a stream of samples, windows, Fourier transforms, bands; and a model behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.features.description import Description, cosines, mel_bank, smoothing, weights
from edgeq.ir import Array, DType, Graph, Node, Op, QParams, Tensor, TensorType, check
from edgeq.ops.cast import Cast
from edgeq.ops.concat import Concat
from edgeq.ops.energy_normalization import LOUDEST, MEAN_BITS, EnergyNormalization
from edgeq.ops.fourier import BLOCK_BITS, Rfft
from edgeq.ops.quantize import Dequantize, Quantize
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.spectrum import ApplyWindow, BandLevels, CosineTransform

SAMPLES, FEATURES = "samples", "features"
SAMPLE_SCALE = 1 / 32768


class Maker:
    """Collects the tensors, nodes and states of a graph."""

    def __init__(self) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.states: list[tuple[str, str]] = []

    def input(self, name: str, type: TensorType) -> Tensor:
        """An input."""
        self.tensors[name] = Tensor(name, type)
        return self.tensors[name]

    def constant(self, name: str, data: Array) -> Tensor:
        """A constant: int16 of integers, else float32."""
        dtype = DType.INT16 if data.dtype.kind == "i" else DType.FLOAT32
        self.tensors[name] = Tensor(name, TensorType(data.shape, dtype), data.astype(dtype.numpy))
        return self.tensors[name]

    def emit(self, op: Op, inputs: Sequence[Tensor], *names: str, type: TensorType | None = None) -> Tensor:
        """A node, and its first result, which has the dtype and scale of `type` where that is given."""
        found = list(op.infer_all(*(t.type for t in inputs)))
        found[0] = replace(type, shape=found[0].shape) if type else found[0]
        for name, t in zip(names, found, strict=True):
            self.tensors[name] = Tensor(name, t)
        self.nodes.append(Node(names[0], op, tuple(t.name for t in inputs), names))
        return self.tensors[names[0]]

    def window(self, x: Tensor, kept: int, name: str) -> Tensor:
        """What is kept of the steps before along the first axis, then x; the last `kept` of both are kept for the next."""
        if not kept:
            return x
        shape = (kept, *x.type.shape[1:])
        before = self.input(f"{name}_before", replace(x.type, shape=shape))
        joined = self.emit(Concat(axis=0), [before, x], f"{name}_joined", type=x.type)
        begin = (joined.type.shape[0] - kept, *[0] * (len(shape) - 1))
        after = self.emit(Slice(begin=begin, size=shape, stride=(1,) * len(shape)), [joined], f"{name}_after")
        self.states.append((before.name, after.name))
        return joined

    def graph(self, name: str, output: Tensor) -> Graph:
        """All of it, checked: samples and states in, `output` and states out."""
        inputs = (SAMPLES, *(a for a, _ in self.states))
        outputs = (output.name, *(b for _, b in self.states))
        return check(Graph(name, tuple(self.nodes), self.tensors, inputs, outputs, "single", tuple(self.states)), "features")


def build(d: Description, name: str = FEATURES, output: QParams | None = None) -> Graph:
    """The front end: int16 samples ``[frames * hop_length]`` -> features ``[frames, width]``; the samples that windows share are a state.

    Args:
        output: int8 features in this scale; without it float32, halves, or int16 in a scale that holds all that can be.
    """
    m = Maker()
    step = d.frames * d.hop_length
    x = m.input(SAMPLES, TensorType((step,), DType.INT16, QParams((SAMPLE_SCALE,))))
    joined = m.window(x, d.length - d.hop_length, SAMPLES)
    rows = [
        m.emit(Reshape((1, d.length)), [m.emit(Slice((i * d.hop_length,), (d.length,), (1,)), [joined], f"frame{i}")], f"row{i}")
        for i in range(d.frames)
    ]
    frames = m.emit(Concat(axis=0), rows, "frames", type=x.type) if d.frames > 1 else rows[0]
    last = _fixed(m, d, frames, output) if d.precision == "int16" else _floating(m, d, frames, output)
    return m.graph(name, last)


def _bands(m: Maker, d: Description) -> list[Tensor]:
    """First bins, numbers of bins and weights of the bands."""
    bank = (np.eye(d.n_fft // 2 + 1) if d.kind == "stft" else mel_bank(d)) * d.scale
    spans = [(int(np.flatnonzero(row)[0]), int(np.flatnonzero(row)[-1]) + 1) for row in bank]
    starts, counts = np.array([a for a, _ in spans], np.int16), np.array([b - a for a, b in spans], np.int16)
    return [
        m.constant("band_starts", starts), m.constant("band_counts", counts),
        m.constant("band_weights", np.concatenate([row[a:b] for row, (a, b) in zip(bank, spans, strict=True)]).astype(np.float32)),
    ]  # fmt: skip


def _levels(d: Description) -> BandLevels:
    if d.kind in ("stft", "mel", "pcen"):
        return BandLevels(d.power)
    return BandLevels(d.power, d.log_mode, d.log_floor, d.factor())


def _floating(m: Maker, d: Description, frames: Tensor, output: QParams | None) -> Tensor:
    """The chain on float32; halves are the levels and what is made of them, as spectra span more than halves hold."""
    x = m.emit(Dequantize(), [frames], "real_frames")
    x = m.emit(ApplyWindow(), [x, m.constant("window", weights(d).astype(np.float32))], "windowed")
    x = m.emit(Rfft(d.n_fft), [x], "spectrum")
    x = m.emit(_levels(d), [x, *_bands(m, d)], "levels")
    if d.precision == "half" and d.kind != "pcen":
        x = m.emit(Cast(), [x], "half_levels")
    if d.kind == "mfcc":
        x = m.emit(CosineTransform(), [x, m.constant("cosines", cosines(d).astype(np.float32))], "coefficients")
    if d.kind == "pcen":
        x = _normalized(m, d, x, TensorType(x.type.shape[1:]), x.type)
        x = m.emit(Cast(), [x], "half_levels") if d.precision == "half" else x
    if output is not None:
        x = m.emit(Quantize(), [x], FEATURES, type=TensorType((), DType.INT8, output))
    return x


def _normalized(m: Maker, d: Description, x: Tensor, mean: TensorType, type: TensorType) -> Tensor:
    """PCEN of levels, with its running mean as a state."""
    before = m.input("mean_before", mean)
    m.states.append((before.name, "mean_after"))
    return m.emit(_pcen(d), [x, before], "normalized", "mean_after", type=type)


def _pcen(d: Description) -> EnergyNormalization:
    return EnergyNormalization(smoothing(d), d.gain, d.bias, d.pcen_power, d.eps)


def _fixed(m: Maker, d: Description, frames: Tensor, output: QParams | None) -> Tensor:
    """The chain on integers: int16 samples, a spectrum of int32 with an exponent for each frame, levels of int16 or int8."""
    w = weights(d)
    bits = BLOCK_BITS - (d.n_fft - 1).bit_length()
    x = m.emit(ApplyWindow(bits), [frames, m.constant("window", w.astype(np.float32))], "windowed", "shifts")
    x = m.emit(Rfft(d.n_fft, True), [x], "spectrum")
    bands = _bands(m, d)
    assert bands[2].data is not None
    sums = float(np.add.reduceat(bands[2].data.astype(float), np.cumsum([0, *_counts(bands)[:-1]])).max())
    node, loudest = _levels(d), sums * float(np.abs(w).sum()) ** d.power
    if d.kind == "pcen":
        if loudest > 2.0**LOUDEST:
            why = f"with scale = {d.scale:g} the loudest bands reach {loudest:g}, integers hold {2**LOUDEST}"
            raise EdgeqError("PCEN in int16 of such loud bands", why=why, fix="precision = 'half' or 'float32', or a smaller scale")
        octaves = BandLevels(d.power, "max", 2.0**-MEAN_BITS)
        x = m.emit(octaves, [x, *bands, m.tensors["shifts"]], "levels", type=TensorType((), DType.INT32))
        q = output or QParams((_pcen(d).largest(loudest) / 65535,), -32768)  # none is negative: all 16 bits
        return _normalized(m, d, x, TensorType((d.n_mels, 2), DType.INT32), TensorType((), DType.INT8 if output else DType.INT16, q))
    low = node.factor * math.log(node.floor) if node.mode != "linear" else 0.0
    high = loudest if node.mode == "linear" else node.factor * math.log(max(loudest, node.floor) + node.floor)
    natural = QParams((max(abs(low), abs(high)) / 32767,))
    direct = output is not None and d.kind != "mfcc"
    type = TensorType((), DType.INT8, output) if direct else TensorType((), DType.INT16, natural)
    x = m.emit(node, [x, *bands, m.tensors["shifts"]], FEATURES if d.kind != "mfcc" else "levels", type=type)
    if d.kind != "mfcc":
        return x
    matrix = cosines(d)
    q = output or QParams((max(abs(low), abs(high)) * float(np.abs(matrix).sum(1).max()) / 32767,))
    final = TensorType((), DType.INT8 if output else DType.INT16, q)
    return m.emit(CosineTransform(), [x, m.constant("cosines", matrix.astype(np.float32))], FEATURES, type=final)


def _counts(bands: list[Tensor]) -> list[int]:
    assert bands[1].data is not None
    return [int(n) for n in bands[1].data]


def join(d: Description, model: Graph, name: str) -> Graph:
    """A quantized model behind its front end: samples in, the model's answers out.

    The model's one input holds a whole number of frames, the newest last; those of the steps before are a state.

    Raises:
        EdgeqError: its input does not fit, with the numbers.
    """
    if len(model.given) != 1:
        raise EdgeqError(f"a model of {len(model.given)} inputs behind features", where=model.name, fix="give one with one input")
    t = model.type(model.given[0])
    needed = t.size // d.width
    if t.size % d.width or needed < d.frames or t.dtype is not DType.INT8 or t.q is None:
        why = f"features are {d.frames} frames of {d.width} a step, the model reads {t} {'' if t.q else 'without a scale'}"
        fix = "quantize it to int8; check n_mels, n_mfcc and frames"
        raise EdgeqError(f"the features do not fit input '{model.given[0]}'", where=model.name, why=why, fix=fix)
    front = build(d, name, t.q)
    m = Maker()
    m.tensors, m.nodes, m.states = dict(front.tensors), list(front.nodes), list(front.states)
    x = m.tensors[front.results[0]]
    frames = m.window(x, needed - d.frames, "history")
    given = m.emit(Reshape(t.shape), [frames], "given", type=t)
    return behind(m.tensors, m.nodes, m.states, SAMPLES, given.name, model, name)


def behind(
    tensors: Mapping[str, Tensor], nodes: Sequence[Node], states: Sequence[tuple[str, str]], source: str, given: str, model: Graph,
    name: str,
) -> Graph:  # fmt: skip
    """A model behind a front end: its one input is the front end's tensor `given`; the graph's own input is `source`."""
    taken = {n: f"model/{n}" for n in model.tensors} | {model.given[0]: given}
    own = {taken[n]: replace(v, name=taken[n]) for n, v in model.tensors.items() if n != model.given[0]}
    more = [Node(f"model/{n.name}", n.op, tuple(taken[i] for i in n.inputs), tuple(taken[o] for o in n.outputs)) for n in model.nodes]
    kept = (*states, *((taken[a], taken[b]) for a, b in model.states))
    inputs, outputs = (source, *(a for a, _ in kept)), (*(taken[n] for n in model.results), *(b for _, b in kept))
    return check(Graph(name, (*nodes, *more), {**tensors, **own}, inputs, outputs, model.law, kept), "features")
