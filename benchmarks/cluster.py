"""Cycles on the simulated cluster, and on one of its cores: writes the tables of docs/cluster.md.

python -m benchmarks.cluster                    all (needs the data folder; quantizes, minutes)
python -m benchmarks.cluster kws lstm256        prints the rows of these
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks import models, networks, precision
from benchmarks.measure import Row, measure
from benchmarks.models import ROOT
from edgeq import api
from edgeq.ir import Graph
from edgeq.text import count

PAGE = ROOT / "docs" / "cluster.md"
MARKS = ("<!-- {} -->\n", "<!-- /{} -->\n")
FRAME = 6.25e-3  # seconds of sound in a frame of a denoiser
CLOCKS = (240e6, 370e6)
HEAD = "| model | one core (`riscv-xcv`) | 1 + 8 cores | times | products a cycle |\n|---|--:|--:|--:|--:|\n"
SOUND_HEAD = (
    "| network | recipe | kB of tables | cycles per frame | of them at most bound by copies | fp16's cycles, times | fp16's tables, times "
    "| of real time at 240 MHz | at 370 MHz |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n"
)


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


def sounds() -> Iterator[tuple[str, str, Graph]]:
    """Denoisers: network, recipe, graph."""
    network = networks.denoiser()
    for recipe in ("fp16", "mixed", "int8"):
        yield "GRU48", recipe, api.quantize(network.graph, {network.graph.inputs[0]: network.samples}, recipe=recipe).graph
    for recipe in ("mixed", "int8"):
        graph = precision.quantized("tt_rank_8", recipe)
        if graph is not None:
            yield "LSTM256", recipe, graph


def sound_rows() -> Iterator[str]:
    """The lines of the denoisers' table."""
    base: dict[str, Row] = {}
    for network, recipe, graph in sounds():
        found = measure("denoiser", graph, "pulp-cluster", "gcc", "3")
        assert found.cycles is not None
        base |= {network: found} if recipe == "fp16" else {}
        fp16 = base.get(network)
        faster = f"{fp16.cycles / found.cycles:.1f} | {fp16.weights / found.weights:.2f}" if fp16 and fp16.cycles else " | "
        rates = " | ".join(f"{100 * found.cycles / clock / FRAME:.1f} %" for clock in CLOCKS)
        copies = round(100 * found.weights / 8 / found.cycles)
        yield (
            f"| {network} | `{recipe}` | {found.weights / 1000:.0f} | {count(found.cycles)} | {copies} % | {faster} | {rates} |\n"
        )  # fmt: skip


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
    page = replaced(PAGE.read_text(encoding="utf-8"), "cycles", HEAD + "".join(rows))
    PAGE.write_text(replaced(page, "denoisers", SOUND_HEAD + "".join(sound_rows())), encoding="utf-8")


if __name__ == "__main__":
    main()
