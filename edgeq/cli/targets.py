"""edgeq targets: what can be built for, and which operators have kernels there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption
from edgeq.errors import EdgeqError
from edgeq.text import size

if TYPE_CHECKING:
    from edgeq.target import Target


def targets(
    words: Annotated[list[str] | None, typer.Argument(help="Only those whose name or description has these: m4, stm32.")] = None,
    operators: Annotated[bool, typer.Option("--operators", help="Show the coverage: operator x dtype x ISA.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="With --operators: as Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the targets, or with --operators what each ISA computes.

    Targets of your own are found in ./targets and in the folders of EDGEQ_PATH; -t also takes the path of a .toml file.
    """
    if operators:
        show_operators(markdown, as_json)
        return
    from edgeq import target as module

    loaded = [t for t in map(module.load, module.names()) if all(w.lower() in f"{t.name} {t.description}".lower() for w in words or ())]
    if not loaded:
        asked = " and ".join(map(repr, words or ()))
        raise EdgeqError(f"no target has {asked} in its name or description", fix="`edgeq targets` lists all")
    if as_json:
        common.print_json(
            [
                {
                    "name": t.name, "description": t.description, "isa": list(t.isa), "flash": t.flash, "ram": t.ram,
                    "runners": list(t.runners), "toolchains": list(t.toolchains),
                }
                for t in loaded
            ]
        )  # fmt: skip
        return
    columns: list[str | tuple[str, str]] = ["", ("", "text"), ("flash", "right"), ("RAM", "right"), "runs on"]
    for title, members in families(loaded).items():
        rows = [(t.name, t.description, size(t.flash), size(t.ram), t.runners[0] if t.runners else "-") for t in members]
        common.table(columns, rows, title=title)


def families(loaded: list[Target]) -> dict[str, list[Target]]:
    """Targets by what they are: this computer, cores, then boards, of Arm and RISC-V; the user's own apart."""
    from edgeq.resources import resource

    found: dict[str, list[Target]] = {
        f: [] for f in ("this computer", "Arm cores", "RISC-V cores", "Arm boards", "RISC-V boards", "your own")
    }
    for t in loaded:
        family = "RISC-V" if t.family == "riscv" else "Arm"
        name = f"{family} {'cores' if t.name.startswith(('cortex-', 'riscv')) else 'boards'}" if t.bsp else "this computer"
        found[name if t.file.parent.resolve() == resource("targets").resolve() else "your own"].append(t)
    return {name: members for name, members in found.items() if members}


def show_operators(markdown: bool, as_json: bool) -> None:
    """The coverage table."""
    from edgeq.report import coverage

    rows = coverage.coverage()
    isas = coverage.columns(rows)
    if as_json:
        common.print_json({r.op: {f"{d}/{isa}": n for (d, isa), n in sorted(r.kernels.items())} for r in rows})
    elif markdown:
        typer.echo(coverage.markdown(), nl=False)
    else:
        common.table(["operator", *isas, ""], [(r.op, *coverage.cells(r, isas), r.note) for r in rows])


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq targets m4")(targets)
