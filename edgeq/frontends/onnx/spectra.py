"""Fourier transforms of real signals, STFT and DFT: edgeq's own transforms where there is one of their length, else products."""

from __future__ import annotations

import math

import numpy as np

from edgeq import reals
from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.contraction import MAX_COEFFICIENTS, linear_map
from edgeq.frontends.onnx.file import DAMAGED
from edgeq.frontends.onnx.linear import dense
from edgeq.frontends.onnx.registry import reads, tensor_of
from edgeq.frontends.onnx.values import Constant
from edgeq.ir import Array, Tensor
from edgeq.ops.fourier import Rfft, is_computed
from edgeq.ops.gather import Gather
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.slice import Slice
from edgeq.ops.spectrum import ApplyWindow


@reads("STFT")
def stft(call: Call) -> Tensor:
    """Signals ``[B, L]`` or ``[B, L, 1]`` -> the spectra of their frames ``[B, F, bins, 2]``.

    Raises:
        EdgeqError: the signal is complex, or its frames do not fit it.
    """
    x, step, length = call.x(), _number(call, 1, "the step"), _number(call, 3, "the length of frames")
    if len(x.type.shape) not in (2, 3) or x.type.shape[2:] not in ((), (1,)):
        fix = "give it real signals [batch, samples, 1]"
        raise EdgeqError(f"STFT of {x.type} is not supported", why="it is no batch of real signals", fix=fix)
    batch, samples = x.type.shape[:2]
    window = call.data(2, "the window")
    if length is None and window is None:
        raise EdgeqError("STFT without a window and without a length of frames", why=DAMAGED)
    taps = np.ones(length or 0, np.float32) if window is None else window.astype(np.float32)
    length = len(taps) if length is None else length
    if step is None or step < 1 or taps.shape != (length,) or not 2 <= length <= samples:
        why = f"{samples} samples, frames of {length} every {step}, a window {list(taps.shape)}"
        raise EdgeqError("the frames of STFT do not fit", why=why, fix="give it frames no longer than the signal, and a window as long")
    frames = (samples - length) // step + 1
    x = call.reshape(x, (batch, samples), "samples")
    starts = -(-samples // step)  # of frames in one signal and its zeros, of which the last ones reach into the next signal
    if batch > 1:
        x = call.emit(Pad(((0, 0), (0, starts * step - samples))), x, tag="apart") if samples % step else x
        x = call.reshape(x, (1, batch * starts * step), "row")
    framed = (batch - 1) * starts + frames
    weights = call.builder.constant(call.builder.fresh(f"{call.output}.window"), taps[: _end(taps)])
    y = _spectrum(call, call.emit(ApplyWindow(frames=framed, step=step), x, weights, tag="windowed"), length)
    if batch > 1:
        kept = tuple(b * starts + f for b in range(batch) for f in range(frames))
        y = call.emit(Gather(kept, (len(kept),), 1), y, tag="frames") if len(kept) < framed else y
    return call.reshape(y, (batch, frames, *y.type.shape[2:]), "shape")


@reads("DFT")
def dft(call: Call) -> Tensor:
    """Real signals ``[..., n, ..., 1]`` -> spectra ``[..., bins, ..., 2]``; complex and inverse ones are products with coefficients."""
    x = call.x()
    if call.integer("inverse", 0) or x.type.shape[-1:] != (1,):
        return tensor_of(linear_map(call))
    rank, length = len(x.type.shape), _number(call, 1, "the length")
    listed = call.vector(2, "the axis") if call.version >= 20 else (call.integer("axis", 1),)
    axis = call.normal_axis(listed[0] if listed else -2, rank)
    if axis == rank - 1:
        raise EdgeqError("DFT along the axis of real and imaginary parts", why=DAMAGED)
    length = x.type.shape[axis] if length is None else length
    if length < 1:
        raise EdgeqError(f"DFT of length {length}", why=DAMAGED)
    order = (*(a for a in range(rank - 1) if a != axis), axis)
    x = call.transpose(call.reshape(x, x.type.shape[:-1], "real"), order, "axis_last")
    if x.type.shape[-1] > length:
        size = (*x.type.shape[:-1], length)
        x = call.emit(Slice((0,) * len(size), size, (1,) * len(size)), x, tag="first")
    y = _spectrum(call, x, length)
    return call.transpose(y, (*(order.index(a) for a in range(rank - 1)), rank - 1), "axis_back")


def _number(call: Call, position: int, what: str) -> int | None:
    """A constant integer of one element; None where it is left out."""
    found = call.vector(position, what)
    if found is not None and len(found) != 1:
        raise EdgeqError(f"{what} of {call.kind} is {len(found)} numbers", why=DAMAGED)
    return found[0] if found else None


def _end(taps: Array) -> int:
    """Behind the last weight that is not 0: frames that end earlier have zeros behind."""
    return int(np.flatnonzero(taps)[-1]) + 1 if taps.any() else len(taps)


def _spectrum(call: Call, x: Tensor, length: int) -> Tensor:
    """Frames ``[..., K]``, K <= length, zeros behind -> the parts of their bins ``[..., bins, 2]``: half of them, or all."""
    half, all_bins = length // 2 + 1, not call.integer("onesided", 1 if call.kind == "STFT" else 0)
    y = call.emit(Rfft(length), x, tag="spectrum") if is_computed(length) else _product(call, x, length, half)
    y = call.reshape(y, (*x.type.shape[:-1], half, 2), "bins")
    if not all_bins:
        return y
    bins = (*range(half), *range((length - 1) // 2, 0, -1))
    signs = np.ones((1,) * (len(y.type.shape) - 2) + (length, 2), np.float32)
    signs[..., half:, 1] = -1
    mirrored = call.emit(Gather(bins, (length,), len(y.type.shape) - 2), y, tag="mirrored")
    return call.emit(Mul(), mirrored, call.builder.constant(call.builder.fresh(f"{call.output}.signs"), signs), tag="conjugate")


def _product(call: Call, x: Tensor, length: int, half: int) -> Tensor:
    """A transform of a length that has large prime factors, or is odd: a product with cosines and sines."""
    taps = x.type.shape[-1]
    if 2 * half * taps > MAX_COEFFICIENTS:
        why = "lengths that are even, at most 16384 and without prime factors above 5 are, and products of up to a million coefficients"
        raise EdgeqError(f"{call.kind} of length {length} is not supported", why=why, fix="take a power of two")
    angles = 2 * math.pi / length * (np.arange(half)[:, None] * np.arange(taps) % length)
    matrix = np.stack([reals.cos(angles), -reals.sin(angles)], 1).reshape(2 * half, taps)
    return dense(call, x, Constant(f"{call.output}.waves", matrix.astype(np.float32)))
