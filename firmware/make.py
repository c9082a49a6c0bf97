"""Compiles and links programs for a board. edgeq runs it, with Python's own library alone, on a folder that holds settings.json:

    name            the model's name; null for the bootloader, which has none
    model           the model's C files
    compile, link   command lines up to the file names
    libraries       last arguments of the link
    firmware        this folder
    board           the board's own folder
    runtime         headers with hooks
    sources         files of the board, else of bsp/common, else of bootloader
    defines         of the board
    programs        [{"output", "app", "hook", "script"}], script: the linker's

A file that several programs need is compiled once. Where the variable EDGEQ_OBJECTS names a folder, objects are kept there, and taken
by any build that compiles the same text and the same headers with the same command; those that nobody took for longest are removed,
see `MOST`.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

JOBS = 2
MOST = 256 << 20  # bytes of objects that are kept
NAME = re.compile(r"(?:\\[ #]|\S)+")  # of a file in what a compiler says it has read
OBJECT = re.compile(r"[0-9a-f]{64}\.o|[0-9a-f]{16}\.new")  # a file that is kept, or was being written: other files are not ours
SHARED = ("lib", "protocol", "bootloader", "bsp/common")
ALWAYS = ("confirm", "crc", "memory", "read", "stream")  # of lib
PARTS = {"serve": ["protocol/frame.c", "protocol/link.c"]}  # what applications need besides
BOOTLOADER = ("bootloader/main.c", "bootloader/boot.c", "bootloader/slots.c")


class Failed(Exception):
    """A compiler or linker refused; the message is its output."""


def call(command):
    """Run a compiler.

    Raises:
        Failed: it ends with another code than 0.
    """
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        raise Failed(done.stdout.decode(errors="replace") or f"{command[0]} ended with code {done.returncode}")
    sys.stdout.buffer.write(done.stdout)


def digest(file):
    """A file's SHA-256."""
    return hashlib.sha256(Path(file).read_bytes()).hexdigest()


class Build:
    """The objects and programs of one call."""

    def __init__(self, settings):
        self.settings, self.root = settings, Path(settings["firmware"])
        self.commands = {}  # object file -> (arguments, source)
        self.kept = Path(kept) if (kept := os.environ.get("EDGEQ_OBJECTS")) else None
        headers = [".", "model", settings["runtime"], *(str(self.root / f) for f in SHARED)]
        self.board_flags = ["-ffreestanding", *(f"-D{k}={v}" for k, v in sorted(settings["defines"].items())), *(f"-I{f}" for f in headers)]
        self.compiler = self._compiler() if self.kept else ""
        self.fresh = False  # whether an object was kept that was not there before

    def _compiler(self):
        """What tells a compiler's version from another's."""
        found = Path(shutil.which(self.settings["compile"][0]) or sys.executable).stat()
        return f"{found.st_size} {found.st_mtime_ns}"

    def add(self, output, source, *flags):
        """An object to make of a C or assembler file; its name."""
        self.commands[output] = [*self.settings["compile"], *flags], str(source)
        return output

    def compile(self, output):
        """Make an object, or take it from those that are kept."""
        command, source = self.commands[output]
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        if self.kept is None:
            call([*command, "-c", source, "-o", output])
            return
        what = json.dumps([command, Path(source).name, self.compiler, digest(source)])
        kept = self.kept / f"{hashlib.sha256(what.encode()).hexdigest()}.o"
        if not self.take(kept, output):
            call([*command, "-MD", "-MF", f"{output}.d", "-c", source, "-o", output])
            self.keep(kept, output)

    @staticmethod
    def take(kept, output):
        """Copy a kept object; False where there is none, a damaged one, or one of other headers."""
        try:
            about, _, data = kept.read_bytes().partition(b"\n")
            own, read = json.loads(about)  # the object's SHA-256, and file and SHA-256 of all that its compiler has read
            if hashlib.sha256(data).hexdigest() != own or any(digest(file) != found for file, found in read):
                return False
            Path(output).write_bytes(data)
            os.utime(kept)
        except (OSError, ValueError, TypeError):
            return False
        return True

    def keep(self, kept, output):
        """Keep an object, where there is room and it is allowed, with what its compiler has read."""
        new = self.kept / f"{secrets.token_hex(8)}.new"
        try:
            files = NAME.findall(Path(f"{output}.d").read_text(encoding="utf-8").replace("\\\n", " ").partition(": ")[2])
            read = [f.replace("\\ ", " ").replace("\\#", "#").replace("$$", "$") for f in files]
            data = Path(output).read_bytes()
            self.kept.mkdir(parents=True, exist_ok=True)
            about = json.dumps([hashlib.sha256(data).hexdigest(), [[f, digest(f)] for f in read]])
            new.write_bytes(about.encode() + b"\n" + data)
            new.replace(kept)
            self.fresh = True
        except (OSError, ValueError):
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)

    def trim(self):
        """Remove what nobody took for longest, until `MOST` bytes are kept."""
        with contextlib.suppress(OSError):  # another build removes the same
            size = 0
            own = [p for p in self.kept.iterdir() if OBJECT.fullmatch(p.name)]
            for path in sorted(own, key=lambda p: p.stat().st_mtime, reverse=True):
                size += path.stat().st_size
                if size > MOST:
                    path.unlink(missing_ok=True)

    def model(self):
        """Objects of the model: without the step hook, and with it. The hook is in the file of the steps alone."""
        name, files = self.settings["name"], self.settings["model"]
        plain = [self.add(f"model/{Path(f).stem}.o", f, "-Imodel") for f in files]
        steps = self.add(f"hook/model/{name}.o", f"model/{name}.c", "-Imodel", "-DEQ_HOOK")
        return plain, [steps, *(o for o in plain if o != f"model/{name}.o")]

    def support(self):
        """Objects of the board."""
        folders = [*map(Path, self.settings["board"]), self.root / "bsp" / "common", self.root / "bootloader"]
        found = [(f, next(p for p in (folder / f for folder in folders) if p.exists())) for f in self.settings["sources"]]
        found += [(f"{f}.c", self.root / "lib" / f"{f}.c") for f in ALWAYS]
        return [self.add(f"board/{name}.o", path, *self.board_flags) for name, path in found]

    def application(self, app, hook):
        """Objects of an application."""
        name, folder = self.settings["name"], f"app_{app}_{hook:d}"
        flags = [*self.board_flags, *(["-DEQ_HOOK"] if hook else [])]
        files = [f"apps/{app}.c", "lib/faults.c", *PARTS.get(app, ())] if name else BOOTLOADER
        parts = [self.add(f"{folder}/{Path(f).stem}.o", self.root / f, *flags) for f in files]
        if app == "selftest":
            parts.append(self.add(f"{folder}/example.o", "model/main.c", *flags, "-Dmain=eq_selftest_main"))
            vectors = f"model/{name}_vectors.c"
            if Path(vectors).exists():
                parts.append(self.add(f"{folder}/vectors.o", vectors, *flags))
        return parts

    def run(self):
        """Compile everything, then link each program."""
        programs = self.settings["programs"]
        plain, hooked = self.model() if self.settings["name"] else ([], [])
        support = self.support()
        links = []
        for program in programs:
            objects = [*self.application(program["app"], program["hook"]), *(hooked if program["hook"] else plain), *support]
            links.append([*self.settings["link"], "-T", program["script"], "-o", program["output"], *objects, *self.settings["libraries"]])
        wanted = {o for link in links for o in link if o in self.commands}
        with ThreadPoolExecutor(JOBS) as pool:
            for work in ((self.compile, sorted(wanted)), (call, links)):
                waiting = [pool.submit(work[0], item) for item in work[1]]
                try:
                    for one in waiting:
                        one.result()
                except Failed:
                    pool.shutdown(cancel_futures=True)
                    raise
        if self.fresh:
            self.trim()


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    try:
        Build(json.loads(Path("settings.json").read_text(encoding="utf-8"))).run()
    except Failed as e:
        sys.exit(str(e))
