"""results.json -> results.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TFLM = {  # TensorFlow Lite Micro with its reference kernels, instructions of one inference (GCC 12.2 -O3, QEMU)
    ("riscv", "kws"): 52_992_991, ("riscv", "resnet8"): 170_254_838, ("riscv", "vww"): 138_020_366,
    ("riscv", "ad"): 2_480_953, ("riscv", "wake_word"): 12_921_174,
    ("cortex-m4", "kws"): 48_619_202, ("cortex-m4", "resnet8"): 132_013_405, ("cortex-m4", "vww"): 116_629_963,
    ("cortex-m4", "ad"): 1_952_249, ("cortex-m4", "wake_word"): 10_148_198,
}  # fmt: skip
HEAD = """# What the emitted code costs

Executed instructions of one inference (exact, under the emulators), bytes of flash and RAM. The arena includes inputs and
outputs. "TFLM ÷": how many times more instructions TensorFlow Lite Micro's reference kernels execute for the same model on the
same core. Figures per layer are in `results.json`. Regenerate with `python -m benchmarks`; the tests hold the rows of the
shipped example within 2 %.

| model | target | tool chain | instructions -O3 | per MAC | TFLM ÷ | code -O3 | instructions -Os | code -Os | weights | arena | stack |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|
"""


def markdown(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per model, target and tool chain."""
    lines = []
    for key, fast in results.items():
        model, law, target, toolchain, level = key.split("/")
        small = results.get(f"{model}/{law}/{target}/{toolchain}/Os")
        if level != "O3" or small is None:
            continue
        theirs = TFLM.get((target, model))
        ratio = f"{theirs / fast['instructions']:.1f}" if theirs else ""
        count, cost = fast["instructions"], f"{fast['instructions'] / fast['macs']:.2f}"
        lines.append(
            f"| {model} ({law}) | {target} | {toolchain} | {count:,} | {cost} | {ratio} | "
            f"{fast['code']:,} | {small['instructions']:,} | {small['code']:,} | {fast['weights']:,} | "
            f"{fast['arena']:,} | {fast['stack']:,} |"
        )
    return HEAD + "\n".join(lines) + "\n"
