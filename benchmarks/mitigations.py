"""What zero points, checksums and limits of activations cost, and what they buy under bit errors.

    python -m benchmarks.mitigations                 writes mitigations.md (needs the data folder and Pillow)
    python -m benchmarks.mitigations digits kws      some networks; prints their rows only

Networks, inputs and patterns are those of `benchmarks.robust`. Flash and instructions are those of the C for target riscv (zig, -Os),
counted by the emulator over one inference.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.robust import CASES, INPUTS, PATTERNS, RATES, measure, page
from edgeq import api
from edgeq.formats.code import Code
from edgeq.ir import Graph
from edgeq.quantize import Options

NETWORKS = ("digits", "kws", "resnet8")
TARGET = "riscv"
WAYS = (
    ("7", False), ("7+asymmetric", False), ("7+crc", False), ("7", True),
    ("5+hamming", False), ("5+hamming+asymmetric", False), ("5+hamming+crc", False), ("5+hamming", True),
)  # fmt: skip
HEAD = f"""# Zero points, checksums and limits under bit errors

Each group begins with a storage code, then the same with a zero point per channel (`+asymmetric`), with a checksum per channel (`+crc`),
and with outputs cut to the range of calibration (`--clamp`). Activations lie about their mean, biases are voted on, nothing is clipped
or trained. Errors in %: without bit errors on all test inputs, then on {INPUTS} of them over {PATTERNS} patterns (seeds 0 to
{PATTERNS - 1}): mean ± standard deviation, worst. Flash (code and tables) and instructions of an inference: target `{TARGET}`,
zig -Os, in the emulator. Regenerate with `python -m benchmarks.mitigations`.

| network | stored | flash, bytes | instructions | without errors | {" | ".join(f"p = {100 * p:g} %" for p in RATES)} |
|---|---|--:|--:|--:|{"--:|" * len(RATES)}
"""


def cost(graph: Graph) -> tuple[int, int]:
    """Bytes of flash and instructions per inference."""
    with tempfile.TemporaryDirectory() as work:
        built = api.build(graph, output=Path(work) / "m", target=TARGET, toolchain="zig", vectors=0, check=False)
        ran = api.run(built.folder, runner="unicorn", vectors=1)
        assert ran.run.instructions is not None and built.code_bytes is not None
        return built.code_bytes + built.manifest.weight_bytes, ran.run.instructions


def rows(network: str) -> Iterator[str]:
    """One line of the table per way to store a network."""
    case = CASES[network]()
    samples = {case.graph.inputs[0]: case.samples}
    for code, clamp in WAYS:
        graph = api.quantize(case.graph, samples, options=Options(code=Code.parse(code), centre=True, clamp=clamp)).graph
        clean, found = measure(case, graph, RATES)
        flash, instructions = cost(graph)
        cells = [f"{x.mean:.1f} ± {x.std:.1f}, {max(x.errors):.1f}" for x in found.points]
        stored = f"`{code}`{', `--clamp`' if clamp else ''}"
        yield f"| {network} | {stored} | {flash} | {instructions} | {clean:.2f} | {' | '.join(cells)} |"


if __name__ == "__main__":
    page("mitigations.md", HEAD, NETWORKS, rows)
