"""edgeq targets: what can be built for, and which operators have kernels there."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption
from edgeq.text import size


def targets(
    operators: Annotated[bool, typer.Option("--operators", help="Show the coverage: operator x dtype x ISA.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="With --operators: as Markdown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the targets, or with --operators what each ISA computes."""
    if operators:
        show_operators(markdown, as_json)
        return
    from edgeq import target as module

    loaded = [module.load(n) for n in module.names()]
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
    rows = [(t.name, t.description, size(t.flash), size(t.ram), ", ".join(t.runners), ", ".join(t.toolchains)) for t in loaded]
    common.table(["target", ("what it is", "text"), ("flash", "right"), ("RAM", "right"), "runners", "tool chains"], rows)


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
    app.command(epilog="Example:  edgeq targets --operators")(targets)
