"""The description of motion and other sensors, and the graph that makes windows of their samples a network's input."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.features import windows
from edgeq.features.graph import FEATURES, SAMPLES, Maker, behind
from edgeq.features.table import values_of
from edgeq.ir import Array, DType, Graph, QParams, Tensor, TensorType
from edgeq.ops.fourier import BLOCK_BITS, Rfft, factors
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import ApplyWindow, BandLevels
from edgeq.ops.standardize import Standardize
from edgeq.ops.transpose import Transpose

KINDS = ("sensor", "imu")
SPECTRA = ("none", "magnitude", "db")
LAYOUTS = ("time_first", "channels_first")
MOST_CHANNELS, LONGEST = 256, 4096
DECIBELS = 20 / math.log(10)


@dataclass(frozen=True)
class SensorDescription:
    """Channels of int16 samples, and what a network reads of them.

    Attributes:
        channels: numbers of a moment.
        sample_rate: samples per second of each channel, Hz.
        window, hop: samples per channel that the network sees, and from one window to the next; hop 0: the window.
        scale: real units of a sample's step; mean, std: subtracted and divided after that; one number or one per channel.
        spectrum: ``none``: the network reads samples; ``magnitude`` or ``db``: those of a Fourier transform of each channel.
        n_fft: its length, 0: the window. window_function: see `windows`.
        log_floor: what magnitudes are limited to in ``db``.
        layout: of the network's input, ``time_first`` or ``channels_first``; "": as its shape says.
        model: a quantized model that reads the windows, by its path, if any.
    """

    kind: str = "sensor"
    channels: int = 1
    sample_rate: float = 100.0
    window: int = 128
    hop: int = 0
    scale: tuple[float, ...] = (1.0,)
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    spectrum: str = "none"
    n_fft: int = 0
    window_function: str = "hann"
    log_floor: float = 1e-3
    layout: str = ""
    model: str = ""

    @property
    def step(self) -> int:
        """Moments of a step."""
        return self.hop or self.window

    @property
    def length(self) -> int:
        """Of the Fourier transform."""
        return self.n_fft or self.window

    @property
    def shape(self) -> tuple[int, int]:
        """Of the features: samples and channels, or channels and bins."""
        return (self.window, self.channels) if self.spectrum == "none" else (self.channels, self.length // 2 + 1)

    def affine(self) -> tuple[Array, Array]:
        """What each channel is multiplied by and what is added; float64 ``[channels]``."""
        scale, mean, std = (np.broadcast_to(np.array(v, np.float64), (self.channels,)) for v in (self.scale, self.mean, self.std))
        return scale / std, -mean / std


def parse_sensor(table: Mapping[str, Any]) -> SensorDescription:
    """A description from a table.

    Raises:
        EdgeqError: an unknown key, a value of another type, or values that do not fit each other, with the numbers.
    """
    d = SensorDescription(**values_of(SensorDescription, table))
    for name, allowed in (("kind", KINDS), ("spectrum", SPECTRA), ("layout", ("", *LAYOUTS))):
        if getattr(d, name) not in allowed:
            raise EdgeqError(f"{name} = {getattr(d, name)!r}", fix=f"one of {', '.join(map(repr, allowed))}")
    if not 1 <= d.channels <= MOST_CHANNELS:
        raise EdgeqError(f"channels = {d.channels}", why=f"expected 1 to {MOST_CHANNELS}")
    if not 1 <= d.window <= LONGEST or not 0 < d.sample_rate <= 10**6:
        why = f"expected 1 to {LONGEST} samples, and 0 to 1000000 Hz"
        raise EdgeqError(f"a window of {d.window} samples at {d.sample_rate:g} Hz", why=why)
    if not 0 <= d.hop <= d.window:
        raise EdgeqError(f"hop = {d.hop} does not fit a window of {d.window}", why="samples between windows would be lost")
    for name, numbers in {"scale": d.scale, "mean": d.mean, "std": d.std}.items():
        if len(numbers) not in (1, d.channels):
            raise EdgeqError(f"{name} has {len(numbers)} numbers for {d.channels} channels", fix="give one, or one per channel")
    if not all(n > 0 for n in (*d.std, d.log_floor)) or not all(d.scale):
        raise EdgeqError("std and log_floor must be above 0, scale must not be 0")
    with np.errstate(over="ignore"):
        fits = all(np.isfinite(a.astype(np.float32)).all() for a in d.affine())
    if not fits:
        raise EdgeqError("scale / std and mean / std must be finite in float32", fix="check the units of scale, mean and std")
    if d.spectrum != "none":
        if d.length % 2 or d.length < max(4, d.window):
            raise EdgeqError(f"n_fft = {d.length} for a window of {d.window}", why="it must be even, at least 4, and hold the window")
        factors(d.length // 2)
        windows.weights(d.window_function, d.window)
    return d


def build_sensor(d: SensorDescription, name: str = FEATURES, output: QParams | None = None) -> Graph:
    """Samples int16 ``[hop, channels]`` -> the newest window: standardized ``[window, channels]``, or spectra ``[channels, bins]``.

    Before the first sample each channel has its mean.

    Args:
        output: int8 features in this scale; without it int16 in a scale that holds all that can be.

    Raises:
        EdgeqError: the scale does not fit the description.
    """
    m = Maker()
    factor, offset = d.affine()
    x = m.input(SAMPLES, TensorType((d.step, d.channels), DType.INT16))
    largest = float((np.abs(factor) * 32768 + np.abs(offset)).max())
    spectral = d.spectrum != "none"
    q = output if output is not None and not spectral else QParams((largest / 32767,))
    type = TensorType((), DType.INT8 if q is output else DType.INT16, q)
    constants = [m.constant(n, a.astype(np.float32)) for n, a in (("factor", factor), ("offset", offset))]
    x = m.emit(Standardize(), [x, *constants], "standardized", type=type)
    x = m.window(x, d.window - d.step, "window")
    return m.graph(name, _spectra(m, d, x, largest, output) if spectral else x)


def _spectra(m: Maker, d: SensorDescription, x: Tensor, largest: float, output: QParams | None) -> Tensor:
    """Of each channel the levels of all bins; a bin is a band of one."""
    weights = windows.weights(d.window_function, d.window)
    bins, unit = d.length // 2 + 1, x.type.scale * 32768  # levels take 32768 for 1
    x = m.emit(Transpose((1, 0)), [x], "by_channel", type=x.type)
    bits = BLOCK_BITS - (d.length - 1).bit_length()
    x = m.emit(ApplyWindow(bits), [x, m.constant("window_weights", weights.astype(np.float32))], "windowed", "shifts")
    x = m.emit(Rfft(d.length, True), [x], "spectrum")
    bands = [m.constant("band_starts", np.arange(bins, dtype=np.int16)), m.constant("band_counts", np.ones(bins, np.int16))]
    bands.append(m.constant("band_weights", np.full(bins, unit, np.float32)))
    high = largest * float(np.abs(weights).sum())
    node = BandLevels(1)
    if d.spectrum == "db":
        node = BandLevels(1, "max", d.log_floor, DECIBELS)
        high = DECIBELS * max(abs(math.log(d.log_floor)), abs(math.log(max(high, d.log_floor))))
    type = TensorType((), DType.INT8, output) if output is not None else TensorType((), DType.INT16, QParams((high / 32767,)))
    return m.emit(node, [x, *bands, m.tensors["shifts"]], FEATURES, type=type)


def join_sensor(d: SensorDescription, model: Graph, name: str) -> Graph:
    """A quantized model behind its sensors: samples in, the model's answers out.

    Raises:
        EdgeqError: its input does not fit, with the numbers.
    """
    given = model.given[0]
    t, (rows, columns) = model.type(given), d.shape
    ways = _ways(d, tuple(n for n in t.shape if n != 1))
    if len(model.given) != 1 or t.dtype is not DType.INT8 or t.q is None or not ways:
        why = f"windows are {rows} x {columns}, the model reads {', '.join(f'{n} {model.type(n)}' for n in model.given)}"
        fix = "quantize it to int8; check window, channels, n_fft and layout"
        raise EdgeqError(f"the windows do not fit input '{given}'", where=model.name, why=why, fix=fix)
    m = Maker()
    front = build_sensor(d, name, t.q)
    m.tensors, m.nodes, m.states = dict(front.tensors), list(front.nodes), list(front.states)
    x = m.tensors[front.results[0]]
    if ways[0]:
        x = m.emit(Transpose((1, 0)), [x], "turned", type=x.type)
    x = m.emit(Reshape(t.shape), [x], "given", type=t)
    return behind(m.tensors, m.nodes, m.states, SAMPLES, x.name, model, name)


def _ways(d: SensorDescription, axes: tuple[int, ...]) -> list[bool]:
    """How a network's input may read the features, the likeliest first: as they are (False), or with time and channels turned (True)."""
    fits = [(d.shape[0] * d.shape[1],) == axes or tuple(n for n in shape if n != 1) == axes for shape in (d.shape, d.shape[::-1])]
    wanted = None if not d.layout else (d.layout == LAYOUTS[1]) == (d.spectrum == "none")
    return [turned for turned in (False, True) if fits[turned] and wanted in (None, turned)]


def to_samples(d: SensorDescription, values: Array) -> Array:
    """Moments ``[N, channels]`` as the sensor gives them: int16 as they are, real units divided by the scale, rounded and limited.

    Raises:
        EdgeqError: they have other channels, or are no numbers.
    """
    if values.ndim != 2 or values.shape[1] != d.channels:
        raise EdgeqError(f"samples of shape {list(values.shape)}", why=f"[N, {d.channels}] is needed")
    if values.dtype == np.int16:
        return values
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise EdgeqError("samples hold something else than numbers", why="NaN or infinite", fix="leave such rows out")
    return np.clip(np.rint(values.astype(np.float64) / np.array(d.scale, np.float64)), -32768, 32767).astype(np.int16)
