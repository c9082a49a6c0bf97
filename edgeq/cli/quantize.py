"""edgeq quantize: float model -> quantized graph and its reviewable precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import (
    ConstOption,
    ForceOption,
    JsonOption,
    ModelArgument,
    PlotOption,
    ShapeOption,
    SignatureOption,
    StateOption,
    StreamOption,
    TargetOption,
)
from edgeq.cli.options import takes_float_models
from edgeq.text import count, many, short, size

if TYPE_CHECKING:
    from edgeq.api.quantizing import Quantized

SHOWN = 12
EXACT_DB = 150.0


@takes_float_models
def quantize(
    model: ModelArgument,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder to write, or a file *.eqg.", show_default=False)],
    shape: ShapeOption = None,
    const: ConstOption = None,
    state: StateOption = None,
    signature: SignatureOption = None,
    stream: StreamOption = "",
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="flash=256K,drop=24dB",
            help="Limits for --recipe auto: flash, ram, instructions, cycles or latency, drop (in dB; in % of right answers where "
            "samples have labels).",
        ),
    ] = None,
    target: TargetOption = None,
    plot: PlotOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    *,
    chosen: Any,
) -> None:
    """Quantize a float model to int8, half precision or both, and show the accuracy of each tensor.

    DIR gets graph.eqg, which every verb reads, and precision.toml, to review, edit and feed back with --precision.
    """
    from edgeq import api
    from edgeq.api.budget import parse

    common.check_plot(plot, chosen.get("recipe"), chosen.get("precision"))
    with common.bars() as progress:
        shapes, states = common.parse_shapes(shape), common.parse_states(state)
        limits = parse(budget) if budget else None
        result = api.write_quantized(
            model, output, shapes=shapes, const=common.parse_consts(const), states=states, signature=signature, budget=limits,
            target=target, stream=stream, force=force, progress=progress, unseen=True, **chosen,
        )  # fmt: skip
    common.write_plot(plot, result.record)
    if as_json:
        common.print_json({"output": str(output), "law": result.graph.law, **result.record})
    else:
        show(result, output)


def show(result: Quantized, output: Path) -> None:
    """What is told at the end."""
    record = result.record
    if record["tensors"]:
        show_tensors(result)
    if record.get("reason"):
        typer.echo(f"noise: {record['reason']}")
    if told := unseen(record):
        typer.echo(f"outputs: {told}")
    if record.get("advice"):
        typer.echo(f"other recipes: {record['advice']}")
    show_record(record)
    typer.echo(str(output))


def unseen(record: Mapping[str, Any]) -> str:
    """What the outputs keep on samples that calibration has not seen; empty where that was not measured."""
    if not (judged := record.get("unseen")):
        return ""
    noise = judged["sqnr_db"]
    kept = f"SQNR {noise:.1f} dB" if noise < EXACT_DB else "exact"
    why = f": {judged['reason']}" if judged.get("reason") else ""
    return f"{kept} on {judged['judged']} of the samples, calibrated with the other {judged['calibrated']}{why}"


def show_tensors(result: Quantized) -> None:
    """The tensors that lost most."""
    record = result.record
    rows = sorted(record["tensors"], key=lambda t: float(t["sqnr_db"]))[:SHOWN]
    common.table(
        [("tensor", "text"), ("SQNR dB", "right"), ("saturated", "right"), ("suspected cause and fix", "text")],
        [
            (
                short(t["name"], common.name_room()),
                "exact" if t["sqnr_db"] >= EXACT_DB else f"{t['sqnr_db']:.1f}",
                f"{100 * (t['saturated'] or 0):.2f} %",
                ". ".join(x for x in (t["cause"], t["fix"]) if x),
            )
            for t in rows
        ],
        title=f"{result.graph.name}, rounding {result.graph.law}, {many(record['samples'], 'sample')}: the tensors that lost most",
    )


def show_record(record: Mapping[str, Any]) -> None:
    """What a recipe chose, and what became of a precision file."""
    if "changed" in record:
        typer.echo("changed against the precision file:\n" + "\n".join(f"  {line}" for line in record["changed"]))
    if "stream" in record:
        show_stream(record["stream"])
    if "allocation" in record:
        show_allocation(record["allocation"])
    if "robust" in record:
        show_candidates(record["robust"])


def show_stream(found: Mapping[str, Any]) -> None:
    """How a network on a stream answers, and how that differs from what it says of windows."""
    d = found["difference"]
    axes = ", ".join(f"axis {a} of '{short(n)}'" for n, a in found["axes"].items())
    data = "samples one after the other" if d["data"] else "noise"
    later = f", {found['lag']} frames later" if found["lag"] else ""
    other, borders = ("stream", "no") if found["exact"] else ("window", "the")
    level = "" if d["sqnr_db"] is None else f", SQNR {d['sqnr_db']:.1f} dB, the same class in {d['same_class']}"
    says = "the window's" if found["exact"] else f"the stream's own{later}, as {len(found['padded'])} layers pad along it"
    common.facts(
        "on a stream",
        {
            "along": f"{axes}: {found['hop']} new of {found['window']} frames a step, a result each",
            "first": f"results count from {found['needed']} frames on; lines before the first are zero",
            "MACs": f"{count(found['macs'])} a step instead of {count(found['window_macs'])}",
            "answers": f"{says}: {d['equal']} of {d['answers']} equal to the windowed network's{level} ({data})",
            "choice": f"answer={other} computes {borders} borders of the window again" if found["padded"] else "",
        },
    )


def show_candidates(found: Mapping[str, Any]) -> None:
    """What recipe robust chose, and between what."""
    common.table(
        [
            "", "code", ("bits per weight", "right"), ("energy", "right"), ("clip", "right"), ("loss without faults", "right"),
            ("mean", "right"), ("worst third", "right"),
        ],
        [
            (
                "chosen" if (c["code"], c["clip"]) == (found["code"], found["clip"]) else "", c["code"], f"{c['width']:.1f}",
                f"{c['energy']:.2f}", f"{c['clip']:g}",
                *(f"{100 * c[k]:.2f} %" for k in ("clean", "mean", "worst")),
            )
            for c in found["candidates"]
        ],
        title=f"bit errors at p = {100 * found['p']:g} %: squared distance from the float outputs, of their spread",
    )  # fmt: skip


def show_allocation(found: Mapping[str, Any]) -> None:
    """What a recipe chose within a budget, and between what."""
    usual, others = found.get("usual", "half precision"), f"nodes that are not {found.get('usual', 'float16')}"
    common.table(
        [("node", "text"), "in", ("roles", "text"), ("own noise dB", "right"), ("flash", "right"), ("instructions", "right")],
        [
            (
                short(u["name"], common.name_room()), u["storage"], u["roles"],
                "-" if u["sqnr_db"][u["storage"]] is None else f"{u['sqnr_db'][u['storage']]:.1f}",
                size(u["flash"][u["storage"]]), count(u["instructions"][u["storage"]]),
            )
            for u in found["nodes"]
        ],
        title=f"own noise: output SQNR with that node alone in this precision, the others in {usual}",
    )  # fmt: skip
    spared = 100 * (1 - found["judged"])
    lost = f", {found['loss']:.2f} % of the right answers lost" if "loss" in found else ""
    common.table(
        ["", ("flash", "right"), ("instructions", "right"), ("SQNR dB", "right"), (others, "text")],
        [
            (
                "chosen" if p["chosen"] else "", size(p["flash"]), count(p["instructions"]), f"{p['sqnr_db']:.1f}",
                ", ".join(f"{short(n, 22)} {s}" for n, s in p["storage"].items()),
            )
            for p in found["pareto"]
        ],
        title=f"{found['costs']} instructions; predicted SQNR; measured for the chosen: {found['sqnr_db']:.1f} dB{lost}; worst of "
        f"{found['pieces']} parts {found['worst_piece_db']:.1f} dB"
        + (f", at most {100 * found['below_at_most']:.0f} % of others do worse" if "below_at_most" in found else "")
        + (f"; without {spared:.0f} % of the stream, which half precision does not keep either" if spared else ""),
    )  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq quantize model.onnx --calib calib.npz -o q && edgeq build q --target riscv -o out")(quantize)
