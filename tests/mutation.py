"""Do the tests see a fault? One expression of edgeq is changed at a time, and the tests that execute it must fail.

    python tests/mutation.py passes                       150 changes drawn from edgeq/passes, by seed 0
    python tests/mutation.py quantize --sample 0          all of them
    python tests/mutation.py plan --seed 3 --list         what would be changed
    python tests/mutation.py passes --survivors           what earlier runs left alive

Each package has its tests (`PACKAGES`). They are run once, unchanged, to see which test executes which line. Then each change is made
in a process of its own, forked after pytest has collected all tests, in the code of the functions that are there; a change outside
functions in one where edgeq is imported anew. The tests of its line run until one fails or `LIMIT` times their usual time has passed,
which counts as seen: first those whose file imports the changed module, of each test function one case before the next, the quickest
first, as many as usually take `--seconds`; last the records of decisions, however long they take. Results are kept in build/mutation,
so that a run goes on where it ended; what is changed in another line of a file counts as a new change.
"""

from __future__ import annotations

import argparse
import ast
import copy
import functools
import gc
import hashlib
import importlib.abc
import importlib.util
import json
import math
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
STORE = ROOT / "build" / "mutation"
LIMIT, GRACE = 4.0, 15.0  # of the usual time, and seconds beside that
ELSEWHERE = 77  # the change is in no function
SAMPLE = 150
RULES = "ranges scales weights equalize cells casts calibration diagnosis rounding odd_samples averages float_parameters mixed"
RULES += " allocate refine methods masks normalised data_free drop enough factored few_bits robust_biases uneven_levels unseen"
RULES += " limits fixed_front decisions few_samples storage gradients noise others split flat sensitivity predicted_noise choices messages"
GOLDEN = "tests/test_golden.py::test_some_integers_in_this_process"
PASSES = ["tests/passes", GOLDEN]
QUANTIZE = [f"tests/quantize/test_{n}.py" for n in RULES.split()]
PLANNED = "test_plan test_plan_rules test_plans test_order test_bands ops/test_room ops/test_rows test_cluster test_stage"
PLAN = [f"tests/{n}.py" for n in PLANNED.split()]
PLAN += [GOLDEN]
TUNE = ["tests/test_tune.py", "tests/quantize/test_mixed.py", "tests/quantize/test_drop.py", "tests/quantize/test_robust_biases.py"]
PACKAGES = {  # name -> what is changed, the tests
    "quantize": (["edgeq/quantize"], QUANTIZE),
    "passes": (["edgeq/passes"], PASSES),
    "lower": (["edgeq/lower.py", "edgeq/program.py"], [*PLAN, "tests/test_report.py"]),
    "plan": (["edgeq/plan"], PLAN),
    "tune": (["edgeq/tune"], TUNE),
}
RECORDS = ("tests/quantize/test_choices.py", "tests/passes/test_perturbed.py", "tests/test_plans.py")  # of decisions: shown last
LIBRARIES = ("jinja2", "numpy", "onnx", "onnxruntime", "pytest", "highspy")
FLIPS: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Is: ast.IsNot,
    ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift, ast.And: ast.Or, ast.Or: ast.And,
}  # fmt: skip
SWAPS = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum", "floor": "ceil"}


@dataclass(frozen=True)
class Mutant:
    """A change: the n-th that a kind makes in a file."""

    file: str
    line: int
    kind: str
    number: int
    text: str

    @property
    def key(self) -> str:
        return hashlib.sha256(f"{self.file} {self.kind} {self.number} {self.text}".encode()).hexdigest()[:16]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.kind}: {self.text}"


def _flip(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Changes of an expression: what they are called, and what stands there instead."""
    if isinstance(node, ast.Compare):
        for i, op in enumerate(node.ops):
            if type(op) in FLIPS:
                new = copy.deepcopy(node)
                new.ops[i] = FLIPS[type(op)]()  # type: ignore[call-overload]
                yield f"comparison {type(op).__name__}", new
    elif isinstance(node, (ast.BinOp, ast.BoolOp)) and type(node.op) in FLIPS:
        new = copy.deepcopy(node)
        new.op = FLIPS[type(node.op)]()  # type: ignore[assignment]
        yield f"operator {type(node.op).__name__}", new
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        yield "operand alone", node.operand
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
        yield "constant", ast.Constant(not node.value if isinstance(node.value, bool) else node.value + 1)
    elif isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr if isinstance(node.func, ast.Attribute) else ""
        if name in SWAPS:
            new = copy.deepcopy(node)
            setattr(new.func, "id" if isinstance(new.func, ast.Name) else "attr", SWAPS[name])
            yield f"{SWAPS[name]} for {name}", new
    elif isinstance(node, ast.IfExp):
        yield "other branch", ast.IfExp(node.test, node.orelse, node.body)


def _change(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Changes of a statement."""
    if isinstance(node, (ast.If, ast.While)):
        new = copy.copy(node)
        new.test = ast.UnaryOp(ast.Not(), node.test)
        yield "negated", new
    elif (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)) or isinstance(node, (ast.AugAssign, ast.Continue, ast.Raise)):
        yield "dropped", ast.Pass()
    elif isinstance(node, ast.Return) and isinstance(node.value, ast.Call) and node.value.args:
        first = node.value.args[0]
        if not isinstance(first, ast.Starred):
            yield "first argument returned", ast.Return(first)


def _silent(node: ast.AST) -> bool:
    """Parts that compute nothing: assertions, messages, types, what `if TYPE_CHECKING` holds, and `strict` of what is equally long."""
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return True
    if isinstance(node, (ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)):
        return True
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("EdgeqError", "TypeVar", "field")


class _Walker(ast.NodeTransformer):
    """Numbers all changes of a file, and makes one of them."""

    def __init__(self, lines: Sequence[str], file: str, wanted: Mutant | None = None) -> None:
        self.lines, self.file, self.wanted = lines, file, wanted
        self.found: list[Mutant] = []
        self.counts: dict[tuple[str, str], int] = {}

    def visit(self, node: ast.AST) -> Any:
        if _silent(node):
            return node
        for kind, new in (*_flip(node), *_change(node)):
            line = getattr(node, "lineno", 0)
            text = self.lines[line - 1].strip()
            number = self.counts[kind, text] = self.counts.get((kind, text), 0) + 1
            self.found.append(Mutant(self.file, line, kind, number, text))
            if self.wanted and self.found[-1] == self.wanted:
                return ast.copy_location(new, node)
        return self.generic_visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            if isinstance(value, list):
                value[:] = [self.visit(v) if isinstance(v, ast.AST) else v for v in value]
            elif isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
        return node


def mutants(paths: Sequence[str]) -> list[Mutant]:
    """All changes of some files and folders."""
    found: list[Mutant] = []
    for path in paths:
        for file in sorted((ROOT / path).rglob("*.py")) if (ROOT / path).is_dir() else [ROOT / path]:
            text = file.read_text(encoding="utf-8")
            walker = _Walker(text.splitlines(), str(file.relative_to(ROOT)))
            walker.visit(ast.parse(text))
            found += walker.found
    return found


def changed_code(mutant: Mutant) -> CodeType:
    """The module's code with the change."""
    path = ROOT / mutant.file
    text = path.read_text(encoding="utf-8")
    walker = _Walker(text.splitlines(), mutant.file, mutant)
    tree = ast.fix_missing_locations(walker.visit(ast.parse(text)))
    return compile(tree, str(path), "exec", dont_inherit=True)


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _functions(constant)


def change_in_place(mutant: Mutant) -> bool:
    """Exchange the code of the functions that the change is in, and empty all caches; False where it is in none of them."""
    objects = gc.get_objects()
    living = [f for f in objects if isinstance(f, FunctionType) and f.__code__.co_filename == str(ROOT / mutant.file)]
    new = {(c.co_qualname, c.co_firstlineno): c for c in _functions(changed_code(mutant))}
    done = False
    for function in living:
        code = new.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and code != function.__code__ and code.co_freevars == function.__code__.co_freevars:
            function.__code__, done = code, True
    if done:
        empty_caches(objects)
    return done


def empty_caches(objects: Sequence[object], files: set[str] | None = None) -> None:
    """Empty the caches among some objects, all or those of functions of some files."""
    for thing in objects:
        if isinstance(thing, functools._lru_cache_wrapper):
            code = getattr(thing.__wrapped__, "__code__", None)
            if files is None or (code and code.co_filename in files):
                thing.cache_clear()


class _Changed(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module of edgeq with a change."""

    def __init__(self, mutant: Mutant) -> None:
        self.path, self.code = ROOT / mutant.file, changed_code(mutant)
        self.name = module(mutant.file)

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> Any:
        if fullname != self.name:
            return None
        places = [str(self.path.parent)] if self.path.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(fullname, self.path, loader=self, submodule_search_locations=places)

    def exec_module(self, module: ModuleType) -> None:
        exec(self.code, module.__dict__)


class _Lines:
    """A pytest plugin: which lines of some files each test executes, and how long it takes.

    Attributes:
        keep: called behind the last test of each file with its name and, per test, the seconds and the lines.
    """

    def __init__(self, files: set[str], keep: Callable[[str, dict[str, Any]], None]) -> None:
        self.files, self.keep, self.seen = files, keep, set[tuple[str, int]]()
        self.tests: dict[str, Any] = {}
        self.failed: list[str] = []

    def trace(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any] | None:
        if frame.f_code.co_filename not in self.files:
            return None
        self.seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self.trace

    def pytest_runtest_setup(self, item: Any) -> None:
        empty_caches(gc.get_objects(), self.files)  # what is executed for one test alone
        self.seen, self.start = set(), time.monotonic()
        sys.settrace(self.trace)

    def pytest_runtest_teardown(self, item: Any, nextitem: Any) -> None:
        sys.settrace(None)
        lines = sorted([str(Path(f).relative_to(ROOT)), line] for f, line in self.seen)
        self.tests[item.nodeid] = (time.monotonic() - self.start, lines)
        if nextitem is None or nextitem.path != item.path:
            if not any(test in self.tests for test in self.failed):
                self.keep(str(item.path.relative_to(ROOT)), self.tests)
            self.tests = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed:
            self.failed.append(report.nodeid)


def _quietly(run: Callable[[], int], seconds: float) -> int | None:
    """In a forked process without output: what `run` returns, None where it took too long."""
    child = os.fork()
    if child == 0:
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        code = 99
        try:
            code = run()
        finally:
            os._exit(code)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _pytest(arguments: Sequence[str], plugins: Sequence[Any] = ()) -> int:
    import pytest

    return int(pytest.main(["-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", *arguments], plugins=list(plugins)))


def _digest(paths: Iterable[Path]) -> str:
    return hashlib.sha256(b"".join(p.read_bytes() for p in sorted(paths))).hexdigest()


def _sources(path: Path) -> list[Path]:
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def covered(name: str) -> dict[str, Any]:
    """Test -> its seconds and the lines that it executes, from runs that are kept, per file of tests, until it or the code changes.

    Raises:
        SystemExit: a test fails on the unchanged code.
    """
    paths, tests = PACKAGES[name]
    code = [p for x in paths for p in _sources(ROOT / x)]
    state = _digest([*code, *(p for p in HERE.rglob("*.py") if not p.name.startswith("test_") and p != Path(__file__))])
    store = STORE / f"{name}.lines.json"
    kept: dict[str, Any] = json.loads(store.read_text()) if store.is_file() else {}
    if kept.get("state") != state:
        kept = {"state": state, "files": {}}
    wanted = {t: [str(p.relative_to(ROOT)) for p in _sources(ROOT / t.partition("::")[0]) if p.name.startswith("test_")] for t in tests}
    now = {f: _digest([ROOT / f]) for files in wanted.values() for f in files}

    def missing() -> list[str]:
        """What to run: a file at a time, or what is named of it."""
        lack = {f for f in now if kept["files"].get(f, {}).get("state") != now[f]}
        return [x for t, files in wanted.items() for x in ([t] if "::" in t else files) if x.partition("::")[0] in lack]

    def keep(file: str, found: dict[str, Any]) -> None:
        kept["files"][file] = {"state": now[file], "tests": found}
        fresh = store.with_suffix(".new")
        fresh.write_text(json.dumps(kept))
        fresh.replace(store)

    STORE.mkdir(parents=True, exist_ok=True)
    if missing():
        outcome = _quietly(lambda: _pytest(missing(), [_Lines({str(p) for p in code}, keep)]), 3600)
        kept = json.loads(store.read_text()) if store.is_file() else kept
        if outcome or missing():
            raise SystemExit(f"tests fail without any change, or take an hour: {', '.join(missing())}")
    return {test: lines for f in now for test, lines in kept["files"][f]["tests"].items()}


@functools.cache
def imported(file: str) -> frozenset[str]:
    """The modules that a test's file imports, and what could be modules among the names that it imports; so does a helper beside it."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{a.name}" for a in node.names)}
    helpers = [Path(file).with_name(f"{n}.py") for n in sorted(names)]
    return frozenset(names.union(*(imported(str(h)) for h in helpers if not h.name.startswith("test_") and (ROOT / h).is_file())))


def module(file: str) -> str:
    """The module that a file is."""
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Chooser:
    """Tests by what they execute.

    Attributes:
        seconds: what the tests that a change is shown to may usually take, together.
    """

    def __init__(self, tests: dict[str, tuple[float, list[list[Any]]]], seconds: float) -> None:
        self.seconds = seconds
        self.by_line: dict[tuple[str, int], set[tuple[float, str]]] = {}
        for test, (usual, lines) in tests.items():
            for file, line in lines:
                self.by_line.setdefault((file, line), set()).add((usual, test))

    def tests(self, mutant: Mutant) -> list[tuple[float, str]]:
        """Seconds and test: those that execute a change's line, else (lines of one statement, what is executed when a file is imported)
        the innermost function or class around it, else, outside of all, the file. One at least, if there is any."""
        found = self.by_line.get((mutant.file, mutant.line), set())
        if not found:
            text = (ROOT / mutant.file).read_text(encoding="utf-8")
            functions = [n for n in ast.walk(ast.parse(text)) if isinstance(n, (ast.FunctionDef, ast.Lambda))]
            around = [(n.lineno, n.end_lineno or 0) for n in functions if n.lineno <= mutant.line <= (n.end_lineno or 0)]
            first, last = min(around, key=lambda r: r[1] - r[0], default=(0, 10**9))
            found = set().union(*(t for (f, line), t in self.by_line.items() if f == mutant.file and first < line <= last))
        return self.first(found, module(mutant.file))

    def first(self, found: set[tuple[float, str]], changed: str) -> list[tuple[float, str]]:
        """The tests in the order in which they run, as many as there is time for."""
        cases: dict[str, int] = {}
        ranked = []
        for usual, test in sorted(found):
            number = cases[test.partition("[")[0]] = cases.get(test.partition("[")[0], 0) + 1
            ranked.append((changed not in imported(test.partition("::")[0]), number, usual, test))
        chosen, left = [], self.seconds
        records = [r for r in sorted(ranked) if r[-1].partition("::")[0] in RECORDS]
        for _, _, usual, test in [r for r in sorted(ranked) if r not in records]:
            if usual <= left or not chosen:
                chosen.append((usual, test))
                left -= usual
        return chosen + [(usual, test) for _, _, usual, test in records]


def _named(code: int | None) -> str:
    return "time" if code is None else "alive" if code == 0 else "failed"


def _is_of_tests(module: ModuleType) -> bool:
    """Whether a module holds names of edgeq that were imported before."""
    file = getattr(module, "__file__", None)
    return file is not None and HERE in Path(file).parents and Path(file) != Path(__file__)


def anew(mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
    """The outcome where edgeq is imported with the change: ``failed``, ``time`` (it took too long) or ``alive``."""

    def run() -> int:
        for name in [n for n, m in sys.modules.items() if n.partition(".")[0] == "edgeq" or _is_of_tests(m)]:
            del sys.modules[name]
        sys.meta_path.insert(0, _Changed(mutant))
        return _pytest(["-x", *tests])

    return _named(_quietly(run, seconds))


class _Trials:
    """A pytest plugin that runs no test but makes changes, in forks of a process that has collected all tests.

    Attributes:
        mutants: what to change.
        record: called with each, its outcome, and how many tests it was shown to.
    """

    def __init__(self, mutants: Sequence[Mutant], chooser: _Chooser, record: Callable[[Mutant, str, int], None]) -> None:
        self.mutants, self.chooser, self.record = mutants, chooser, record
        self.late: list[Mutant] = []  # outside functions

    def pytest_runtestloop(self, session: Any) -> bool:
        items = {item.nodeid: item for item in session.items}
        for mutant in self.mutants:
            chosen = [(s, t) for s, t in self.chooser.tests(mutant) if t in items]
            code = self.trial(mutant, [items[t] for _, t in chosen], LIMIT * sum(s for s, _ in chosen) + GRACE)
            if code == ELSEWHERE and chosen:
                self.late.append(mutant)
            else:
                self.record(mutant, _named(code) if chosen else "alive", len(chosen))
        return True

    @staticmethod
    def trial(mutant: Mutant, items: Sequence[Any], seconds: float) -> int | None:
        from _pytest.runner import runtestprotocol

        def run() -> int:
            if not change_in_place(mutant):
                return ELSEWHERE
            for item in items:
                if any(report.failed for report in runtestprotocol(item, nextitem=None, log=False)):
                    return 1
            return 0

        return _quietly(run, seconds)


def interval(seen: int, drawn: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's interval of 95 % for the share of all changes that tests see."""
    share, spread = seen / drawn, z * z / drawn
    half = z * math.sqrt(share * (1 - share) / drawn + spread / (4 * drawn))
    return (share + spread / 2 - half) / (1 + spread), (share + spread / 2 + half) / (1 + spread)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", choices=PACKAGES)
    parser.add_argument("--sample", type=int, default=SAMPLE, help="how many changes to draw; 0: all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=60, help="what the tests that a change is shown to may usually take")
    parser.add_argument("--list", action="store_true", help="print the changes, make none")
    parser.add_argument("--survivors", action="store_true", help="print what earlier runs left alive")
    parser.add_argument("--again", action="store_true", help="try what earlier runs left alive once more")
    given = parser.parse_args()
    paths = PACKAGES[given.package][0]
    every = mutants(paths)
    drawn = every if not given.sample else random.Random(given.seed).sample(every, min(given.sample, len(every)))
    store = STORE / f"{given.package}.jsonl"
    done = {r["key"]: r["outcome"] for r in map(json.loads, store.read_text().splitlines())} if store.is_file() else {}
    if given.list or given.survivors:
        for mutant in sorted((m for m in every if done.get(m.key) == "alive") if given.survivors else drawn, key=str):
            print(mutant)
        return 0
    for library in LIBRARIES:  # once, before all forks
        importlib.import_module(library)
    sys.path[:0] = [str(ROOT), str(HERE)]
    os.chdir(ROOT)
    chooser = _Chooser(covered(given.package), given.seconds)
    todo = [m for m in drawn if m.key not in done or (given.again and done[m.key] == "alive")]

    def record(mutant: Mutant, outcome: str, shown: int) -> None:
        done[mutant.key] = outcome
        with store.open("a") as out:
            out.write(json.dumps({"key": mutant.key, "outcome": outcome, "mutant": str(mutant)}) + "\n")
        if outcome == "alive":
            print(f"alive after {shown} tests: {mutant}", file=sys.stderr, flush=True)

    trials = _Trials(todo, chooser, record)
    if todo:
        _pytest([t for t in PACKAGES[given.package][1] if (ROOT / t.partition("::")[0]).exists()], [trials])
    for mutant in trials.late:
        chosen = chooser.tests(mutant)
        record(mutant, anew(mutant, [t for _, t in chosen], LIMIT * sum(s for s, _ in chosen) + 2 * GRACE), len(chosen))
    caught = sum(done[m.key] != "alive" for m in drawn)
    low, high = interval(caught, len(drawn))
    print(f"{given.package}: {len(every)} changes, {len(drawn)} drawn, {caught} seen ({caught / len(drawn):.1%}; {low:.0%} to {high:.0%})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
