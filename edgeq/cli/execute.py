"""What simulate, run and compare share: files in and out, and the table at the end."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeq.cli import common
from edgeq.text import count, short, size

if TYPE_CHECKING:
    from edgeq.api import Outcome
    from edgeq.board import Board
    from edgeq.compare import Comparison


def write_outputs(outcome: Outcome, path: Path | None, real: bool) -> None:
    """Write the outputs by name, stored or dequantized."""
    from edgeq.files import npz_bytes, write_bytes

    if path is not None:
        write_bytes(path, npz_bytes(outcome.outputs(real=real)))


def stamp(outcome: Outcome) -> str:
    """The verdict on an outcome in one line."""
    altered = f" (the folder's code was changed: {', '.join(outcome.changed)})" if outcome.changed else ""
    return "" if outcome.comparison is None else verdict(outcome.comparison) + altered


def verdict(c: Comparison) -> str:
    """A comparison in one line."""
    values = f"{c.vectors} vectors, {c.tensors} tensors, {count(c.values)} values"
    if c.difference is None:
        return f"bit-exact: {c.actual} = {c.expected} in {values}"
    return f"DIFFERS: {c.actual} against {c.expected} over {values}; {c.difference}"


def show(outcome: Outcome, *, steps: bool) -> None:
    """The table at the end: totals, and what each step took."""
    from edgeq.latency import latency

    m, r = outcome.manifest, outcome.run
    per_mac = f", {r.instructions / m.macs:.2f} per MAC" if r.instructions and m.macs else ""
    spent = "" if r.cycles is None else f"{latency(r.cycles, place_of(outcome.manifest.target))} by the model of the core"
    constant = {True: ", the same for every input", False: ", differs between inputs", None: ""}[r.constant_time]
    code = outcome.code_bytes
    common.facts(
        f"{m.model} for {m.target} on {r.runner}, rounding {m.law}",
        {
            "vectors": str(outcome.vectors),
            "instructions": f"{count(r.instructions)} per inference{per_mac}{constant}" if r.instructions else "",
            "cycles": spent,
            "flash": f"weights {size(m.weight_bytes)}{f', code {size(code)}' if code else ''}",
            "RAM": f"arena {size(m.arena_bytes)}{f', stack {size(r.stack)}' if r.stack is not None else ''}",
            "faults": str(outcome.damage or ""),
            "result": stamp(outcome),
        },
    )
    if steps and r.step_instructions:
        cycles = r.cycles.steps if r.cycles and r.cycles.steps else None
        rows = [
            (
                i, short(s.name, common.name_room()), s.kernel, count(s.macs), count(n), f"{n / s.macs:.2f}" if s.macs else "-",
                *([count(cycles[i])] if cycles else []),
            )
            for i, (s, n) in enumerate(zip(m.steps, r.step_instructions, strict=True))
        ]  # fmt: skip
        heads: list[str | tuple[str, str]] = [
            ("step", "right"), ("name", "text"), "kernel", ("MACs", "right"), ("instructions", "right"), ("per MAC", "right"),
        ]  # fmt: skip
        common.table([*heads, *([("cycles", "right")] if cycles else [])], rows)


def place_of(target: str) -> Board | None:
    """The board of a target; None on the host."""
    from edgeq import board
    from edgeq import target as targets

    chip = targets.load(target)
    return board.load(chip) if chip.bsp else None
