"""Functions fit a screen and take few parameters, files are short: what ruff does not count. Complexity is in pyproject.toml."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "edgeq"
LONGEST = 60  # lines of a function, its docstring left out; of a command, whose signature is the table of its options, the body's
FILE = 400  # lines
MOST = 8  # parameters
BY_POSITION = 3  # of them in a verb of the API, which has a keyword per option (docs/decisions/0206)
FILES = sorted(PACKAGE.rglob("*.py"))
C = sorted(p for folder in ("templates", "firmware") for p in (PACKAGE.parent / folder).rglob("*") if p.suffix in (".c", ".h", ".j2", ".S"))


def place(path: Path) -> str:
    return path.relative_to(PACKAGE if PACKAGE in path.parents else PACKAGE.parent).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))


def length(function: ast.FunctionDef | ast.AsyncFunctionDef, command: bool) -> int:
    first = function.body[0]
    lines = (function.end_lineno or 0) - (first.lineno if command else function.lineno) + 1
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        lines -= (first.end_lineno or 0) - first.lineno + 1
    return lines


def is_verb(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(ast.unparse(d) == "keywords.verb" for d in function.decorator_list)


def too_many(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    given = function.args
    by_position = [a for a in (*given.posonlyargs, *given.args) if a.arg not in ("self", "cls")]
    if is_verb(function):
        return len(by_position) > BY_POSITION
    return len(by_position) + len(given.kwonlyargs) > MOST


@pytest.mark.parametrize("path", FILES, ids=place)
def test_functions_fit_a_screen(path: Path) -> None:
    lengths = {n.name: length(n, place(path).startswith("cli/")) for n in functions(path)}
    found = {name: n for name, n in lengths.items() if n > LONGEST}
    assert not found, f"more than {LONGEST} lines: take parts out"


@pytest.mark.parametrize("path", [p for p in FILES if not place(p).startswith(("cli/", "run/gpu/kernels/"))], ids=place)
def test_functions_take_few_parameters(path: Path) -> None:
    """Commands have one per option, and device functions of Triton take plain values."""
    found = {n.name for n in functions(path) if too_many(n)}
    assert not found, "pass a record"


@pytest.mark.parametrize("path", [*FILES, *C], ids=place)
def test_files_are_short(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= FILE, f"{lines} lines: divide it by subject"


def test_verbs_are_those_of_the_api() -> None:
    """The decorator is no way around records: what bears it is public."""
    public = set(ast.literal_eval(next(
        n.value for n in ast.parse((PACKAGE / "api/__init__.py").read_text(encoding="utf-8")).body
        if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == "__all__"
    )))  # fmt: skip
    verbs = {n.name for p in FILES for n in functions(p) if is_verb(n)}
    assert verbs <= public and {"build", "run", "accuracy"} <= verbs
    assert all(place(p).startswith("api/") for p in FILES for n in functions(p) if is_verb(n))


def test_what_takes_options_by_keyword_refuses_unknown_ones() -> None:
    every = [n for p in (PACKAGE / "api").glob("*.py") for n in functions(p)]
    taking = [n for n in every if n.args.kwarg and "Unpack" in ast.unparse(n.args.kwarg)]
    assert len(taking) > 5 and all(is_verb(n) for n in taking)
