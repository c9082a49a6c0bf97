"""The program itself: help, usage errors, interruption, bugs, pipes; targets, inspect and doctor."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgeq as package
from edgeq import api, system
from edgeq.cli import doctor as doctor_verb
from edgeq.cli.main import VERBS

NAMES = [m.__name__.rpartition(".")[2] for m in VERBS]


def program(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "edgeq", *arguments], capture_output=True, text=True, **options)  # type: ignore[call-overload,no-any-return]


@pytest.mark.parametrize("verb", NAMES)
def test_every_verb_has_help_with_an_example(edgeq, verb: str) -> None:
    result = edgeq(verb, "--help")
    assert result.code == 0 and f"Example:  edgeq {verb}" in result.out and "--json" in result.out


def test_the_verbs(edgeq) -> None:
    words = (
        "build quantize simulate run compare profile accuracy features faults tune search firmware flash bench export new report inspect "
        "targets doctor"
    )
    assert words.split() == NAMES
    result = edgeq("--help")
    assert result.code == 0 and all(name in result.out for name in NAMES)
    assert edgeq("--version").out == f"edgeq {package.__version__}\n"


USAGE = [
    text.split()
    for text in (
        "nonsense", "build", "build m.onnx -o d -O 9", "build m.onnx -o d --test-vectors -1",
        "inspect m.onnx --shape x=1x0", "inspect m.onnx --shape =1",
        "inspect m.onnx --const sr=x", "inspect m.onnx --const =1", "run m --vectors 0", "targets --colour",
        "quantize m.onnx -o d --stored 1", "accuracy m.onnx", "flash", "flash fw.elf", "flash fw.elf --board virt --baud 1", "new",
        "firmware out --board virt", "export out -f c",
    )
]  # fmt: skip


@pytest.mark.parametrize("arguments", USAGE, ids=" ".join)
def test_wrong_usage_is_code_2(edgeq, arguments: list[str]) -> None:
    result = edgeq(*arguments)
    assert result.code == 2 and result.out == "" and "Usage" in result.err


def test_a_model_that_is_not_there_is_named_before_an_output_that_was_not_given(edgeq, model: Path) -> None:
    assert edgeq("build", "m.onnx").error.startswith("edgeq: error: m.onnx: cannot read the model")
    result = edgeq("build", model)
    assert result.code == 2 and "add -o DIR" in result.err


def test_interruption(edgeq, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "simulate", interrupted)
    result = edgeq("simulate", model)
    assert result.code == 130 and result.err == "edgeq: interrupted\n"


def test_a_bug_is_one_line_and_its_place_on_demand(edgeq, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> None:
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(api, "simulate", broken)
    assert "RuntimeError: two lines (this is a bug of edgeq" in edgeq("simulate", model).error
    monkeypatch.setenv("EDGEQ_DEBUG", "1")
    result = edgeq("simulate", model)
    assert result.code == 1 and "Traceback" in result.err and "in broken" in result.err


@pytest.mark.skipif(sys.platform != "linux", reason="ulimit -v")
@pytest.mark.parametrize("mebibytes", [32, 48, 64, 80])
def test_imports_for_which_there_is_no_memory_are_one_line(model: Path, mebibytes: int) -> None:
    """The interpreter itself takes some 15 MiB, NumPy's libraries 90, of which OpenBLAS says for itself that it gets no buffer."""
    command = f"ulimit -v {mebibytes << 10}; exec {sys.executable} -m edgeq inspect {model}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 1 and done.stderr == f"edgeq: error: {system.FULL}\n"


@pytest.mark.parametrize("error, limited, full", [
    (MemoryError(), False, True), (OSError(errno.ENOMEM, "Cannot allocate memory"), False, True),
    (OSError(errno.ENOENT, "no file"), True, False),
    (ImportError("x.so: failed to map segment from shared object"), False, True), (ImportError("No module named 'x'"), True, False),
    (SystemError("returned NULL without setting an exception"), True, True), (SystemError("returned NULL"), False, False),
    (RuntimeError("can't start new thread"), True, True), (RuntimeError("other"), True, False),
])  # fmt: skip
def test_what_is_said_to_be_out_of_memory(monkeypatch: pytest.MonkeyPatch, error: Exception, limited: bool, full: bool) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (1 << 28, 1 << 28) if limited else (resource.RLIM_INFINITY,) * 2)
    assert system.out_of_memory(error) == full


def test_a_reader_that_goes_away(model: Path) -> None:
    command = f"{sys.executable} -m edgeq inspect {model} --json | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert "Traceback" not in done.stderr and "Error" not in done.stderr


def test_stdout_is_json_alone_in_a_real_process(model: Path) -> None:
    done = program("simulate", str(model), "--json")
    assert done.returncode == 0 and done.stdout.startswith("{\n") and done.stdout.endswith("}\n") and done.stderr == ""
    failed = program("simulate", f"{model}.missing", "--json")
    assert (failed.returncode, failed.stdout) == (1, "") and failed.stderr.startswith("edgeq: error: ") and failed.stderr.count("\n") == 1


def test_importing_edgeq_is_quick() -> None:
    code = "import sys, edgeq; print(sorted(m for m in sys.modules if m.split('.')[0] in {'numpy', 'onnx', 'jinja2', 'unicorn', 'typer'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_verbs_of_the_package_are_those_of_the_api(model: Path) -> None:
    for name in ("load", "quantize", "build", "simulate", "run", "compare", "accuracy"):
        assert callable(getattr(package, name)) and callable(getattr(api, name))
    graph = package.load(model)
    assert package.simulate(graph, vectors=3).vectors == 3  # edgeq.simulate is a module too
    with pytest.raises(AttributeError):
        package.nothing  # noqa: B018


def test_targets(edgeq) -> None:
    names = {t["name"]: t for t in edgeq("targets", "--json").json}
    assert {"host", "riscv", "riscv-f", "cortex-m0", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"} <= set(names)
    assert names["host"]["flash"] is None and names["riscv"]["flash"] > 2**16 and "unicorn" in names["riscv"]["runners"]
    assert "cortex-m33" in edgeq("targets").out


def test_operator_coverage(edgeq) -> None:
    data = edgeq("targets", "--operators", "--json").json
    assert data["conv2d"]["s8/c"] >= 1 and data["sigmoid"]["s8/c"] >= 1 and data["fully_connected"]["s8/c"] >= 1
    text = edgeq("targets", "--operators", "--markdown").out
    assert text.startswith("| operator | c |") and re.search(r"^\| softmax \| f16, .*s8", text, re.MULTILINE)
    assert "conv2d" in edgeq("targets", "--operators").out


def test_inspect(edgeq, model: Path, folder: Path) -> None:
    data = edgeq("inspect", model, "--json").json
    assert (data["quantized"], data["law"], data["macs"], len(data["steps"])) == (True, "single", 1980, 3)
    assert data["inputs"] == [{"name": "x/in:0", "shape": [1, 6, 5, 2], "dtype": "s8", "scale": [0.05], "zero_point": 3}]
    assert data["steps"][0]["parameters"] == 57 and data["steps"][0]["parameter_bytes"] == 66
    out = edgeq("inspect", folder).out
    kernels = [s["kernel"] for s in json.loads((folder / "manifest.json").read_text())["steps"]]
    assert all(k in out for k in kernels) and "view" in out and "dense <b>&" in out


def test_doctor(edgeq) -> None:
    data = edgeq("doctor", "--json").json
    pieces = {p["name"]: p for p in data["pieces"]}
    assert data["ready"] is True and pieces["ziglang"]["version"] and pieces["ziglang"]["essential"]
    assert pieces["gcc"]["version"] is None or shutil.which("gcc")
    assert "Everything essential is here." in edgeq("doctor").out


def test_doctor_says_what_is_missing(edgeq, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    out = edgeq("doctor")
    assert out.code == 0 and "missing: apt-get install qemu-system-arm" in out.out
    (tmp_path / "cmake").write_text("#!/nowhere\n")
    (tmp_path / "cmake").chmod(0o755)
    assert "does not run" in edgeq("doctor").out
    lacking = doctor_verb.Piece("surely-not-installed", "nothing", "pip install it", True, True)
    monkeypatch.setattr(doctor_verb, "PIECES", (*doctor_verb.PIECES, lacking))
    result = edgeq("doctor", "--json")
    assert result.code == 1 and result.json["ready"] is False


def test_help_imports_none_of_what_the_verbs_need() -> None:
    code = "import sys\nfrom edgeq.cli.main import main\ntry: main()\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True)
    assert not {"numpy", "highspy", "rich", "msgspec", "jinja2"} & set(done.stderr.split())
    assert "build     Turn a model into" in done.stdout and "..." not in done.stdout.partition("Commands")[2]  # whole sentences
    code = "import sys, edgeq.api\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"scipy", "highspy", "torch"} & set(loaded.split())


def test_a_shell_completes_verbs_and_every_option_of_a_verb() -> None:
    def completed(words: str, at: int) -> list[str]:
        environment = {**os.environ, "_EDGEQ_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        done = subprocess.run([sys.executable, "-m", "edgeq"], capture_output=True, text=True, timeout=120, env=environment)
        return done.stdout.split()

    assert completed("edgeq bui", 1) == ["build"]
    assert "--recipe" in completed("edgeq build --re", 2)
