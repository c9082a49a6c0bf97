"""What is done on Windows and macOS, with the system's calls stood in for."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeq import files, folder, guard, process, system
from edgeq.flash import ports
from edgeq.journal import journal


class Kernel:
    """kernel32: which processes run, by number; one that ended is known for a while."""

    def __init__(self, running: set[int], ended: set[int]) -> None:
        self.running, self.ended = running, ended
        self.open: set[int] = set()

    def OpenProcess(self, access: int, inherit: bool, pid: int) -> int:
        assert access == 0x1000 and not inherit
        self.open |= {pid} & (self.running | self.ended)
        return pid if pid in self.open else 0

    def GetExitCodeProcess(self, handle: int, code: Any) -> int:
        code._obj.value = 259 if handle in self.running else 3
        return 1

    def CloseHandle(self, handle: int) -> int:
        self.open.remove(handle)
        return 1


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    """No locks, no process groups, and processes 100 (runs) and 101 (has ended)."""
    kernel = Kernel({100, os.getpid()}, {101})
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: 5 if 102 in kernel.ended else 87, raising=False)
    for module in (files, folder):
        monkeypatch.setattr(module, "fcntl", None)
    yield kernel
    assert not kernel.open


def test_processes_by_number_on_windows(windows: Kernel) -> None:
    """os.kill(pid, 0) would end them."""
    assert [system.alive(pid) for pid in (100, 101, 102)] == [True, False, False]
    assert not files.alive("100x") and files.alive("100") and not files.alive("101")
    windows.ended.clear()
    windows.open.clear()
    windows.ended.add(102)  # what is another user's may not be looked at
    windows.OpenProcess = lambda *_: 0  # type: ignore[method-assign]
    assert system.alive(102)


def test_stale_temporary_folders_on_windows(windows: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files.tempfile, "gettempdir", lambda: str(tmp_path))
    for name in ("edgeq-100-aa", "edgeq-101-bb", "edgeq-notes-x", "other-101-cc"):
        (tmp_path / name).mkdir()
    (tmp_path / "edgeq-101-file").write_text("mine")
    with files.temporary_folder() as work:
        assert not (tmp_path / "edgeq-101-bb").exists() and Path(work).exists()
        assert all((tmp_path / name).exists() for name in ("edgeq-100-aa", "edgeq-notes-x", "edgeq-101-file", "other-101-cc"))
    assert not Path(work).exists()


def test_a_program_ends_with_all_that_it_started_on_windows(windows: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """By taskkill: there are no groups. The guard is left out there."""
    called: list[list[str]] = []
    real = subprocess.run
    monkeypatch.setattr(system.subprocess, "run", lambda words, **_: called.append(words) or real([sys.executable, "-c", ""], check=True))
    begun = dict(guard._running)
    with process.started([sys.executable, "-c", "import time; time.sleep(60)"]) as started:
        assert os.getpgid(started.pid) == os.getpgid(0) and guard._running == begun
    assert called == [["taskkill", "/F", "/T", "/PID", str(started.pid)]] and started.returncode is not None


def test_folders_are_written_without_locks(windows: Kernel, tmp_path: Path) -> None:
    with folder.claimed(tmp_path / "out") as place:
        folder.write(place, {"a.c": b"int a;\n"})
    assert (tmp_path / "out" / "a.c").read_bytes() == b"int a;\n"


def test_a_place_that_another_program_holds_open(windows: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Windows does not replace it: one clear error, the old content, nothing beside it."""
    (tmp_path / "r.html").write_bytes(b"<!doctype old")

    def replace(self: Path, target: Path) -> Path:
        raise PermissionError(13, "Access is denied", str(self), 5, str(target))

    monkeypatch.setattr(Path, "replace", replace)
    with pytest.raises(files.EdgeqError, match="Access is denied"):
        files.write_bytes(tmp_path / "r.html", b"<!doctype new")
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"<!doctype old"]


@pytest.mark.parametrize(
    ("windows_", "variables", "expected"),
    [
        (False, {}, "~/.cache"), (False, {"XDG_CACHE_HOME": "/x"}, "/x"), (False, {"LOCALAPPDATA": "/local"}, "~/.cache"),
        (True, {"LOCALAPPDATA": "/local"}, "/local"), (True, {}, "~/.cache"),
        (True, {"LOCALAPPDATA": "/local", "XDG_CACHE_HOME": "/x"}, "/x"),
    ],
)  # fmt: skip
def test_the_cache(windows_: bool, variables: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(system, "WINDOWS", windows_)
    assert system.cache() == Path(expected).expanduser()


def board_drive(place: Path) -> Path:
    place.mkdir(parents=True)
    (place / "INFO_UF2.TXT").write_text("UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\n")
    return place


def test_drives_on_macos(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drive = board_drive(tmp_path / "Volumes" / "RPI RP2")
    (tmp_path / "Volumes" / "Macintosh HD").mkdir()
    monkeypatch.setattr(system, "MOUNTS", tmp_path / "none")
    monkeypatch.setattr(system, "VOLUMES", tmp_path / "Volumes")
    assert [(c.port, c.programmer) for c in ports.drives()] == [(str(drive), "copy")]


def test_drives_on_windows(windows: Kernel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A to C are no boards': a floppy drive would be waited for."""
    drive = board_drive(tmp_path / "E")
    monkeypatch.setattr(system, "Path", lambda text: tmp_path / str(text).removesuffix(":\\"))
    (tmp_path / "C").mkdir()
    assert [(c.port, c.programmer) for c in ports.drives()] == [(str(drive), "copy")]


def test_drives_on_linux(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drive = board_drive(tmp_path / "RPI RP2")
    (tmp_path / "mounts").write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 {str(drive).replace(' ', chr(92) + '040')} vfat rw 0 0\n")
    monkeypatch.setattr(system, "MOUNTS", tmp_path / "mounts")
    assert [c.port for c in ports.drives()] == [str(drive)]


def test_a_user_without_a_home_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container whose user has no entry: `Path.expanduser` raises RuntimeError there."""

    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "ZIG_GLOBAL_CACHE_DIR", "EDGEQ_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    assert system.kept() is None
    assert process.zig_cache(str(tmp_path)) == str(tmp_path)
    with journal("tune", ["a"]) as kept:
        kept.note("x", 1)
        kept.write()
    assert kept.found == {"x": 1} and not list(tmp_path.iterdir())
