"""Objects that firmware/make.py keeps, and compiled templates: taken where nothing has changed, never needed."""

from __future__ import annotations

import errno
import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest

from edgeq import process, system
from edgeq.emit import functions
from edgeq.resources import resource

spec = importlib.util.spec_from_file_location("make", resource("firmware") / "make.py")
assert spec is not None and spec.loader is not None
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)

COMPILER = """
import sys
from pathlib import Path
words = sys.argv[1:]
source, output = words[words.index("-c") + 1], words[words.index("-o") + 1]
text = Path(source).read_text()
headers = [line.split('"')[1] for line in text.splitlines() if line.startswith("#include")]
read = [source, *(str(Path(source).with_name(h)) for h in headers)]
Path(output).write_text("".join(Path(f).read_text() for f in read))
if "-MF" in words:
    names = [f.replace(" ", "\\\\ ") for f in read]
    Path(words[words.index("-MF") + 1]).write_text(f"{output}: " + " \\\\\\n  ".join(names) + "\\n")
with Path("calls").open("a") as calls:
    calls.write(f"{source}\\n")
"""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Of a compiler that copies, in a folder with a space in its name, where a board's source has a header of its own."""
    folder = tmp_path / "my board"
    folder.mkdir()
    (folder / "board.c").write_text('#include "own.h"\nboard\n')
    (folder / "own.h").write_text("one\n")
    (tmp_path / "compiler.py").write_text(COMPILER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(process.OBJECTS, str(tmp_path / "kept"))
    return {"firmware": str(folder), "runtime": str(folder), "compile": [sys.executable, "compiler.py"], "defines": {}}


def compiled(settings: dict[str, Any]) -> tuple[str, int]:
    """The object of one build, and how often the compiler has run by now."""
    build = make.Build(settings)
    build.compile(build.add("board.o", Path(settings["firmware"]) / "board.c"))
    return Path("board.o").read_text(), len(Path("calls").read_text().splitlines())


def test_an_object_is_compiled_once(settings: dict[str, Any]) -> None:
    assert compiled(settings) == compiled(settings) == ('#include "own.h"\nboard\none\n', 1)


@pytest.mark.parametrize(("file", "text"), [("board.c", "other\n"), ("own.h", "two\n")])
def test_another_text_or_header_is_another_object(settings: dict[str, Any], file: str, text: str) -> None:
    compiled(settings)
    (Path(settings["firmware"]) / file).write_text(text)
    made, calls = compiled(settings)
    assert text in made
    assert calls == 2


def test_another_command_or_compiler_is_another_object(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    compiled(settings)
    assert compiled({**settings, "compile": [*settings["compile"], "-O2"]})[1] == 2
    monkeypatch.setattr(make.Build, "_compiler", lambda self: "a newer one")
    assert compiled(settings)[1] == 3


@pytest.mark.parametrize("damage", [b"", b"5\n", b'["x", []]\nobject', b"\xff"])
def test_a_damaged_object_is_compiled_again(settings: dict[str, Any], damage: bytes) -> None:
    first = compiled(settings)[0]
    (kept,) = Path("kept").iterdir()
    kept.write_bytes(damage)
    assert compiled(settings) == (first, 2)
    assert compiled(settings) == (first, 2)
    kept.write_bytes(kept.read_bytes().replace(b"one", b"two"))
    assert compiled(settings) == (first, 3)


def test_a_folder_that_cannot_be_written_is_not_needed(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    Path("kept").write_text("a file")
    assert compiled(settings)[1] == 1
    assert compiled(settings)[1] == 2
    monkeypatch.setenv(process.OBJECTS, "")
    assert compiled(settings)[1] == 3


def test_what_nobody_took_for_longest_is_removed(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Path("kept")
    kept.mkdir()
    names = [*(f"{c * 64}.o" for c in "abc"), f"{'d' * 16}.new"]
    for age, name in enumerate(names):
        (kept / name).write_bytes(bytes(10))
        os.utime(kept / name, (1000 - age, 1000 - age))
    strangers = ["main.o", "notes.txt", f"{'a' * 63}.o"]
    for name in strangers:
        (kept / name).write_bytes(bytes(100))
        os.utime(kept / name, (1, 1))
    monkeypatch.setattr(make, "MOST", 20)
    make.Build(settings).trim()
    assert sorted(p.name for p in kept.iterdir()) == sorted([*names[:2], *strangers])


def test_an_object_that_is_taken_is_the_latest(settings: dict[str, Any]) -> None:
    compiled(settings)
    (kept,) = Path("kept").iterdir()
    os.utime(kept, (1000, 1000))
    compiled(settings)
    assert kept.stat().st_mtime > 1000


def test_objects_are_kept_in_the_users_cache_if_nothing_else_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command, told = [sys.executable, "-c", f"import os; print(os.environ.get('{process.OBJECTS}'))"], tmp_path / "edgeq" / "objects"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(process, "zig_cache", lambda otherwise: otherwise)
    monkeypatch.delenv(process.OBJECTS, raising=False)
    assert process.run_tool(command, "").strip() == str(told)
    monkeypatch.setenv(process.OBJECTS, "mine")
    assert process.run_tool(command, "").strip() == "mine"
    monkeypatch.delenv(process.OBJECTS)
    monkeypatch.setattr(system, "kept", lambda: None)
    assert process.run_tool(command, "").strip() == "None"


@pytest.mark.skipif(system.WINDOWS, reason="no modes")
def test_a_folder_that_others_may_write_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = system.kept()
    assert folder == tmp_path / "edgeq"
    assert folder.stat().st_mode & 0o077 == 0
    for mode, own in ((0o755, True), (0o720, False), (0o702, False)):
        folder.chmod(mode)
        assert (system.kept() == folder) is own
    folder.rmdir()
    folder.write_text("a file")
    assert system.kept() is None


def test_templates_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made: list[str] = []
    generate = jinja2.Environment._generate
    monkeypatch.setattr(jinja2.Environment, "_generate", lambda self, *given, **named: made.append("") or generate(self, *given, **named))

    def load() -> None:
        functions.environment.cache_clear()
        functions.environment().get_template("kernels/c/prelu_s8.c.j2")

    with monkeypatch.context() as full:
        full.setattr(jinja2.bccache.Bucket, "write_bytecode", no_room)
        load()
    load()
    once = len(made) // 2
    assert len(made) == 2 * once > 0
    load()
    functions.environment.cache_clear()
    assert len(made) == 2 * once


def no_room(bucket: jinja2.bccache.Bucket, file: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_sources_of_one_stem_are_two_objects(settings: dict[str, Any]) -> None:
    """start.S and start.c of a board of one's own."""
    for name in ("start.S", "start.c"):
        (Path(settings["firmware"]) / name).touch()
    settings |= {"firmware": str(resource("firmware")), "board": [settings["firmware"]], "sources": ["start.S", "start.c"]}
    objects = make.Build(settings).support()
    assert len(set(objects)) == len(objects) and len([o for o in objects if "start" in o]) == 2
