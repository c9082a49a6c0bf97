"""Exports: each is unpacked, compiled with strict warnings and, where it has the self-test, run; their build files by CMake."""

from __future__ import annotations

import json
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import eva
import pytest
import test_firmware
from installed import need_programs
from random_graphs import Builder

from edgeq import api, board
from edgeq import folder as folders
from edgeq.build import COMMON_FLAGS, Installation, build_bootloader, build_firmware, toolchain
from edgeq.errors import EdgeqError
from edgeq.export import FORMATS, export
from edgeq.run import unicorn
from edgeq.scaffold import scaffold
from edgeq.target import load

STRICT = [*COMMON_FLAGS, "-pedantic", "-Wmissing-prototypes", "-Wstrict-prototypes"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return test_firmware.make(tmp_path_factory.mktemp("export") / "m").folder


def call(*words: object) -> str:
    done = subprocess.run([str(w) for w in words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(sources: Path, out: Path) -> list[Path]:
    """Every C file of a folder as an object, the folder alone on the path."""
    out.mkdir()
    objects = []
    for source in sorted(sources.glob("*.c")):
        objects.append(out / f"{source.stem}.o")
        call("gcc", *STRICT, "-O1", "-I", sources, "-c", source, "-o", objects[-1])
    return objects


def test_arduino_library(folder: Path, tmp_path: Path) -> None:
    need_programs("gcc", "g++")
    archive = export(folder, "arduino", tmp_path)
    assert archive.name == "m.zip" and export(folder, "arduino", tmp_path / "again.zip").read_bytes() == archive.read_bytes()
    zipfile.ZipFile(archive).extractall(tmp_path / "libraries")
    library = tmp_path / "libraries" / "m"
    lines = (library / "library.properties").read_text().splitlines()
    facts = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    assert facts["name"] == "m" and facts["architectures"] == "*" and {"version", "author", "sentence", "category"} <= set(facts)
    objects = compiled(library / "src", tmp_path / "objects")
    (tmp_path / "Arduino.h").write_text(
        "#include <cstdio>\nstruct Port { void begin(long) {} operator bool() const { return true; } "
        "void println(const char *t) { puts(t); } };\nstatic Port Serial;\n"
    )
    sketch, main = library / "examples/SelfTest/SelfTest.ino", tmp_path / "main.cpp"
    main.write_text(f'#include "Arduino.h"\n{sketch.read_text()}\nint main() {{ setup(); loop(); }}\n')
    call("g++", "-Wall", "-I", library / "src", "-I", tmp_path, main, *objects, "-o", tmp_path / "sketch")
    assert call(tmp_path / "sketch") == "PASS\n"


def test_cmsis_pack(folder: Path, tmp_path: Path) -> None:
    need_programs("gcc")
    archive = export(folder, "cmsis-pack", tmp_path)
    assert archive.name == "edgeq.m.1.0.0.pack"
    zipfile.ZipFile(archive).extractall(tmp_path / "pack")
    root = ElementTree.parse(tmp_path / "pack/edgeq.m.pdsc").getroot()
    named = [f.attrib["name"] for f in root.iter("file")]
    assert all((tmp_path / "pack" / n).exists() for n in named)
    there = {p.relative_to(tmp_path / "pack").as_posix() for p in (tmp_path / "pack/src").iterdir()}
    assert there == {n for n in named if n != "src/"} and len(compiled(tmp_path / "pack/src", tmp_path / "objects")) == 3


def test_plain_c(folder: Path, tmp_path: Path) -> None:
    need_programs("gcc")
    out = export(folder, "c", tmp_path / "plain")
    assert len(compiled(out, tmp_path / "objects")) == 3 and not (out / "CMakeLists.txt").exists()


def test_cmake(folder: Path, tmp_path: Path) -> None:
    need_programs("cmake", "gcc")
    call("cmake", "-S", export(folder, "cmake", tmp_path / "out"), "-B", tmp_path / "build")
    call("cmake", "--build", tmp_path / "build")
    call("ctest", "--test-dir", tmp_path / "build")


ZEPHYR = """function(zephyr_library_named n)
  add_library(${n} STATIC)
  set(LIBRARY ${n} PARENT_SCOPE)
endfunction()
macro(zephyr_library_sources)
  target_sources(${LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${LIBRARY} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
set(CONFIG_M y)
"""
IDF = """macro(idf_component_register)
  cmake_parse_arguments(C "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(component STATIC ${C_SRCS})
  target_include_directories(component PUBLIC ${C_INCLUDE_DIRS})
  set(COMPONENT_LIB component)
endmacro()
"""


def test_a_folder_for_one_core_is_no_program_for_another(tmp_path: Path) -> None:
    """Its command is told; portable C goes everywhere, and --force does it all the same."""
    b = Builder(3, "single")
    graph = b.graph(b.dense(b.input(1, 8), 4))
    made = {t: api.build(graph, output=tmp_path / t, target=t, check=False, name="m").folder for t in ("cortex-m4", "riscv", "cortex-m0")}
    for target, form, fix in (("cortex-m4", "esp-idf", "-t riscv"), ("riscv", "cmsis-pack", "-t cortex-m4")):
        with pytest.raises(EdgeqError, match=rf"built for {target}.*edgeq build .*{fix} -o DIR"):
            export(made[target], form, tmp_path / "x")
        assert not (tmp_path / "x").exists()
        export(made[target], form, tmp_path / f"{form}.forced", force=True)
    with pytest.raises(EdgeqError, match=r"whose instructions virt does not have.*-t virt -o DIR"):
        api.firmware(made["cortex-m4"], board="virt", output=tmp_path / "x.elf")
    assert load("cortex-m7").runs(load("cortex-m4")) and load("cortex-m55").runs(load("cortex-m0"))
    assert not load("cortex-m4").runs(load("cortex-m55")) and not load("virt").runs(load("cortex-m0")) and load("virt").runs(load("host"))
    facts = {t: zipfile.ZipFile(export(p, "arduino", tmp_path / f"{t}.zip")) for t, p in made.items()}
    lines = {t: z.read(next(n for n in z.namelist() if n.endswith("library.properties"))).decode() for t, z in facts.items()}
    assert "architectures=esp32\n" in lines["riscv"] and "samd" in lines["cortex-m4"] and "architectures=*\n" in lines["cortex-m0"]
    export(made["riscv"], "esp-idf", tmp_path / "idf")
    export(made["cortex-m0"], "esp-idf", tmp_path / "idf_all")
    assert "  - esp32c3\n" in (tmp_path / "idf/idf_component.yml").read_text()
    assert "targets" not in (tmp_path / "idf_all/idf_component.yml").read_text()
    zephyr = export(made["riscv"], "zephyr", tmp_path / "zephyr")
    assert "default" not in (zephyr / "zephyr/Kconfig").read_text()
    assert {p.name for p in (zephyr / "samples/selftest").iterdir()} == {"CMakeLists.txt", "prj.conf", "src"}


@pytest.mark.parametrize(("form", "place", "functions"), [("zephyr", "zephyr", ZEPHYR), ("esp-idf", "", IDF)])
def test_their_cmake_files(form: str, place: str, functions: str, folder: Path, tmp_path: Path) -> None:
    """The system's own functions are replaced by such as only compile."""
    need_programs("cmake", "gcc")
    out = export(folder, form, tmp_path / "out")
    project = tmp_path / "project"
    project.mkdir()
    (project / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.13)\nproject(p C)\n{functions}add_subdirectory({out / place} {tmp_path / 'sub'})\n"
    )
    call("cmake", "-S", project, "-B", tmp_path / "build", f"-DCMAKE_C_FLAGS={' '.join(COMMON_FLAGS)}")
    call("cmake", "--build", tmp_path / "build")
    assert list((tmp_path / "sub").glob("lib*.a"))


def test_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(EdgeqError, match=r"unknown format 'x'.*cmsis-pack"):
        export(folder, "x", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    with pytest.raises(EdgeqError, match="the output exists"):
        export(folder, "c", tmp_path / "full")
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["file"]
    (tmp_path / "file").touch()
    with pytest.raises(EdgeqError, match="it is a file"):
        export(folder, "c", tmp_path / "file")
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "m_kernels.c").unlink()
    for form in FORMATS:
        with pytest.raises(EdgeqError, match=r"lacks m_kernels\.c"):
            export(broken, form, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["cmake", "zephyr"])
def test_an_export_may_be_repeated(form: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that was killed before its files were in place; what is not just this export is kept."""
    out = tmp_path / "out"
    with monkeypatch.context() as killed:
        killed.setattr(folders, "_carry_out", lambda *_a, **_k: None)
        export(folder, form, out)
    assert [p.name.startswith(folders.COMMITTED) for p in out.iterdir()] == [True]
    for p in out.iterdir():
        p.rename(out / f"{folders.COMMITTED}{2**22 + 1}")  # of a process that is no more
    export(folder, form, out)
    (out / "mine.txt").touch()
    before = {p.relative_to(out): p.stat() for p in out.rglob("*")}
    assert not any(p.name.startswith(".") for p in before)
    export(folder, form, out)
    assert {p.relative_to(out): p.stat() for p in out.rglob("*")} == before
    changed = next(p for p in sorted(out.rglob("*.c")))
    old = changed.read_bytes()
    changed.write_text("changed")
    with pytest.raises(EdgeqError, match=f"not edgeq's: {changed.relative_to(out).as_posix()}"):
        export(folder, form, out)
    assert changed.read_text() == "changed"
    export(folder, form, out, force=True)
    assert changed.read_bytes() == old


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_an_export_takes_the_place_of_an_older_one(folder: Path, tmp_path: Path) -> None:
    """Of another model and form: what edgeq wrote goes, with folders that are empty then; what the user wrote stays."""
    other = test_firmware.make(tmp_path / "other").folder
    for path in other.glob("m*.[ch]"):
        path.write_bytes(path.read_bytes().replace(b"Made by edgeq", b"Made again by edgeq"))
    out, fresh = tmp_path / "out", tmp_path / "fresh"
    export(folder, "zephyr", out)
    (out / "src/mine.c").write_text("mine")
    export(other, "zephyr", out)
    export(other, "zephyr", fresh)
    assert contents(out) == {**contents(fresh), "src/mine.c": b"mine"} and contents(fresh) != contents(folder)
    export(other, "c", out)
    assert {p.name for p in out.iterdir() if p.is_dir()} == {"src"} and [p.name for p in (out / "src").iterdir()] == ["mine.c"]
    (out / "Kconfig").write_text("mine")
    (out / "zephyr").mkdir()
    (out / "zephyr/Kconfig").write_text("mine")
    before = contents(out)
    for force in (False, True):
        with pytest.raises(EdgeqError, match="not edgeq's: zephyr/Kconfig"):
            export(other, "zephyr", out, force=force)
        assert contents(out) == before


def test_an_export_without_a_record_is_taken_over(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(folder, "zephyr", out)
    wanted = contents(out)
    (out / folders.EXPORT).unlink()
    export(folder, "zephyr", out)
    assert contents(out) == wanted
    (out / folders.EXPORT).unlink()
    with pytest.raises(EdgeqError, match="something else than an export"):
        export(folder, "c", out)


def test_builds_and_exports_do_not_replace_each_other(folder: Path, tmp_path: Path) -> None:
    build = shutil.copytree(folder, tmp_path / "build")
    before = contents(build)
    with pytest.raises(EdgeqError, match="something else than an export"):
        export(folder, "c", build)
    assert contents(build) == before
    out = export(folder, "c", tmp_path / "out")
    before = contents(out)
    with pytest.raises(EdgeqError, match="holds something else"), folders.claimed(out):
        pass
    with pytest.raises(EdgeqError, match="not edgeq's"):
        folders.write(out, {"m.c": b"a build's"})
    assert contents(out) == before


def test_a_record_reaches_nothing_outside_of_its_folder(folder: Path, tmp_path: Path) -> None:
    """Neither by its names, nor by a folder that somebody made a link of."""
    out = export(folder, "zephyr", tmp_path / "out")
    record = json.loads((out / folders.EXPORT).read_text())
    outside = tmp_path / "outside"
    (out / "src").rename(outside)
    (out / "src").symlink_to(outside)
    victim = tmp_path / "victim.txt"
    victim.write_text("kept")
    names = ["../victim.txt", str(victim), "src/../../victim.txt"]
    record["files"] |= dict.fromkeys(names, folders.digest(b"kept"))
    (out / folders.EXPORT).write_text(json.dumps(record))
    before = contents(outside)
    export(folder, "c", out)
    assert victim.read_text() == "kept" and contents(outside) == before


@pytest.mark.parametrize("core", ["cortex-m4", "riscv"])
def test_a_new_board_builds_at_once(core: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEQ_PATH", str(tmp_path))
    written = scaffold("my-board", core, tmp_path)
    assert [p.name for p in written] == ["my-board.toml", "bsp.toml", "uart.c"]
    target = load("my-board")
    used = Installation(deployed=True)
    elf = build_firmware(folder, target, toolchain(target, "zig"), tmp_path / "fw.elf", app="selftest", optimize="-Os", installation=used)
    assert unicorn.execute(elf, target).sent == b"PASS\n"
    with pytest.raises(EdgeqError, match="bootloader does not serve board my-board"):
        build_bootloader(target, toolchain(target, "zig"), tmp_path / "boot.elf")
    assert "TODO" in board.load(target).description
    for name, words in (("my-board", "exists"), ("../up", "no name"), ("virt", "of its own")):
        with pytest.raises(EdgeqError, match=words):
            scaffold(name, core, tmp_path)
    with pytest.raises(EdgeqError, match="host is no chip"):
        scaffold("other", "host", tmp_path)


def test_a_board_that_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, content: bytes) -> None:
        if path.name == "uart.c":
            raise EdgeqError("cannot write the file", where=str(path), why="no space left")
        path.write_bytes(content)

    monkeypatch.setattr("edgeq.scaffold.write_bytes", write)
    with pytest.raises(EdgeqError, match=r"cannot write the board.*no space left"):
        scaffold("my-board", "riscv", tmp_path / "root")
    assert not any(tmp_path.iterdir())


def test_annotations_are_comments_before_every_loop(folder: Path, tmp_path: Path) -> None:
    """The compiler sees the same code; no loop turns more often than a buffer has bytes."""
    plain, marked = export(folder, "c", tmp_path / "plain"), export(folder, "c", tmp_path / "marked", annotate="acsl")
    limits, loops = 0, 0
    for file in plain.glob("*.[ch]"):
        text, lines = file.read_text(), (marked / file.name).read_text().splitlines()
        assert [line for line in lines if "//@" not in line] == text.splitlines()
        limits += sum("//@ loop unroll" in line for line in lines)
        loops += sum(line.strip().startswith(("for (", "while (")) and not line.endswith("\\") for line in text.splitlines())
    assert limits == loops > 0
    with pytest.raises(EdgeqError, match="unknown annotations 'x'"):
        export(folder, "c", tmp_path / "out", annotate="x")


def test_the_caller_of_the_value_analysis(folder: Path, tmp_path: Path) -> None:
    """Gives every byte of every input, and compiles without a warning; `python -m tests.eva` runs the analysis."""
    need_programs("gcc")
    place = export(folder, "c", tmp_path / "c", annotate="acsl")
    (place / "caller.c").write_text(eva.caller(folder))
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", *map(str, place.glob("*.c"))]
    assert subprocess.run(command, check=False, capture_output=True, text=True, timeout=60).stderr == ""
    assert "to[i] = any" in (place / "caller.c").read_text()
