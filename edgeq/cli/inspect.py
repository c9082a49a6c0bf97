"""edgeq inspect: the graph as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import ConstOption, JsonOption, ModelArgument, ShapeOption, SignatureOption
from edgeq.text import count, short, size

if TYPE_CHECKING:
    from edgeq.ir import Graph, TensorType


def inspect(
    model: ModelArgument,
    raw: Annotated[bool, typer.Option("--raw", help="As the file has it, before clean-up.")] = False,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a model's graph: steps, operators, types, work and weights."""
    from edgeq import api

    graph = api.load(model, shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature, normalise=not raw)
    data = describe(graph)
    if (Path(model) / "manifest.json").is_file():
        data["kernels"] = kernels(Path(model))
        data["bands"] = bands(Path(model))
    if as_json:
        common.print_json(data)
    else:
        show(data)


def interface(name: str, t: TensorType) -> dict[str, Any]:
    """A tensor as JSON values."""
    scales = None if t.q is None else [t.q.scale[0]] if len(t.q.scale) == 1 else [min(t.q.scale), max(t.q.scale)]
    return {"name": name, "shape": list(t.shape), "dtype": t.dtype.value, "scale": scales, "zero_point": t.zero_point if t.q else None}


def describe(graph: Graph) -> dict[str, Any]:
    """The graph as JSON values."""
    from edgeq.api import is_quantized

    steps = []
    for node in graph.nodes:
        inputs = graph.node_inputs(node)
        constants = [t for t in inputs if t.is_constant]
        steps.append(
            {
                "name": node.name, "op": node.op.kind(), "inputs": [t.name for t in inputs if not t.is_constant],
                "output": interface(node.outputs[0], graph.type(node.outputs[0])), "macs": node.op.macs(*(t.type for t in inputs)),
                "parameters": sum(t.type.size for t in constants), "parameter_bytes": sum(t.type.bytes for t in constants),
            }
        )  # fmt: skip
    constants = [t for t in graph.tensors.values() if t.is_constant]
    return {
        "name": graph.name, "quantized": is_quantized(graph), "law": graph.law if is_quantized(graph) else None,
        "inputs": [interface(n, graph.type(n)) for n in graph.inputs], "outputs": [interface(n, graph.type(n)) for n in graph.outputs],
        "states": [list(pair) for pair in graph.states],
        "macs": graph.macs(), "parameters": sum(t.type.size for t in constants),
        "parameter_bytes": sum(t.type.bytes for t in constants), "steps": steps,
    }  # fmt: skip


def kernels(folder: Path) -> dict[str, str]:
    """Node name -> kernel of an emitted folder."""
    from edgeq.record import manifest

    steps = manifest(folder).steps
    return {**{n: "folded" for s in steps for n in s.epilogue}, **{s.name: s.kernel for s in steps}}


def bands(folder: Path) -> list[dict[str, Any]]:
    """Per step of an emitted folder that runs in a band: the band's steps and turns, rows at a turn, and the rows and bytes of its result
    that are kept (None of one that is whole), how many of these bytes between the steps that use them, or the tensor in whose place they
    lie."""
    from edgeq.record import manifest

    found, record = list[dict[str, Any]](), manifest(folder)
    for band in record.bands:
        lines = {x.tensor: x for x in band.lines}
        for i, rows in zip(range(band.first, band.last + 1), band.rows, strict=True):
            step = record.steps[i]
            kept = lines.get(step.tensor)
            found.append(
                {
                    "first": band.first, "last": band.last, "turns": band.turns, "name": step.name, "rows": rows,
                    "kept": kept.rows if kept else None, "height": kept.height if kept else None,
                    "bytes": kept.bytes if kept else step.bytes, "beside": kept.beside if kept else None,
                    "between": kept.kept if kept and kept.busy else None,
                }
            )  # fmt: skip
    return found


def text(t: dict[str, Any]) -> str:
    """A type for people."""
    return f"{t['dtype']}[{'x'.join(map(str, t['shape']))}]"


def quantization(t: dict[str, Any]) -> str:
    """Scale and zero point for people."""
    return "" if t["scale"] is None else f"{t['scale'][0]:.6g} / {t['zero_point']}"


def show(data: dict[str, Any]) -> None:
    """The table."""
    kind = f"quantized, rounding {data['law']}" if data["quantized"] else "float"
    common.facts(
        f"{data['name']}: {kind}",
        {
            **{f"input {x['name']}": f"{text(x)}  {quantization(x)}" for x in data["inputs"]},
            **{f"output {x['name']}": f"{text(x)}  {quantization(x)}" for x in data["outputs"]},
            "work": f"{count(data['macs'])} MACs in {len(data['steps'])} nodes",
            "constants": f"{count(data['parameters'])}, {size(data['parameter_bytes'])}",
        },
    )
    found = data.get("kernels", {})
    room = common.name_room()
    rows = [
        (
            i, short(s["name"], room), s["op"], text(s["output"]), quantization(s["output"]), count(s["macs"]) if s["macs"] else "",
            size(s["parameter_bytes"]) if s["parameters"] else "", *([found.get(s["name"], "view")] if found else []),
        )
        for i, s in enumerate(data["steps"])
    ]  # fmt: skip
    heads: list[str | tuple[str, str]] = [
        ("", "right"),
        ("name", "text"),
        "operator",
        "output",
        "scale / zero",
        ("MACs", "right"),
        ("constants", "right"),
    ]
    common.table([*heads, *(["kernel"] if found else [])], rows)
    if data.get("bands"):
        show_bands(data["bands"], room)


def show_bands(found: list[dict[str, Any]], room: int) -> None:
    """Which steps run by bands of rows, and what they keep."""
    rows = [
        (
            f"{b['first']}-{b['last']}", b["turns"], short(b["name"], room), b["rows"],
            "whole" if b["kept"] is None else f"{b['kept']} of {b['height']}" if b["kept"] else f"in {short(b['beside'] or '', room)}",
            size(b["bytes"]) if b["bytes"] else "",
            size(b["between"]) if b["between"] is not None else "",
        )
        for b in found
    ]  # fmt: skip
    columns: list[str | tuple[str, str]] = [
        "band",
        ("turns", "right"),
        ("name", "text"),
        ("rows at a turn", "right"),
        "rows kept",
        ("bytes", "right"),
        ("between", "right"),
    ]
    common.table(columns, rows)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq inspect model.tflite --json")(inspect)
