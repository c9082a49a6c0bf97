"""What bit errors in the stored weights and biases cost each network, over rates and patterns: a table and a plot.

    python examples/robust_vision/sweep.py --data FOLDER                              # 50 patterns x 8 rates x 2000 images per row
    python examples/robust_vision/sweep.py --data FOLDER --rows plain,randbet --patterns 10 --images 500
    python examples/robust_vision/sweep.py --data FOLDER --validate                   # on training images that train.py held out

Every row is a trained network, quantized with int8 activations, per-channel weights and voted biases; the emitted C runs on this
computer with the errors in its tables. Rows that are done are kept in --work and not computed again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from images import load
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

import edgeq
from edgeq import EdgeqError
from edgeq.api.robustness import robustness
from edgeq.formats.code import Code
from edgeq.quantize import Options

HERE = Path(__file__).parent
RATES = (0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.015, 0.025)
SHOWN = (0.001, 0.005, 0.01)
CALIBRATION = 256


@dataclass(frozen=True)
class Row:
    """A line of the table: a network's file, and how its weights and activations are stored."""

    network: str
    label: str
    code: str = "8"
    truncate: bool = False
    centre: bool = True

    def options(self) -> Options:
        return Options(
            weight_scale="max", rounding="truncate" if self.truncate else "nearest", equalize=False, centre=self.centre,
            code=Code.parse(self.code),
        )  # fmt: skip


ROWS = {
    "plain": Row("plain", "truncated, 8 bit", truncate=True),
    "rounded": Row("plain", "rounded, 8 bit"),
    "clipped": Row("clipped", "clipped, 8 bit"),
    "randbet": Row("randbet", "RandBET, 8 bit"),
    "rounded4": Row("plain", "rounded, 4 bit", "4"),
    "clipped4": Row("clipped", "clipped, 4 bit", "4"),
    "randbet4": Row("randbet", "RandBET, 4 bit", "4"),
    "rounded5": Row("plain", "rounded, 5 bit + Hamming", "5+hamming"),  # 8 stored bits too
    "clipped5": Row("clipped", "clipped, 5 bit + Hamming", "5+hamming"),
    "randbet5": Row("randbet", "RandBET, 5 bit + Hamming", "5+hamming"),
    "affine": Row("plain", "rounded, affine activations", centre=False),  # as other recipes store activations
    "int32": Row("plain", "rounded, int32 biases", "8+once"),  # as other recipes store biases
}


def parse() -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--data", type=Path, required=True, help="a folder or zip of train/<class>/<image> and test/<class>/<image>")
    p.add_argument("--rows", default=",".join(ROWS), help="some of " + ", ".join(ROWS))
    p.add_argument("--rates", default=",".join(f"{100 * p:g}%" for p in RATES), help="in percent, with commas between them")
    p.add_argument("--patterns", type=int, default=50)
    p.add_argument("--images", type=int, default=2000)
    p.add_argument("--validate", action="store_true", help="on held-out training images, to choose settings by, not on test images")
    p.add_argument("--models", type=Path, default=HERE, help="a folder of plain.onnx, clipped.onnx and randbet.onnx")
    p.add_argument("--work", type=Path, default=HERE / "work", help="decoded images and results")
    p.add_argument("--plot", type=Path, help="draw errors over rates (.svg, .png)")
    return p.parse_args()


def spread(images: int, wanted: int) -> np.ndarray[Any, Any]:
    """Evenly spread positions, so that every class stays represented."""
    count = min(wanted, images)
    return np.arange(count) * images // count


def measure(row: Row, options: argparse.Namespace, bar: Progress, name: str) -> dict[str, Any]:
    """Quantize a network on training images and sweep it on test or held-out images."""
    train, held = load(options.data, "train", options.work).split()
    test = held if options.validate else load(options.data, "test", options.work)
    test, seen = (images.pick(spread(len(images.labels), n)) for images, n in ((test, options.images), (train, CALIBRATION)))
    graph = edgeq.load(options.models / f"{row.network}.onnx")
    (image,) = graph.inputs
    task = bar.add_task(name, total=None)
    quantized = edgeq.quantize(graph, {image: seen.real()}, options=row.options()).graph

    def progress(_: str, done: int, total: int) -> None:
        bar.update(task, completed=done, total=total)

    started = time.monotonic()
    labelled = {image: test.real(), "y": test.labels}
    found = robustness(
        quantized, labelled, rates=rates(options.rates), patterns=options.patterns, layers=False, progress=progress
    )  # fmt: skip
    return {**found.record(), "seconds": round(time.monotonic() - started, 1), "patterns": options.patterns}


def kept(name: str, options: argparse.Namespace, bar: Progress) -> dict[str, Any]:
    """A row from --work, measured where it is not there."""
    model = (options.models / f"{ROWS[name].network}.onnx").read_bytes()
    asked = (ROWS[name], options.rates, options.patterns, options.images, options.validate)
    key = hashlib.sha256(repr(asked).encode() + model).hexdigest()[:12]
    place = options.work / f"{name}-{key}.json"
    if place.is_file():
        return dict(json.loads(place.read_text(encoding="utf-8")))
    found = measure(ROWS[name], options, bar, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(found), encoding="utf-8")
    return found


def rates(text: str) -> tuple[float, ...]:
    return tuple(float(part.strip().rstrip("%")) / 100 for part in text.split(","))


def table(results: dict[str, dict[str, Any]]) -> str:
    """Markdown: errors in percent, mean ± std over the patterns."""
    shown = [p for p in SHOWN if all(any(x["p"] == p for x in found["points"]) for found in results.values())]
    lines = ["| error, % | p = 0 | " + " | ".join(f"{100 * p:g} %" for p in shown) + " |", "|---" * (2 + len(shown)) + "|"]
    for name, found in results.items():
        points = {x["p"]: x for x in found["points"]}
        cells = " | ".join(f"{points[p]['mean']:.2f} ± {points[p]['std']:.2f}" for p in shown)
        lines.append(f"| {ROWS[name].label} | {found['clean']:.2f} | {cells} |")
    return "\n".join(lines)


def draw(results: dict[str, dict[str, Any]], path: Path) -> None:
    """Mean errors over rates, a band of one standard deviation about each."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, found in results.items():
        x = [100 * point["p"] for point in found["points"]]
        mean, std = (np.array([point[key] for point in found["points"]]) for key in ("mean", "std"))
        (line,) = axes.plot(x, mean, "-" if ROWS[name].code == "8" else "--", marker="o", markersize=3, label=ROWS[name].label)
        axes.fill_between(x, mean - std, mean + std, alpha=0.12, color=line.get_color(), linewidth=0)
    axes.set(xscale="log", xlabel="bit error rate p, %", ylabel="test error, %", ylim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    options = parse()
    names = options.rows.split(",")
    unknown = [n for n in names if n not in ROWS]
    if unknown:
        raise EdgeqError(f"no row '{unknown[0]}'", fix=f"choose from {', '.join(ROWS)}")
    with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"), TimeRemainingColumn()) as bar:
        results = {name: kept(name, options, bar) for name in names}
    print(table(results))
    print("seconds: " + ", ".join(f"{n} {r['seconds']}" for n, r in results.items()))
    if options.plot:
        draw(results, options.plot)


if __name__ == "__main__":
    try:
        main()
    except EdgeqError as e:
        raise SystemExit(f"error: {e}") from e
