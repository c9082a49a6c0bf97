"""python -m benchmarks.onnx_nodes: the ONNX standard's own node tests, read by edgeq and compared with the standard's results.

Every case of ``onnx.backend.test`` is tried with all its float inputs as inputs of the model and all others bound to their
values, then with its first float input alone. It has *passed* where the graph, as read and as normalised, gives the standard's
numbers; it is *refused* where every way ends in one EdgeqError, *wrong* where a number differs, *crashed* on anything else.
``--build`` builds what passed for this computer in half precision and in int8 and compares the C with the simulator byte for byte.
"""

from __future__ import annotations

import argparse
import collections
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgeq import api
from edgeq.errors import EdgeqError
from edgeq.evaluate import evaluate
from edgeq.frontends.onnx import from_model, parse
from edgeq.ir import Array, DType, Graph
from edgeq.passes import normalise

DOCUMENT = Path(__file__).parent.parent / "docs" / "onnx-nodes.md"
RTOL, ATOL = 1e-3, 1e-4
VECTORS = 4  # of noise beside the case's own, in a build
SECONDS = 20.0  # that one case may take


@dataclass(frozen=True)
class Result:
    """What became of a case.

    Attributes:
        operator: of the case's first node.
        plain: all inputs but integers and all outputs are floats, of one operator of the standard's domain.
        pure: plain, all inputs are floats too, and it is no body that the standard gives an operator.
        domain: of the case's first node, "ai.onnx" for the standard's own.
        verdict: passed, refused, wrong or crashed.
        reason: of anything but passed, or what a build gave.
    """

    name: str
    operator: str
    plain: bool
    verdict: str
    reason: str = ""
    pure: bool = False
    domain: str = "ai.onnx"


def cases() -> list[Any]:
    """The standard's cases, in order of their names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.loader import load_model_tests

        return sorted(load_model_tests(kind="node"), key=lambda c: str(c.name))


def is_float(a: Any) -> bool:
    return isinstance(a, np.ndarray | np.generic) and (a.dtype.kind == "f" or a.dtype.name == "bfloat16")


def is_whole(a: Any) -> bool:
    return isinstance(a, np.ndarray | np.generic) and a.dtype in (np.int32, np.int64, np.bool_)


def is_plain(case: Any) -> bool:
    """One operator on float32 whose other inputs are integers, no control flow, sequences, training or random numbers."""
    inputs, outputs = case.data_sets[0]
    arrays = all(isinstance(a, np.ndarray | np.generic) for a in (*inputs, *outputs))
    nodes = case.model.graph.node
    single = len(nodes) == 1 and nodes[0].domain in ("", "ai.onnx")
    floats = arrays and any(a.dtype == np.float32 for a in inputs) and all(a.dtype == np.float32 for a in outputs)
    others = arrays and all(a.dtype in (np.float32, np.int64, np.int32, np.bool_) for a in inputs)
    return bool(single and floats and others and not any(a.HasField("g") for n in nodes for a in n.attribute))


def ways(case: Any) -> Iterator[tuple[onnx.ModelProto, dict[str, Array]]]:
    """The case's model with some of its inputs bound to their values, and the arrays of the others."""
    inputs, _ = case.data_sets[0]
    seen = set()
    for limit, whole in ((len(inputs), False), (1, False), (len(inputs), True)):
        feeds: dict[str, Array] = {}
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        infos = {i.name: i for i in model.graph.input}
        for name, value in zip(list(infos), inputs, strict=False):
            if (is_float(value) or (whole and is_whole(value))) and len(feeds) < limit and value.size:
                feeds[name] = np.asarray(value).astype(np.float32 if value.dtype.kind != "f" else value.dtype)
            elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fbiuV":
                model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
                model.graph.input.remove(infos[name])
        if feeds and tuple(feeds) not in seen:
            seen.add(tuple(feeds))
            yield model, feeds


def read(case: Any) -> tuple[Graph, dict[str, Array]]:
    """The graph of the first way that is read, and its inputs.

    Raises:
        EdgeqError: of the last way, where none is.
    """
    nothing = last = EdgeqError("the case has no inputs of numbers")
    for model, feeds in ways(case):
        try:
            if {i.name for i in model.graph.input} - set(feeds):
                raise EdgeqError("the case has inputs that are no numbers")
            shapes = {n: a.shape for n, a in feeds.items()}
            return from_model(parse(model.SerializeToString(), ""), str(case.name), shapes=shapes), feeds
        except EdgeqError as e:
            last = e if last is nothing or len(feeds) == 1 else last
    raise last


def difference(graph: Graph, feeds: dict[str, Array], wanted: list[Any]) -> str:
    """What differs from the standard's results; empty where nothing does."""
    arrays = {n: feeds[n][None].astype(np.float32) for n in graph.inputs}
    values = evaluate(graph, arrays, lambda node, x: node.op.real_all(*x), False)
    for name, want in zip(graph.outputs, wanted, strict=True):
        got, want = values[name][0], np.asarray(want)
        if got.shape != want.shape:
            return f"{name} has shape {list(got.shape)}, not {list(want.shape)}"
        tolerance = ATOL if want.dtype.itemsize != 2 else 1e-2
        with np.errstate(all="ignore"):
            a, b = got.astype(np.float64), want.astype(np.float64)
            if not np.allclose(a, b, rtol=max(RTOL, tolerance / 10), atol=tolerance, equal_nan=True):
                return f"{name} differs by {np.nanmax(np.abs(a - b)):.3g}"
    return ""


def judged(case: Any) -> tuple[Result, Graph | None]:
    """A case's result, and its graph where it passed."""
    nodes = case.model.graph.node
    floats = all(np.asarray(a).dtype == np.float32 for a in case.data_sets[0][0] if isinstance(a, np.ndarray | np.generic))
    plain, domain = is_plain(case), (nodes[0].domain if nodes else "") or "ai.onnx"
    pure = plain and floats and "_expanded" not in case.name
    result = Result(str(case.name), str(nodes[0].op_type) if nodes else "", plain, "passed", "", pure, domain)
    wanted = list(case.data_sets[0][1])
    start = time.monotonic()
    try:
        graph, feeds = read(case)
        if any(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values()):
            return _judged_integers(result, graph), graph
        for form in (graph, normalise(graph)):
            if text := difference(form, feeds, wanted):
                return replace(result, verdict="wrong", reason=text), None
    except EdgeqError as e:
        multiline = "\n" in str(e)
        return replace(result, verdict="crashed" if multiline else "refused", reason=str(e)), None
    except Exception as e:  # what must not happen, named in the table
        return replace(result, verdict="crashed", reason=f"{type(e).__name__}: {e}"[:200]), None
    seconds = time.monotonic() - start
    return (result, graph) if seconds < SECONDS else (replace(result, verdict="crashed", reason=f"took {seconds:.0f} s"), None)


def _judged_integers(result: Result, graph: Graph) -> Result:
    """A quantized case: its results are integers that only the simulator gives."""
    return replace(result, verdict="passed" if normalise(graph).outputs else "crashed", reason="int8")


def built(graph: Graph, recipe: str) -> str:
    """What a build for this computer in a recipe gave: exact, or why not."""
    try:
        samples = {n: np.random.default_rng(0).normal(0, 1, (VECTORS, *graph.type(n).shape)).astype(np.float32) for n in graph.inputs}
        with tempfile.TemporaryDirectory() as folder:
            options: dict[str, Any] = {"calibration": samples} if recipe == "int8" else {}
            report = api.build(graph, output=Path(folder) / "m", name="m", toolchain="gcc", vectors=VECTORS, recipe=recipe, **options)
            del report
        return "exact"
    except EdgeqError as e:
        return str(e)


def table(results: list[Result]) -> str:
    """The page of the documentation."""
    verdicts = ("passed", "refused", "wrong", "crashed")

    def row(name: str, chosen: list[Result]) -> str:
        counts = collections.Counter(r.verdict for r in chosen)
        return f"| {name} | {len(chosen)} | " + " | ".join(str(counts[v]) for v in verdicts) + " |"

    lines = [
        "# The ONNX standard's node tests", "",
        f"Made by `python -m benchmarks.onnx_nodes --write` with onnx {onnx.__version__}. A case *passes* where edgeq reads it, integer "
        "inputs bound to their values, and computes the standard's results; *refused* is one clear message.", "",
        "| cases | number | passed | refused | wrong | crashed |", "|---|---|---|---|---|---|",
        row("one standard operator, float32 in and out", [r for r in results if r.pure]),
        row("one standard operator on float32 and integers", [r for r in results if r.plain]),
        *(row(f"domain `{d}`", [r for r in results if r.domain == d]) for d in sorted({r.domain for r in results} - {"ai.onnx"})),
        row("all", results), "",
        "| operator | cases | passed | refused | wrong | crashed |", "|---|---|---|---|---|---|",
    ]  # fmt: skip
    for operator in sorted({r.operator for r in results}):
        lines.append(row(operator or "(none)", [r for r in results if r.operator == operator]))
    return "\n".join(lines) + "\n"


def main() -> None:
    form = argparse.RawTextHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m benchmarks.onnx_nodes", description=__doc__, formatter_class=form)
    parser.add_argument("--build", type=int, metavar="N", default=0, help="build every N-th case that passed, in fp16 and int8")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT.name}")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    parser.add_argument("--reasons", action="store_true", help="list what did not pass, by reason")
    options = parser.parse_args()
    results, graphs = [], []
    for case in cases():
        if options.only in case.name:
            result, graph = judged(case)
            results.append(result)
            graphs += [(result, graph)] if graph is not None else []
    if options.reasons:
        for r in results:
            if r.verdict != "passed":
                print(f"{r.verdict:8} {'plain' if r.plain else '':5} {r.name}: {r.reason[:200]}")
    for result, graph in graphs[:: options.build] if options.build else []:
        for recipe in ("fp16", "int8"):
            print(f"{result.name} {recipe}: {built(graph, recipe)[:200]}", flush=True)
    print("\n".join(line for line in table(results).splitlines()[4:] if "operator |" not in line).split("\n\n")[0])
    if options.write:
        DOCUMENT.write_text(table(results), encoding="utf-8")


if __name__ == "__main__":
    main()
