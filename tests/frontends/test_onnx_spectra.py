"""STFT and DFT of ONNX files: against onnxruntime and PyTorch in float32, as levels in float32 and in integers, and as C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from frontends.onnx_models import Net, kinds, load, onnxruntime_outputs, real_outputs  # noqa: E402

from edgeq import api, target  # noqa: E402
from edgeq.compare import compare  # noqa: E402
from edgeq.emit import emit, write  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.ir import Array, Graph  # noqa: E402
from edgeq.lower import lower  # noqa: E402
from edgeq.passes import normalise  # noqa: E402
from edgeq.plan import plan  # noqa: E402
from edgeq.run import run  # noqa: E402
from edgeq.simulate import real_array, simulate  # noqa: E402

F, INT = np.float32, np.int64
HANN = np.hanning(201)[:-1]
# onnxruntime itself is 98 dB from float64 elsewhere
POWERS_OF_TWO = (
    "both sides", "padded window", "length alone", "window alone", "one frame", "longer", "shorter", "first axis", "inverse", "complex",
)  # fmt: skip


def db(want: Array, got: Array) -> float:
    error = ((want.astype(float) - got.reshape(want.shape)) ** 2).sum()
    return float(10 * np.log10((want.astype(float) ** 2).sum() / error))


def sounds(*shape: int) -> Array:
    """Noise of several loudnesses, as 32768ths."""
    data = np.random.default_rng(3).normal(0, 1, shape) * np.geomspace(0.01, 0.2, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.asarray(np.rint(data * 32768) / 32768, F)


def as_c(graph: Graph, given: Array, folder: Path) -> None:
    """The C for the host computes what the simulator says."""
    program, few = lower(graph, target.load("host")), {graph.given[0]: given[:3]}
    write(emit(program, plan(program), "m"), folder)
    assert compare(simulate(graph, few, steps=True), run(folder, target.load("host"), few, steps=True)).bit_exact


def stft(b: Net, x: str, step: int, window: Array | None, length: int | None, **more: int) -> Any:
    inputs = ["" if window is None else b.const(window, F), "" if length is None else b.const(length, INT)]
    return b.op("STFT", x, b.const(step, INT), *inputs, **more)


def padded(window: Array, length: int) -> Array:
    """A window in the middle of frames, as torch.onnx.export writes it."""
    left = (length - len(window)) // 2
    return np.pad(window, (left, length - len(window) - left))


STFTS: dict[str, tuple[tuple[int, ...], Callable[[Net, str], str]]] = {
    "window": ((1, 900, 1), lambda b, x: stft(b, x, 60, HANN, 200)),
    "padded window": ((1, 900, 1), lambda b, x: stft(b, x, 64, padded(HANN, 256), 256)),
    "length alone": ((1, 900, 1), lambda b, x: stft(b, x, 64, None, 128)),
    "window alone": ((1, 900, 1), lambda b, x: stft(b, x, 64, np.hamming(128), None)),
    "both sides": ((1, 900, 1), lambda b, x: stft(b, x, 64, padded(HANN, 256), 256, onesided=0)),
    "batch": ((3, 900, 1), lambda b, x: stft(b, x, 64, HANN, 200)),
    "frames apart": ((2, 900, 1), lambda b, x: stft(b, x, 300, HANN, 200)),
    "one frame": ((2, 256, 1), lambda b, x: stft(b, x, 256, None, 256)),
    "odd": ((1, 400, 1), lambda b, x: stft(b, x, 50, np.hanning(75), 75, onesided=0)),
    "prime": ((1, 400, 1), lambda b, x: stft(b, x, 50, np.hanning(94), 94)),
}  # fmt: skip


@pytest.mark.parametrize("name", STFTS)
def test_stft_is_onnxruntimes(name: str) -> None:
    shape, make = STFTS[name]
    b = Net(17)
    model = b.model(make(b, b.input(*shape)))
    x = {"input": sounds(4, *shape)}
    (want,), graph = onnxruntime_outputs(model, x).values(), load(model)
    for made in (graph, normalise(graph)):
        (got,) = real_outputs(made, x).values()
        assert got.shape == want.shape and db(want, got) > (110 if name in POWERS_OF_TWO else 95)
    assert ("rfft" in kinds(graph)) == (name not in ("odd", "prime"))


DFTS: dict[str, tuple[int, tuple[int, ...], int | None, int, dict[str, int]]] = {
    "frames": (17, (5, 200, 1), None, 1, {"onesided": 1}),
    "longer": (17, (5, 200, 1), 256, 1, {"onesided": 1}),
    "shorter": (17, (5, 200, 1), 128, 1, {}),
    "first axis": (17, (64, 3, 1), None, 0, {}),
    "opset 20": (20, (5, 200, 1), None, 1, {"onesided": 1}),
    "from the end": (20, (2, 96, 3, 1), 100, -3, {"onesided": 1}),
    "odd": (20, (2, 45, 1), None, 1, {}),
    "inverse": (20, (1, 16, 2), None, 1, {"inverse": 1}),
    "complex": (17, (1, 16, 2), None, 1, {}),
}  # fmt: skip


@pytest.mark.parametrize("name", DFTS)
def test_dft_is_onnxruntimes(name: str) -> None:
    opset, shape, length, axis, more = DFTS[name]
    b = Net(opset)
    axes = [b.const(axis, INT)] if opset >= 20 else []
    more = more if axes else {**more, "axis": axis}
    inputs = [b.input(*shape), "" if length is None else b.const(length, INT), *axes]
    model = b.model(b.op("DFT", *inputs, **more))
    x = {"input": sounds(4, *shape)}
    (want,), graph = onnxruntime_outputs(model, x).values(), load(model)
    (got,) = real_outputs(graph, x).values()
    assert got.shape == want.shape and db(want, got) > (110 if name in POWERS_OF_TWO else 95)
    assert ("rfft" in kinds(graph)) == (name not in ("odd", "inverse", "complex"))


def bank(bands: int, bins: int) -> Array:
    """Triangles ``[bands, bins]`` that overlap by half."""
    centres = np.linspace(3, bins - 4, bands)
    return np.maximum(0, 1 - np.abs(np.arange(bins) - centres[:, None]) / (centres[1] - centres[0]))


class Listener(torch.nn.Module):
    """torch.stft, magnitudes or energies in one of the ways that these are written, bands, a logarithm, a layer."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.register_buffer("window", torch.tensor(HANN, dtype=torch.float32))
        self.register_buffer("bank", torch.tensor(bank(20, 121 if way == "uneven" else 129), dtype=torch.float32))
        self.layer = torch.nn.Conv1d(20, 8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.way == "rfft of frames":
            z = torch.fft.rfft(x.unfold(-1, 200, 64) * self.window, 256).transpose(1, 2)
        else:
            z = torch.stft(x, 240 if self.way == "uneven" else 256, 64, 200, self.window, center=self.way != "no ends", return_complex=True)
        z = z[..., 2:-1] if self.way == "middle frames" else z
        parts = torch.view_as_real(z)
        y = {
            "energy of parts": lambda: z.real**2 + z.imag**2, "energy of pairs": lambda: (parts**2).sum(-1), "power": lambda: z.abs() ** 2,
            "root": lambda: torch.sqrt(parts[..., 0] ** 2 + parts[..., 1] ** 2),
        }.get(self.way, z.abs)()  # fmt: skip
        return torch.as_tensor(self.layer(torch.log(self.bank @ y + 1e-4)))


WAYS = {
    "magnitude": 1, "no ends": 1, "rfft of frames": 1, "energy of parts": 1, "energy of pairs": 1, "power": 1, "root": 1, "batch": 2,
    "middle frames": 1, "uneven": 1,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_levels_of_torchs_spectra(way: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    torch.manual_seed(0)
    module, x = Listener(way).eval(), sounds(64, WAYS[way], 1200)
    graph = api.load(module, torch.zeros(x.shape[1:]))
    assert {"rfft", "band_levels"} <= set(kinds(graph)) and not {"sqrt", "square", "log", "fully_connected"} & set(kinds(graph))
    with torch.no_grad():
        want = np.stack([module(torch.tensor(v)).numpy() for v in x])
    (got,) = real_outputs(graph, {graph.given[0]: x}).values()
    assert db(want, got) > 100
    for recipe, spectrum, least in (("fp16", "float32", 55), ("int8", "int16", 30)):
        made = api.quantize(graph, x, recipe=recipe, spectrum=spectrum).graph
        given = np.rint(x * 32768).astype(np.int16) if spectrum == "int16" else x
        result = made.results[0]
        assert db(want, real_array(simulate(made, {made.given[0]: given}).outputs[result], made.type(result))) > least
        as_c(made, given, tmp_path / spectrum)


def saved(b: Net, output: str, folder: Path) -> Path:
    onnx.save(b.model(output), folder / "m.onnx")
    return folder / "m.onnx"


def test_both_sides_are_levels_too(tmp_path: Path) -> None:
    """Bins of which the imaginary part has another sign."""
    b, x = Net(17), sounds(64, 1, 900, 1)
    z = stft(b, b.input(1, 900, 1), 64, padded(HANN, 256), 256, onesided=0)
    y = b.op("Log", b.op("Add", b.op("ReduceL2", z, axes=[3], keepdims=0), b.const(1e-4, F)))
    path = saved(b, y, tmp_path)
    graph, (want,) = api.load(path), onnxruntime_outputs(onnx.load(path), {"input": x}).values()
    assert kinds(graph) == ["reshape", "apply_window", "rfft", "band_levels"]
    made = api.quantize(graph, x, spectrum="int16").graph
    given = np.rint(x * 32768).astype(np.int16)
    assert db(want, real_array(simulate(made, {"input": given}).outputs[made.results[0]], made.type(made.results[0]))) > 60
    as_c(made, given, tmp_path / "c")


@pytest.mark.parametrize("other", ["half", "third"])
def test_other_sums_of_squares_are_no_levels(other: str) -> None:
    """Of real parts alone, and of parts of two bins."""
    b = Net(17)
    z = stft(b, b.input(1, 512, 1), 128, None, 128)
    parts = [b.op("Gather", z, b.const(k, INT), axis=3) for k in (0, 1)]
    if other == "third":
        parts[1] = b.op("Gather", parts[1], b.ints(*range(1, 65), 0), axis=2)
    squares = [b.op("Mul", p, p) for p in (parts if other == "third" else (parts[0], parts[0]))]
    model = b.model(b.op("Add", *squares))
    x = {"input": sounds(4, 1, 512, 1)}
    (want,), graph = onnxruntime_outputs(model, x).values(), normalise(load(model))
    assert "band_levels" not in kinds(graph)
    assert db(want, *real_outputs(graph, x).values()) > 110


def test_parts_of_a_spectrum_are_read_in_float32_alone(tmp_path: Path) -> None:
    b, x = Net(17), sounds(64, 1, 512, 1)
    z = stft(b, b.input(1, 512, 1), 128, None, 128)
    graph = api.load(saved(b, b.op("Relu", z), tmp_path))
    as_c(api.quantize(graph, x, recipe="fp16").graph, x, tmp_path / "c")
    with pytest.raises(EdgeqError, match=r"a spectrum on integers that is no levels is not supported.*--spectrum float32"):
        api.quantize(graph, x, spectrum="int16")


REFUSED: dict[str, tuple[Callable[[Net], Any], str]] = {
    "complex": (lambda b: stft(b, b.input(1, 512, 2), 64, None, 128), "it is no batch of real signals"),
    "short signal": (lambda b: stft(b, b.input(1, 100, 1), 64, None, 128), "100 samples, frames of 128 every 64"),
    "other window": (lambda b: stft(b, b.input(1, 512, 1), 64, HANN, 256), r"frames of 256 every 64, a window \[200\]"),
    "no step": (lambda b: stft(b, b.input(1, 512, 1), 0, None, 128), "frames of 128 every 0"),
    "no frames": (lambda b: stft(b, b.input(1, 512, 1), 64, None, None), "without a window and without a length"),
    "computed step": (lambda b: b.op("STFT", b.input(1, 512, 1), b.input(name="step", dtype=7), "", b.const(128, INT)), "must be constant"),
    "long prime": (lambda b: b.op("DFT", b.input(1, 4001, 1), axis=1), "DFT of length 4001 is not supported"),
    "no length": (lambda b: b.op("DFT", b.input(1, 512, 1), b.const(0, INT), axis=1), "DFT of length 0"),
    "parts": (lambda b: b.op("DFT", b.input(1, 512, 1), axis=2), "the axis of real and imaginary parts"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused(name: str) -> None:
    make, why = REFUSED[name]
    b = Net(17)
    with pytest.raises(EdgeqError, match=why) as caught:
        load(b.model(make(b)))
    assert len(str(caught.value).splitlines()) == 1
