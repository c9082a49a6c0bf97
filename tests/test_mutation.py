"""The tool that tests the tests: what it changes, and that a change is seen, or is not."""

from __future__ import annotations

import ast
import importlib
import time
from pathlib import Path

import mutation
import pytest
from mutation import Mutant

SOURCE = '''
def f(a: int = 0, *b: int) -> int:
    """Doc."""
    assert a > 9
    if not a <= 1 and b:
        raise EdgeqError(f"{a + 1}")
    a += min(a * 2, 5)
    g(a)
    return h(a, b) if a == 1 else -a
'''


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Mutant, str]]:
    (tmp_path / "m.py").write_text(SOURCE)
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    found = []
    for mutant in mutation.mutants(["m.py"]):
        walker = mutation._Walker(SOURCE.splitlines(), "m.py", mutant)
        found.append((mutant, ast.unparse(ast.fix_missing_locations(walker.visit(ast.parse(SOURCE))))))
        mutation.changed_code(mutant)
    return found


def test_every_kind_is_made_once(changes: list[tuple[Mutant, str]]) -> None:
    plain = ast.unparse(ast.parse(SOURCE))
    texts = [text for _, text in changes]
    assert plain not in texts and len(set(texts)) == len(texts) == len({m.key for m, _ in changes})
    wanted = [
        "a: int=1", "if not (not a <= 1 and b)", "not a <= 1 or b", "if a <= 1 and b", "if not a < 1", "if not a <= 2", "max(a * 2, 5)",
        "a / 2", "a * 3", "min(a * 2, 6)", "a != 1", "a == 2", "-a if a == 1 else h(a, b)", "else a",
    ]  # fmt: skip
    assert [w for w in wanted if not any(w in text for text in texts)] == []
    assert any("raise" not in t for t in texts) and any("+=" not in t for t in texts) and any("g(a)" not in t for t in texts)
    assert not any("a > 10" in t or "a >= 9" in t or "a + 2" in t for t in texts)  # neither assertions nor messages


def test_functions_are_changed_in_place_and_other_processes_are_not() -> None:
    from edgeq.plan import order

    dropped = next(m for m in mutation.mutants(["edgeq/plan/order.py"]) if m.kind == "first argument returned" or m.kind == "dropped")
    function = next(f for f in vars(order).values() if getattr(f, "__module__", "") == "edgeq.plan.order" and hasattr(f, "__code__"))
    before = function.__code__
    assert mutation._quietly(lambda: 0 if mutation.change_in_place(dropped) else 1, 60) == 0
    assert function.__code__ is before


def test_a_trial_ends() -> None:
    assert mutation._quietly(lambda: 3, 60) == 3
    assert mutation._quietly(lambda: int(time.sleep(60) or 0), 0.2) is None
    assert [mutation._named(c) for c in (None, 0, 1)] == ["time", "alive", "failed"]


def test_tests_that_import_the_changed_module_come_first_and_every_function_before_a_second_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "far.py").write_text("from edgeq import api\n")
    (tmp_path / "t" / "near.py").write_text("from edgeq.plan import place\n")
    (tmp_path / "edgeq" / "plan").mkdir(parents=True)
    (tmp_path / "edgeq" / "plan" / "place.py").write_text("X = 1\n")
    seconds = {"t/far.py::a": 1.0, "t/near.py::b[1]": 2.0, "t/near.py::b[2]": 3.0, "t/near.py::c": 9.0, "t/far.py::d": 30.0}
    lines = {t: (s, [["edgeq/plan/place.py", 1]]) for t, s in seconds.items()}
    change = next(m for m in mutation.mutants(["edgeq/plan/place.py"]))

    def chosen(budget: float) -> list[str]:
        return [t for _, t in mutation._Chooser(lines, budget).tests(change)]

    assert chosen(60) == ["t/near.py::b[1]", "t/near.py::c", "t/near.py::b[2]", "t/far.py::a", "t/far.py::d"]
    assert chosen(16) == ["t/near.py::b[1]", "t/near.py::c", "t/near.py::b[2]", "t/far.py::a"]
    assert chosen(6) == ["t/near.py::b[1]", "t/near.py::b[2]", "t/far.py::a"] and chosen(1) == ["t/near.py::b[1]"]
    assert mutation.module("edgeq/plan/__init__.py") == "edgeq.plan" and mutation.module("edgeq/lower.py") == "edgeq.lower"


def test_the_interval_is_wilsons() -> None:
    assert [round(e, 4) for e in mutation.interval(90, 100)] == [0.8256, 0.9448]
    assert [round(e, 4) for e in mutation.interval(60, 60)] == [0.9398, 1.0]


def test_a_constant_is_changed_for_tests_that_took_it_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "test_taken.py"
    file.write_text("from edgeq.plan.order import TRIALS\n\ndef test_it():\n    assert TRIALS == 60_000\n")
    monkeypatch.setattr(mutation, "HERE", tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.import_module("test_taken")
    change = next(m for m in mutation.mutants(["edgeq/plan/order.py"]) if m.kind == "constant" and m.text.startswith("TRIALS = "))
    assert mutation.anew(change, [str(file)], 60) == "failed"
    other = next(m for m in mutation.mutants(["edgeq/plan/place.py"]) if m.kind == "constant")
    assert mutation.anew(other, [str(file)], 60) == "alive"
