"""What int8 costs in accuracy: the float reference models of MLPerf Tiny, quantized by edgeq with its defaults.

    python -m benchmarks.quantization        writes quantization.md (needs the data folder and Pillow)

Keyword spotting is scored on its labelled inputs and image classification on labelled images; for visual wake words,
which has no labels here, the agreement of the predicted class with the float model on natural images is what counts.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.models import DATA, FLOAT
from edgeq import api
from edgeq.ir import Array
from edgeq.quantize import evaluate_float
from edgeq.simulate import dequantize_array

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def images(split: str, count: int, size: int) -> tuple[Array, Array]:
    """`count` images spread over the classes as float32 0...255 ``[count, size, size, 3]``, and their labels."""
    archive = zipfile.ZipFile(DATA / "cifar10" / "cifar10_jpeg.zip")
    names = sorted(n for n in archive.namelist() if f"{split}/" in n and n.endswith(".jpg"))
    picked = [names[i] for i in np.linspace(0, len(names) - 1, count).astype(int)]
    pixels = [np.asarray(Image.open(io.BytesIO(archive.read(n))).convert("RGB").resize((size, size))) for n in picked]
    return np.stack(pixels).astype(np.float32), np.array([CLASSES.index(n.split("/")[-2]) for n in picked])


def spoken() -> tuple[Array, Array]:
    """Keyword inputs as float32 ``[500, 1, 49, 10, 1]``, and their labels."""
    stored = np.load(DATA / "mlperf_tiny" / "kws01_dev.npz")
    return ((stored["x"].astype(np.float32) - 83) * np.float32(0.5847029)).reshape(-1, 1, 49, 10, 1), stored["y"]


def calibration(name: str) -> Array:
    """Calibration inputs of a float model: real ones, but for anomaly detection, which has none here: random walks of its range."""
    if name == "kws":
        return spoken()[0][::5]
    if name == "ad":
        steps = np.random.default_rng(1).normal(0, 0.6, (128, 640)).cumsum(-1)
        return np.asarray(steps - steps.mean(-1, keepdims=True) - 20, np.float32)
    return images("train", 128, 32)[0] if name == "resnet8" else images("train", 128, 96)[0] / 255


def cases() -> dict[str, tuple[str, Array, Array, Array | None]]:
    """Model -> name, calibration inputs, test inputs, labels."""
    small, labels = images("test", 1000, 32)
    large, _ = images("test", 300, 96)
    tests = {"keyword spotting": ("kws", *spoken()), "image classification": ("resnet8", small, labels),
             "visual wake words": ("vww", large / 255, None)}  # fmt: skip
    return {title: (name, calibration(name), x, y) for title, (name, x, y) in tests.items()}


def row(title: str, name: str, samples: Array, x: Array, labels: Array | None) -> str:
    """One line of the table."""
    graph = api.load(DATA / "mlperf_tiny" / FLOAT[name])
    quantized = api.quantize(graph, {graph.inputs[0]: samples}).graph
    output = graph.outputs[0]
    real = evaluate_float(graph, {graph.inputs[0]: x.reshape(len(x), *graph.type(graph.inputs[0]).shape)})[output].reshape(len(x), -1)
    q = api.simulate(quantized, {quantized.inputs[0]: x}).run.outputs[output].reshape(len(x), -1)
    t = quantized.type(output)
    noise = dequantize_array(q, t.scale, t.zero_point) - real
    signal = 10 * np.log10(np.square(real).sum() / np.square(noise).sum())
    before, after = real.argmax(1), q.argmax(1)
    score = [f"{100 * np.mean(p == labels):.2f} %" for p in (before, after)] if labels is not None else ["", ""]
    same = 100 * np.mean(before == after)
    return f"| {title} | {len(samples)} | {len(x)} | {score[0]} | {score[1]} | {same:.2f} % | {signal:.1f} dB |"


def main() -> None:
    if not DATA.is_dir():
        sys.exit("no data folder (set EDGEQ_DATA)")
    lines = [row(title, *case) for title, case in cases().items()]
    head = (
        "# Float against int8\n\nThe float MLPerf Tiny reference models, quantized by edgeq with its defaults (rounding `single`). The "
        "images\nare JPEG copies, on which a network trained on raw images loses accuracy in float as well.\n"
        "Regenerate with `python -m benchmarks.quantization`.\n\n"
        "| model | calibrated on | tested on | float top-1 | int8 top-1 | same class | output SQNR |\n|---|--:|--:|--:|--:|--:|--:|\n"
    )
    text = head + "\n".join(lines) + "\n"
    print(text, end="")
    (Path(__file__).parent / "quantization.md").write_text(text)


if __name__ == "__main__":
    main()
