"""Does it fit: flash and RAM against the target's limits or the user's, and what takes the space."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from edgeq import board
from edgeq import target as targets
from edgeq.errors import EdgeqError
from edgeq.latency import Latency
from edgeq.record import Manifest
from edgeq.target import Target
from edgeq.text import count, short, size
from edgeq.tune.measure import has_cycles

SHOWN = 4
STACK = 640  # what the code is expected to need, before it has been measured
CHOOSE = "choose a target whose cycles are known, nucleo-l4r5 or another of docs/timing.md"
LEAST = "least"  # ram=least, which is 0 bytes


@dataclass(frozen=True)
class Budget:
    """Limits in bytes, None where there is none; `source` says whose they are. `least`: as little RAM as can be, whatever the limit.
    `cycles` of one inference are limited too where that is set."""

    flash: int | None
    ram: int | None
    source: str
    least: bool = False
    cycles: int | None = None

    def arena(self, state: int) -> int | None:
        """Bytes that arena and stack may take beside a state, less what the stack is expected to; 0 for the least, None for no limit."""
        if self.least:
            return 0
        return None if self.ram is None else max(self.ram - state - STACK, 0)


KEYS = ("flash", "ram", "instructions", "cycles", "latency", "drop")
SPEED = ("cycles", "latency")
SECONDS = {"ms": 1e-3, "us": 1e-6, "µs": 1e-6, "s": 1.0}
LOSS = "loss"  # what drop=1% becomes
EXAMPLE = "write --budget flash=256K,ram=64K,latency=20ms, cycles=2M or ram=least; with --recipe auto also instructions=2M, drop=24dB"


def parse(text: str) -> dict[str, float]:
    """``"flash=256K,ram=64K,instructions=2M,latency=20ms,drop=24dB"`` as bytes, instructions, seconds and decibels; ``drop=1%`` as `LOSS`,
    percentage points; ``ram=least`` as 0.

    Raises:
        EdgeqError: another key, or not a size.
    """
    limits: dict[str, float] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        key, _, value = part.partition("=")
        if key not in KEYS or not value:
            raise EdgeqError(f"'{part}' is not a budget", fix=EXAMPLE)
        if (key, value) == ("ram", LEAST):
            limits[key] = 0.0
            continue
        if key == "drop" and value.endswith("%"):
            key, value = LOSS, value.removesuffix("%")
        limits[key] = _amount(key, value)
        if limits[key] < 0 or (limits[key] == 0 and key != LOSS):
            raise EdgeqError(f"a budget of {value} is not positive", fix=EXAMPLE)
    return limits


def _amount(key: str, value: str) -> float:
    if key in ("flash", "ram"):
        return targets.size(value)
    units = {"drop": {"dB": 1.0}, "latency": SECONDS}.get(key, {"K": 1e3, "M": 1e6, "G": 1e9})
    unit = next((u for u in units if value.endswith(u)), "")
    if key == "latency" and not unit:
        raise EdgeqError(f"{key}={value} has no unit", fix="write latency=20ms, 500us or 1s")
    try:
        amount = float(value.removesuffix(unit)) * units.get(unit, 1.0)
    except ValueError:
        amount = math.nan
    if not math.isfinite(amount):
        raise EdgeqError(f"{key}={value} is not a budget", fix=EXAMPLE)
    return amount


def budget(target: Target, limits: Mapping[str, float] | None) -> Budget:
    """The target's limits, each replaced by the user's where given."""
    limits = limits or {}
    source = "the budget" if limits else f"target {target.name}"
    flash, ram = limits.get("flash", target.flash), limits.get("ram", target.ram)
    flash, ram = None if flash is None else int(flash), None if ram is None else int(ram)
    return Budget(flash, target.ram if ram == 0 else ram, source, ram == 0, cycle_limit(target, limits))


def cycle_limit(target: Target, limits: Mapping[str, float]) -> int | None:
    """The clock cycles that an inference may take: those of ``cycles``, or of ``latency`` at the clock of the target's board.

    Raises:
        EdgeqError: both are given, the core has no model of cycles, or its clock is not known.
    """
    given = [key for key in SPEED if limits.get(key)]
    if not given:
        return None
    if len(given) > 1:
        raise EdgeqError("a budget of cycles and of latency", why="both limit the time of an inference", fix="give one of them")
    place = board.load(target) if target.bsp else None
    if place is None or not has_cycles(target):
        raise EdgeqError(f"a budget of {given[0]} on target {target.name}", why="its core has no model of cycles", fix=CHOOSE)
    if given == ["cycles"]:
        return int(limits["cycles"])
    if place.estimate.clock is None:
        why = f"the clock of board {place.name} is not known"
        fix = f"give cycles=2M, write `clock` in its bsp.toml, or {CHOOSE}"
        raise EdgeqError(f"a budget of latency on target {target.name}", why=why, fix=fix)
    return int(limits["latency"] * place.estimate.clock)


def check_cycles(found: Latency, limit: Budget) -> None:
    """The time of an inference against the limit.

    Raises:
        EdgeqError: it takes longer.
    """
    if limit.cycles is None or found.cycles <= limit.cycles:
        return
    over = 100 * found.cycles / limit.cycles - 100
    raise EdgeqError(
        f"an inference takes {over:.1f} % more cycles than {limit.source} allows: {found}",
        why=f"the limit is {count(limit.cycles)} cycles",
        fix="`edgeq tune` chooses the fastest kernels, -O 3 makes faster code; a smaller model, or a faster target",
    )  # fmt: skip


def check_ram(manifest: Manifest, limit: Budget, stack: int | None = None) -> None:
    """Arena, state, weights that lie in RAM, and (where known) stack against the limit.

    Raises:
        EdgeqError: it does not fit; names the peak step and its tensors.
    """
    arena, state = manifest.arena_bytes, manifest.state_bytes
    need = manifest.ram_bytes + (stack or 0)
    if limit.ram is None or need <= limit.ram:
        return
    weights = f", weights {size(manifest.weight_bytes)}" if manifest.weights_in == "ram" else ""
    also = f"{f', state {size(state)}' if state else ''}{weights}{f', stack {size(stack)}' if stack else ''}"
    decoded, less = manifest.decode != "call", "--decode call decodes weights step by step; or a target with more RAM"
    smaller = "a smaller input or fewer channels at that step, or more RAM; `--budget ram=least` gives the least that there is"
    raise EdgeqError(
        f"the model needs {size(need)} of RAM, {limit.source} has {size(limit.ram)}: {size(need - limit.ram)} too much",
        why=f"arena {size(arena)}{also}; {peak(manifest)}",
        fix="--weights-in auto leaves the weights in flash; or a target with more RAM" if weights else less if decoded else smaller,
    )


def peak(manifest: Manifest) -> str:
    """The step with the most live bytes and what lives there."""
    best: tuple[int, int, list[tuple[int, str]]] = (-1, 0, [])
    for i, step in enumerate(manifest.steps):
        present = [t for t in manifest.lifetimes if t.first <= i <= t.last and not (t.overwrites and t.first == i)]
        live = [(t.bytes, f"'{short(t.tensor)}'") for t in present]
        live += [(step.scratch, "scratch")] if step.scratch else []
        total = sum(n for n, _ in live)
        if total > best[0]:
            best = (total, i, live)
    if not best[2]:
        return "no step"
    _, i, live = best
    step = manifest.steps[i]
    parts = ", ".join(f"{name} {size(n)}" for n, name in sorted(live, reverse=True)[:SHOWN])
    return f"the peak is step {i} '{short(step.name)}' ({step.op}): {parts}"


def check_flash(manifest: Manifest, code: int | None, limit: Budget) -> None:
    """Code and weights against the limit.

    Raises:
        EdgeqError: they do not fit; names the largest tables.
    """
    weights = manifest.weight_bytes
    need = weights + (code or 0)
    if limit.flash is None or need <= limit.flash:
        return
    owner = {table: s.name for s in reversed(manifest.steps) for table in s.tables}
    largest = sorted(manifest.table_bytes.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    tables = ", ".join(f"'{short(owner.get(name, name))}' {size(n)}" for name, n in largest)
    raise EdgeqError(
        f"the model needs {size(need)} of flash, {limit.source} has {size(limit.flash)}: {size(need - limit.flash)} too much",
        why=f"{f'code {size(code)}, ' if code else ''}weights {size(weights)}; largest tables: {tables}",
        fix="fewer weights in those layers, or a target with more flash",
    )
