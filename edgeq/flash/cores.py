"""Whether a program's instructions are those of a target's core: the ELF file's build attributes against the compiler's flags."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgeq.errors import EdgeqError
from edgeq.flash.image import Firmware
from edgeq.target import Target


@dataclass(frozen=True)
class Arm:
    """A Cortex-M: values of Tag_CPU_arch, Tag_FP_arch and Tag_MVE_arch of the ABI's build attributes."""

    arch: int
    fpu: int = 0
    mve: int = 0


V6_M, V7, V6S_M, V7E_M, V8_BASE, V8_MAIN, V8_1_MAIN = 11, 10, 12, 13, 16, 17, 21
CORES = {
    "cortex-m0": Arm(V6S_M), "cortex-m0plus": Arm(V6S_M), "cortex-m3": Arm(V7), "cortex-m4": Arm(V7E_M, 6), "cortex-m7": Arm(V7E_M, 8),
    "cortex-m23": Arm(V8_BASE), "cortex-m33": Arm(V8_MAIN, 8), "cortex-m55": Arm(V8_1_MAIN, 8, 2), "cortex-m85": Arm(V8_1_MAIN, 8, 2),
}  # fmt: skip
_V7 = {V6_M, V6S_M, V7}
RUNS = {  # what each architecture executes
    V6S_M: {V6_M, V6S_M}, V7: _V7, V7E_M: {*_V7, V7E_M}, V8_BASE: {V6_M, V6S_M, V8_BASE},
    V8_MAIN: {*_V7, V7E_M, V8_BASE, V8_MAIN}, V8_1_MAIN: {*_V7, V7E_M, V8_BASE, V8_MAIN, V8_1_MAIN},
}  # fmt: skip
IMPLIED = {
    "m": ("zmmul",), "a": ("zaamo", "zalrsc"), "f": ("zicsr",), "d": ("f",), "c": ("zca",),
    "b": ("zba", "zbb", "zbs"), "v": ("zve64d", "zvl128b"),
    "zve64d": ("zve64f", "d"), "zve64f": ("zve64x", "zve32f"), "zve64x": ("zve32x", "zvl64b"), "zve32f": ("zve32x", "f"),
    "zve32x": ("zvl32b", "zicsr"), "zvl128b": ("zvl64b",), "zvl64b": ("zvl32b",), "g": ("i", "m", "a", "f", "d", "zicsr", "zifencei"),
}  # fmt: skip
ALWAYS = {"i", "zicsr", "zifencei", "zicntr"}  # of every core that start-up code can run on


def check(firmware: Firmware, target: Target) -> None:
    """Refuse a program for another core.

    Raises:
        EdgeqError: the target's core lacks instructions that the program may use.
    """
    flags = " ".join(target.toolchains["gcc"]["flags"])
    missing = _arm(firmware, flags) if "-mcpu=cortex" in flags else _riscv(firmware, flags)
    if missing:
        fix = f"build it for board {target.name}"
        raise EdgeqError(f"the firmware was built for another core than {target.name}'s", where=str(firmware.path), why=missing, fix=fix)


def _arm(firmware: Firmware, flags: str) -> str:
    if firmware.machine != "arm":
        return f"it is for {firmware.machine}"
    (name,) = re.findall(r"-mcpu=(cortex-\w+)", flags)
    core, a = CORES.get(name), firmware.attributes
    if core is None:
        return f"edgeq does not know what {name} executes"
    arch, fpu, mve = (int(a.get(tag, 0)) for tag in ("TAG_CPU_ARCH", "TAG_FP_ARCH", "TAG_MVE_ARCH"))
    if arch == 0 or arch not in RUNS[core.arch]:
        return f"its architecture is number {arch}, {name} executes {', '.join(map(str, sorted(RUNS[core.arch])))}"
    if fpu and ("-mfloat-abi=hard" not in flags or fpu > core.fpu):
        return f"it uses an FPU that {name} lacks"
    return f"it uses vector instructions that {name} lacks" if mve > core.mve else ""


def extensions(arch: str) -> set[str]:
    """The extensions in a RISC-V architecture string, ``rv32imc_zicsr`` or ``rv32i2p1_m2p0_c2p0``, and what they imply."""
    arch = arch.lower()
    single, *more = re.sub(r"^rv(32|64)", "", arch).split("_")
    found = set(re.findall(r"[a-z](?=\d+p|[a-z]|$)", re.sub(r"\d+p\d+", "", single)))
    found |= {re.sub(r"\d+p\d+$", "", e) for e in more}
    waiting = list(found)
    while waiting:
        new = set(IMPLIED.get(waiting.pop(), ())) - found
        found |= new
        waiting += new
    return found


def _riscv(firmware: Firmware, flags: str) -> str:
    if firmware.machine != "riscv":
        return f"it is for {firmware.machine}"
    (march,) = re.findall(r"-march=(\w+)", flags)
    has = extensions(march) | ALWAYS
    has |= {"zcf"} if {"c", "f"} <= has else set()
    uses = str(firmware.attributes.get("TAG_ARCH", ""))
    if not uses.startswith("rv32"):
        return "it does not say for which instruction set" if not uses else f"it is for {uses}"
    lacking = extensions(uses) - has
    return f"{march} lacks {', '.join(sorted(lacking))}" if lacking else ""
