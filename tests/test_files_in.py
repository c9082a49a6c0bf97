"""What is read of files that somebody gave: no device, no named pipe, nothing beyond a limit; and the program's closed standard streams."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from kills import model

from edgeq import faults, files, graphfile
from edgeq.errors import EdgeqError
from edgeq.features import table
from edgeq.flash import image
from edgeq.quantize import csv_files
from edgeq.quantize.precision_toml import read_precision
from edgeq.record import manifest
from edgeq.target import read_inherited, size
from edgeq.tune import costs

pytestmark = pytest.mark.skipif(os.name != "posix", reason="devices and pipes of POSIX")
READERS: list[Callable[[Path], object]] = [
    costs.read, image.read, graphfile.load, table.read_table, csv_files.read_table, files.read_arrays,
    lambda path: read_inherited(path, Path),
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS)
def test_devices_and_named_pipes_are_refused(reader: Callable[[Path], object], tmp_path: Path) -> None:
    """A pipe without a writer would be waited for, and zeros never end."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    for name, what in (("pipe", "pipe"), ("link", "device")):
        with pytest.raises(EdgeqError, match=what):
            reader(tmp_path / name)


def test_folders_and_lists_too(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(EdgeqError, match="named pipe"):
        manifest(tmp_path)
    with pytest.raises(EdgeqError, match="no fault map"):
        faults.parse(str(tmp_path / "manifest.json"))


def test_a_file_longer_than_its_limit(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(files.TEXT + 1)  # which takes no room
    with pytest.raises(EdgeqError, match=f"more than {files.TEXT} bytes"):
        costs.read(tmp_path / "a")


def test_a_pipe_that_the_shell_gives(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    thread = threading.Thread(target=lambda: (os.write(writes, b"a\r\nb\rc"), os.close(writes)))
    thread.start()
    try:
        assert files.read_text(Path(f"/dev/fd/{reads}")) == "a\nb\nc"
    finally:
        thread.join()
        os.close(reads)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a." * 50_000 + "a = 1", "100 parts"),  # 4 GB to tomllib
        ("[" + '\'a,\' . "\\"b".' * 100 + "a]", "100 parts"),
        ("x = {" + "a." * 100 + "a = 1}", "100 parts"),
        ("a = " + "[" * 100_000, "nested"),
        ("a = " + "9" * 10_000, "digits"),
    ],
)
def test_toml_that_costs_more_than_it_is_long(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    graph = graphfile.load(model(tmp_path).with_name("float.eqg"))
    for reader in (table.read_table, lambda path: read_inherited(path, Path), lambda path: read_precision(path.read_text(), graph)):
        with pytest.raises(EdgeqError, match=why):
            reader(tmp_path / "a.toml")


def test_toml_that_only_looks_so() -> None:
    dots = "a." * 200
    text = f'x = """{dots} \\""" {dots}"""\ny = \'{dots}\'\nz = "\\"{dots}" # {dots}\nw = [{"1.5, " * 200}]\n{dots[: 2 * 98]}a = 1'
    found = files.parse_toml(text)
    assert found["y"] == dots and len(found["w"]) == 200 and found["a"]
    for unclosed in ('"', "'", '"\\"', "a", "a.", '"""'):
        with pytest.raises(ValueError, match=r"line|document"):
            files.parse_toml(unclosed * 300_000 if unclosed != "a." else "a.\n" * 1000)


def test_archives_of_something_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", bytes(1000))
    for read in (files.read_arrays, files.check_arrays):
        with pytest.raises(EdgeqError, match=r"'x\.npy' in it is no array"):
            read(tmp_path / "a.npz")


def test_a_table_with_a_cell_without_end(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"' + "x" * 200_000)
    with pytest.raises(EdgeqError, match="not a table"):
        csv_files.read_table(tmp_path / "a.csv")


@pytest.mark.parametrize("text", ["-3K", "1.5M", "", "K", "\u0663", "1e3", "9" * 30])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(EdgeqError, match="is not a size"):
        size(text)


def test_closed_standard_streams(tmp_path: Path) -> None:
    """No file of the user's takes their place, where it would get messages, and nothing fails without them."""
    model(tmp_path)
    for closed, words, code in (("2>&-", "inspect nothing", 1), ("<&- >&- 2>&-", "build m.eqg -o built --no-check", 0)):
        command = f"{sys.executable} -m edgeq {words} {closed}"
        done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (code, "", "")
    assert (tmp_path / "built/manifest.json").is_file()
