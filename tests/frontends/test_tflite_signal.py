"""TensorFlow Lite Micro's signal operators: byte for byte as it, in the simulator, in C on this computer and on an emulated chip."""

from __future__ import annotations

import io
import math
import wave
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from flatbuffers import flexbuffers
from installed import need_emulator
from tflite_models import TfliteModel, litert, real, tflm

from edgeq import quantize, target
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import load
from edgeq.ir import Array, Graph
from edgeq.lower import lower
from edgeq.ops.filter_bank import square_roots
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import gpu, run
from edgeq.simulate import simulate

RNG = np.random.default_rng(0)
VECTORS = 40
FLOAT, INT16, INT32 = 0, 7, 2  # TFLite's numbers of types
DTYPES = {"INT16": np.int16, "INT32": np.int32, "FLOAT32": np.float32, "UINT32": np.uint32, "UINT64": np.uint64}


def flex(**options: int | bool) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        for key, value in sorted(options.items()):
            builder.Key(key)
            (builder.Bool if isinstance(value, bool) else builder.Int)(value)
    return bytes(builder.Finish())


@dataclass(frozen=True, eq=False)
class Case:
    """One operator; `inputs` are a type and shape, or a constant; `outputs` types and shapes; `read`: how many of them are compared."""

    kind: str
    inputs: Sequence[tuple[str, tuple[int, ...]] | Array]
    outputs: Sequence[tuple[str, tuple[int, ...]]]
    options: Mapping[str, int | bool]
    read: int = 1
    spread: float = 1.0

    def model(self) -> bytes:
        m, numbers = TfliteModel(), []
        for i, x in enumerate(self.inputs):
            numbers.append(m.constant(f"c{i}", x) if isinstance(x, np.ndarray) else m.input(f"x{i}", x[1], x[0]))
        outputs = [m.tensor(f"y{i}", shape, kind) for i, (kind, shape) in enumerate(self.outputs)]
        m.operator("CUSTOM", numbers, outputs, custom=self.kind)
        m.graph.operators[0].customOptions = np.frombuffer(flex(**self.options), np.uint8)
        return m.finish(*outputs[: self.read])

    def arrays(self) -> list[Array]:
        """Loud and quiet noise; vectors that are 0, the least and the largest number, and both in turn."""
        found = []
        for kind, shape in (x for x in self.inputs if not isinstance(x, np.ndarray)):
            dtype = np.dtype(DTYPES[kind])
            loud = np.exp(RNG.uniform(-9, 0, (VECTORS, *[1] * len(shape)))) * self.spread
            if dtype.kind == "f":
                found.append((RNG.normal(size=(VECTORS, *shape)) * loud).astype(dtype))
                continue
            info = np.iinfo(dtype)
            x = RNG.uniform(info.min, info.max, (VECTORS, *shape)) * loud
            x = np.clip(x, info.min, float(info.max) * (1 - 1e-12)).astype(dtype)
            if self.spread == 1:
                x[3], x[4], x[5] = 0, info.max, info.min
                x[6].ravel()[::2], x[6].ravel()[1::3] = info.min, 3
            found.append(x)
        return found


def rfft(kind: str, length: int, given: int, rows: int = 1) -> Case:
    types = {"FLOAT32": FLOAT, "INT16": INT16, "INT32": INT32}
    return Case("SignalRfft", [(kind, (rows, given))], [(kind, (rows, length + 2))], {"T": types[kind], "fft_length": length}, spread=1)


def irfft(kind: str, length: int) -> Case:
    types = {"FLOAT32": FLOAT, "INT16": INT16, "INT32": INT32}
    return Case("SignalIrfft", [(kind, (1, length + 2))], [(kind, (1, length))], {"T": types[kind], "fft_length": length}, spread=0.25)


def bank() -> Case:
    widths = np.int16([3, 4, 2, 5])
    starts = np.int16([1, 4, 8, 10])
    places = np.int16([0, 4, 8, 12])
    weights, unweights = (RNG.integers(0, 4097, 17).astype(np.int16) for _ in range(2))
    constants = [weights, unweights, starts, places, widths]
    return Case("SignalFilterBank", [("UINT32", (16,)), *constants], [("UINT64", (3,))], {"num_channels": 3})


def subtraction(clamping: bool, alternate: int) -> Case:
    options = {
        "alternate_one_minus_smoothing": 16384 - alternate, "alternate_smoothing": alternate, "clamping": clamping,
        "min_signal_remaining": 819, "num_channels": 7, "one_minus_smoothing": 15975, "smoothing": 409,
        "smoothing_bits": 10, "spectral_subtraction_bits": 14,
    }  # fmt: skip
    return Case("SignalFilterBankSpectralSubtraction", [("UINT32", (7,))], [("UINT32", (7,))] * 2, options, read=2, spread=0.99)


def framer(size: int, step: int, given: int, prefill: bool, rows: int = 1) -> Case:
    outputs = [("INT16", (rows, given // step, size)), ("BOOL", ())]
    return Case("SignalFramer", [("INT16", (rows, given))], outputs, {"frame_size": size, "frame_step": step, "prefill": prefill}, read=2)


def stacker(left: int, right: int, step: int) -> Case:
    options = {"num_channels": 5, "stacker_left_context": left, "stacker_right_context": right, "stacker_step": step}
    return Case("SignalStacker", [("INT16", (5,))], [("INT16", (5 * (left + right + 1),)), ("BOOL", ())], options, read=2)


LENGTHS = ((64, 64), (128, 100), (512, 480), (480, 480), (36, 30))
WINDOW, GAINS = RNG.integers(-32768, 32767, 30).astype(np.int16), RNG.integers(-9000, 32767, 125).astype(np.int16)
CASES: dict[str, Case] = {
    **{f"rfft_{k}_{n}": rfft(k, n, g) for k in ("INT16", "INT32", "FLOAT32") for n, g in LENGTHS},
    "rfft_rows": rfft("INT16", 64, 60, 3),
    **{f"irfft_{k}_{n}": irfft(k, n) for k in ("INT16", "INT32", "FLOAT32") for n in (64, 128, 60, 36)},
    "window": Case("SignalWindow", [("INT16", (2, 30)), WINDOW], [("INT16", (2, 30))], {"shift": 12}),
    "auto_scale": Case("SignalFftAutoScale", [("INT16", (50,))], [("INT16", (50,)), ("INT32", ())], {}, read=2),
    "energy": Case("SignalEnergy", [("INT16", (34,))], [("UINT32", (17,))], {"start_index": 0, "end_index": 17}),
    "filter_bank": bank(),
    "subtraction": subtraction(False, 983), "subtraction_clamped": subtraction(True, 409),
    "pcan": Case(
        "SignalPCAN", [("UINT32", (11,)), ("UINT32", (11,)), GAINS], [("UINT32", (11,))], {"snr_shift": 6},
    ),
    "log": Case("SignalFilterBankLog", [("UINT32", (40,))], [("INT16", (40,))], {"input_correction_bits": 3, "output_scale": 64}),
    "log_large": Case("SignalFilterBankLog", [("UINT32", (40,))], [("INT16", (40,))], {"input_correction_bits": 0, "output_scale": 1600}),
    "overlap_add": Case("SignalOverlapAdd", [("INT16", (2, 3, 10))], [("INT16", (2, 12))], {"T": INT16, "frame_step": 4}),
    "delay": Case("SignalDelay", [("INT16", (2, 10))], [("INT16", (2, 10))], {"delay_length": 13}),
    "delay_short": Case("SignalDelay", [("INT16", (10,))], [("INT16", (10,))], {"delay_length": 3}),
    "framer": framer(40, 16, 16, True), "framer_frames": framer(40, 16, 48, True, 2), "framer_late": framer(40, 16, 16, False),
    "framer_late_frames": framer(40, 16, 32, False), "framer_apart": framer(8, 16, 32, False),
    "stacker": stacker(2, 1, 1), "stacker_steps": stacker(1, 3, 3), "stacker_whole": stacker(1, 1, 3),
}  # fmt: skip


def as_given(graph: Graph, arrays: Sequence[Array]) -> dict[str, Array]:
    """What edgeq takes: unsigned numbers as words of 32 bits."""
    words = [a.view(np.int32) if a.dtype.kind == "u" else a for a in arrays]
    return {n: a.reshape(len(a), *graph.type(n).shape) for n, a in zip(graph.given, words, strict=True)}


def read(model: bytes, path: Path) -> Graph:
    (path / "m.tflite").write_bytes(model)
    return normalise(load(path / "m.tflite"))


def equal(mine: Array, theirs: Array, valid: Array | None) -> None:
    theirs = theirs.view(np.int32) if theirs.dtype.kind == "u" else theirs
    theirs = theirs.reshape(mine.shape)
    keep = slice(None) if valid is None else valid
    if theirs.dtype.kind == "f":
        np.testing.assert_array_max_ulp(mine[keep], theirs[keep], 0)
    np.testing.assert_array_equal(mine[keep], theirs[keep])


@pytest.mark.parametrize("name", CASES)
def test_every_operator_is_tflms(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    model, arrays = case.model(), case.arrays()
    graph = read(model, tmp_path)
    given = as_given(graph, arrays)
    mine = simulate(graph, given)
    theirs = tflm(model, arrays, outputs=case.read)
    flag = next((t.astype(bool) for t, (kind, _) in zip(theirs, case.outputs, strict=False) if kind == "BOOL"), None)
    for i, result in enumerate(graph.results):
        equal(mine.outputs[result], theirs[i], flag if i == 0 else None)
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", target.load("host"), given, chain="gcc")
    assert compare(mine, got).bit_exact


def test_roots_are_to_nearest_and_keep_their_words() -> None:
    """As exact integer roots, but those of 32 bits end at 65535."""
    numbers = [0, 1, 2, 3, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**64 - 1, 2**64 - 2**33, *RNG.integers(0, 2**63, 500).tolist()]
    numbers += [n * n + d for n in (5, 65535, 65536, 2**31 + 1, 2**32 - 1) for d in (-1, 0, 1, n - 1, n, n + 1) if n * n + d < 2**64]
    for number, root in zip(numbers, square_roots(np.array(numbers, np.uint64)).tolist(), strict=True):
        exact = math.isqrt(number)
        cap = 2**16 - 1 if number < 2**32 else 2**32 - 1
        assert root == exact + (number - exact**2 > exact and exact != cap), number


@pytest.fixture
def preprocessor(data: Path) -> Path:
    path = data / "wild" / "tflm_audio_preprocessor_int8.tflite"
    if not path.is_file():
        pytest.skip("no models from public packages")
    return path


def speech(data: Path, seconds: int) -> Array:
    """Spoken digits one after the other, at 16 kHz (each sample twice); int16."""
    with zipfile.ZipFile(data / "fsdd" / "fsdd_wav.zip") as archive:
        parts, names = [], sorted(n for n in archive.namelist() if n.endswith(".wav"))
        for name in np.random.default_rng(0).permutation(names):
            with wave.open(io.BytesIO(archive.read(str(name)))) as sound:
                parts.append(np.repeat(np.frombuffer(sound.readframes(sound.getnframes()), "<i2"), 2))
            if sum(map(len, parts)) >= 16000 * seconds:
                break
    return np.concatenate(parts)[: 16000 * seconds]


def test_a_minute_of_speech_through_tflms_preprocessor(preprocessor: Path, data: Path, tmp_path: Path) -> None:
    x = np.lib.stride_tricks.sliding_window_view(speech(data, 60), 480)[::320].reshape(-1, 1, 480).astype(np.int16)
    graph = normalise(load(preprocessor))
    given = {graph.given[0]: x}
    want = simulate(graph, given)
    np.testing.assert_array_equal(want.outputs[graph.results[0]], tflm(preprocessor.read_bytes(), [x])[0])
    machine = target.load("host")
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(want, run(tmp_path / "m", machine, given, chain="gcc")).bit_exact


@pytest.mark.parametrize("chip", ["cortex-m4", "riscv"])
def test_the_preprocessor_on_a_chip(chip: str, preprocessor: Path, data: Path, tmp_path: Path) -> None:
    need_emulator(chip)
    x = np.lib.stride_tricks.sliding_window_view(speech(data, 2), 480)[::320][:20].reshape(-1, 1, 480).astype(np.int16)
    graph, machine = normalise(load(preprocessor)), target.load(chip)
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    given = {graph.given[0]: x}
    assert compare(simulate(graph, given, steps=True), run(tmp_path / "m", machine, given, steps=True)).bit_exact


def test_the_preprocessor_on_the_gpus_kernels(preprocessor: Path, data: Path) -> None:
    for module in ("triton", "torch"):
        pytest.importorskip(module)
    x = np.lib.stride_tricks.sliding_window_view(speech(data, 2), 480)[::320][:20].reshape(-1, 1, 480).astype(np.int16)
    graph = normalise(load(preprocessor))
    given = {graph.given[0]: x}
    found = gpu.run(lower(graph, target.load("host")), given, steps=True, device="interpreter")
    assert compare(simulate(graph, given, steps=True), found).bit_exact


DAMAGED: dict[str, Callable[[], Case]] = {
    "is missing": lambda: Case("SignalWindow", [("INT16", (8,)), np.ones(8, np.int16)], [("INT16", (8,))], {"length": 3}),
    "shift of SignalWindow is 40": lambda: Case("SignalWindow", [("INT16", (8,)), np.ones(8, np.int16)], [("INT16", (8,))], {"shift": 40}),
    "has the factor 7": lambda: rfft("INT16", 14 * 4, 50),
    "the file declares": lambda: Case("SignalEnergy", [("INT16", (8,))], [("UINT32", (5,))], {"start_index": 0, "end_index": 2}),
    "bands reach over": lambda: Case(
        "SignalFilterBank", [("UINT32", (9,)), np.ones(4, np.int16), np.ones(4, np.int16), *[np.int16([3, 9])] * 3], [("UINT64", (1,))],
        {"num_channels": 1},
    ),
}  # fmt: skip


@pytest.mark.parametrize("message", DAMAGED)
def test_what_contradicts_itself_is_refused(message: str, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match=message):
        lower(read(DAMAGED[message]().model(), tmp_path), target.load("host"))


@pytest.mark.parametrize("kind", ["COMPLEX_ABS", "REAL", "IMAG"])
def test_tensorflows_spectra_are_litert(kind: str, tmp_path: Path) -> None:
    """As the converter writes tf.signal.rfft: an axis more, RFFT2D, the axis taken away, parts or magnitudes."""
    m = TfliteModel()
    x = m.input("x", (3, 100))
    wide, complex_wide, spectrum, y = (m.tensor(n, s, k) for n, s, k in (
        ("wide", (3, 1, 100), "FLOAT32"), ("c", (3, 1, 65), "COMPLEX64"), ("s", (3, 65), "COMPLEX64"), ("y", (3, 65), "FLOAT32")
    ))  # fmt: skip
    m.operator("EXPAND_DIMS", [x, m.constant("axis", np.int32([-2]))], [wide], ("ExpandDimsOptions", {}))
    m.operator("RFFT2D", [wide, m.constant("length", np.int32([1, 128]))], [complex_wide], ("Rfft2dOptions", {}))
    m.operator("SQUEEZE", [complex_wide], [spectrum], ("SqueezeOptions", {"squeezeDims": [-2]}))
    m.operator(kind, [spectrum], [y])
    model = m.finish(y)
    data = RNG.normal(size=(4, 3, 100)).astype(np.float32)
    graph = read(model, tmp_path)
    mine, theirs = real(graph, {graph.given[0]: data})[0], litert(model, [data])[0]
    np.testing.assert_allclose(mine, theirs, atol=1e-5 * np.abs(theirs).max())
    quantized = quantize(graph, {graph.given[0]: data}, recipe="fp16").graph
    given = {quantized.given[0]: data}
    got = simulate(quantized, given)
    values = got.outputs[quantized.results[0]].astype(float)  # a spectrum is kept in float32
    assert 10 * np.log10((theirs.astype(float) ** 2).sum() / ((values - theirs) ** 2).sum()) > 110
    program = lower(quantized, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(got, run(tmp_path / "m", target.load("host"), given, chain="gcc")).bit_exact
