"""Programs of others: a time limit, their own words about an error, and nothing of them left."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgeq import leftovers, process
from edgeq.errors import EdgeqError
from edgeq.files import JUST_MADE, TEMPORARY, temporary_folder, write_bytes

COMPILER = """cc -c a.c
a.c:3:5: error: expected ';'
1 error generated.
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("text", "first"),
    [
        (COMPILER, "a.c:3:5: error: expected ';'"), ("", "it printed nothing"), ("what it says\n", "what it says"),
        ("make\nzig: unable to write: No space left on device\n", "zig: unable to write: No space left on device"),
        ("x" * 5000, "x" * 300),
    ],
)  # fmt: skip
def test_the_first_line_about_an_error_is_told(text: str, first: str) -> None:
    assert process.first_error(text) == first


def test_the_message_begins_with_it() -> None:
    lines = "\n".join(["start", "ld: fatal: no space", *(f"line {i}" for i in range(40))])
    with pytest.raises(EdgeqError) as found:
        process.run(python(f"import sys; print({lines!r}); sys.exit(3)"), "here")
    assert str(found.value).splitlines()[:2] == [f"here: {Path(sys.executable).name} failed with exit code 3", "ld: fatal: no space"]
    assert str(found.value).endswith("line 39") and len(str(found.value).splitlines()) == 2 + process.TAIL


def test_a_time_limit_ends_the_program_and_what_it_started() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    begun = time.monotonic()
    with pytest.raises(EdgeqError, match=r"did not end within 0\.5 s"):
        process.run(python(code), seconds=0.5)
    assert time.monotonic() - begun < 20 and not leftovers.PROCESSES


def test_an_exception_ends_it_too() -> None:
    with pytest.raises(RuntimeError), process.started(python("import time; time.sleep(60)")) as running:
        raise RuntimeError
    assert running.poll() is not None and not leftovers.PROCESSES


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
def test_a_home_that_cannot_be_written_does_not_stop_zig(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert process.zig_cache(str(tmp_path)) != str(tmp_path) or os.environ.get("HOME") == "/proc"
    code = "from edgeq.process import zig_cache; print(zig_cache('instead'))"
    variables = {k: v for k, v in os.environ.items() if k not in ("ZIG_GLOBAL_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(python(code), env={**variables, "HOME": "/proc"}, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "instead" and "cannot be written" in done.stderr and "ZIG_GLOBAL_CACHE_DIR" in done.stderr


def test_a_signal_waits_for_what_must_not_be_torn_apart() -> None:
    with pytest.raises(leftovers.Ended), leftovers.held:
        leftovers.end(15)
        done = True
    assert done
    with pytest.raises(leftovers.Ended):
        leftovers.end(2)


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    stale = tmp_path / f"{TEMPORARY}99-abc"
    others = tmp_path / f"{TEMPORARY}my-notes"  # nothing that edgeq made
    for folder in (stale, others):
        folder.mkdir()
        (folder / "file").write_text("x")
        os.utime(folder, (0, time.time() - 2 * JUST_MADE))
    code = "from edgeq.files import temporary_folder\nwith temporary_folder() as f: print(f)"
    variables = {**os.environ, "TMPDIR": str(tmp_path)}
    with temporary_folder() as mine:
        moved = tmp_path / Path(mine).name  # a living one: its lock is held
        Path(mine).rename(moved) if Path(mine).stat().st_dev == tmp_path.stat().st_dev else moved.mkdir()
        os.utime(moved, (0, time.time() - 2 * JUST_MADE))
        subprocess.run(python(code), env=variables, check=True, capture_output=True)
        assert not stale.exists() and moved.exists() and (others / "file").exists()
        moved.rmdir()


def test_files_of_killed_processes_are_removed(tmp_path: Path) -> None:
    ended = subprocess.run(python("import os; print(os.getpid())"), capture_output=True, text=True, check=True).stdout.strip()
    (tmp_path / f".y.npz.edgeq-{ended}-0a1b").write_bytes(b"half")
    (tmp_path / f".y.npz.edgeq-{os.getpid()}-0a1b").write_bytes(b"being written")
    (tmp_path / ".y.npz.edgeq-notes").write_bytes(b"somebody's")
    write_bytes(tmp_path / "y.npz", b"whole")
    assert sorted(p.name for p in tmp_path.iterdir()) == [f".y.npz.edgeq-{os.getpid()}-0a1b", ".y.npz.edgeq-notes", "y.npz"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import resource, sys\nfrom pathlib import Path\nfrom edgeq.files import write_bytes\nfrom edgeq.errors import EdgeqError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: write_bytes(Path(sys.argv[1]), bytes(5000))\nexcept EdgeqError as e: print(e)"
    )
    done = subprocess.run([*python(code), str(tmp_path / "out.bin")], capture_output=True, text=True, check=True)
    assert "cannot write the file (File too large)" in done.stdout and not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from edgeq import process
running = [process.start([sys.executable, "-c", sys.argv[1]]) for _ in range(2)]
process.stop(running[0])
print(running[0].pid, running[1].pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups")
def test_what_a_killed_run_had_started_ends_with_all_that_it_started() -> None:
    deep = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
    with subprocess.Popen([sys.executable, "-c", KILLED, deep], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        groups = [int(word) for word in killed.stdout.readline().split()]
    end = time.monotonic() + 20
    while time.monotonic() < end and any(running(group) for group in groups):
        time.sleep(0.02)
    assert len(groups) == 2 and not any(running(group) for group in groups)


def running(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True
