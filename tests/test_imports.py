"""Imports go down only (docs/architecture.md): a module may import its own layer's neighbours below, never above."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgeq"
LAYERS = (
    (*"errors resources system elf leftovers files folder guard journal process record slots text workers".split(),),
    ("reals", "matrices", "components", "solver"),
    ("numerics", "half", "floats", "traits"),
    ("formats",),
    ("ir",),
    ("train",),
    ("ops", "target", "board"),
    ("latency", "timing"),
    ("frontends", "features", "passes", "kernels", "graphfile"),
    ("streams",),
    ("chains", "staged"),
    ("program",),
    ("plan",),
    ("evaluate", "lower"),
    ("simulate", "tables"),
    ("faults",),
    ("quantize",),
    ("emit",),
    ("acsl",),
    ("build", "export", "scaffold"),
    ("run", "flash"),
    ("compare",),
    ("tune",),
    ("recipes",),
    ("report",),
    ("api",),
    ("cli", "__main__", ""),
)
INSIDE = {  # of a package whose modules are stages too
    "plan": (("order", "place"), ("trails",), ("arena",), ("room",), ("stage",), ("lines",), ("bands",), ("segments", "shares"), ("fit",)),
    "emit": (("arrays", "syntax", "runtime", "description"), ("functions",), ("tiles", "bands", "shares"), ("artifact",)),
}
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FORMATS = {"onnx": ("frontends/onnx",), "tflite": ("frontends/tflite",), "torch": ("frontends/torch", "train/", "run/gpu/")}
FORMATS["triton"] = ("run/gpu/",)


def imports(path: Path) -> set[str]:
    """Absolute module names that a file imports, `from a import b` counted as both a and a.b."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {node.module or ""} | {f"{node.module}.{a.name}" for a in node.names}
    return found


FILES = sorted(PACKAGE.rglob("*.py"))


def layer(parts: tuple[str, ...]) -> str:
    return "" if parts == ("__init__",) else parts[0]


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path: Path) -> None:
    own = layer(path.relative_to(PACKAGE).with_suffix("").parts)
    assert own in RANK, f"{own} has no place in LAYERS"
    for name in imports(path):
        if name.startswith("edgeq."):
            other = name.split(".")[1]
            assert RANK.get(other, -1) <= RANK[own], f"{path.name} ({own}) imports {name}, which lies above it"


@pytest.mark.parametrize("package", INSIDE)
def test_imports_go_down_inside(package: str) -> None:
    rank = {name: n for n, names in enumerate(INSIDE[package]) for name in names}
    paths = {p.stem: p for p in (PACKAGE / package).glob("*.py") if p.stem != "__init__"}
    assert set(paths) == set(rank)
    for own, path in paths.items():
        within = {n.split(".")[2] for n in imports(path) if n.startswith(f"edgeq.{package}.")}
        assert within <= set(rank), f"{path} imports the package that it is part of"
        assert all(rank[other] < rank[own] for other in within), f"{path} imports a neighbour or what lies above it"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(PACKAGE).as_posix())
def test_formats_are_read_in_their_frontends_alone(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for package, allowed in FORMATS.items():
        if not place.startswith(allowed):
            assert not any(n == package or n.startswith(f"{package}.") for n in imports(path)), f"{place} imports {package}"


def test_the_layers_exist() -> None:
    present = {layer(p.relative_to(PACKAGE).with_suffix("").parts) for p in FILES}
    assert present <= set(RANK) and {"ir", "ops", "lower", "emit", "run"} <= present


def test_the_documentation_names_them_in_their_order() -> None:
    table = (ROOT / "docs/architecture.md").read_text(encoding="utf-8").split("| layer | modules |")[1].split("\n\n")[0]
    named = [n.rstrip("/") for n in re.findall(r"`(\w+/?)`", table)]
    assert set(named) == set(RANK) - {"__main__", ""} and len(set(named)) == len(named)
    assert named == sorted(named, key=RANK.__getitem__)


@pytest.mark.parametrize("package", INSIDE)
def test_the_documentation_names_what_is_inside(package: str) -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if line.startswith(f"| `{package}/` |"))
    groups = [tuple(re.findall(r"`(\w+)`", group)) for group in row.split("|")[2].split(";")]
    assert groups == [tuple(g) for g in INSIDE[package]]


def test_modules_that_tests_import_by_bare_name_have_names_of_their_own() -> None:
    """A process that runs two test files keeps the first module of a name. Every example has its own scripts: tests/example_modules.py."""
    files = [p for folder in ("tests", "examples") for p in (ROOT / folder).rglob("*.py") if not p.stem.startswith(("test_", "conftest"))]
    text = "\n".join(p.read_text(encoding="utf-8") for folder in ("tests", "examples") for p in (ROOT / folder).rglob("*.py"))
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    places: dict[str, list[str]] = {}
    for path in files:
        if path.stem in imported:
            places.setdefault(path.stem, []).append(path.relative_to(ROOT).as_posix())
    assert {name for name, found in places.items() if len(found) > 1} <= {"demo", "deploy", "train"}
