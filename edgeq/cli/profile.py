"""edgeq profile: where the cycles of an emitted model go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import InputOption, JsonOption, OptimizeOption, ToolchainOption, TrustOption
from edgeq.text import count

if TYPE_CHECKING:
    from edgeq.api.profiling import Function, Line, Profile

BAR = 20  # characters of a whole


def profile(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder that edgeq build wrote for a RISC-V target.", show_default=False)],
    inputs: InputOption = None,
    runner: Annotated[str, typer.Option("--runner", "-r", help="iss: the only one that counts each instruction.")] = "iss",
    vectors: Annotated[int, typer.Option(min=1, help="Random vectors, where no input is given.")] = 1,
    function: Annotated[
        str | None, typer.Option(help="Show all lines of the functions of this name or part of it.", show_default=False)
    ] = None,
    lines: Annotated[int, typer.Option(min=0, help="How many of the hottest instructions to show.")] = 12,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Show where an inference spends its cycles: functions, and the hottest instructions.

    Cycles are those of a CV32E40P core with zero-wait memory. Cycles of an instruction beyond the first are stalls.
    """
    from edgeq import api

    found = api.profile(folder, inputs, runner=runner, vectors=vectors, toolchain=toolchain, optimize=optimize, trust=trust)
    if as_json:
        common.print_json(record(found))
        return
    common.facts(
        f"{folder} on {runner}",
        {
            "cycles": f"{count(round(found.cycles))} per inference", "instructions": f"{count(round(found.instructions))} per inference",
            **{name.replace("_", " "): f"{count(round(n))} per inference" for name, n in waits(found).items()},
        },
    )  # fmt: skip
    shown(found, function, lines)


def waits(found: Profile) -> dict[str, float]:
    """Of a cluster, per inference: cycles that the computing cores waited for banks of L1 and for L2, those that the orchestrating
    one slept for copies, and bytes copied. Nothing of one core."""
    if found.traffic is None:
        return {}
    t = found.traffic
    sums = {"waits_for_banks": sum(t.banks[1:]), "waits_for_l2": sum(t.far[1:]), "sleep_for_copies": t.copies, "bytes_copied": t.copied}
    return {name: n / found.vectors for name, n in sums.items()}


def record(found: Profile) -> dict[str, Any]:
    """A profile as JSON values."""
    return {
        "vectors": found.vectors, "cycles": found.cycles, "instructions": found.instructions, **waits(found),
        "functions": [
            {
                "name": f.name, "cycles": f.cycles, "instructions": f.instructions,
                "lines": [
                    {"address": x.address, "text": x.text, "source": x.source, "count": x.count, "cycles": x.cycles} for x in f.lines
                ],
            }
            for f in found.functions
        ],
    }  # fmt: skip


def _bar(part: float, whole: float) -> str:
    return "█" * round(BAR * part / whole) if whole else ""


def shown(found: Profile, function: str | None, lines: int) -> None:
    """The tables."""
    rows = [
        (
            f.name, count(round(f.cycles)), f"{100 * f.cycles / found.cycles:.1f}", count(round(f.instructions)),
            f"{f.cycles / f.instructions:.2f}", _bar(f.cycles, found.cycles),
        )
        for f in found.functions
    ]  # fmt: skip
    heads: list[str | tuple[str, str]] = [
        ("function", "text"), ("cycles", "right"), ("%", "right"), ("instructions", "right"), ("cycles per instruction", "right"), "",
    ]  # fmt: skip
    common.table(heads, rows)
    every = [(f, x) for f in found.functions for x in f.lines]
    if function is not None:
        chosen = [(f, x) for f, x in every if function in f.name]
    else:
        chosen = sorted(every, key=lambda pair: -pair[1].cycles)[:lines]
    if chosen:
        heads = [("instruction", "text"), ("cycles", "right"), ("times", "right"), ("each", "right"), ("where", "text")]
        common.table(heads, map(_row, chosen))


def _row(pair: tuple[Function, Line]) -> tuple[str, ...]:
    f, x = pair
    each = f"{x.cycles / x.count:.2f}"
    return f"{x.address:08x}  {x.text}", count(round(x.cycles)), count(round(x.count)), each, f"{f.name} {x.source}"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq profile out --runner iss")(profile)
