"""Translators of TensorFlow Lite Micro's signal operators: custom operators on integers without a scale, or on float32."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flatbuffers import flexbuffers

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.attributes import reads
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import DAMAGE, FileOperator
from edgeq.ir import DType, Tensor, TensorType
from edgeq.ops.concat import Concat
from edgeq.ops.filter_bank import FilterBank, FilterBankLog, FilterBankPcan, FilterBankRoot, SpectralSubtraction
from edgeq.ops.fourier import Irfft, Rfft
from edgeq.ops.frames import AutoScale, FrameCount, FrameStack, FrameWindow, OverlapAdd, SpectrumEnergy
from edgeq.ops.reshape import Reshape
from edgeq.ops.slice import Slice
from edgeq.ops.spectrum import BandLevels

MAX_OPTIONS = 64
MAX_FRAME = 2**16


def options(op: FileOperator) -> dict[str, int]:
    """The integers and booleans of a custom operator's options, which are a FlexBuffers map.

    Raises:
        EdgeqError: they are none.
    """
    raw = bytes(op.option("Custom", ()))
    try:
        root = flexbuffers.GetRoot(raw)
        if not root.IsMap or len(root.AsMap.Keys) > MAX_OPTIONS:
            raise ValueError("no map")
        found = zip(root.AsMap.Keys, root.AsMap.Values, strict=True)
        return {str(k.AsKey): int(v.AsInt) for k, v in found if v.IsInt or v.IsBool}
    except (*DAMAGE, AssertionError) as e:
        raise EdgeqError(f"the options of {op.kind} cannot be read", why=f"the file is damaged: {type(e).__name__}") from e


def option(op: FileOperator, name: str, low: int = -(2**31), high: int = 2**31 - 1) -> int:
    """An option within limits.

    Raises:
        EdgeqError: it is missing, or outside.
    """
    value = options(op).get(name)
    if value is None or not low <= value <= high:
        told = "missing" if value is None else str(value)
        raise EdgeqError(f"option {name} of {op.kind.removeprefix('CUSTOM ')} is {told}", why=f"expected {low} to {high}")
    return value


def whole(b: Builder, op: FileOperator, position: int) -> Tensor:
    """An operand that is a number itself.

    Raises:
        EdgeqError: it has a scale.
    """
    x = b.operand(op, position)
    if x.type.q is not None:
        raise EdgeqError(f"{op.kind} on {x.type} with a scale is not supported")
    return x


def constants(b: Builder, op: FileOperator, positions: Sequence[int]) -> list[Tensor]:
    """Constant operands.

    Raises:
        EdgeqError: one is computed.
    """
    found = [whole(b, op, p) for p in positions]
    if any(t.data is None for t in found):
        raise EdgeqError(f"{op.kind} with computed weights is not supported", fix="make the weights constant")
    return found


def kept(b: Builder, op: FileOperator, what: str, shape: tuple[int, ...], dtype: DType) -> tuple[str, Tensor]:
    """A state of an operator's own, zero before the first inference: its name and its value."""
    key = f"{b.tensor_name(op.outputs[0])}/{what}"
    return key, b.variable(key, TensorType(shape, dtype))


@reads("RFFT2D")
def spectrum(b: Builder, op: FileOperator) -> None:
    """What tf.signal.rfft and stft become: transforms of rows. Complex numbers are pairs of floats."""
    x, lengths = b.operand(op, 0), b.integers(op, 1, "the lengths")
    shape = x.type.shape
    if x.type.dtype is not DType.FLOAT32 or len(lengths) != 2 or len(shape) < 2 or lengths[0] != 1 or shape[-2] != 1:
        raise EdgeqError(f"RFFT2D of {x.type} with lengths {list(lengths)} is not supported", fix="transform along the last axis alone")
    name = b.tensor_name(op.outputs[0])
    rows = b.sliced(x, len(shape) - 1, 0, min(shape[-1], lengths[1]), f"{name}/rows")
    b.alias(op.outputs[0], b.insert(Rfft(lengths[1]), [rows], name))


@reads("COMPLEX_ABS", "REAL", "IMAG")
def parts(b: Builder, op: FileOperator) -> None:
    if b.stored(op, 0).kind != "COMPLEX64":
        raise EdgeqError(f"{op.kind} of {b.stored(op, 0).kind} is not supported")
    x, name = b.operand(op, 0), b.tensor_name(op.outputs[0])
    *lead, width = x.type.shape
    bins = width // 2
    if op.kind != "COMPLEX_ABS":
        first = (*[0] * len(lead), int(op.kind == "IMAG"))
        b.emit(Slice(begin=first, size=(*lead, bins), stride=(*[1] * len(lead), 2)), [x], op.outputs[0])
        return
    lists = [TensorType((bins,), DType.INT16)] * 2
    starts, counts = (b.new_constant(f"{name}/{n}", a.astype(np.int16), t) for n, a, t in (
        ("starts", np.arange(bins), lists[0]), ("counts", np.ones(bins), lists[1])
    ))  # fmt: skip
    ones = b.new_constant(f"{name}/ones", np.ones(bins, np.float32))
    b.emit(BandLevels(power=1), [x, starts, counts, ones], op.outputs[0])


@reads("CUSTOM SignalWindow")
def window(b: Builder, op: FileOperator) -> None:
    b.emit_all(FrameWindow(option(op, "shift", 0, 31)), [whole(b, op, 0), *constants(b, op, [1])], op.outputs)


@reads("CUSTOM SignalFftAutoScale")
def auto_scale(b: Builder, op: FileOperator) -> None:
    b.emit_all(AutoScale(), [whole(b, op, 0)], op.outputs)


@reads("CUSTOM SignalRfft", "CUSTOM SignalIrfft")
def transform(b: Builder, op: FileOperator) -> None:
    cls = Rfft if op.kind.endswith("Rfft") else Irfft
    b.emit_all(cls(option(op, "fft_length", 2)), [whole(b, op, 0)], op.outputs)


@reads("CUSTOM SignalEnergy")
def energy(b: Builder, op: FileOperator) -> None:
    b.emit_all(SpectrumEnergy(option(op, "start_index", 0), option(op, "end_index", 0)), [whole(b, op, 0)], op.outputs)


@reads("CUSTOM SignalFilterBank")
def filter_bank(b: Builder, op: FileOperator) -> None:
    b.emit_all(FilterBank(option(op, "num_channels", 1)), [whole(b, op, 0), *constants(b, op, range(1, 6))], op.outputs)


@reads("CUSTOM SignalFilterBankSquareRoot")
def filter_bank_root(b: Builder, op: FileOperator) -> None:
    b.emit_all(FilterBankRoot(), [whole(b, op, 0), whole(b, op, 1)], op.outputs)


@reads("CUSTOM SignalFilterBankSpectralSubtraction")
def spectral_subtraction(b: Builder, op: FileOperator) -> None:
    names = ("smoothing", "alternate_smoothing"), ("one_minus_smoothing", "alternate_one_minus_smoothing")
    own, rest = ((option(op, even), option(op, odd)) for even, odd in names)
    bits, fraction = (option(op, n, 0, 31) for n in ("smoothing_bits", "spectral_subtraction_bits"))
    node = SpectralSubtraction(own, rest, option(op, "min_signal_remaining"), bits, fraction, bool(option(op, "clamping")))
    x = whole(b, op, 0)
    key, before = kept(b, op, "noise", x.type.shape, DType.INT32)
    after = b.emit_all(node, [x, before], op.outputs)[1]
    b.assign(key, after)


@reads("CUSTOM SignalPCAN")
def pcan(b: Builder, op: FileOperator) -> None:
    b.emit_all(FilterBankPcan(option(op, "snr_shift", 0, 63)), [whole(b, op, 0), whole(b, op, 1), *constants(b, op, [2])], op.outputs)


@reads("CUSTOM SignalFilterBankLog")
def filter_bank_log(b: Builder, op: FileOperator) -> None:
    b.emit_all(FilterBankLog(option(op, "output_scale", 0), option(op, "input_correction_bits", 0, 31)), [whole(b, op, 0)], op.outputs)


@reads("CUSTOM SignalOverlapAdd")
def overlap_add(b: Builder, op: FileOperator) -> None:
    x = whole(b, op, 0)
    key, before = kept(b, op, "sums", (*x.type.shape[:-2], x.type.shape[-1]), x.type.dtype)
    after = b.emit_all(OverlapAdd(option(op, "frame_step", 1)), [x, before], op.outputs, [f"{key}_next"])[1]
    b.assign(key, after)


@reads("CUSTOM SignalStacker")
def stacker(b: Builder, op: FileOperator) -> None:
    x, channels = whole(b, op, 0), option(op, "num_channels", 1)
    left, right = (option(op, f"stacker_{side}_context", 0, MAX_FRAME) for side in ("left", "right"))
    if x.type.shape != (channels,):
        raise EdgeqError(f"{op.kind} of {channels} channels on {x.type}", why="the file is damaged")
    node = FrameStack(left, right, option(op, "stacker_step", 1))
    frames, before = kept(b, op, "frames", (node.window * channels,), DType.INT16)
    seen, count = kept(b, op, "seen", (), DType.INT32)
    y, _, after = b.emit_all(node, [x, before, count], op.outputs, [f"{seen}_next"])
    b.assign(frames, y)
    b.assign(seen, after)


@reads("CUSTOM SignalDelay")
def delay(b: Builder, op: FileOperator) -> None:
    x, length, name = whole(b, op, 0), option(op, "delay_length", 0, MAX_FRAME), b.tensor_name(op.outputs[0])
    if not x.type.shape or not length:
        b.emit(Reshape(x.type.shape), [x], op.outputs[0])
        return
    last, frame = len(x.type.shape) - 1, x.type.shape[-1]
    key, before = kept(b, op, "delayed", (*x.type.shape[:-1], length), x.type.dtype)
    joined = b.insert(Concat(axis=last), [before, x], f"{name}/joined")
    b.emit(Reshape(x.type.shape), [b.sliced(joined, last, 0, frame, f"{name}/first")], op.outputs[0])
    b.assign(key, b.sliced(joined, last, frame, length, f"{name}/rest"))


@reads("CUSTOM SignalFramer")
def framer(b: Builder, op: FileOperator) -> None:
    """Overlapping frames. With `prefill` zeros stand before the first sample; without it the first frames do not count."""
    x, name = whole(b, op, 0), b.tensor_name(op.outputs[0])
    size, step, prefill = option(op, "frame_size", 1, MAX_FRAME), option(op, "frame_step", 1, MAX_FRAME), bool(option(op, "prefill"))
    shape, last = x.type.shape, len(x.type.shape) - 1
    if not shape or shape[-1] % step or (prefill and size < step) or len(op.outputs) != 2:
        raise EdgeqError(f"frames of {size} samples every {step} of {x.type}", why="the step must divide the input, and fit the frame")
    frames, held = shape[-1] // step, (size if prefill else -(-size // step) * step) - step
    joined = x
    if held:
        key, before = kept(b, op, "samples", (*shape[:-1], held), x.type.dtype)
        joined = b.insert(Concat(axis=last), [before, x], f"{name}/joined")
        b.assign(key, b.sliced(joined, last, shape[-1], held, f"{name}/rest"))
    parts = [b.sliced(joined, last, i * step, size, f"{name}/{i}") for i in range(frames)]
    rows = [b.reshaped(t, (*shape[:-1], 1, size), f"{name}/row") for t in parts]
    b.emit(Concat(axis=last) if frames > 1 else Reshape((*shape[:-1], 1, size)), rows, op.outputs[0])
    most = size + (frames - 1) * step
    counted, count = kept(b, op, "available", (), DType.INT32)
    node = FrameCount(frames * step, 0 if prefill else most, 2**30)
    after, valid = b.insert_all(node, [count], [f"{counted}_next", f"{name}/valid"], node.infer_all(count.type))
    b.assign(counted, after)
    b.alias(op.outputs[1], valid)
