"""Cycles on the simulated cluster, and on one of its cores: writes the table of docs/cluster.md.

python -m benchmarks.cluster                    all (needs the data folder; quantizes, minutes); denoisers: benchmarks/denoisers.py
python -m benchmarks.cluster kws lstm256        prints the rows of these
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import models
from benchmarks.measure import measure
from benchmarks.models import ROOT
from edgeq.ir import Graph
from edgeq.text import count

PAGE = ROOT / "docs" / "cluster.md"
MARKS = ("<!-- {} -->\n", "<!-- /{} -->\n")
HEAD = "| model | one core (`riscv-xcv`) | 1 + 8 cores | times | products a cycle |\n|---|--:|--:|--:|--:|\n"


@dataclass(frozen=True)
class Model:
    """A benchmarked model: its name for people, the graph, and the tool chain that makes the fastest code of it."""

    title: str
    graph: Callable[[], Graph | None]
    toolchain: str = "gcc"


MODELS = {
    "kws": Model("KWS", lambda: models.quantized("kws")),
    "resnet8": Model("ResNet8", lambda: models.quantized("resnet8")),
    "vww": Model("VWW", lambda: models.quantized("vww")),
    "wake_word": Model("wake word", lambda: models.mlperf("wake_word"), "zig"),
    "lstm256": Model("LSTM of 256 units, one step", models.CELLS["lstm256"]),
    "gru256": Model("GRU of 256 units, one step", models.CELLS["gru256"]),
}


def row(name: str) -> str | None:
    """A model's line of the table; None where it is not there."""
    model = MODELS[name]
    graph = model.graph()
    if graph is None:
        return None
    one, many = (measure(name, graph, target, model.toolchain, "3") for target in ("riscv-xcv", "pulp-cluster"))
    assert one.cycles is not None and many.cycles is not None
    times, each = one.cycles / many.cycles, many.macs / many.cycles
    return f"| {model.title} | {count(one.cycles)} | {count(many.cycles)} | {times:.1f} | {each:.1f} |\n"


def replaced(page: str, name: str, table: str) -> str:
    """A page with another table between the marks of a name."""
    first, last = (m.format(name) for m in MARKS)
    return re.sub(re.escape(first) + ".*?" + re.escape(last), lambda _: first + table + last, page, flags=re.S)


def main() -> None:
    wanted = sys.argv[1:]
    rows = [r for name in wanted or MODELS if (r := row(name))]
    if wanted:
        print("".join(rows), end="")
        return
    PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), "cycles", HEAD + "".join(rows)), encoding="utf-8")


if __name__ == "__main__":
    main()
