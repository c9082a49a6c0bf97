"""results.json -> layers.svg: instructions per multiply-accumulate of every layer, one panel per model, one line per target."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

MODELS = {"kws": "keyword spotting", "resnet8": "ResNet8", "vww": "visual wake words", "ad": "anomaly detection", "wake_word": "wake word"}
COLORS = {"riscv": "#b05a00", "cortex-m4": "#1f5fa8", "riscv-v": "#3a8a3a", "cortex-m55": "#8a2f7d"}
OPERATORS = {"depthwise": "dw", "conv2d": "conv", "fully": "fc"}  # the first that a kernel's name holds


def _label(kernel: str) -> str:
    return next((short for word, short in OPERATORS.items() if word in kernel), kernel.split()[1].split("_")[0])


def plot(results: Mapping[str, Mapping[str, Any]]) -> bytes:
    """An SVG that depends on the figures alone (law tflm, default compiler, -O3)."""
    found = {m: {t: r for t in COLORS if (r := results.get(f"{m}/tflm/{t}/zig/O3"))} for m in MODELS}
    found = {m: rows for m, rows in found.items() if rows}
    matplotlib.rcParams.update({"svg.hashsalt": "edgeq", "svg.fonttype": "none", "font.size": 8})
    figure, panels = plt.subplots(max(1, len(found)), 1, figsize=(9, 2.4 * max(1, len(found))), squeeze=False)
    for panel, (model, rows) in zip(panels[:, 0], found.items(), strict=False):
        labels: list[str] = []
        for target, row in rows.items():
            layers = [(_label(name), count / macs) for name, (count, macs) in row["steps"].items() if macs]
            labels = [label for label, _ in layers] if len(layers) > len(labels) else labels
            panel.plot(range(len(layers)), [cost for _, cost in layers], "o-", ms=3, lw=1, color=COLORS[target], label=target)
        panel.set_yscale("log")
        panel.set_title(MODELS[model], loc="left", fontweight="bold")
        panel.set_ylabel("instructions / MAC")
        panel.set_xticks(range(len(labels)), labels, rotation=60 if len(labels) > 16 else 0)
        panel.grid(axis="y", alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(ncols=4, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.97))
    figure.tight_layout()
    text = io.BytesIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return text.getvalue()
