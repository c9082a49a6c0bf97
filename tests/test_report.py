"""The report: one file without references outside, escaped names, figures that agree with the manifest."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeq import api, record
from edgeq.errors import EdgeqError
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.add import Add
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.reshape import Reshape
from edgeq.report import comparison, page, render, source
from edgeq.report import data as report_data
from edgeq.report.sections import confusion, graph, memory, tensors, weights
from edgeq.tune import labels

ROOT = Path(__file__).parent.parent
BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"))), None)
CHAIN = "gcc" if shutil.which("gcc") else "zig"
EVIL = "</script><img src=x onerror=alert(1)>\"'&;fused"


def residual(name: str = "net") -> Graph:
    """conv -> conv -> add of both -> flat view; one name is an attack."""
    rng = np.random.default_rng(0)

    def q8(n: str, shape: tuple[int, ...]) -> Tensor:
        return Tensor(n, TensorType(shape, DType.INT8, QParams((0.05,), -3)))

    w = TensorType((4, 3, 3, 4), DType.INT8, QParams((0.004,) * 4, 0, 0))
    constants = [
        Tensor(n, t, rng.integers(-100, 100, t.shape).astype(t.dtype.numpy))
        for n, t in (("w1", w), ("b1", TensorType((4,), DType.INT32)), ("w2", w), ("b2", TensorType((4,), DType.INT32)))
    ]
    maps = [q8(n, (1, 8, 8, 4)) for n in ("x", EVIL, "b", "sum")]
    conv = Conv2d(pads=(1, 1, 1, 1))
    nodes = (
        Node("first", conv, ("x", "w1", "b1"), (EVIL,)),
        Node(f"second{EVIL}", conv, (EVIL, "w2", "b2"), ("b",)),
        Node("add", Add(), (EVIL, "b"), ("sum",)),
        Node("flatten", Reshape((1, 256)), ("sum",), ("flat",)),
    )
    every = [*constants, *maps, q8("flat", (1, 256))]
    return Graph(name, nodes, {t.name: t for t in every}, ("x",), ("flat",), "single")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("report") / "out"
    api.build(residual(f"net {EVIL}"), output=place, toolchain=CHAIN, check=False)
    return place


class Page(HTMLParser):
    """Tags, their attributes and balance."""

    VOID = frozenset({"meta", "br", "wbr", "link", "img", "input", "hr"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.text += data

    def classes(self, name: str) -> list[dict[str, str | None]]:
        return [a for _, a in self.tags if name in (a.get("class") or "").split()]


def test_it_is_well_formed_and_refers_to_nothing_outside(folder: Path) -> None:
    text = render(folder)
    parsed = Page(text)
    assert not {t for t, _ in parsed.tags} & {"link", "img", "iframe", "object", "form"}
    script = (ROOT / "templates" / "report" / "report.js").read_text().strip()
    assert [a for t, a in parsed.tags if t == "script"] == [{}] and text.count(script) == 1
    for _, attributes in parsed.tags:
        assert not set(attributes) & {"src", "srcset", "onload", "onerror", "onclick", "action"}
        assert (attributes.get("href") or "#").startswith("#")
    style = re.search(r"<style>(.*?)</style>", text, re.S).group(1)  # type: ignore[union-attr]
    assert "@import" not in style and "http" not in text
    assert not re.search(r"url\((?!#)", text)


def test_names_are_escaped_everywhere(folder: Path) -> None:
    text = render(folder)
    assert "<img" not in text and text.count("</script>") == 1
    assert "onerror=alert(1)>" in Page(text).text


def test_every_section_is_there_and_in_order(folder: Path) -> None:
    api.compare(folder, vectors=2)
    text = render(folder)
    stems = [s.stem for s in page.registry()]
    assert stems[:4] == ["summary", "graph", "layers", "memory"] and stems[-1] == "tables"
    shown = re.findall(r'<section id="(\w+)">', text)
    assert shown == [s for s in stems if s not in ("confusion", "noise", "precision")]  # it came quantized; nothing chose the precision
    for section in page.registry():
        assert (f"#{section.stem}" in text) == (section.stem in shown)


def test_the_figures_are_those_of_the_manifest(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    data = report_data.collect(folder)
    steps = [s for s in data.steps if s.index is not None]
    assert [s.kernel for s in steps] == [s["kernel"] for s in manifest["steps"]]
    assert [s.kernel.split()[0] for s in data.steps if s.index is None] == ["folded", "view"]
    assert sum(s.weight_bytes for s in steps) == manifest["weight_bytes"]
    assert max(s.live_bytes for s in steps) == manifest["arena_lower_bound"]
    assert sum(s.macs for s in steps) == manifest["macs"] == 2 * 256 * 36


def test_the_memory_map_draws_every_tensor_within_the_arena(folder: Path) -> None:
    data = report_data.collect(folder)
    drawing = memory.Drawing(data)
    rectangles = drawing.tensors()
    assert len(rectangles) == len(data.manifest.lifetimes)
    for r in [*rectangles, *drawing.scratch()]:
        assert drawing.x(0) <= r.x and r.x + r.width <= drawing.x(drawing.count) + 0.01
        assert drawing.y(drawing.top) - 0.01 <= r.y and r.y + r.height <= drawing.y(0) + 0.01
    for i, a in enumerate(rectangles):
        for b in rectangles[i + 1 :]:
            apart = a.x + a.width <= b.x or b.x + b.width <= a.x or a.y + a.height <= b.y + 0.01 or b.y + b.height <= a.y + 0.01
            assert apart, f"{a.title} and {b.title} overlap"


def test_the_picture_has_every_step_below_what_it_reads(folder: Path) -> None:
    data = report_data.collect(folder)
    found = graph.boxes(data)
    by = {b.key: b for b in found}
    assert len(found) == len(data.graph.inputs) + len(data.graph.nodes) and len(graph.edges(found)) == 5
    assert all(by[k].y + graph.HEIGHT < b.y for b in found for k in b.before)
    for i, a in enumerate(found):
        assert not [b for b in found[i + 1 :] if a.layer == b.layer and abs(a.x - b.x) < graph.WIDTH]


def test_a_step_has_its_c_its_kernel_and_its_weights(folder: Path) -> None:
    data = report_data.collect(folder)
    c = source.read(folder, data.manifest.model)
    assert sorted(c.steps) == sorted(c.used) == list(range(len(data.manifest.steps)))
    assert all(c.used[i] in text for i, text in c.steps.items()) and all(f"void {n}(" in text for n, text in c.kernels.items())
    (drawn,) = weights.of_step(data, "first")
    w = data.graph.tensors["w1"].data
    assert drawn.clipped == float((np.abs(w.astype(int)) == np.abs(w.astype(int)).max()).mean()) and "144 weights" in drawn.text  # type: ignore[union-attr]
    text = render(folder)
    for name in ("first", "add"):
        assert re.search(rf'data-show="(step-\d+)".*?<title>{name}</title>', text, re.S)
    shown, details = set(re.findall(r'data-show="(step-\d+)"', text)), re.findall(r'<article [^>]*id="(step-\d+)" hidden', text)
    assert shown == set(details) and len(details) == len(data.graph.nodes)


def test_classes_and_what_they_are_taken_for(tmp_path: Path) -> None:
    place = tmp_path / "out"
    api.build(residual(), output=place, toolchain=CHAIN, check=False)
    x = np.random.default_rng(3).integers(-128, 128, (6, 1, 8, 8, 4)).astype(np.int8)
    said = api.simulate(place, x).outputs()["flat"].reshape(6, -1).argmax(1)
    assert api.accuracy(place, {"x": x, "y": said}).confusion == {}  # 256 classes are too many
    table = labels.confusion(np.eye(3)[[0, 1, 1, 2]], np.array([0, 1, 2, 2]), 3)
    assert table == ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    found = report_data.collect(place)
    scored = replace(found, measured=replace(found.measured, accuracy={"simulator": record.Score(3, 4, table)}))
    shown = confusion.context(scored)
    assert shown is not None and [r[2] for r in shown["rows"]] == [100, 100, 50] and [r[3] for r in shown["rows"]] == [100, 50, 100]
    assert "recall" in page.environment().from_string(confusion.TEMPLATE).render(**shown)


def test_two_builds_are_compared_step_by_step(folder: Path, tmp_path: Path) -> None:
    api.build(residual(), output=tmp_path / "other", toolchain=CHAIN, check=False, hardened=True)
    assert api.report(folder, tmp_path / "ab.html", other=tmp_path / "other") == tmp_path / "ab.html"
    parsed = Page((tmp_path / "ab.html").read_text(encoding="utf-8"))
    assert {"first", "add"} <= set(re.findall(r"\w+", parsed.text)) and "weights" in parsed.text and "onerror=alert(1)>" in parsed.text
    assert comparison.Pair(200, 150).change == -25 and comparison.Pair(None, 1).change is None and comparison.Pair(0, 1).change is None


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
@pytest.mark.parametrize("width", [1400, 800])
def test_in_a_browser_nothing_overflows_and_every_part_opens(folder: Path, tmp_path: Path, width: int) -> None:
    """The page tells by its title what a script found in it: the one of the page has run before."""
    probe = """
      const wide = document.documentElement.scrollWidth > window.innerWidth + 1, found = [];
      document.querySelectorAll("td, th").forEach((c) => {
        if (c.offsetParent && !c.closest("details") && c.getBoundingClientRect().right > window.innerWidth + 1) found.push(c.textContent);
      });
      document.querySelectorAll(".scroll, .card").forEach((s) => {
        if (s.scrollWidth > s.clientWidth + 1) found.push("hidden by " + s.textContent.trim().slice(0, 40));
      });
      const nodes = [...document.querySelectorAll("svg.net [data-show]")];
      const opened = nodes.every((n) => {
        n.dispatchEvent(new MouseEvent("click", { bubbles: true }));
        const d = document.getElementById(n.dataset.show);
        return !d.hidden && d.offsetHeight > 40 && document.querySelectorAll(".detail:not([hidden])").length === 1;
      });
      const view = document.querySelector("[data-pan]"), svg = view.querySelector("svg"), before = svg.style.transform;
      document.querySelector("[data-zoom='1.25']").click();
      const head = [...document.querySelectorAll("table.sortable th")].find((h) => h.textContent === "MACs");
      head.click();
      const first = +document.querySelector("table.sortable tbody tr").cells[head.cellIndex].dataset.v;
      const most = Math.max(...[...document.querySelectorAll("table.sortable tbody tr")].map((r) => +r.cells[head.cellIndex].dataset.v));
      const told = { wide, found, opened, nodes: nodes.length, zoomed: svg.style.transform !== before, sorted: first === most };
      document.title = "TOLD" + JSON.stringify(told) + "DLOT";
    """
    page = tmp_path / "probe.html"
    page.write_text(render(folder).replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
    done = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},1000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    told = json.loads(html.unescape(re.search(r"TOLD(.*?)DLOT", done.stdout, re.S)[1]))  # type: ignore[index]
    assert told == {"wide": False, "found": [], "opened": True, "nodes": 4, "zoomed": True, "sorted": True}


def test_labels_fit_their_rectangles() -> None:
    assert memory.shorten("a/long/path/Relu;other", 9) == "path/Relu"
    assert memory.shorten("short", 5) == "short"
    assert memory.shorten("unbreakable_name", 8) == "\u2026le_name" and memory.shorten("unbreakable_name", 7) == ""


def test_the_stamp(tmp_path: Path) -> None:
    place = tmp_path / "out"
    api.build(residual(), output=place, toolchain=CHAIN, check=False)
    assert "Not compared yet" in render(place)
    api.compare(place, vectors=3)
    text = render(place)
    assert "Bit-exact with the simulator" in text and "3 of 3 vectors" in Page(text).text and "every byte equal" in text


def test_ranges_of_real_inputs(tmp_path: Path) -> None:
    place = tmp_path / "out"
    api.build(residual(), output=place, toolchain=CHAIN, check=False)
    x = np.full((2, 1, 8, 8, 4), 127, np.int8)
    x[0] = 10
    api.compare(place, {"x": x})
    context = tensors.context(report_data.collect(place))
    assert context is not None and context["vectors"] == 2
    first = next(r for r in context["rows"] if r.name == "x")
    assert first.seen == pytest.approx((0.65, 6.5)) and first.saturated == 0.5
    assert (first.low, first.high) == pytest.approx((-6.25, 6.5)) and first.width == pytest.approx(100 * 5.85 / 12.75)


def test_measurements_of_other_sources_are_not_shown(tmp_path: Path) -> None:
    place = tmp_path / "out"
    api.build(residual(), output=place, toolchain=CHAIN, check=False)
    api.compare(place, vectors=2)
    path = place / "measurements.json"
    path.write_text(path.read_text().replace('"sources_sha256": "', '"sources_sha256": "0'))
    assert "Not compared yet" in render(place)


@pytest.mark.parametrize(
    ("file", "content"),
    [("manifest.json", "{"), ("manifest.json", '{"format": 1}'), ("manifest.json", "[]"), ("measurements.json", "{"), ("graph.eqg", "")],
)
def test_damaged_folders(tmp_path: Path, file: str, content: str) -> None:
    place = tmp_path / "out"
    api.build(residual(), output=place, toolchain=CHAIN, check=False)
    (place / file).write_text(content)
    with pytest.raises(EdgeqError):
        render(place)


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match="no emitted model here"):
        render(tmp_path)


def test_quantization_quality(tmp_path: Path) -> None:
    from edgeq.quantize import dequantized

    real = dequantized(residual())
    x = np.random.default_rng(1).uniform(-3, 3, (20, 1, 8, 8, 4)).astype(np.float32)
    place = tmp_path / "out"
    api.build(real, output=place, toolchain=CHAIN, calibration={"x": x}, check=False)
    context = tensors.context(report_data.collect(place))
    assert context is not None and context["samples"] == 20 and context["has_sqnr"]
    quality = {r.name: r for r in context["rows"]}
    assert set(quality) == {"x", EVIL, "b", "sum", "flat"} and all(20 < (r.sqnr or 0) < 151 and r.grade == "ok" for r in quality.values())
    assert quality["x"].seen == pytest.approx((x.min(), x.max()), abs=1e-4)
    text = Page(render(place)).text
    assert "20 samples" in text and "second-order" in text
    drawn = {e["s"].tensor: e["histogram"] for e in graph.context(report_data.collect(place))["details"]}
    assert set(drawn) == {EVIL, "b", "sum", "flat"} and all('class="line"' in d and EVIL not in d for d in drawn.values())
    assert "stored ones as a line" in text
    assert tensors.grade(24.9) == "care" and tensors.grade(10) == "ko" and tensors.grade(None) == ""


def test_a_quantization_that_edgeq_did_not_write_is_refused_or_drawn(folder: Path, tmp_path: Path) -> None:
    """Whatever stands where one of its values stood."""
    choice = {"flash": 3, "instructions": 5, "sqnr_db": 20.0, "storage": {"add": "int8"}, "chosen": True}
    node = {"name": "add", "storage": "int8", "roles": "x", "flash": {"int8": 1}, "instructions": {"int8": 1}, "sqnr_db": {"int8": 9.0}}
    tensor = {"name": "b", "sqnr_db": 30.0, "own_sqnr_db": 40.0, "saturated": 0.1, "cause": "a", "fix": "b", "low": -1.0, "high": 1.0}
    section = {
        "options": {"method": "mse"}, "samples": 3, "advice": "a", "unseen": {"calibrated": 1, "judged": 1, "sqnr_db": 3.0},
        "tensors": [{**tensor, "histogram": {"ends": [0.0, 1.0], "real": [1, 2], "stored": [2, 1]}}],
        "allocation": {"costs": "measured", "sqnr_db": 20.0, "pareto": [choice, {**choice, "chosen": False}], "nodes": [node], "loss": 0.1},
    }  # fmt: skip
    shutil.copytree(folder, tmp_path / "m")
    path, rng, refused = tmp_path / "m" / "measurements.json", np.random.default_rng(0), 0
    known = json.loads(path.read_text())
    values = (None, -1, 1e300, "", "int8", [], {}, [[]], True)
    for turn in range(30):
        data = json.loads(json.dumps({**known, "quantization": section}))
        at: Any = data["quantization"]
        while turn:
            key = list(at)[rng.integers(len(at))] if isinstance(at, dict) else int(rng.integers(len(at)))
            if not isinstance(at[key], (dict, list)) or rng.random() < 0.2:
                at[key] = values[rng.integers(len(values))]
                break
            at = at[key]
        path.write_text(json.dumps(data))
        try:
            Page(render(tmp_path / "m"))
        except EdgeqError:
            refused += 1
            assert turn
    assert 3 < refused < 29
