"""A Fourier transform that a model spells as layers becomes one, with the bands behind it; a layer that is none stays."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import need_emulator

torch = pytest.importorskip("torch")

from edgeq import api, target  # noqa: E402
from edgeq.api import streaming  # noqa: E402
from edgeq.compare import compare  # noqa: E402
from edgeq.emit import emit, write  # noqa: E402
from edgeq.errors import EdgeqError  # noqa: E402
from edgeq.ir import Array, Graph  # noqa: E402
from edgeq.lower import lower  # noqa: E402
from edgeq.ops.spectrum import ApplyWindow, BandLevels  # noqa: E402
from edgeq.plan import plan  # noqa: E402
from edgeq.quantize import evaluate_float  # noqa: E402
from edgeq.run import run  # noqa: E402
from edgeq.simulate import fit_inputs, real_array, simulate  # noqa: E402

SAMPLES, RATE = 1600, 16000
RNG = np.random.default_rng(5)


def kernels(n_fft: int, bins: int, window: Array, first: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights of cosines and of minus sines, float32 ``[bins, n_fft]``, with the window in the middle."""
    left = (n_fft - len(window)) // 2
    full = np.pad(window, (left, n_fft - left - len(window)))
    angles = 2 * np.pi * (first + np.arange(bins)[:, None]) * np.arange(n_fft) / n_fft
    return tuple(torch.tensor((f(angles) * full).astype(np.float32)) for f in (np.cos, lambda a: -np.sin(a)))  # type: ignore[return-value]


def triangles(bins: int, count: int) -> torch.Tensor:
    """Overlapping bands, float32 ``[bins, count]``."""
    edges = np.linspace(1, bins - 1, count + 2)
    at = np.arange(bins)[:, None]
    rise, fall = (at - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - at) / np.diff(edges)[1:]
    return torch.tensor(np.maximum(0, np.minimum(rise, fall)).astype(np.float32))


class Convolutions(torch.nn.Module):
    """As torchlibrosa and openWakeWord: two convolutions, energies, a product with the bands, decibels, a range below the peak."""

    def __init__(self, n_fft: int, length: int, hop: int, wrong: str = "") -> None:
        super().__init__()
        self.hop = hop
        real, imaginary = kernels(n_fft, n_fft // 2 + 1, np.hanning(length + 1)[:-1])
        if wrong == "noise":
            real = real + 0.01 * torch.randn(real.shape, generator=torch.Generator().manual_seed(1))
        if wrong == "frequency":
            imaginary = imaginary.roll(1, 0)
        if wrong == "window":
            imaginary = imaginary * 1.1
        self.wrong = wrong
        self.real, self.imaginary = (torch.nn.Parameter(k[:, None]) for k in (real, imaginary))
        self.bands = torch.nn.Parameter(triangles(n_fft // 2 + 1, 20))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = (torch.nn.functional.conv1d(x[:, None], k, stride=self.hop) for k in (self.real, self.imaginary))
        power, other = a[:, None].transpose(2, 3) ** 2, b[:, None].transpose(2, 3) ** 2
        power = power - other if self.wrong == "difference" else power + other
        level = 10 * torch.log10(torch.clamp(power @ self.bands, min=1e-10))
        return torch.maximum(level, level.amax((0, 1, 2, 3)) - 80)


class One(torch.nn.Module):
    """As Silero: one convolution with both, magnitudes, and a layer behind."""

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.hop, self.bins = hop, n_fft // 2 + 1
        self.basis = torch.nn.Parameter(torch.cat(kernels(n_fft, self.bins, np.hanning(n_fft + 1)[:-1]))[:, None])
        self.layer = torch.nn.Conv1d(self.bins, 8, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.nn.functional.conv1d(x[:, None], self.basis, stride=self.hop)
        return torch.relu(self.layer(torch.sqrt(y[:, : self.bins] ** 2 + y[:, self.bins :] ** 2)))


class Transposed(torch.nn.Module):
    """As nnAudio: bins before frames, plus sines, bands from the left, a logarithm of a sum."""

    def __init__(self, n_fft: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        real, imaginary = kernels(n_fft, n_fft // 2 + 1, np.hamming(n_fft))
        self.real, self.imaginary = torch.nn.Parameter(real[:, None]), torch.nn.Parameter(-imaginary[:, None])
        self.bands = torch.nn.Parameter(triangles(n_fft // 2 + 1, 16).T.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = (torch.nn.functional.conv1d(x[:, None], k, stride=self.hop) for k in (self.real, self.imaginary))
        return torch.log(self.bands @ (a * a + b * b) + 1e-6)


class Matrices(torch.nn.Module):
    """As a transform written as products of matrices: frames times cosines and sines, a few bins only."""

    def __init__(self, n_fft: int) -> None:
        super().__init__()
        real, imaginary = kernels(n_fft, 30, np.blackman(n_fft + 1)[:-1], first=3)
        self.real, self.imaginary = torch.nn.Parameter(real.T.contiguous()), torch.nn.Parameter(imaginary.T.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.log(torch.clamp((x @ self.real) ** 2 + (x @ self.imaginary) ** 2, min=1e-8))


MODELS: dict[str, tuple[Callable[[], torch.nn.Module], tuple[int, ...]]] = {
    "convolutions": (lambda: Convolutions(512, 400, 160), (1, SAMPLES)),
    "uneven": (lambda: Convolutions(320, 320, 100), (1, SAMPLES)),
    "one": (lambda: One(256, 64), (1, SAMPLES)),
    "transposed": (lambda: Transposed(256, 128), (1, SAMPLES)),
    "matrices": (lambda: Matrices(128), (6, 128)),
}


def sounds(count: int, shape: tuple[int, ...]) -> Array:
    """Tones and noise of several loudnesses, as 32768ths."""
    t = np.arange(int(np.prod(shape))) / RATE
    tones = np.sin(2 * np.pi * t * RNG.uniform(100, 4000, (count, 1)) + 8 * np.sin(9 * t))
    data = RNG.uniform(0.02, 0.4, (count, 1)) * (tones + 0.1 * RNG.normal(size=(count, len(t))))
    return np.asarray(np.rint(data * 32768) / 32768, np.float32).reshape(count, *shape)


def read(name: str) -> tuple[torch.nn.Module, Graph, Array, Array]:
    """A module, its graph, sounds ``[V, *shape]`` and what PyTorch answers."""
    torch.manual_seed(0)
    make, shape = MODELS[name]
    module = make().eval()
    x = sounds(24, shape)
    with torch.no_grad():
        want = np.stack([module(torch.tensor(v)).numpy() for v in x])
    return module, api.load(module, torch.zeros(shape)), x, want


def db(want: Array, got: Array) -> float:
    error = ((want.astype(float) - got.reshape(want.shape)) ** 2).sum()
    return float(10 * np.log10((want.astype(float) ** 2).sum() / error))


@pytest.fixture(scope="module", params=MODELS)
def case(request: pytest.FixtureRequest) -> tuple[str, Graph, Array, Array]:
    _, graph, x, want = read(request.param)
    return request.param, graph, x, want


def test_it_becomes_a_transform(case: tuple[str, Graph, Array, Array]) -> None:
    name, graph, x, want = case
    kinds = [n.op.kind() for n in graph.nodes]
    assert [kinds.count(k) for k in ("apply_window", "rfft", "band_levels", "conv2d", "square")] == [1, 1, 1, int(name == "one"), 0], kinds
    assert db(want, evaluate_float(graph, {graph.given[0]: x})[graph.results[0]]) > 100
    levels = next(n.op for n in graph.nodes if isinstance(n.op, BandLevels))
    assert levels.mode == {"one": "linear", "transposed": "add"}.get(name, "max")
    if name == "convolutions":
        window = next(n for n in graph.nodes if isinstance(n.op, ApplyWindow))
        assert graph.type(window.inputs[1]).shape == (399,)  # the first of the window's 400 weights is 0, and so are those around


LEAST = {("fp16", "float32"): 60, ("int8", "float32"): 30, ("fp16", "int16"): 55, ("int8", "int16"): 30}


@pytest.mark.parametrize(("recipe", "spectrum"), LEAST)
def test_chips_compute_what_the_simulator_says(case: tuple[str, Graph, Array, Array], recipe: str, spectrum: str, tmp_path: Path) -> None:
    name, graph, x, want = case
    made = api.quantize(graph, x, recipe=recipe, spectrum=spectrum).graph
    kinds = {n.op.kind(): made.type(n.inputs[0]).dtype.value for n in made.nodes}
    assert kinds["apply_window"] == {"float32": "f32", "int16": "s16"}[spectrum]
    given = {made.given[0]: np.rint(x[:4] * 32768).astype(np.int16) if spectrum == "int16" else x[:4]}
    expected = simulate(made, given, steps=True)
    result = made.results[0]
    assert db(want[:4], real_array(expected.outputs[result], made.type(result))) > LEAST[recipe, spectrum]
    for chip in ("host", *(("cortex-m4", "riscv") if name in ("convolutions", "one") else ())):
        need_emulator(chip)
        machine = target.load(chip)
        program = lower(made, machine)
        write(emit(program, plan(program), "m"), tmp_path / chip)
        assert compare(expected, run(tmp_path / chip, machine, given, steps=True)).bit_exact, chip


@pytest.mark.parametrize("wrong", ["noise", "frequency", "window", "difference"])
def test_layers_that_are_no_transform_stay(wrong: str) -> None:
    graph = api.load(Convolutions(128, 128, 64, wrong), torch.zeros(1, 400))
    assert {"conv2d", "rfft"} & {n.op.kind() for n in graph.nodes} == {"conv2d"}


@pytest.mark.parametrize("spectrum", ["float32", "int16"])
@pytest.mark.parametrize(("name", "length"), [("one", 255), ("convolutions", 399)])
def test_frames_may_come_one_after_the_other(name: str, length: int, spectrum: str, tmp_path: Path) -> None:
    """A step takes as many samples as the hop, keeps the rest of a window, and answers as the whole window does, on a chip too."""
    need_emulator("cortex-m4")
    _, graph, x, _ = read(name)
    made = api.quantize(graph, x, recipe="int8", spectrum=spectrum).graph
    stream = streaming.streamed(made, streaming.parse("time"))
    found = streaming.difference(made, stream, {made.given[0]: x})
    assert [stream.graph.type(n.outputs[0]).shape for n in stream.graph.nodes if n.op.kind() == "apply_window"] == [(1, 1, length)]
    assert found is not None and found.equal == found.answers > 100
    given = streaming.steps(stream, {made.given[0]: x[:2] if spectrum == "float32" else np.rint(x[:2] * 32768).astype(np.int16)})
    program = lower(stream.graph, target.load("cortex-m4"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(simulate(stream.graph, given), run(tmp_path / "m", target.load("cortex-m4"), given)).bit_exact


class Centred(torch.nn.Module):
    """Frames around their middle (`center=True`): a convolution that pads, or padding of some mode before it."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.real, self.imaginary = (torch.nn.Parameter(k[:, None]) for k in kernels(256, 129, np.hanning(201)[:-1]))
        self.bands = torch.nn.Parameter(triangles(129, 16).T.contiguous())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x, pads = x[:, None], 128
        if self.mode != "convolution":
            x, pads = torch.nn.functional.pad(x, (128, 128), mode=self.mode), 0
        a, b = (torch.nn.functional.conv1d(x, k, stride=64, padding=pads) for k in (self.real, self.imaginary))
        return torch.log(self.bands @ (a * a + b * b) + 1e-6)


@pytest.mark.parametrize("mode", ["convolution", "constant", "reflect", "replicate"])
def test_padded_ends(mode: str, tmp_path: Path) -> None:
    """In float32 and in integers; on a stream zeros are computed again at the ends of each window, and what repeats ends has none."""
    need_emulator("riscv")
    module, x = Centred(mode).eval(), sounds(16, (1, SAMPLES))
    with torch.no_grad():
        want = np.stack([module(torch.tensor(v)).numpy() for v in x])
    graph = api.load(module, torch.zeros(1, SAMPLES))
    assert [n.op.kind() for n in graph.nodes if n.op.kind() != "transpose"] == ["pad", "apply_window", "rfft", "band_levels"]
    assert db(want, evaluate_float(graph, {graph.given[0]: x})[graph.results[0]]) > 100
    made = api.quantize(graph, x, recipe="int8", spectrum="int16").graph
    given = {made.given[0]: np.rint(x * 32768).astype(np.int16)}
    expected = simulate(made, given, steps=True)
    assert db(want, real_array(expected.outputs[made.results[0]], made.type(made.results[0]))) > 60
    program = lower(made, target.load("riscv"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    few = {n: a[:3] for n, a in given.items()}
    assert compare(simulate(made, few, steps=True), run(tmp_path / "m", target.load("riscv"), few, steps=True)).bit_exact
    if mode in ("convolution", "constant"):
        found = streaming.difference(made, streaming.streamed(made, streaming.parse("time")), {made.given[0]: x})
        assert found.equal == found.answers > 100
    else:
        with pytest.raises(EdgeqError, match="repeats the ends of a window, and a stream has none"):
            streaming.streamed(made, streaming.parse("time"))


def test_whole_numbers_are_steps_of_one() -> None:
    """A model that was trained on samples up to 32768 gets a step of 1, whatever the loudest sample is."""
    _, graph, x, _ = read("convolutions")
    made = api.quantize(graph, np.rint(x * 32768).astype(np.float32), recipe="fp16", spectrum="int16").graph
    assert made.type(made.given[0]).scale == 1.0


def test_energies_on_integers_are_refused() -> None:
    class Energies(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.real, self.imaginary = (torch.nn.Parameter(k[:, None]) for k in kernels(64, 33, np.ones(64)))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            a, b = (torch.nn.functional.conv1d(x[:, None], k, stride=32) for k in (self.real, self.imaginary))
            return a * a + b * b

    graph = api.load(Energies(), torch.zeros(1, 320))
    with pytest.raises(EdgeqError, match="energies of a spectrum on integers"):
        api.quantize(graph, sounds(8, (1, 320)), spectrum="int16")
    with pytest.raises(EdgeqError, match="unknown storage 'int32' of spectra"):
        api.quantize(graph, sounds(8, (1, 320)), spectrum="int32")


def test_openwakewords_own_file(data: Path) -> None:
    """The front end of openWakeWord as it is published, on whole numbers."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = data / "wild" / "oww_melspectrogram.onnx"
    graph, x = api.load(path, shapes={"input": (1, 1760)}), np.rint(sounds(16, (1, 1760)) * 32768).astype(np.float32)
    session = onnxruntime.InferenceSession(path)
    want = np.stack([session.run(None, {"input": v})[0] for v in x])
    assert db(want, evaluate_float(graph, {"input": x})["output"]) > 100
    for choices in ({"recipe": "fp16"}, {"recipe": "fp16", "spectrum": "int16"}, {"recipe": "int8", "spectrum": "int16"}):
        made = api.quantize(graph, x, **choices).graph  # type: ignore[arg-type]
        got = simulate(made, {"input": x.astype(made.type("input").dtype.numpy)}).outputs["output"]
        assert db(want, real_array(got, made.type("output"))) > (40 if choices["recipe"] == "int8" else 60), choices
        stream = streaming.streamed(made, streaming.parse("time"))  # the peak is that of the frames that are kept
        found = streaming.difference(made, stream, {"input": x})
        assert stream.hop == 160 and found.equal == found.answers > 100


class Recurrent(torch.nn.Module):
    """As Silero: a state of samples before the new ones, padding, a transform, magnitudes, convolutions and an LSTM with its own states.

    `kept`: levels of the inference before are read by the layers, too. `product`: samples are divided by their peak before all.
    """

    def __init__(self, kept: bool, product: bool) -> None:
        super().__init__()
        self.kept, self.product = kept, product
        self.basis = torch.nn.Parameter(torch.cat(kernels(64, 33, np.hanning(65)[:-1]))[:, None])
        self.layers = torch.nn.Sequential(
            torch.nn.Conv1d(33, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv1d(16, 8, 3, stride=2, padding=1), torch.nn.ReLU()
        )
        self.cell = torch.nn.LSTM(8, 8)
        self.last = torch.nn.Conv1d(8, 1, 1)

    def forward(self, x: torch.Tensor, context: torch.Tensor, h: torch.Tensor, c: torch.Tensor, *levels: torch.Tensor) -> Any:
        both = torch.cat([context, x], 1)
        if self.product:
            both = both / (both.abs().amax(1, keepdim=True) + 0.1)
        y = torch.nn.functional.conv1d(torch.nn.functional.pad(both[:, None], (0, 32), mode="reflect"), self.basis, stride=32)
        found = torch.sqrt(y[:, :33] ** 2 + y[:, 33:] ** 2)
        rows = self.layers(found + levels[0] if self.kept else found).permute(2, 0, 1)
        steps, (h, c) = self.cell(rows, (h, c))
        answer = torch.sigmoid(self.last(torch.relu(steps[-1:].permute(1, 2, 0))))
        return answer, both[:, -32:], h, c, *((found,) if self.kept else ())


def recurrent(kept: bool, product: bool, folder: Path) -> tuple[Graph, Array, Array]:
    """The graph with its states, blocks of samples ``[V, 1, 128]`` that follow each other, and what PyTorch answers to them."""
    torch.manual_seed(0)
    module, x = Recurrent(kept, product).eval(), sounds(6, (1, SAMPLES))[:, 0, :1536].reshape(-1, 1, 128)
    states = [torch.zeros(s) for s in ((1, 32), (1, 1, 8), (1, 1, 8), *(((1, 33, 5),) if kept else ()))]
    names = ["context", "h", "c", *(["levels"] if kept else [])]
    first, want = states, []
    with torch.no_grad():
        for block in x:
            answer, *states = module(torch.tensor(block), *states)
            want.append(answer.numpy())
    path = folder / "m.onnx"
    torch.onnx.export(
        module, (torch.zeros(1, 128), *first), path, dynamo=False,
        input_names=["x", *names], output_names=["y", *(f"{n}_next" for n in names)],
    )  # fmt: skip
    return api.load(path, states={n: f"{n}_next" for n in names}), x, np.stack(want)


def bit_exact(made: Graph, given: dict[str, Array], chip: str, folder: Path) -> bool:
    need_emulator(chip)
    given, program = fit_inputs(made, given), lower(made, target.load(chip))
    write(emit(program, plan(program), "m"), folder)
    return compare(simulate(made, given, steps=True), run(folder, target.load(chip), given, steps=True)).bit_exact


RECIPES = [(r, "float32") for r in ("int8", "fp16", "mixed", "auto", "few-bits")] + [("int8", "int16"), ("fp16", "int16")]


@pytest.mark.parametrize(("recipe", "spectrum"), RECIPES)
@pytest.mark.parametrize("kept", [False, True])
def test_states_around_a_spectrum(kept: bool, recipe: str, spectrum: str, tmp_path: Path) -> None:
    """Samples that are kept stay with the spectrum, and what layers keep, levels too, is stored as the layers have it."""
    graph, x, want = recurrent(kept, False, tmp_path)
    assert {"apply_window", "lstm"} <= {n.op.kind() for n in graph.nodes} and len(graph.states) == 3 + kept
    assert db(want, evaluate_float(graph, {"x": x})["y"]) > 90
    made = api.quantize(graph, {"x": x}, recipe=recipe, spectrum=spectrum).graph
    assert made.given == ("x",) and made.results == ("y",) and [a for a, _ in made.states][:1] == ["context"]
    types = {a: made.type(a).dtype.value for a, _ in made.states}
    assert types["context"] == {"float32": "f32", "int16": "s16"}[spectrum]
    assert types["h"] in ("s8", "f16") and types.get("levels", "s8") in ("s8", "f16")
    assert db(want, real_array(simulate(made, {"x": x}).outputs["y"], made.type("y"))) > 30
    for chip in ("host", *(("cortex-m4",) if recipe in ("int8", "fp16") else ())):
        assert bit_exact(made, {"x": x}, chip, tmp_path / chip)


def test_a_product_before_a_spectrum(tmp_path: Path) -> None:
    """It is not kept in float32, so neither is what it makes: the frames' layer stays a convolution, on integers."""
    graph, x, want = recurrent(False, True, tmp_path)
    assert {"apply_window", "square"} & {n.op.kind() for n in graph.nodes} == {"square"}
    made = api.quantize(graph, {"x": x}).graph
    assert db(want, real_array(simulate(made, {"x": x}).outputs["y"], made.type("y"))) > 20
    assert bit_exact(made, {"x": x}, "host", tmp_path / "host")
