"""results.json -> results.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgeq.latency import Latency

# TensorFlow Lite Micro (GCC 12.2 -O3, QEMU): instructions of one inference with its reference kernels and with the best
# kernel library for the core (CMSIS-NN on Arm, muRISCV-NN on RISC-V), and the bytes of its arena with the latter.
PEERS = {
    ("riscv", "kws"): (52_992_991, 14_921_680, 22_828), ("riscv", "resnet8"): (170_254_838, 54_682_881, 55_020),
    ("riscv", "vww"): (138_020_366, 44_734_701, 100_716), ("riscv", "ad"): (2_480_953, 1_341_490, 2_684),
    ("riscv", "wake_word"): (12_921_174, 5_576_043, 15_308),
    ("riscv-v", "kws"): (52_992_991, 4_162_389, 27_308), ("riscv-v", "resnet8"): (170_254_838, 15_105_715, 55_020),
    ("riscv-v", "vww"): (138_020_366, 13_277_216, 100_764), ("riscv-v", "ad"): (2_480_953, 587_349, 5_276),
    ("riscv-v", "wake_word"): (12_921_174, 1_133_724, 19_948),
    ("cortex-m4", "kws"): (48_619_202, 7_848_775, 22_820), ("cortex-m4", "resnet8"): (132_013_405, 29_874_852, 54_996),
    ("cortex-m4", "vww"): (116_629_963, 24_720_346, 100_708), ("cortex-m4", "ad"): (1_952_249, 582_328, 2_580),
    ("cortex-m4", "wake_word"): (10_148_198, 2_225_880, 16_596),
    ("cortex-m55", "kws"): (48_619_202, 1_789_634, 27_300), ("cortex-m55", "resnet8"): (132_013_405, 4_812_077, 54_996),
    ("cortex-m55", "vww"): (116_629_963, 6_433_956, 100_756), ("cortex-m55", "ad"): (1_952_249, 285_478, 5_172),
    ("cortex-m55", "wake_word"): (10_148_198, 410_770, 19_940),
}  # fmt: skip
HEAD = """# What the emitted code costs

Executed instructions of one inference (exact, under the emulators; a vector instruction counts once), bytes of flash and RAM. Cycles
are those of the core with memory that never waits, by [models](../docs/timing.md) with the bar that stands beside each.
The arena includes inputs and outputs. Rounding `tflm`: the int8 reference models of MLPerf Tiny, with the bytes of TensorFlow Lite
Micro. Rounding `single`: models that edgeq quantized.

"÷ reference" and "÷ library": how many times more instructions TensorFlow Lite Micro executes for the same model, with its
reference kernels on the scalar core and with the best kernel library for the target (CMSIS-NN, muRISCV-NN). "their arena": what
it needs with the latter. Regenerate with `python -m benchmarks`; the tests hold the rows of the shipped models within 2 %.
Per layer: `results.json`, and

![instructions per multiply-accumulate of every layer](layers.svg)

| model | target | tool chain | instructions -O3 | per MAC | cycles -O3 | ÷ reference | ÷ library | code -O3 | instructions -Os |\
 code -Os | weights | arena | their arena | stack |
|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
"""


def cycles(row: Mapping[str, Any]) -> str:
    """Cycles with their bar; empty where the core has no model."""
    if row.get("cycles") is None:
        return ""
    return f"{row['cycles']:,} ({Latency(row['cycles'], row['low'], row['high']).bar})"


def markdown(results: Mapping[str, Mapping[str, Any]]) -> str:
    """One line per model, target and tool chain."""
    lines = []
    for key, fast in results.items():
        model, law, target, toolchain, level = key.split("/")
        small = results.get(f"{model}/{law}/{target}/{toolchain}/Os")
        if level != "O3" or small is None:
            continue
        peers = PEERS.get((target, model))
        count, cost = fast["instructions"], f"{fast['instructions'] / fast['macs']:.2f}"
        ratios = [f"{n / count:.1f}" for n in peers[:2]] if peers else ["", ""]
        lines.append(
            f"| {model} ({law}) | {target} | {toolchain} | {count:,} | {cost} | {cycles(fast)} | {ratios[0]} | {ratios[1]} | "
            f"{fast['code']:,} | {small['instructions']:,} | {small['code']:,} | {fast['weights']:,} | "
            f"{fast['arena']:,} | {f'{peers[2]:,}' if peers else ''} | {fast['stack']:,} |"
        )
    return HEAD + "\n".join(lines) + "\n"
