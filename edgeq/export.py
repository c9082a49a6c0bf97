"""An emitted folder in the form that other build systems take: the model's C as it is, and their few lines around it."""

from __future__ import annotations

import io
import shlex
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeq import acsl
from edgeq import folder as folders
from edgeq import target as targets
from edgeq.emit import EXACT_FLAGS
from edgeq.emit.functions import environment
from edgeq.errors import EdgeqError
from edgeq.files import EPOCH, json_text, reason, write_bytes
from edgeq.record import manifest as read_manifest

Files = dict[str, bytes]
ANOTHER = "choose another with -o"


class _Model:
    """An emitted folder, read."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.manifest = folder, read_manifest(folder)
        self.name = self.manifest.model
        known = targets.load(self.manifest.target) if self.manifest.target in targets.names() else None
        self.family = known.family if known and not known.plain else ""  # portable C serves every core
        self.all = {f.name: f.read_bytes() for f in sorted(folder.iterdir()) if f.is_file()}
        m = self.name
        self.sources = [f"{m}.c", f"{m}_kernels.c", f"{m}_weights.c"]
        missing = [n for n in (*self.sources, f"{m}.h", "main.c") if n not in self.all]
        if missing:
            raise EdgeqError(f"the folder lacks {', '.join(missing)}", where=str(folder), fix="build the model again")
        private = ("eq_model.h", f"{m}_vectors.h")
        self.headers = [n for n in self.all if n.endswith(".h") and n not in private]

    def code(self, folder: str = "") -> Files:
        """The model's own sources and headers."""
        return {f"{folder}{n}": self.all[n] for n in (*self.sources, *self.headers)}

    def render(self, template: str) -> bytes:
        m, facts = self.name, self.manifest
        context: dict[str, Any] = {
            "m": m, "M": m.upper(), "sources": self.sources, "headers": self.headers, "flags": " ".join(EXACT_FLAGS),
            "arena": facts.arena_bytes, "architectures": ARDUINO[self.family],
            "chips": ESPRESSIF if self.family == "riscv" else (),
            "weights": facts.weight_bytes, "description": f"The neural network {m} in C99, made by edgeq for {facts.target}",
        }  # fmt: skip
        return environment().get_template(f"export/{template}.j2").render(context).encode()

    def selftest(self, folder: str) -> Files:
        """The example as a function, with its vectors."""
        m, vectors = self.name, [f"{self.name}_vectors.h", f"{self.name}_vectors.c"]
        text = self.all["main.c"].decode()
        if text.count("int main(void)") != 1:
            raise EdgeqError("main.c is not edgeq's", where=str(self.folder), fix="build the model again")
        own = f'#include "{m}.h"\n'
        code = text.replace("int main(void)", f"int {m}_selftest(void)").replace(own, f'{own}#include "{m}_selftest.h"\n')
        files = {f"{m}_selftest.c": code.encode(), f"{m}_selftest.h": self.render("selftest.h")}
        return {f"{folder}{n}": c for n, c in (files | {n: self.all[n] for n in vectors if n in self.all}).items()}


def _c(model: _Model) -> Files:
    return model.code()


def _cmake(model: _Model) -> Files:
    vectors = [n for n in model.all if n.startswith(f"{model.name}_vectors.")]
    return model.code() | {n: model.all[n] for n in ("CMakeLists.txt", "main.c", "eq_model.h", *vectors)}


def _cmsis_pack(model: _Model) -> Files:
    return {f"edgeq.{model.name}.pdsc": model.render("pack.pdsc"), **model.code("src/")}


def _zephyr(model: _Model) -> Files:
    own = {"module.yml": "module.yml", "CMakeLists.txt": "CMakeLists.zephyr.txt", "Kconfig": "Kconfig"}
    sample = {"CMakeLists.txt": "CMakeLists.sample.txt", "prj.conf": "prj.conf", "src/main.c": "sample.c"}
    files = {f"zephyr/{n}": model.render(t) for n, t in own.items()} | model.code("src/")
    return files | {f"samples/selftest/{n}": model.render(t) for n, t in sample.items()} | model.selftest("samples/selftest/src/")


def _arduino(model: _Model) -> Files:
    files = {"library.properties": model.render("library.properties"), "examples/SelfTest/SelfTest.ino": model.render("SelfTest.ino")}
    return {f"{model.name}/{n}": c for n, c in (files | model.code("src/") | model.selftest("src/")).items()}


def _esp_idf(model: _Model) -> Files:
    own = {"CMakeLists.txt": "CMakeLists.idf.txt", "idf_component.yml": "idf_component.yml"}
    return {n: model.render(t) for n, t in own.items()} | model.code()


# Forms that serve cores of one family alone; and what systems call the cores of each.
FAMILIES = {"cmsis-pack": "arm", "esp-idf": "riscv"}
EXAMPLES = {"arm": "cortex-m4", "riscv": "riscv"}
ARDUINO = {
    "arm": "mbed,mbed_giga,mbed_nano,mbed_portenta,nrf52,renesas_portenta,renesas_uno,samd,stm32,teensy",
    "riscv": "esp32", "": "*",
}  # fmt: skip
ESPRESSIF = ("esp32c2", "esp32c3", "esp32c5", "esp32c6", "esp32h2", "esp32p4")  # Espressif's cores of RISC-V

FORMATS: Mapping[str, tuple[Callable[[_Model], Files], str]] = {  # what it holds, and the suffix of the zip file that it is
    "c": (_c, ""), "cmake": (_cmake, ""), "cmsis-pack": (_cmsis_pack, ".pack"), "zephyr": (_zephyr, ""), "arduino": (_arduino, ".zip"),
    "esp-idf": (_esp_idf, ""),
}  # fmt: skip


def zipped(files: Mapping[str, bytes]) -> bytes:
    """A zip archive: the same files give the same bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data, zipfile.ZIP_DEFLATED)
    return content.getvalue()


def export(folder: Path, form: str, output: Path, force: bool = False, annotate: str = "") -> Path:
    """Write an emitted folder in another form.

    Args:
        folder: what `edgeq build` wrote.
        form: one of `FORMATS`.
        output: the folder to write; of a form that is one file, the file, or (it is there, or its name has no ending) the folder
            that it is put into.
        force: write it although the form is for other cores than the folder, and although files of an older export were changed.
        annotate: acsl: with annotations for a value analysis (`acsl`).

    Returns:
        What was written.

    Raises:
        EdgeqError: the form is unknown or for other cores, the folder is none of edgeq's, or the output cannot be written, holds
            something else than an export, or files of one that were changed since; nothing is left behind then.
    """
    if form not in FORMATS:
        raise EdgeqError(f"unknown format '{form}'", fix=f"choose one of {', '.join(FORMATS)}")
    if annotate not in ("", "acsl"):
        raise EdgeqError(f"unknown annotations '{annotate}'", fix="choose acsl")
    make, suffix = FORMATS[form]
    model = _Model(folder)
    wanted = FAMILIES.get(form, "")
    if wanted and model.family not in ("", wanted) and not force:
        raise EdgeqError(
            f"built for {model.manifest.target}, and '{form}' is for other cores", where=str(folder),
            fix=f"edgeq build {shlex.quote(str(folder))} -t {EXAMPLES[wanted]} -o DIR, and export that; --force writes it anyway",
        )  # fmt: skip
    files = make(model)
    if annotate:
        most = max(model.manifest.arena_bytes, model.manifest.io_bytes, model.manifest.weight_bytes)
        files = {n: acsl.annotated(c.decode(), most).encode() if n.endswith((".c", ".h")) else c for n, c in files.items()}
    if not suffix:
        made_of = {"format": 1, "export": form, "model": model.name, "sources_sha256": model.manifest.sources_sha256}
        _write_folder(files, json_text({**made_of, "files": folders.digests(files)}).encode(), output, force)
        return output
    if output.is_dir() or not output.suffix:
        output = output / (f"edgeq.{model.name}.1.0.0.pack" if suffix == ".pack" else f"{model.name}{suffix}")
    _write_file(output, zipped(files))
    return output


def _write_file(path: Path, content: bytes) -> None:
    """A folder that had to be made for it disappears again where it cannot be written."""
    made = not path.parent.exists()
    try:
        path.parent.mkdir(exist_ok=True)
        write_bytes(path, content)
    except (EdgeqError, OSError) as e:
        if made and path.parent.is_dir():
            path.parent.rmdir()
        if isinstance(e, EdgeqError):
            raise
        raise EdgeqError("cannot write the folder", where=str(path.parent), why=reason(e)) from e


def _write_folder(files: Files, record: bytes, output: Path, force: bool) -> None:
    """The folder is new or empty, or holds an export: what that one's record names and nobody changed is replaced, and all else stays."""

    def refuse(place: Path, _force: bool) -> None:
        if any(place.iterdir()) and not folders.recorded(place, folders.EXPORTED) and not folders.holds(place, files):
            raise EdgeqError("the output exists", where=str(output), why="it holds something else than an export", fix=ANOTHER)

    with folders.claimed(output, force=force, refuse=refuse) as place:
        if not folders.recorded(place, folders.EXPORTED) and folders.holds(place, files):
            files = {}  # by an edgeq that kept no record
        wanted = {**files, folders.EXPORT: record}
        if not folders.holds(place, wanted, alone=False):
            folders.write(place, wanted, force=force, records=folders.EXPORTED)
