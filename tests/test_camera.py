"""Descriptions of cameras' pictures: near the pictures themselves, a model behind them, instructions on a chip, refusals, the verb."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from installed import need_emulator
from PIL import Image
from typer.testing import CliRunner

from edgeq import api, features, target
from edgeq.cli import main
from edgeq.compare import compare
from edgeq.emit import emit, write
from edgeq.errors import EdgeqError
from edgeq.features.image import FORMATS, crop_of
from edgeq.graphfile import save
from edgeq.ir import Array, DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.mean import Mean
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.run import run
from edgeq.simulate import real_array, simulate

SMALL = {"width": 64, "height": 48, "crop": [8, 0, 48, 48], "size": [24, 24]}
LEAST = {"rgb565": 33, "yuyv": 33, "uyvy": 33, "bayer": 28}  # dB, of a picture with chroma or colours of neighbours; others 45


def picture(height: int, width: int) -> Array:
    """A smooth one, uint8 ``[1, height, width, 3]``."""
    y, x = np.mgrid[0:height, 0:width]
    parts = 128 + 100 * np.sin(12 * x / width) * np.cos(9 * y / height), 128 + 90 * np.cos(7 * x / width + y / 11), x * 255 / width
    return np.stack(parts, -1).clip(0, 255).astype(np.uint8)[None]


def resized(pictures: Array, d: features.ImageDescription) -> Array:
    """Bilinear, in float."""
    left, top, width, height = (int(n) for n in d.crop)
    a = pictures[:, top : top + height, left : left + width].astype(float)
    for axis, (n, out) in enumerate(((height, int(d.size[1])), (width, int(d.size[0]))), 1):
        at = np.clip((np.arange(out) + 0.5) * n / out - 0.5, 0, n - 1)
        low = np.minimum(np.floor(at).astype(int), n - 2)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(4)])
        a = a.take(low, axis) * (1 - share) + a.take(low + 1, axis) * share
    return a


@pytest.mark.parametrize("more", [{}, {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": "bgr"}, {"channels": 1}])
@pytest.mark.parametrize("format", FORMATS)
def test_pictures_are_what_the_network_expects(format: str, more: dict[str, Any]) -> None:
    d = features.parse_image({**SMALL, "format": format, **({"channels": 3} if "mean" in more else {}), **more})
    shown = picture(48, 64)
    graph = normalise(features.build_image(d))
    got = real_array(simulate(graph, {features.FRAME: features.encode(d, shown)}).outputs["image"], graph.type("image"))[:, 0]
    want = resized(shown, d) / 255
    if format == "gray8" or d.channels == 1:
        want = np.repeat((want * (0.299, 0.587, 0.114)).sum(-1, keepdims=True), d.channels or 1, -1)
    want = ((want[..., ::-1] if d.order == "bgr" else want) - np.array(d.mean)) / d.std
    signal, noise = ((want - want.mean((0, 1, 2))) ** 2).sum(), ((got - want) ** 2).sum()
    least = next((n - 10 for name, n in LEAST.items() if format.startswith(name)), 30)
    assert 10 * np.log10(signal / noise) > least


@pytest.mark.parametrize("format", ["yuyv", "uyvy"])
def test_limited_yuv_spans_less(format: str) -> None:
    found = []
    for yuv in ("full", "limited"):
        d = features.parse_image({**SMALL, "format": format, "yuv": yuv})
        frames = features.encode(d, picture(48, 64))
        graph = normalise(features.build_image(d))
        found.append(real_array(simulate(graph, {features.FRAME: frames}).outputs["image"], graph.type("image")))
    assert frames.view(np.uint8).min() >= 16 and frames.view(np.uint8).max() <= 240
    assert np.abs(found[0] - found[1]).max() < 0.03


def model(first: bool, law: str = "tflm") -> Graph:
    """Means of the channels of a picture."""
    shape = (1, 3, 24, 24) if first else (1, 24, 24, 3)
    q = QParams((1 / 255,), -128)
    op = Mean((2, 3) if first else (1, 2), False)
    tensors = [Tensor("x", TensorType(shape, DType.INT8, q)), Tensor("y", TensorType((1, 3), DType.INT8, q))]
    return Graph("net", (Node("y", op, ("x",), ("y",)),), {t.name: t for t in tensors}, ("x",), ("y",), law)


@pytest.mark.parametrize("first", [False, True])
def test_a_model_behind_a_camera_takes_frames(first: bool, tmp_path: Path) -> None:
    save(model(first), tmp_path / "net.eqg")
    (tmp_path / "camera.toml").write_text(
        'kind = "image"\nformat = "rgb565"\nwidth = 64\nheight = 48\ncrop = [8, 0, 48, 48]\nmodel = "net.eqg"\n'
    )
    graph = api.load(tmp_path / "camera.toml")
    frames = api.camera_frames(tmp_path / "camera.toml", picture(48, 64))
    got = simulate(graph, {features.FRAME: frames})
    d = features.parse_image({**SMALL, "format": "rgb565"})
    np.testing.assert_allclose(real_array(got.outputs[graph.results[0]], graph.type(graph.results[0])).ravel(),
                               resized(picture(48, 64), d).mean((0, 1, 2)) / 255, atol=0.02)  # fmt: skip
    program = lower(graph, target.load("host"))
    write(emit(program, plan(program), "m"), tmp_path / "m")
    assert compare(got, run(tmp_path / "m", target.load("host"), {features.FRAME: frames})).bit_exact


@pytest.mark.parametrize(("method", "most"), [("bilinear", 11.2), ("nearest", 5.1)])
def test_a_frame_of_320_x_240_on_a_chip(method: str, most: float, tmp_path: Path) -> None:
    """RGB565 to 96 x 96 in one pass: instructions per byte of the result, compiled for size."""
    need_emulator("cortex-m4")
    d = features.parse_image({"crop": [40, 0, 240, 240], "size": [96, 96], "method": method})
    graph, machine = normalise(features.build_image(d)), target.load("cortex-m4")
    frames = features.encode(d, picture(240, 320))
    program = lower(graph, machine)
    write(emit(program, plan(program), "m"), tmp_path / "m")
    got = run(tmp_path / "m", machine, {features.FRAME: frames}, optimize="-Os")
    assert compare(simulate(graph, {features.FRAME: frames}), got).bit_exact
    assert got.instructions is not None and got.instructions <= most * 96 * 96 * 3


REFUSED = {
    "did you mean 'format'": {"formt": "rgb565"},
    "one of 'rgb565'": {"format": "rgb666"},
    "reaches over a frame of 320 x 240": {"crop": [100, 0, 240, 240]},
    "expected 4 whole numbers": {"crop": [1, 2, 3]},
    "cuts through pixels of bayer_rggb": {"format": "bayer_rggb", "crop": [1, 0, 100, 100]},
    "whole pixels of yuyv": {"format": "yuyv", "width": 321},
    "expected 2 to 4096": {"width": 1},
    "deviations above 0": {"std": [0, 1, 1]},
    "give black, then white": {"pixels": [1, 0]},
    "expected a list of numbers": {"mean": "half"},
    "expected a whole number": {"width": "wide"},
    "size = \\[0, 9\\]": {"size": [0, 9]},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_does_not_fit_is_refused_with_its_numbers(message: str) -> None:
    with pytest.raises(EdgeqError, match=message):
        features.parse_image(REFUSED[message])


def test_a_model_that_does_not_fit_is_refused() -> None:
    d = features.parse_image({"size": [32, 32]})
    with pytest.raises(EdgeqError, match="32 x 32 pixels") as refused:
        features.join_image(d, model(False), "m")
    assert "24 x 24" in refused.value.why
    assert crop_of(d) == (0, 0, 320, 240)


def test_the_verb_shows_pictures_as_the_chip_sees_them(tmp_path: Path) -> None:
    Image.fromarray(picture(30, 40)[0]).save(tmp_path / "cat.png")
    (tmp_path / "camera.toml").write_text('kind = "image"\nformat = "yuyv"\nwidth = 64\nheight = 48\nsize = [24, 16]\n')
    names = [str(tmp_path / n) for n in ("camera.toml", "cat.png", "x.npz", "frames.npz")]
    done = CliRunner().invoke(main.app, ["features", *names[:2], "-o", names[2], "--frames", names[3]])
    assert done.exit_code == 0 and "64 x 48 pixels of yuyv, bilinear to 24 x 16" in done.output and "16 x 24 x 3" in done.output
    assert np.load(names[2])["cat"].shape == (16, 24, 3) and np.load(names[3])["frame"].shape == (1, 48, 128)
    (tmp_path / "other").mkdir()
    Image.fromarray(picture(30, 40)[0]).save(tmp_path / "other" / "cat.png")
    twice = CliRunner().invoke(main.app, ["features", *names[:2], str(tmp_path / "other" / "cat.png"), "-o", names[2]])
    assert twice.exit_code == 1 and "several files are called cat" in twice.output
    done = CliRunner().invoke(main.app, ["simulate", names[0], "--input", names[3]])
    assert done.exit_code == 0, done.output
    with pytest.raises(EdgeqError, match="a recording for a description of pictures"):
        api.sound_features(names[0], np.zeros(99, np.int16))
