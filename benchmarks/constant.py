"""Whether a model takes the same number of instructions whatever its input: shipped models on every emulated core, 50 inputs each.

    python -m benchmarks.constant [MODEL ...]    writes constant.md
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import models
from edgeq import api
from edgeq.build import TooLarge
from edgeq.ir import Graph

CORES = (
    "cortex-m0", "cortex-m3", "cortex-m4", "cortex-m33", "cortex-m55", "riscv", "riscv-b", "riscv-f", "riscv-v", "riscv-vh", "riscv-xcv",
)  # fmt: skip
INPUTS = 50
EXAMPLES = models.ROOT / "examples"


def example(path: str, recipe: str = "int8") -> Graph:
    """An example's float model, quantized."""
    graph = api.load(EXAMPLES / path)
    rng = np.random.default_rng(0)
    samples = {n: rng.normal(0, 1, (16, *graph.type(n).shape)).astype(np.float32) for n in graph.given}
    return api.quantize(graph, samples, recipe=recipe).graph


MODELS: dict[str, Callable[[], Graph]] = {
    **models.SHIPPED, **models.CELLS,
    "keyword_spotting": lambda: example("keyword_spotting/words.onnx"),
    "digits, fp16": lambda: example("digits/digits.onnx", "fp16"),
}  # fmt: skip


def verdict(graph: Graph, core: str) -> str:
    """What a cell of the table says, with the stack that was measured and its bound."""
    with TemporaryDirectory(prefix="edgeq-bench-") as work:
        limits = {"flash": 1 << 30, "ram": 1 << 30}
        try:
            built = api.build(graph, output=Path(work) / "m", target=core, name="m", vectors=0, check=False, budget=limits)
            ran = api.run(built.folder, vectors=INPUTS).run
        except TooLarge:
            return "does not fit"
    assert ran.constant_time is not None and ran.stack_bytes is not None
    return f"{'yes' if ran.constant_time else 'no'}<br>{ran.stack_bytes} / {'none' if ran.stack_bound is None else ran.stack_bound}"


def main() -> None:
    names = sys.argv[1:] or list(MODELS)
    lines = [
        f"# Instructions that do not depend on the input\n\nThe same number of instructions for {INPUTS} random inputs, Zig -O3; below "
        "it the stack that was measured and its bound, in bytes.\n",
        "| model |" + "".join(f" {c} |" for c in CORES) + "\n|---|" + ":-:|" * len(CORES),
    ]
    for name in names:
        graph, cells = MODELS[name](), []
        for core in CORES:
            cells.append(verdict(graph, core))
            print(name, core, cells[-1], flush=True)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    text = "\n".join([
        *lines, "",
        "A *no* has one cause: floats in software, on cores without an FPU.", "",
        "Regenerate with `python -m benchmarks.constant`.", "",
    ])  # fmt: skip
    if not sys.argv[1:]:
        (Path(__file__).parent / "constant.md").write_text(text)


if __name__ == "__main__":
    main()
