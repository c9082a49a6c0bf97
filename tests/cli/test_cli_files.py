"""What the program does to the user's files, and to folders that somebody changed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from rich.text import Text

from edgeq.cli.main import app
from edgeq.errors import EdgeqError
from edgeq.files import write_bytes


def test_a_build_keeps_what_is_not_edgeqs(edgeq, folder: Path, model: Path, chain: str) -> None:
    (folder / "notes.txt").write_text("mine")
    (folder / "main.c").write_text("changed")
    build = ("build", model, "-o", folder, "--toolchain", chain, "--test-vectors", 0)
    error = edgeq(*build).error
    assert "main.c, notes.txt" in error and "--force" in error
    assert edgeq(*build, "--force").code == 0
    assert (folder / "notes.txt").read_text() == "mine" and (folder / "main.c").read_text() != "changed"
    assert edgeq("compare", folder, "--vectors", 1).code == 0


def test_a_graph_file_in_the_way_is_kept(edgeq, float_model: Path, model: Path, samples: Path, tmp_path: Path, chain: str) -> None:
    project = tmp_path / "proj"
    project.mkdir()
    (project / "notes.txt").write_text("mine")
    assert edgeq("quantize", float_model, "--calib", samples, "-o", project / "graph.eqg").code == 0
    before = {p.name: p.read_bytes() for p in project.iterdir()}
    for verb in (("build", model, "--toolchain", chain), ("quantize", float_model, "--calib", samples)):
        assert "graph.eqg, notes.txt" in edgeq(*verb, "-o", project).error
    assert "not edgeq's: graph.eqg" in edgeq("build", model, "--toolchain", chain, "-o", project, "--force").error
    assert {p.name: p.read_bytes() for p in project.iterdir()} == before


def test_the_current_folder_as_output(edgeq, folder: Path, model: Path, chain: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert edgeq("build", model, "-o", ".", "--toolchain", chain).code == 0
    assert Path.cwd() == folder.resolve() and Path("manifest.json").is_file()


@pytest.mark.parametrize("name", ["tiny.c", "tiny_weights.c", "tiny.h", "eq_model.h"])
def test_changed_code_is_not_run(edgeq, folder: Path, name: str) -> None:
    with (folder / name).open("a") as file:
        file.write("/* changed */\n")
    for verb in ("run", "compare"):
        error = edgeq(verb, folder, "--vectors", 1).error
        assert name in error and "--trust" in error
        trusted = edgeq(verb, folder, "--vectors", 1, "--trust")
        assert trusted.code == 0 and f"was changed: {name}" in trusted.out


def test_a_header_beside_the_model_is_not_compiled(edgeq, folder: Path) -> None:
    (folder / "stdint.h").write_text("#error mine\n")
    assert edgeq("compare", folder, "--vectors", 1).code == 0


def test_a_full_stdout_is_no_bug(model: Path) -> None:
    for arguments in (["targets"], ["targets", "--json"], ["--version"]):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run([sys.executable, "-m", "edgeq", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert done.returncode == 1 and "No space left" in done.stderr
        assert "bug" not in done.stderr and "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_outputs_go_to_devices(edgeq, folder: Path) -> None:
    assert edgeq("simulate", folder, "-n", 1, "-o", "/dev/null").code == 0
    assert not Path("/dev/null").is_file()
    command = [sys.executable, "-m", "edgeq", "simulate", str(folder), "-n", "1", "-o", "/dev/stdout"]
    assert subprocess.run(command, capture_output=True, check=True).stdout.startswith(b"PK")


def test_help_keeps_brackets() -> None:
    """Rich takes `[gpu]` for markup unless it is escaped."""
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for p in command.params:
            text = getattr(p, "help", None) or ""
            assert Text.from_markup(text).plain == text.replace("\\[", "["), f"{name} {p.name}"


@pytest.mark.parametrize("name", ["m.eqg", "hard.eqg", "soft.eqg"])
def test_what_is_read_is_not_written_over(edgeq, model: Path, tmp_path: Path, name: str) -> None:
    """The model itself, by its name, another name of it and a link to it."""
    given = tmp_path / "m.eqg"
    if model != given:
        shutil.copy(model, given)
    if name == "hard.eqg":
        os.link(given, tmp_path / name)
    elif name == "soft.eqg":
        (tmp_path / name).symlink_to(given)
    before = given.read_bytes()
    for words in (("simulate", given, "-n", 2), ("tune", given, "-t", "cortex-m4")):
        assert "read and would be overwritten" in edgeq(*words, "-o", tmp_path / name).error
    assert given.read_bytes() == before


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_a_place_that_cannot_be_written_is_told_before_long_work(edgeq, tmp_path: Path, option: str) -> None:
    missing = tmp_path / "missing" / "found.svg"
    assert "no such folder" in edgeq("search", "no.onnx", "--calib", "random", option, missing).error
    assert "it is a folder" in edgeq("search", "no.onnx", "--calib", "random", option, tmp_path).error


def test_a_pipe_is_no_model(edgeq, tmp_path: Path) -> None:
    """It is not waited for."""
    os.mkfifo(tmp_path / "m.onnx")
    assert "a device or a pipe" in edgeq("inspect", tmp_path / "m.onnx").error
    assert "a device or a pipe" in edgeq("inspect", "/dev/zero").error


def test_a_new_board_takes_no_links_place(edgeq, tmp_path: Path) -> None:
    (tmp_path / "targets").mkdir()
    (tmp_path / "targets" / "mine.toml").symlink_to("/nowhere/there")
    assert "exists" in edgeq("new", "mine", "--core", "cortex-m4", "--root", tmp_path).error
    assert (tmp_path / "targets" / "mine.toml").is_symlink()


def test_names_in_a_file_cannot_steer_the_terminal(edgeq, model: Path, tmp_path: Path) -> None:
    """In errors and in tables."""
    content = model.read_bytes()
    bad = re.sub(rb'("nodes":.*?"name":")', rb"\g<1>\\u001b]0\\u202e", content, count=1)
    assert bad != content
    length = len(bad) - len(content)
    magic, size, rest = bad.split(b"\n", 2)
    (tmp_path / "bad.eqg").write_bytes(b"\n".join([magic, str(int(size) + length).encode(), rest]))
    bad_file = tmp_path / "bad.eqg"
    for arguments in (("inspect", bad_file), ("simulate", bad_file, "-n", 2), ("inspect", tmp_path / "\x1b[2J.eqg")):
        done = edgeq(*arguments)
        assert "\x1b" not in done.out + done.err and "\u202e" not in done.out + done.err


def test_a_file_of_another_kind_is_not_written_over(edgeq, folder: Path, tmp_path: Path) -> None:
    """A model, samples or text that the command did not read, under a name given for something else; a file of its kind is replaced."""
    theirs = {
        "m.eqg": (folder / "graph.eqg").read_bytes(),
        "m.onnx": b"\x08\x08\x12\x07",
        "a.txt": b"notes",
        "x.npz": b"PK\x03\x04 and more",
    }
    for name, content in theirs.items():
        (tmp_path / name).write_bytes(content)
    verbs = [("report", folder, "-o"), ("simulate", folder, "-n", 2, "-o"), ("firmware", folder, "-b", "virt", "--force", "-o")]
    for verb in verbs:
        for name, content in theirs.items():
            if (verb[0], name) != ("simulate", "x.npz"):
                assert "of another kind" in edgeq(*verb, tmp_path / name).error
                assert (tmp_path / name).read_bytes() == content
    assert edgeq("simulate", folder, "-n", 2, "-o", tmp_path / "x.npz").code == 0
    assert "of another kind" in edgeq("simulate", folder, "-n", 2, "-o", folder / "manifest.json").error
    assert edgeq("report", folder).code == 0 == edgeq("report", folder).code


def test_json_whose_lines_were_moved_is_of_the_same_kind(tmp_path: Path) -> None:
    place = tmp_path / "pairs.json"
    place.write_text('{"format": 1, "pairs": []}')
    write_bytes(place, b'{\n  "format": 1\n}\n')
    assert place.read_bytes() == b'{\n  "format": 1\n}\n'
    with pytest.raises(EdgeqError, match="of another kind"):
        write_bytes(place, b"PK")


@pytest.mark.parametrize("option", ["--output", "--plot"])
def test_another_kind_is_told_before_long_work(edgeq, tmp_path: Path, option: str) -> None:
    (tmp_path / "mine.svg").write_bytes(b"mine")
    assert "of another kind" in edgeq("search", "no.onnx", "--calib", "random", option, tmp_path / "mine.svg").error


def test_a_missing_model_is_told_before_a_missing_option(edgeq) -> None:
    assert "no.onnx: cannot read the model" in edgeq("build", "no.onnx").error


def test_a_folder_without_a_model(edgeq, tmp_path: Path) -> None:
    for verb in ("inspect", "compare", "simulate"):
        assert "holds no model" in edgeq(verb, tmp_path).error


def test_an_empty_argument_is_told(edgeq, model: Path, tmp_path: Path) -> None:
    assert "an argument of edgeq build is empty" in edgeq("build", model, "-o", "", "-t", "host").error
    assert "is empty" in edgeq("build", model, "-o", tmp_path / "out", "--budget", "").error


def test_a_damaged_manifest_is_no_riddle(edgeq, folder: Path) -> None:
    (folder / "manifest.json").write_bytes(b"\x8b\xff")
    assert "manifest.json: it is no JSON text" in edgeq("report", folder).error
