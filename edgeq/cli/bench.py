"""edgeq bench: what an inference takes on a board."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import BaudOption, JsonOption, TimeoutOption, VectorsOption
from edgeq.run.ports import BAUD, SILENCE
from edgeq.text import count, short, size

if TYPE_CHECKING:
    from edgeq.api import BoardBench


def bench(
    port: Annotated[
        str,
        typer.Option("--port", "-p", metavar="PORT", help="Port of a board that runs `edgeq firmware --app serve`.", show_default=False),
    ],
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="The folder that its firmware was built from; names the steps.", show_default=False),
    ] = None,
    vectors: VectorsOption = 16,
    baud: BaudOption = BAUD,
    timeout: TimeoutOption = SILENCE,
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Add cycles estimated and measured; beside the board's bsp.toml, as pairs.json, they widen its error bars.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a board on random vectors: latency in ticks of its clock, also per step, stack, arena and transfer speed.

    For emulated chips use `edgeq run`.
    """
    from edgeq import api
    from edgeq.api.device import expected
    from edgeq.errors import EdgeqError
    from edgeq.record.pairs import add, read
    from edgeq.run.ports import Port

    if pairs is not None and model is None:
        raise EdgeqError("--pairs without a folder", why="the estimate is in it", fix="give DIR, which the firmware was built from")
    wanted = None if pairs is None or model is None else expected(model)
    if pairs is not None:
        read(pairs)  # a file that cannot be added to is known before anything is measured
    with common.bars() as progress:
        result = api.bench_board(Port(port, baud, timeout), model, vectors=vectors, progress=progress)
    pair = None if wanted is None else wanted.measured(result)
    if pairs is not None and pair is not None:
        add(pairs, pair)
    if as_json:
        common.print_json(record(result) | ({"pair": asdict(pair)} if pair else {}))
        return
    show(result, names(model))
    if pair is not None:
        told = f"{count(pair.measured)} cycles, {count(pair.estimate)} estimated: {100 * (pair.ratio - 1):+.1f} %"
        common.facts(f"1 pair added to {pairs}", {"measured": told})


def names(model: Path | None) -> list[str]:
    """The steps' names, empty where they are not known."""
    from edgeq.record import manifest

    return [] if model is None else [s.name for s in manifest(model).steps]


def record(result: BoardBench) -> dict[str, Any]:
    """The measurements as JSON values."""
    m, s, d = result.measured, result.statistics, result.description
    return {
        "model": d.get("model"), "target": d.get("target"), "board": d.get("board"), "sources_sha256": d.get("sources_sha256"),
        "law": d.get("law"), "edgeq": d.get("edgeq"), "vectors": len(m.ticks),
        "ticks": {"least": int(m.ticks.min()), "most": int(m.ticks.max())}, "instructions": m.run.instructions,
        "seconds_per_inference": float(m.seconds.mean()), "stack_bytes": m.run.stack_bytes, "stack_reserved": s.stack,
        "arena_bytes": s.arena, "arena_touched": s.touched_arena, "steps": [{"step": i, "ticks": n} for i, n in result.steps],
        "line": {"to_board": result.line[0], "from_board": result.line[1], "retries": m.retries, "damaged": s.damaged},
    }  # fmt: skip


def show(result: BoardBench, steps: list[str]) -> None:
    """The measurements for people."""
    m, s, d = result.measured, result.statistics, result.description
    least, most = int(m.ticks.min()), int(m.ticks.max())
    common.facts(
        f"{d.get('model')} for {d.get('target')} on board {d.get('board')}, rounding {d.get('law')}, edgeq {d.get('edgeq')}",
        {
            "vectors": str(len(m.ticks)),
            "latency": f"{count(most)} ticks" if least == most else f"{count(least)} to {count(most)} ticks",
            "instructions": count(m.run.instructions) if m.run.instructions is not None else "",
            "with transfer": f"{1000 * m.seconds.mean():.1f} ms",
            "RAM": f"arena {size(s.arena)}, {size(s.touched_arena)} of it used, stack {size(m.run.stack_bytes)} of {size(s.stack)}",
            "line": f"{result.line[0] / 1000:.1f} kB/s to the board, {result.line[1] / 1000:.1f} kB/s from it, {s.damaged} frames damaged",
        },
    )
    rows = [(i, short(steps[i], common.name_room()) if i < len(steps) else "", count(n)) for i, n in result.steps]
    common.table([("step", "right"), ("name", "text"), ("ticks", "right")], rows)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq bench out --port /dev/ttyACM0")(bench)
