"""Kills runs of the program at random moments and checks that nothing is left behind: ``python tests/kills.py --trials 300``.

SIGINT, SIGTERM and SIGHUP must end it with code 130, 143 and 129 within seconds, without a traceback, a temporary folder, a
half-written output or a program that it started. After SIGKILL what it had started must end too, and the next run must remove what
was left and, for verbs that keep a journal, give the results of a run that nobody ended.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import numpy as np
from trials import record

from edgeq import graphfile
from edgeq.ir import DType, Graph, Node, QParams, Tensor, TensorType
from edgeq.ops.fully_connected import FullyConnected

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
PATIENCE = 10.0  # seconds of processor time for an end: a busy computer gives few of them in a minute
LONGEST = 900.0  # seconds for the same, asleep
LEFT = 30.0  # seconds until what a killed run had started is gone
MARK = "EDGEQ_TEST_MARK"
RESUMED = ("faults", "tune", "quantize")  # verbs that go on where they were ended


def model(folder: Path) -> Path:
    """A small quantized model and vectors for it."""
    rng = np.random.default_rng(0)
    w = TensorType((8, 16), DType.INT8, QParams((0.01,) * 8, 0, 0))
    tensors = [
        Tensor("x", TensorType((1, 16), DType.INT8, QParams((0.05,), 0))), Tensor("y", TensorType((1, 8), DType.INT8, QParams((0.1,), 0))),
        Tensor("w", w, rng.integers(-127, 128, (8, 16)).astype(np.int8)),
        Tensor("b", TensorType((8,), DType.INT32), rng.integers(-99, 99, 8).astype(np.int32)),
    ]  # fmt: skip
    graph = Graph("small", (Node("fc", FullyConnected(), ("x", "w", "b"), ("y",)),), {t.name: t for t in tensors}, ("x",), ("y",), "single")
    graphfile.save(graph, folder / "m.eqg")
    real = [
        Tensor("x", TensorType((1, 16))), Tensor("y", TensorType((1, 8))), Tensor("z", TensorType((1, 8))),
        *(Tensor(n, TensorType(s), rng.standard_normal(s).astype(np.float32)) for n, s in (("v", (8, 16)), ("w", (8, 8)), ("b", (8,)))),
    ]  # fmt: skip
    nodes = (Node("first", FullyConnected(), ("x", "v", "b"), ("y",)), Node("second", FullyConnected(), ("y", "w", "b"), ("z",)))
    graphfile.save(Graph("real", nodes, {t.name: t for t in real}, ("x",), ("z",)), folder / "float.eqg")
    np.savez(folder / "labelled.npz", x=rng.standard_normal((64, 1, 16)).astype(np.float32), y=rng.integers(0, 8, 64))
    return folder / "m.eqg"


def verbs(chain: str) -> list[list[str]]:
    """Command lines; `{out}` is a place to write."""
    many = ["-n", "20000"]
    return [
        ["build", "m.eqg", "-o", "{out}", "--toolchain", chain], ["build", "m.eqg", "-t", "cortex-m4", "-o", "{out}"],
        ["run", "built", *many], ["compare", "built", *many, "--toolchain", chain], ["simulate", "m.eqg", *many, "-o", "{out}.npz"],
        ["accuracy", "m.eqg", "--data", "labelled.npz"], ["report", "built", "-o", "{out}.html"], ["targets"], ["inspect", "m.eqg"],
        ["tune", "m.eqg", "-t", "cortex-m4", "-o", "{out}.json", "--json"], ["export", "built", "-f", "cmake", "-o", "{out}"],
        ["firmware", "built", "-b", "virt", "-o", "{out}.elf"],
        ["quantize", "float.eqg", "--calib", "labelled.npz", "--recipe", "auto", "-t", "cortex-m4", "-o", "{out}.eqg"],
        ["faults", "m.eqg", "--data", "labelled.npz", "--p", "1%", "--patterns", "2000", "--json"],
    ]  # fmt: skip


def marked(mark: str) -> list[int]:
    """Processes that carry the mark in their environment."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and f"{MARK}={mark}".encode() in (entry / "environ").read_bytes():
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                found += [] if state in "ZX" else [int(entry.name)]
        except OSError:
            continue
    return found


def listening(process: subprocess.Popen[str]) -> bool:
    """Whether the program takes signals already; before, they are the interpreter's."""
    try:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    except OSError:
        return False
    caught = int(next((x.split()[1] for x in lines if x.startswith("SigCgt")), "0"), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def spent(pid: int) -> float:
    """Seconds of processor time that a process has taken; 0 where it has ended."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def end(process: subprocess.Popen[str]) -> str | None:
    """What a process says on its way to the end; None where it does not come to it, and is killed."""
    before, begin = spent(process.pid), time.monotonic()
    while spent(process.pid) - before < PATIENCE and time.monotonic() - begin < LONGEST:
        try:
            return process.communicate(timeout=1)[1]
        except subprocess.TimeoutExpired:
            continue
    process.kill()
    return None


def gone(mark: str) -> list[int]:
    """What is still there of a killed run after `LEFT` seconds."""
    end = time.monotonic() + LEFT
    while (alive := marked(mark)) and time.monotonic() < end:
        time.sleep(0.02)
    return alive


def trial(work: Path, words: list[str], number: signal.Signals, delay: float, expected: str | None = None) -> str:
    """One run and its end; what is wrong, empty if nothing is.

    Args:
        expected: what it prints, where a killed run has to go on to the same.
    """
    mark, outputs, temporary = uuid.uuid4().hex, work / "outputs", work / "tmp"
    for folder in (outputs, temporary):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    command = [sys.executable, "-m", "edgeq", *(w.replace("{out}", str(outputs / "o")) for w in words)]
    environment = {**os.environ, MARK: mark, "TMPDIR": str(temporary), "EDGEQ_CACHE": str(work / "cache")}
    process = subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not listening(process):
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(number)
    errors = end(process)
    if errors is None:
        return f"did not end within {PATIENCE:g} s of processor time, or {LONGEST:g} s"
    orphans: list[int] = []
    if number == signal.SIGKILL:
        orphans = gone(mark)
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
        for path in temporary.iterdir():
            os.utime(path, (0, 0))
        repeat = [sys.executable, "-m", "edgeq", *command[3:]]
        again = subprocess.run(repeat, cwd=work, env=environment, capture_output=True, text=True, check=False)
        errors = again.stderr if again.returncode else ""
        if expected is not None and result(again.stdout, outputs) != expected:
            return f"another result after a kill: {again.stdout} for {expected}"
    elif process.returncode not in (0, 128 + number):
        return f"exit code {process.returncode}: {errors}"
    left = [p.name for p in temporary.iterdir() if p.name.startswith("edgeq-")]
    left += [str(p.relative_to(work)) for p in outputs.rglob("*") if ".edgeq-" in p.name]
    folder = outputs / "o"
    if folder.is_dir() and words[0] == "build" and not (folder / "manifest.json").is_file():
        left.append("a folder without manifest")
    alive = gone(mark)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    if "Traceback" in errors or "Exception" in errors or (number == signal.SIGKILL and errors):
        return errors
    return f"left behind: {left} {orphans} {alive}" if left or orphans or alive else ""


def result(text: str, place: Path) -> str:
    """What a run printed without the place it wrote to, and without how much it had to measure; and the model that it wrote."""
    model = place / "o.eqg"
    wrote = hashlib.sha256(model.read_bytes()).hexdigest() if model.is_file() else ""
    return re.sub(r'"measured": \d+', "", text.replace(str(place), "")) + wrote


def undisturbed(work: Path, words: list[str]) -> str:
    """What a run prints that nobody ends."""
    place = work / f"undisturbed-{words[0]}"
    command = [sys.executable, "-m", "edgeq", *(w.replace("{out}", str(place / "o")) for w in words)]
    place.mkdir(exist_ok=True)
    environment = {**os.environ, "EDGEQ_CACHE": str(place)}
    done = subprocess.run(command, cwd=work, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    return result(done.stdout, place)


def campaign(trials: int, seed: int, chain: str = "zig", first: int = 0) -> list[str]:
    """What went wrong in so many trials, from trial `first` of the list of verbs on."""
    rng, found = random.Random(seed), []
    with tempfile.TemporaryDirectory(prefix="kills-") as name:
        work = Path(name)
        model(work)
        subprocess.run([sys.executable, "-m", "edgeq", "build", "m.eqg", "-o", "built", "--toolchain", chain], cwd=work, check=True)
        commands, expected = verbs(chain), {}
        for i in range(first, first + trials):
            words, number = commands[i % len(commands)], rng.choice(SIGNALS)
            delay = rng.uniform(0, 1) ** 2 * 4
            if words[0] in RESUMED and words[0] not in expected and number == signal.SIGKILL:
                expected[words[0]] = undisturbed(work, words)
            wrong = trial(work, words, number, delay, expected.get(words[0]))
            if wrong:
                found.append(f"seed {seed} trial {i}: {' '.join(words)}, {number.name} after {delay:.3f} s: {wrong}")
                print(found[-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the verb to begin with, by its number")
    parser.add_argument("--record", action="store_true", help="add the counts to docs/trials.md")
    given = parser.parse_args()
    found = campaign(given.trials, given.seed, first=given.first)
    print(f"{given.trials} trials, {len(found)} failed")
    if given.record:
        record("python tests/kills.py", "every verb, ended by a signal", given.trials, len(found))
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
