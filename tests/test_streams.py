"""Networks on a stream: the window's answers byte for byte, the stream's own where padding is left out, lines kept in place."""

from __future__ import annotations

import wave
from dataclasses import replace
from pathlib import Path

import mlperf_tiny
import numpy as np
import pytest
from band_graphs import band_graph, halved
from installed import need_emulator, uncounted
from random_graphs import Builder

from edgeq import api, target
from edgeq.api import streaming
from edgeq.api.models import random_inputs
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node, Tensor
from edgeq.lower import lower
from edgeq.ops.average_pool2d import AveragePool2d
from edgeq.ops.concat import Concat
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.mul import Mul
from edgeq.ops.pad import Pad
from edgeq.ops.slice import Slice
from edgeq.ops.slide import Slide
from edgeq.ops.transpose import Transpose
from edgeq.plan import plan
from edgeq.record import manifest
from edgeq.run import run
from edgeq.simulate import simulate
from edgeq.streams import Stream, stream, warm_up

X = "x0"


def compared(graph: Graph, axis: int, hop: int = 0, answer: str = "window") -> tuple[Stream, streaming.Difference]:
    made = stream(graph, {X: axis}, hop, answer)
    return made, streaming.difference(graph, made, None)


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_answer_as_on_windows(seed: int) -> None:
    """`python -m tests.stream_sweep` does hundreds."""
    graph = band_graph(seed, ("single", "tflm")[seed % 2])
    made, found = compared(graph, 1 + seed % 2)
    assert made.exact and found.answers and found.equal == found.answers


@pytest.mark.parametrize("seed", (0, 8))
def test_half_precision_on_a_stream(seed: int, tmp_path: Path) -> None:
    """Its answers are the windowed network's to the bit, and a chip's steps are the simulator's."""
    made, found = compared(halved(band_graph(seed)), 1 + seed % 2)
    assert made.exact and found.equal == found.answers > 50
    need_emulator("cortex-m4")
    chip, x = uncounted("cortex-m4"), random_inputs(made.graph, 6)
    program = lower(made.graph, chip)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    result = compare(simulate(made.graph, x, steps=True), run(tmp_path / "m", chip, x, steps=True))
    assert result.difference is None, f"{result.difference}"


def tcn(b: Builder, x: str, causal: bool) -> str:
    """Two dilated convolutions with a residual along axis 1, whose rows before the window are zero, or which read what there is."""
    for dilation in (1, 2):
        pads = (2 * dilation, 0, 0, 0) if causal else (0, 0, 0, 0)
        shape = (4, 3, 1, b.tensors[x].type.shape[3])
        y = b.linear(Conv2d(dilation=(dilation, 1), pads=pads), x, shape, 0, 0.0)
        if not causal:
            n, c = b.tensors[x].type.shape[1], b.tensors[x].type.shape[3]
            x = b.node(Slice((0, 2 * dilation, 0, 0), (1, n - 2 * dilation, 1, c), (1, 1, 1, 1)), x)
        x = b.add(y, x) if b.tensors[y].type.shape == b.tensors[x].type.shape else y
    return x


@pytest.mark.parametrize("causal", [False, True])
def test_a_tcn_whose_last_row_answers(causal: bool) -> None:
    b = Builder(3, "single")
    y = tcn(b, b.input(1, 16, 1, 4), causal)
    rows, channels = b.tensors[y].type.shape[1], b.tensors[y].type.shape[3]
    graph = b.graph(b.dense(b.flatten(b.node(Slice((0, rows - 1, 0, 0), (1, 1, 1, channels), (1, 1, 1, 1)), y)), 3))
    made, found = compared(graph, 1)
    assert (made.exact, made.padded, made.hop, made.lag, made.needed) == (True, (), 1, 0, 7)
    assert found.equal == found.answers == 49 and made.macs[0] * 10 < made.macs[1]


@pytest.mark.parametrize(("rows", "hop", "answer"), [(12, 1, "stream"), (12, 1, "window"), (13, 3, "window")])
def test_results_count_from_the_warm_up_on(rows: int, hop: int, answer: str, tmp_path: Path) -> None:
    """Whatever states begin with, they are the same from there on, and not before."""
    made = stream(padded((1, 1), rows), {X: 1}, hop, answer)
    first, x = warm_up(made.graph), random_inputs(made.graph, 30)[X]
    assert first is not None and (first - 1) * hop < made.needed <= first * hop
    long, short = (simulate(made.graph, {X: frames}).outputs[made.graph.results[0]] for frames in (x, x[9:]))
    assert np.array_equal(long[9 + first - 1 :], short[first - 1 :]) and not np.array_equal(long[9 + first - 2], short[first - 2])
    program = lower(made.graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert f"#define M_WARM_UP {first}" in (tmp_path / "m" / "m.h").read_text() and manifest(tmp_path / "m").warm_up == first


def test_what_is_added_up_may_count_for_ever() -> None:
    b = Builder(2, "single")
    x, kept = b.input(1, 4), b.input(1, 4)
    graph = b.graph(b.add(x, kept))
    assert warm_up(graph) == 1
    assert warm_up(replace(graph, states=((kept, graph.outputs[0]),))) is None


def test_a_window_may_meet_a_row_of_something_else() -> None:
    b = Builder(2, "single")
    row, kept, other = b.input(1, 1, 1, 2), b.input(1, 4, 1, 2), b.input(1, 1, 1, 2)
    slid = b.node(Slide(1), row, kept)
    graph = b.graph(b.add(slid, other), slid)
    assert warm_up(replace(graph, states=((kept, slid),))) == 4


def test_rows_out_for_rows_in() -> None:
    """A network without a head gives the rows that are new, here two a step, of a branch that lags and one that does not."""
    b = Builder(4, "tflm")
    x = b.input(1, 20, 1, 3)
    slow = b.linear(Conv2d(pads=(1, 0, 1, 0)), x, (5, 3, 1, 3), 0, 0.0)
    graph = b.graph(b.add(slow, b.conv(x, 5, 1)))
    made, found = compared(graph, 1, 2, "stream")
    assert (made.exact, made.lag, made.graph.type(made.graph.results[0]).shape) == (False, 1, (1, 2, 1, 5))
    assert made.padded == ("conv2d_0",) and found.answers > 20
    made, found = compared(graph, 1, 2)
    assert made.exact and found.equal == found.answers and made.lag == 0


def padded(pads: tuple[int, int], rows: int) -> Graph:
    """Convolutions that pad by `pads` rows, then a mean of all rows: the same weights whatever the pads."""
    b = Builder(5, "single")
    x = b.input(1, rows, 2, 3)
    for _ in range(2):
        x = b.linear(Conv2d(pads=(pads[0], 0, pads[1], 0)), x, (6, 3, 1, b.tensors[x].type.shape[3]), 0, 0.0)
    height = b.tensors[x].type.shape[1]
    return b.graph(b.dense(b.flatten(b.node(AveragePool2d((height, 2)), x)), 4))


@pytest.mark.parametrize(("pads", "lag"), [((1, 1), 2), ((2, 0), 0), ((0, 2), 4)])
def test_the_streams_own_answer_has_frames_where_the_window_has_padding(pads: tuple[int, int], lag: int) -> None:
    own = stream(padded(pads, 12), {X: 1}, answer="stream")
    assert (own.lag, own.needed, own.exact) == (lag, 16, False)
    longer = padded((0, 0), 16)
    frames = random_inputs(longer, 3)[X].reshape(-1, 2, 3)
    windows = np.stack([frames[i : i + 16] for i in range(len(frames) - 15)])[:, None]
    expected = simulate(longer, {X: windows}).outputs[longer.results[0]]
    got = simulate(own.graph, {X: frames[:, None, None]}).outputs[own.graph.results[0]]
    np.testing.assert_array_equal(got[15:], expected)


def test_what_takes_in_the_whole_window_stays_whole() -> None:
    """Gates of channels from a mean over time reach every row: they are computed anew, the layers before them are not."""
    b = Builder(6, "single")
    x = b.conv(b.input(1, 10, 3, 2), 4, 3)
    gates = b.node(AveragePool2d(b.tensors[x].type.shape[1:3]), x)
    y = b.node(Mul(), x, gates, q=b.q())
    made, found = compared(b.graph(b.dense(b.flatten(y), 3)), 1)
    assert found.equal == found.answers and made.macs[0] < made.macs[1] / 2


def test_time_on_the_last_axis_padding_and_joined_branches() -> None:
    b = Builder(7, "tflm")
    x = b.node(Transpose((0, 3, 2, 1)), b.input(1, 3, 2, 14))
    x = b.node(Pad(((0, 0), (2, 1), (0, 0), (0, 0))), x)
    y = b.node(Concat(3), b.conv(x, 4, 1), b.linear(Conv2d(pads=(1, 0, 1, 0)), x, (2, 3, 1, 3), 0, 0.0), q=b.q())
    made, found = compared(b.graph(b.dense(b.flatten(y), 3)), 3)
    assert made.exact and found.equal == found.answers > 10


def test_the_axis_is_found_and_mistakes_are_told() -> None:
    graph = padded((0, 0), 16)
    assert streaming.streamed(graph, streaming.parse("time")).axes == {X: 1}
    assert streaming.parse("x=1,hop=4,answer=stream") == streaming.Streaming({"x": 1}, 4, "stream")
    for text in ("", "space", "time,hop=0", "time,answer=mine", "1,2"):
        with pytest.raises(EdgeqError, match="says nothing about a stream"):
            streaming.parse(text)
    b = Builder(8, "single")
    dense = b.graph(b.dense(b.input(1, 16), 3))
    with pytest.raises(EdgeqError, match="does not look at a sliding window"):
        streaming.streamed(dense, streaming.parse("time"))
    for axes, hop, message in (({X: 3}, 0, "no frames along axis"), ({X: 9}, 0, "no frames"), ({"y": 1}, 0, "no input")):
        with pytest.raises(EdgeqError, match=message):
            stream(padded((0, 0), 16) if axes != {X: 3} else dense, axes, hop)
    once = stream(graph, {X: 1}).graph
    with pytest.raises(EdgeqError, match="has states already"):
        stream(once, {X: 1})


def test_a_wrong_hop_is_told() -> None:
    b = Builder(9, "single")
    graph = b.graph(b.conv(b.conv(b.input(1, 20, 1, 2), 3, 1, stride=2), 3, 1, stride=2))
    assert stream(graph, {X: 1}).hop == 4
    with pytest.raises(EdgeqError, match="6 frames are no whole number of steps"):
        stream(graph, {X: 1}, 6)


def test_windows_are_kept_where_the_state_lies() -> None:
    """No window is copied, none is in the arena."""
    program = lower(stream(padded((0, 0), 16), {X: 1}).graph, target.load("host"))
    states = dict(program.graph.states)
    assert dict(program.renewed) == {b: a for a, b in states.items()} and len(states) == 3
    assert not set(plan(program).offsets) & {*states, *states.values()}


def test_a_state_that_others_read_is_not_written_over() -> None:
    made = stream(padded((0, 0), 16), {X: 1}).graph
    (first, after), *_ = made.states
    copied = Node("late", Slice((0, 0, 0, 0), (1, 1, 2, 3), (1, 1, 1, 1)), (first,), ("old",))
    tensor = Tensor("old", replace(made.type(first), shape=(1, 1, 2, 3)))
    graph = replace(made, outputs=(*made.outputs, "old")).with_nodes([*made.nodes, copied], [tensor])
    assert after not in lower(graph, target.load("host")).renewed


def test_the_wake_word_model_on_an_emulated_chip(data: Path, tmp_path: Path) -> None:
    """`python -m benchmarks.streams` runs a minute of frames, and KWS."""
    model = mlperf_tiny.path(data, mlperf_tiny.INT8["wake_word"])
    samples = mlperf_tiny.inputs(data, "wake_word")[:8]
    built = api.build(model, output=tmp_path / "out", target="host", stream="time", calibration={"x": samples})
    assert (built.manifest.macs, built.manifest.state_bytes) == (46_040, 3_960) and built.manifest.arena_bytes < 4_400
    found = built.measured.quantization["stream"]
    assert found["exact"] and found["window_macs"] == 826_368 and found["difference"]["equal"] == found["difference"]["answers"] == 211
    assert built.measured.comparisons["host"].vectors == 4


def test_a_recording_goes_in_and_a_result_per_frame_comes_out(tmp_path: Path) -> None:
    """Features before a network on a stream: a .wav file on this side, the steps of the built C on the other."""
    b = Builder(11, "single")
    x = b.linear(Conv2d(clamp=(0.0, 6.0)), b.input(1, 6, 1, 8), (4, 3, 1, 8), 0, 0.0)
    graph = b.graph(b.dense(b.flatten(b.linear(Conv2d(), x, (4, 4, 1, 4), 0, 0.0)), 3))
    api.write_quantized(graph, tmp_path / "words.eqg", stream="time")
    lines = ['kind = "log_mel"', "sample_rate = 8000", "n_fft = 64", "hop_length = 32", "n_mels = 8", 'precision = "int16"']
    (tmp_path / "listen.toml").write_text("\n".join([*lines, 'model = "words.eqg"']))
    sound = tmp_path / "tone.wav"
    with wave.open(str(sound), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((8000 * np.sin(np.arange(330) / 5)).astype("<i2").tobytes())
    built = api.build(tmp_path / "listen.toml", output=tmp_path / "out")
    found = api.run(built.folder, sound, target="host")
    (answer,) = found.run.outputs.values()
    assert len(answer) == 10 and found.comparison is not None and found.comparison.difference is None
    with pytest.raises(EdgeqError, match="takes no samples"):
        api.read_inputs(sound, graph)
