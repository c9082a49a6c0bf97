"""Every export under the flags of other people's builds: its self-test passes byte for byte, or the compiler refuses the flags.

    python -m tests.export_matrix                                  # all: about ten minutes of processor time
    python -m tests.export_matrix --target host --model fp16       # a part

Each export's own build file says what is compiled with which flags: CMake reads those of `cmake`, `zephyr` and `esp-idf` (the
functions of Zephyr and ESP-IDF are stood in for), SCons the folder's SConscript; the lists of the others are read. A user's flags stand
where CMAKE_C_FLAGS do. The self-test is called from C or, for Arduino, from C++; on chips the objects are linked with edgeq's board
support, and QEMU runs the program.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as xml
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeq import api, features
from edgeq.api.building import test_vectors
from edgeq.api.models import random_inputs
from edgeq.build import FIRMWARE_FLAGS, Program, build_programs, toolchain
from edgeq.emit import emit, write
from edgeq.export import FAMILIES, FORMATS, export
from edgeq.ir import Graph, Node, Tensor, TensorType
from edgeq.lower import lower
from edgeq.ops.conv2d import Conv2d
from edgeq.ops.fully_connected import FullyConnected
from edgeq.ops.gru import Gru
from edgeq.ops.reshape import Reshape
from edgeq.ops.softmax import Softmax
from edgeq.passes import normalise
from edgeq.plan import plan
from edgeq.process import first_error
from edgeq.resources import resource
from edgeq.run import qemu
from edgeq.target import load

MODELS = ("fp16", "mixed", "int8", "float32")
TARGETS = ("host", "cortex-m4", "riscv", "riscv-f")
CHAINS = ("gcc", "clang", "zig")
FORMS = ("folder", *FORMATS)
FLAGS = (
    "-O0", "-O2 -std=gnu99", "-O3 -std=c99", "-Os -std=gnu17", "-O2 -ffp-contract=fast -fstrict-aliasing", "-O2 -flto",
    "-Ofast", "-O2 -ffast-math", "-O2 -ffinite-math-only",
)  # fmt: skip
FAST = ("-Ofast", "-ffast-math", "-ffinite-math-only")
USER = "-DEQ_FLAGS_OF_THE_USER"
REFUSAL = "IEEE arithmetic"
HAS_FMA = Path("/proc/cpuinfo").exists() and " fma " in Path("/proc/cpuinfo").read_text()
IDF = """
cmake_minimum_required(VERSION 3.13)
project(around C)
function(idf_component_register)
  cmake_parse_arguments(A "" "" "SRCS;INCLUDE_DIRS" ${ARGN})
  add_library(component STATIC ${A_SRCS})
  target_include_directories(component PUBLIC ${A_INCLUDE_DIRS})
  set(COMPONENT_LIB component PARENT_SCOPE)
endfunction()
add_subdirectory(component)
"""
ZEPHYR = """
project(zephyr C)
add_library(app OBJECT)
macro(zephyr_library_named name)
  add_library(${name} STATIC)
  set(zephyr_now ${name})
endmacro()
macro(zephyr_library_sources)
  target_sources(${zephyr_now} PRIVATE ${ARGN})
endmacro()
macro(zephyr_library_compile_options)
  target_compile_options(${zephyr_now} PRIVATE ${ARGN})
endmacro()
macro(zephyr_include_directories)
  include_directories(${ARGN})
endmacro()
include_directories(%(shims)s)
set(CONFIG_%(M)s y)
foreach(module ${ZEPHYR_EXTRA_MODULES})
  file(STRINGS ${module}/zephyr/module.yml where REGEX "cmake:")
  string(REGEX REPLACE ".*: " "" where "${where}")
  include_directories(${module}/src)
  add_subdirectory(${module}/${where} module)
endforeach()
"""
PRINTK = """
extern int eq_failed;
static inline void printk(const char *format, const char *word)
{
    eq_failed = format[0] != '%' || word[0] != 'P';
}
#define main eq_sample_main
"""
SAMPLE = """
int eq_failed = 1, eq_sample_main(void), eq_selftest_main(void);
int eq_selftest_main(void)
{
    return eq_sample_main() + eq_failed;
}
"""
SKETCH = """
static int failed = 1;
static struct {
    void begin(long) {}
    explicit operator bool() const { return true; }
    bool operator!() const { return false; }
    void println(const char *word) { failed = word[0] != 'P'; }
} Serial;
#include "SelfTest.ino"
extern "C" int eq_selftest_main(void)
{
    setup();
    loop();
    return failed;
}
"""
MAIN = "int eq_selftest_main(void);\nint main(void)\n{\n    return eq_selftest_main();\n}\n"


class Unit(NamedTuple):
    """A source file and what stands before and after the user's flags."""

    source: Path
    before: tuple[str, ...] = ()
    after: tuple[str, ...] = ()


@dataclass
class Cell:
    """What became of one export under one set of flags."""

    passed: int = 0
    refused: int = 0
    failed: list[str] = field(default_factory=list)


def float_graph() -> Graph:
    """Pixels through a convolution, a GRU over rows, a fully connected layer and a softmax."""
    rng = np.random.default_rng(5)
    sizes = {
        "w": (8, 3, 3, 3), "b": (8,), "gw": (36, 32), "gr": (36, 12), "gb": (36,), "gc": (36,), "h": (1, 12), "fw": (6, 48), "fb": (6,),
    }  # fmt: skip
    data = {n: rng.normal(0, 0.3, s).astype(np.float32) for n, s in sizes.items()} | {"h": np.zeros((1, 12), np.float32)}
    tensors = {n: Tensor(n, TensorType(a.shape), a) for n, a in data.items()}
    shapes = {"x": (1, 8, 8, 3), "c": (1, 4, 4, 8), "r": (4, 32), "g": (4, 12), "f": (1, 48), "s": (1, 6), "y": (1, 6)}
    tensors |= {n: Tensor(n, TensorType(s)) for n, s in shapes.items()}
    nodes = (
        Node("c", Conv2d(stride=(2, 2), pads=(0, 0, 1, 1), clamp=(0.0, 6.0)), ("x", "w", "b"), ("c",)),
        Node("r", Reshape((4, 32)), ("c",), ("r",)), Node("g", Gru(), ("r", "gw", "gr", "gb", "gc", "h"), ("g",)),
        Node("f", Reshape((1, 48)), ("g",), ("f",)), Node("s", FullyConnected(), ("f", "fw", "fb"), ("s",)),
        Node("y", Softmax(), ("s",), ("y",)),
    )  # fmt: skip
    return Graph("net", nodes, tensors, ("x",), ("y",))


def small_model(name: str) -> Graph:
    """One of `MODELS`: a network in half precision, mixed or int8, or sound features in float32."""
    if name == "float32":
        sizes = {"n_fft": 64, "hop_length": 32, "n_mels": 8, "n_mfcc": 6, "sample_rate": 8000}
        return features.build(features.parse({"kind": "mfcc", "log": "ln", "log_mode": "add", **sizes}))
    rng, graph = np.random.default_rng(6), float_graph()
    samples = {"x": rng.normal(0, 1, (24, *graph.type("x").shape)).astype(np.float32)}
    return api.quantize(graph, samples, recipe=name).graph


def folder_of(graph: Graph, target: str, path: Path) -> Path:
    """Its C with test vectors."""
    graph = normalise(graph)
    program = lower(graph, load(target))
    write(emit(program, plan(program), "net", test_vectors(graph, random_inputs(graph, 16), 16).arrays), path)
    return path


def words(command: list[str], place: Path) -> Unit:
    """A compiler's command line, taken apart at the place of the user's flags."""
    at = command.index("-o")
    rest = [w for w in command[1:at] + command[at + 2 :] if w != "-c"]
    source = next(w for w in rest if w.endswith(".c"))
    rest = [f"-I{(place / w[2:]).resolve()}" if w.startswith("-I") else w for w in rest if w != source]
    middle = rest.index(USER)
    return Unit((place / source).resolve(), tuple(rest[:middle]), tuple(rest[middle + 1 :]))


def by_cmake(source: Path, work: Path, *options: str) -> list[Unit]:
    """What CMake would compile."""
    command = ["cmake", "-S", source, "-B", work, f"-DCMAKE_C_FLAGS={USER}", "-DCMAKE_EXPORT_COMPILE_COMMANDS=ON", *options]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    entries = json.loads((work / "compile_commands.json").read_text())
    return [words(shlex.split(e["command"]), Path(e["directory"])) for e in entries]


def by_scons(folder: Path, work: Path) -> list[Unit]:
    """What SCons would compile of an emitted folder."""
    shutil.copytree(folder, work / "net")
    (work / "SConstruct").write_text(f"env = Environment(CCFLAGS=['{USER}'])\nSConscript('net/SConscript', exports='env')\n")
    done = subprocess.run([sys.executable, "-m", "SCons", "-n", "-Q"], cwd=work, check=True, capture_output=True, text=True, timeout=120)
    return [words(shlex.split(line), work) for line in done.stdout.splitlines() if " -c " in line]


def units(form: str, folder: Path, work: Path) -> list[Unit]:
    """The sources of an export and a self-test that calls it; the last file defines eq_selftest_main."""
    out, main = work / form, (Unit(folder / "main.c", (), ("-Dmain=eq_selftest_main",)), Unit(folder / "net_vectors.c"))
    if form == "folder":
        return [*by_scons(folder, out), *main]
    made = export(folder, form, work / ("net.zip" if FORMATS[form][1] else form))
    if FORMATS[form][1]:
        shutil.unpack_archive(made, out, "zip")
    if form == "cmake":
        found = by_cmake(out, work / "cmake_build")
        return [u._replace(after=(*u.after, *main[0].after)) if u.source.name == "main.c" else u for u in found]
    if form == "esp-idf":
        (work / "idf").mkdir()
        out.rename(work / "idf" / "component")
        (work / "idf" / "CMakeLists.txt").write_text(IDF)
        return [*by_cmake(work / "idf", work / "idf_build"), *main]
    if form == "zephyr":
        shims = work / "zephyr_shims"
        (shims / "zephyr" / "sys").mkdir(parents=True)
        (shims / "zephyr" / "sys" / "printk.h").write_text(PRINTK)
        (shims / "ZephyrConfig.cmake").write_text(ZEPHYR % {"shims": shims, "M": "NET"})
        (shims / "sample.c").write_text(SAMPLE)
        return [*by_cmake(out / "samples" / "selftest", work / "zephyr_build", f"-DZephyr_DIR={shims}"), Unit(shims / "sample.c")]
    if form == "arduino":
        sketch = out / "net" / "examples" / "SelfTest" / "sketch.cpp"
        sketch.write_text(SKETCH)
        place = f"-I{out / 'net' / 'src'}"
        return [*(Unit(p, (), (place,)) for p in sorted((out / "net" / "src").glob("*.c"))), Unit(sketch, (), (place,))]
    if form == "cmsis-pack":
        files = [f.attrib for f in xml.parse(next(out.glob("*.pdsc"))).getroot().iter("file")]
        places = tuple(f"-I{out / f['name']}" for f in files if f["category"] == "include")
        return [*(Unit(out / f["name"], (), places) for f in files if f["category"] == "sourceC"), *main]
    return [*(Unit(p) for p in sorted(out.glob("*.c"))), *main]


class Bench:
    """Compiles and runs programs for a target by a tool chain; what has been compiled once is not compiled again."""

    def __init__(self, target: str, chain: str, folder: Path, work: Path) -> None:
        self.machine, self.work = load(target), work
        self.chain = toolchain(self.machine, chain)
        self.fma = ["-march=haswell"] if not self.machine.bsp and HAS_FMA else []
        self.objects: dict[bytes, Path | str] = {}
        self.runs: dict[tuple[Path, ...], str] = {}
        self.around: list[Path] = []
        work.mkdir()
        if self.machine.bsp:
            build_programs(folder, self.machine, self.chain, [Program("selftest")], work)
            self.around = [*(work / "board").glob("*.o"), work / "app_selftest_0" / "selftest.o"]
        else:
            (work / "main.c").write_text(MAIN)
            self.around = [work / "main.c"]

    def compiled(self, unit: Unit, flags: list[str]) -> Path | str:
        """An object file, or what the compiler says."""
        cpp = unit.source.suffix == ".cpp"
        own = [f for f in flags if not f.startswith("-std=")] if cpp else flags
        place = (*FIRMWARE_FLAGS, "-idirafter", str(resource("firmware") / "lib")) if self.machine.bsp else self.fma
        command = [*self.chain.command, *self.chain.flags, *place, *unit.before, *own, *unit.after]
        command += ["-x", "c++", "-std=gnu++17", "-fno-exceptions", "-fno-rtti"] if cpp else []
        places = [unit.source.parent, *(Path(w[2:]) for w in (*unit.before, *unit.after) if w.startswith("-I"))]
        texts = [unit.source.read_bytes(), *(h.read_bytes() for p in places for h in sorted(p.glob("*.[hi]*")) if h.is_file())]
        said = [w.encode() for w in command if not w.startswith("-I")]
        key = hashlib.sha256(b"\0".join([*sorted(set(texts[1:])), texts[0], *said])).digest()
        if key not in self.objects:
            file = self.work / f"{len(self.objects)}.o"
            done = run([*command, "-c", str(unit.source), "-o", str(file)])
            self.objects[key] = done or file
        return self.objects[key]

    def takes(self, flags: list[str]) -> bool:
        """Whether the compiler knows these flags at all."""
        (self.work / "nothing.c").write_text("int nothing;\n")
        command = [*self.chain.command, *self.chain.flags, *flags, "-c", str(self.work / "nothing.c"), "-o", str(self.work / "nothing.o")]
        return not run(command)

    def outcome(self, found: list[Unit], flags: list[str]) -> str:
        """Empty where the self-test passes, else what is wrong."""
        objects: list[Path] = []
        for unit in found:
            made = self.compiled(unit, flags)
            if isinstance(made, str):
                return made
            objects.append(made)
        key = tuple(sorted(objects))
        if key not in self.runs:
            self.runs[key] = self._ran(objects, [f for f in flags if f.startswith(("-O", "-flto"))])
        return self.runs[key]

    def _ran(self, objects: list[Path], flags: list[str]) -> str:
        program, files = self.work / "program", [str(p) for p in (*objects, *self.around)]
        script = ["-Wl,--gc-sections", "-Wl,-e,eq_reset", f"-L{resource('firmware') / 'bsp' / 'common'}", "-T", str(self.work / "board.ld")]
        link = [*self.chain.link, *flags, *(script if self.machine.bsp else self.fma), *files, *self.chain.libraries, "-o", str(program)]
        done = run(link)
        if done:
            return done
        if not self.machine.bsp:
            return "" if subprocess.run([program], check=False, timeout=60).returncode == 0 else "the self-test FAILS"
        told = qemu.execute(program, self.machine, timeout=60)
        return "" if told.exit_code == 0 and b"PASS" in told.sent else "the self-test FAILS"


def run(command: list[str]) -> str:
    """What a compiler says that does not end well."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    return "" if done.returncode == 0 else first_error(done.stderr) if REFUSAL not in done.stderr else REFUSAL


def cells(target: str, model: str, graph: Graph, chains: list[str], forms: list[str], flag_sets: list[str], work: Path) -> dict[str, Cell]:
    """What became of each export of a model on a target."""
    folder = folder_of(graph, target, work / "net")
    wanted = [f for f in forms if FAMILIES.get(f, load(target).family) in (load(target).family, "") or not load(target).bsp]
    lists = {form: units(form, folder, work) for form in wanted}
    floats = (folder / "eq_exact.h").is_file()
    found = {form: Cell() for form in wanted}
    for chain in chains:
        bench = Bench(target, chain, folder, work / chain)
        for flags in flag_sets:
            if "-flto" in flags and chain == "clang":
                continue  # it wants LLVM's linker
            if chain != "gcc":
                flags = flags.replace("contract=fast", "contract=fast-honor-pragmas")  # the other one is Clang's word for disregarding them
                if "honor-pragmas" in flags and not bench.takes(flags.split()):
                    continue  # Clang before 15 has no such word
            for form in wanted:
                said = bench.outcome(lists[form], flags.split())
                fast = floats and any(f in flags.split() for f in FAST) and (chain, flags) != ("zig", "-Ofast")  # Zig takes that for -O3
                if said == REFUSAL and fast:
                    found[form].refused += 1
                elif not said and not fast:
                    found[form].passed += 1
                else:
                    found[form].failed.append(f"{target} {model} {form} {chain} {flags}: {said or 'compiled, though it must not'}")
    return found


def main() -> int:
    """Print a table and what failed; 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, known in (("target", TARGETS), ("model", MODELS), ("chain", CHAINS), ("form", FORMS)):
        parser.add_argument(f"--{name}", choices=known, action="append", default=None)
    parser.add_argument("--flags", action="append", default=None, help='such as "-O2 -std=gnu99"')
    options = parser.parse_args()
    failed: list[str] = []
    forms = options.form or list(FORMS)
    print(f"{'target':10} {'model':8} " + " ".join(f"{f:>10}" for f in forms) + "    passed+refused, !failed", flush=True)
    for model in options.model or MODELS:
        graph = small_model(model)
        for target in options.target or TARGETS:
            with tempfile.TemporaryDirectory() as work:
                found = cells(target, model, graph, options.chain or list(CHAINS), forms, options.flags or list(FLAGS), Path(work))
            failed += [line for c in found.values() for line in c.failed]
            row = {f: f"{c.passed}+{c.refused}{f'!{len(c.failed)}' if c.failed else ''}" for f, c in found.items()}
            print(f"{target:10} {model:8} " + " ".join(f"{row.get(f, '-'):>10}" for f in forms), flush=True)
    print("\n".join(failed) or "none failed")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
