"""What bit errors in stored weights and biases cost trained networks, and what each part of recipe robust buys.

    python -m benchmarks.robust                      writes robust.md (needs the data folder and Pillow; minutes on two idle cores)
    python -m benchmarks.robust kws digits           some networks; prints their rows only

Nothing is trained: the networks are quantized from calibration samples, among which no test input is.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.models import DATA, FLOAT, ROOT
from benchmarks.quantization import calibration, images, spoken
from edgeq import api
from edgeq.api.robustness import Robustness, robustness
from edgeq.formats.code import Code
from edgeq.ir import Array, Graph
from edgeq.quantize import Options
from edgeq.tune.robust import mean_width

RATES = (0.001, 0.005, 0.01)
MIDDLE = RATES[1:2]
PATTERNS, INPUTS, IMAGES = 12, 150, 1000
CLIP = 0.85
HEAD = f"""# Networks under bit errors

Errors in %: without bit errors on all test inputs, then on {INPUTS} of them, spread evenly, over {PATTERNS} patterns (seeds 0 to
{PATTERNS - 1}): mean ± standard deviation, worst. `plain`: int8, a scale per channel, biases int32. `clipped`: the same with weights
beyond {CLIP} of their channel's largest saturated. `biases`: 8 bits, unclipped, with activations about their mean and biases voted on.
`code`: recipe robust (p = 0.5 %) without its threefold tables. The last row of a network is `--recipe robust` as it is. Bits: stored
per weight.
Regenerate with `python -m benchmarks.robust`.

| network | stored | bits | without errors | {" | ".join(f"p = {100 * p:g} %" for p in RATES)} |
|---|---|--:|--:|{"--:|" * len(RATES)}
"""


@dataclass(frozen=True)
class Case:
    """A float network, calibration inputs, test inputs and their labels."""

    graph: Graph
    samples: Array
    x: Array
    y: Array


def kws() -> Case:
    x, y = spoken()
    kept = np.arange(len(x)) % 5 > 0  # the others calibrate
    return Case(api.load(DATA / "mlperf_tiny" / FLOAT["kws"]), calibration("kws"), x[kept], y[kept])


def resnet8() -> Case:
    return Case(api.load(DATA / "mlperf_tiny" / FLOAT["resnet8"]), calibration("resnet8"), *images("test", IMAGES, 32))


def vision() -> Case:
    """The plain network of the example, which takes pixels from -1 to 1, channels first."""
    (train, _), (test, y) = images("train", 128, 32), images("test", IMAGES, 32)
    samples, x = (np.ascontiguousarray(a.transpose(0, 3, 1, 2) / np.float32(127.5) - 1) for a in (train, test))
    return Case(api.load(ROOT / "examples" / "robust_vision" / "plain.onnx"), samples, x, y)


def digits() -> Case:
    sys.path.append(str(ROOT / "examples" / "digits"))
    from data import load  # type: ignore[import-not-found]

    train, _, test, y = load()
    return Case(api.load(ROOT / "examples" / "digits" / "digits.onnx"), train[:128], test, y)


CASES: dict[str, Callable[[], Case]] = {"digits": digits, "kws": kws, "resnet8": resnet8, "robust_vision": vision}


def measure(case: Case, graph: Graph, rates: tuple[float, ...]) -> tuple[float, Robustness]:
    """The error without faults on all test inputs, and what `robustness` finds on some."""
    name, at = graph.inputs[0], np.arange(INPUTS) * len(case.x) // INPUTS
    right = api.accuracy(graph, {name: case.x, "y": case.y}).simulator
    assert right is not None
    found = robustness(graph, {name: case.x[at], "y": case.y[at]}, rates=rates, patterns=PATTERNS, layers=False)
    return 100 * (1 - right / len(case.y)), found


def line(network: str, stored: str, graph: Graph, clean: float, found: Robustness) -> str:
    sizes = [t.data.size for t in graph.tensors.values() if t.data is not None and t.data.dtype == np.int8]
    code = next((f for f in graph.formats if isinstance(f, Code)), Code())
    points = {point.p: point for point in found.points}
    cells = [f"{x.mean:.1f} ± {x.std:.1f}, {max(x.errors):.1f}" if (x := points.get(p)) else "" for p in RATES]
    return f"| {network} | {stored} | {mean_width(code, sizes):.1f} | {clean:.2f} | {' | '.join(cells)} |"


def rows(network: str) -> Iterator[str]:
    """One line of the table per way to store a network."""
    case = CASES[network]()
    samples = {case.graph.inputs[0]: case.samples}
    robust = api.quantize(case.graph, samples, recipe="robust")
    code, clip = Code.parse(robust.record["robust"]["code"]), robust.record["robust"]["clip"]
    ways = {
        "plain": (Options(), RATES),
        "clipped": (Options(clip=CLIP), RATES),
        "biases": (Options(code=Code(votes=True), centre=True), MIDDLE),
        "code": (Options(code=replace(code, small=0), clip=clip, centre=True), MIDDLE),
    }
    for stored, (options, rates) in ways.items():
        graph = api.quantize(case.graph, samples, options=options).graph
        yield line(network, stored, graph, *measure(case, graph, rates))
    yield line(network, f"`{code}`, clip {clip:g}", robust.graph, *measure(case, robust.graph, RATES))


def page(name: str, head: str, networks: Collection[str], rows: Callable[[str], Iterator[str]]) -> None:
    """Print the rows of the networks that are asked for; if none is, those of all, and write them to the page."""
    wanted = sys.argv[1:]
    if unknown := [w for w in wanted if w not in networks]:
        sys.exit(f"no network {unknown[0]}: choose of {', '.join(networks)}")
    lines = []
    for network in wanted or networks:
        if network != "digits" and not DATA.is_dir():
            print(f"{network}: no data folder (set EDGEQ_DATA)", file=sys.stderr)
            continue
        for text in rows(network):
            print(text, flush=True)
            lines.append(text)
    if not wanted:
        (Path(__file__).parent / name).write_text(head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    page("robust.md", HEAD, CASES, rows)
