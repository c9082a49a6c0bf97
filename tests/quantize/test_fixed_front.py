"""Front ends on integers compute what they compute in float32, and their scales are what their formulas say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from float_graphs import Floats

import edgeq
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.activations import Tanh
from edgeq.ops.add import Sub
from edgeq.ops.fourier import Rfft
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.ops.spectrum import ApplyWindow, BandLevels
from edgeq.quantize import evaluate_float
from edgeq.quantize.fixed_front import fixed
from edgeq.quantize.fronts import Front
from edgeq.simulate import real_array, simulate

LENGTH, BINS, FRAMES = 32, 17, 3
STARTS, COUNTS = np.array([1, 3, 6], np.int16), np.array([3, 4, 9], np.int16)


def front(levels: BandLevels, peak: float = 1.0, between: Pad | Reshape | None = None) -> Front:
    """Windows of three frames, their spectra, three bands."""
    b, rng = Floats(), np.random.default_rng(3)
    x = b.input(1, LENGTH + 16)
    if between:
        x = b.op(between, x, name="between")
    window = b.const(np.hanning(LENGTH + 1)[:-1] * peak)
    y = b.op(Rfft(LENGTH), b.op(ApplyWindow(frames=FRAMES, step=8), x, window, name="framed"), name="spectrum")
    for name, data in (("starts", STARTS), ("counts", COUNTS)):
        b.tensors[name] = Tensor(name, TensorType(data.shape, DType.INT16), data)
    weights = b.const(rng.uniform(0.2, 1, int(COUNTS.sum())))
    graph = b.graph(b.op(levels, y, "starts", "counts", weights, name="levels"))
    return Front(graph, None, graph)


def sounds(worth: float, amplitude: float = 0.9) -> dict[str, np.ndarray]:
    """Tones of several loudnesses, in steps of this."""
    t, rng = np.arange(LENGTH + 16), np.random.default_rng(4)
    tones = np.sin(t * rng.uniform(0.3, 2.6, (40, 1)) + rng.uniform(0, 6, (40, 1))) * np.geomspace(0.02, amplitude, 40)[:, None]
    return {"x": (np.rint(tones * 32768)[:, None] * worth).astype(np.float32)}


LEVELS = {
    "decibels": BandLevels(2, "max", 1e-7, 10 / np.log(10)), "logarithm of a sum": BandLevels(2, "add", 1e-5, 1.0, 0.5),
    "of magnitudes": BandLevels(1, "max", 1e-3), "magnitudes": BandLevels(1, "linear"),
}  # fmt: skip


@pytest.mark.parametrize("worth", [1.0, 1 / 32768, 1 / 1000])
@pytest.mark.parametrize("peak", [1.0, 0.4])
@pytest.mark.parametrize("name", LEVELS)
def test_levels_are_those_of_float32(name: str, peak: float, worth: float) -> None:
    size = worth * 32768
    op = LEVELS[name]
    op = replace(op, floor=op.floor * size**op.power)
    whole, samples = front(op, peak), sounds(worth)
    made = fixed(whole, samples, None).graph
    want = evaluate_float(whole.graph, samples)["levels"]
    step = made.type("x").scale
    assert step == pytest.approx(worth if worth != 1 / 1000 else np.abs(samples["x"]).max() / 32767, rel=1e-6)
    stored = {"x": np.rint(samples["x"] / step).astype(np.int16)}
    got = real_array(simulate(made, stored).outputs["levels"], made.type("levels"))
    assert made.type("levels").dtype is DType.INT16
    noise = np.square(got - want).mean()
    assert 10 * np.log10(np.square(want - want.mean()).mean() / noise) > 50
    ends = np.abs(got).max() / (32767 * made.type("levels").scale)
    assert 0.05 < ends < 1.00001  # room for the loudest that can come, and not for much more


def test_the_scale_of_levels_has_room_for_the_loudest_samples() -> None:
    """Whose signs are those of a cosine: the sum of the window's magnitudes in one bin, in all bins at most."""
    whole = front(BandLevels(1, "linear"), 0.5)
    made = fixed(whole, sounds(1 / 32768), None).graph
    weights = whole.graph.tensors[whole.graph.nodes[-1].inputs[3]].data
    assert weights is not None
    most = max(float(w.sum()) for w in np.split(weights.astype(np.float64), np.cumsum(COUNTS)[:-1]))
    loudest = 0.5 * float(np.hanning(LENGTH + 1)[:-1].astype(np.float32).sum())
    assert made.type("levels").scale == pytest.approx(most * loudest / 32767, rel=1e-5)


@pytest.mark.parametrize("between", [Reshape((1, LENGTH + 16)), Pad(((0, 0), (8, 0)))])
def test_samples_are_moved_and_padded_as_they_are(between: Pad | Reshape) -> None:
    whole, samples = front(LEVELS["decibels"], 1.0, between), sounds(1 / 32768)
    made = fixed(whole, samples, None).graph
    assert made.type("between").dtype is DType.INT16 and made.type("between").scale == made.type("x").scale
    got = real_array(simulate(made, {"x": np.rint(samples["x"] * 32768).astype(np.int16)}).outputs["levels"], made.type("levels"))
    assert np.abs(got - evaluate_float(whole.graph, samples)["levels"]).max() < 0.5


@pytest.mark.parametrize("spectrum", ["float32", "int16"])
def test_the_network_keeps_levels_of_the_frame_before(spectrum: str) -> None:
    """A state whose next value the front end computes, but which it does not read, is the network's own."""
    made = front(LEVELS["decibels"]).graph
    kind = made.type("levels")
    tensors = {**made.tensors, **{n: Tensor(n, kind) for n in ("before", "change")}}
    nodes = *made.nodes, Node("change", Sub(), ("levels", "before"), ("change",))
    whole = Graph("kept", nodes, tensors, ("x", "before"), ("change", "levels"), states=(("before", "levels"),))
    samples = sounds(1 / 32768)
    quantized = edgeq.quantize(whole, samples, spectrum=spectrum).graph
    x, y = quantized.type("x"), quantized.type("change")
    stored = {"x": samples["x"] if x.q is None else np.rint(samples["x"] / x.scale).astype(np.int16)}
    got, want = real_array(simulate(quantized, stored).outputs["change"], y), evaluate_float(whole, samples)["change"]
    assert y.dtype is DType.INT8 and 10 * np.log10(np.square(want).mean() / np.square(got - want).mean()) > 25


def test_levels_have_the_rests_scale_in_8_bits() -> None:
    whole, kind = front(LEVELS["decibels"]), TensorType((1, FRAMES, 3), DType.INT8, QParams((0.4,), 20))
    rest = Graph("rest", (Node("t", Tanh(), ("levels",), ("t",)),), {n: Tensor(n, kind) for n in ("levels", "t")}, ("levels",), ("t",))
    assert fixed(whole, sounds(1.0), rest).graph.type("levels") == kind


@pytest.mark.parametrize(
    ("whole", "why"),
    [
        (front(BandLevels(2, "linear")), "energies of a spectrum on integers are not supported"),
        (front(LEVELS["decibels"], 1.0, Pad(((0, 0), (8, 0)), value=0.5)), "pad of a spectrum on integers"),
    ],
)  # fmt: skip
def test_what_has_no_meaning_on_integers_is_refused(whole: Front, why: str) -> None:
    with pytest.raises(EdgeqError, match=why):
        fixed(whole, sounds(1.0), None)
