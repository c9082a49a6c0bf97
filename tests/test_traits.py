"""Facts about operators live in `edgeq/ops`: traits are consistent, and nobody else lists operators or compares kinds with strings."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeq import kernels
from edgeq.ops import registry
from edgeq.traits import FAMILIES, Traits

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgeq"
KINDS = registry()
UNARY = {k for k, cls in KINDS.items() if cls.traits.monotone == "table"}
COMPUTED = {cls.kernel_op(object.__new__(cls)) for cls in KINDS.values()} | set(KINDS)

# A string that is also an operator's kind but means something else there: file -> the strings, and why.
WORDS = {"step"}  # what a program is made of is called so, too
HOMONYMS = {
    "__init__.py": ({"quantize"}, "the verb of the API"),
    "api/__init__.py": ({"quantize"}, "the verb of the API"),
    "quantize/__init__.py": ({"quantize"}, "the verb of the API"),
    "api/robustness.py": ({"mean"}, "a statistic over fault patterns"),
    "tune/robust.py": ({"mean"}, "a statistic over fault patterns"),
    "cli/quantize.py": ({"mean", "clip"}, "a statistic over fault patterns"),
    "emit/artifact.py": ({"gather", "whole"}, "a call's operands gathered in an array of pointers; a tensor that exists as a whole"),
    "plan/stage.py": ({"whole"}, "a table that is decoded as a whole"),
    "api/calibration.py": ({"mean"}, "of a channel's pixels"),
    "cli/options.py": ({"mean"}, "of a channel's pixels"),
    "quantize/images.py": ({"mean"}, "of a channel's pixels"),
    "flash/imgtool.py": ({"sign"}, "the program's verb"),
    "features/sensor.py": ({"mean"}, "of a channel"),
    "features/description.py": ({"add", "log"}, "words of a description: what is added before a logarithm"),
    "features/transforms.py": ({"log"}, "a word of a description"),
    "report/sections/memory.py": ({"floor"}, "the bottom of a drawing"),
    "run/gpu/kernels/functions.py": (UNARY, "functions of `floats` by name, as eq_float.h has them; a kernel computes all"),
    "run/gpu/kernels/spectrum.py": ({"add", "floor"}, "a way to take a logarithm, and the least value there"),
    "run/gpu/kernels/elementwise.py": ({"add", "sub", "mul"}, "a switch inside a Triton kernel, whose arguments are plain values"),
    "run/gpu/kernels/whole.py": ({"add", "sub", "mul", "div", "minimum"}, "functions of `ops.whole` by name, as a Triton kernel has them"),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_traits_are_consistent(kind: str) -> None:
    cls = KINDS[kind]
    t, fields = cls.traits, {f.name for f in dataclasses.fields(cls)}
    assert t.family in FAMILIES
    assert set(t.counts) <= fields
    if t.axes:
        assert {*t.axes.single, *(a for a, _ in t.axes.per_axis), *filter(None, [t.axes.reduced])} <= fields
    assert {*t.weights, *t.biases, *t.real} <= set(cls.parameters)
    assert (t.linear is None) or t.products[0] == (1, 2, 0)
    assert not {p for p, _ in t.states} & set(cls.parameters)
    assert not t.moves or t.keeps_scale("single")
    assert not t.view or t.moves
    assert t.monotone != "table" or t.elementwise


def test_an_operator_without_traits_is_right_merely_slower() -> None:
    """The defaults promise nothing."""
    t = Traits()
    assert not (t.moves or t.view or t.saturates or t.merges or t.casts or t.elementwise or t.homogeneous or t.narrow or t.words)
    assert t.natural is t.axes is t.channels is t.linear is t.affine is None and not (t.same_scale or t.monotone or t.products or t.states)


def strings(tree: ast.AST) -> Iterator[str]:
    """Strings in comparisons, patterns, and displays of several values: what a list of kinds is made of."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.Tuple | ast.List | ast.Set):
            parts = list(node.elts)
        elif isinstance(node, ast.Dict):
            parts = list(node.keys) if len(node.keys) > 1 else []
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        yield from (p.value for p in parts if isinstance(p, ast.Constant) and isinstance(p.value, str))


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_nobody_else_lists_operators(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    if place.startswith(("ops/", "frontends/")) or place == "traits.py":
        return
    named = {s for s in strings(ast.parse(path.read_text(encoding="utf-8"))) if s in KINDS} - WORDS - HOMONYMS.get(place, (set(), ""))[0]
    assert not named, f"{place} names operators {sorted(named)}: ask node.op.traits or isinstance"


def test_the_exceptions_are_needed() -> None:
    for place in HOMONYMS:
        assert (PACKAGE / place).exists(), place


def test_every_kind_that_is_named_exists() -> None:
    """Of kernels and of measured costs."""
    for kernel in kernels.scan():
        assert {kernel.op.removesuffix("_rows"), *kernel.epilogue} <= set(COMPUTED), kernel.name
    costs = json.loads((ROOT / "templates/kernels/costs.json").read_text(encoding="utf-8"))
    assert set(costs["features"]) <= COMPUTED


def test_the_report_has_a_colour_per_family() -> None:
    css = (ROOT / "templates/report/style.css").read_text(encoding="utf-8")
    for family in FAMILIES:
        assert css.count(f"--{family}: #") == 2 and f".{family} {{" in css
