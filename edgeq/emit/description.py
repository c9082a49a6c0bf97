"""What a firmware knows of its model: eq_description.h and eq_mlperf.h, made for each build from the manifest."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from edgeq.board import Board
from edgeq.errors import EdgeqError
from edgeq.numerics import quantize_factor
from edgeq.record import Manifest

TENSOR = ("name", "dtype", "shape", "bytes", "scale", "zero_point")
MODEL = ("model", "target", "law", "sources_sha256", "arena_bytes", "state_bytes", "weight_bytes", "macs")
TASKS = {  # of MLPerf Tiny: values in and out, and how the runner codes an input: as stored, as unsigned bytes, as float32
    "kws01": (490, 12, 0), "vww01": (27648, 2, 1), "ic01": (3072, 10, 1), "ad01": (640, 640, 2),
}  # fmt: skip


def description(manifest: Manifest, board: Board) -> dict[str, Any]:
    """What the device link tells a host (docs/link.md)."""
    return {
        "edgeq": version("edgeq"), "board": board.name, **{k: getattr(manifest, k) for k in MODEL},
        "inputs": [{k: getattr(x, k) for k in TENSOR} for x in manifest.inputs],
        "outputs": [{k: getattr(x, k) for k in TENSOR} for x in manifest.outputs],
        "instructions_per_tick": board.qemu.instructions_per_tick if board.qemu else None,
    }  # fmt: skip


def header(manifest: Manifest, board: Board, *, weights_in_ram: bool) -> str:
    """The text of eq_description.h: the description as JSON, and where the model's tables lie, as firmware/lib/faults.h has them."""
    text = json.dumps(description(manifest, board), separators=(",", ":"))
    pieces = [text[i : i + 100] for i in range(0, len(text), 100)]
    quoted = " \\\n".join(f'    "{p}"' for p in (piece.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") for piece in pieces))
    hit = manifest.fault_tables
    rows = [f"    {{ {symbol}, {size}u, {int(symbol in hit)}u }}, \\" for symbol, size in manifest.table_bytes.items()]
    return "\n".join(
        [
            "/* What this firmware knows of its model. Made by edgeq. */",
            "#ifndef EQ_DESCRIPTION_H", "#define EQ_DESCRIPTION_H", "", f'#include "{manifest.model}_weights.h"', "",
            f"#define EQ_WEIGHTS_IN_RAM {int(weights_in_ram)}", f"#define EQ_TABLE_COUNT {len(rows)}u",
            "#define EQ_TABLES { \\", *rows, "    { 0, 0u, 0u } }", "", f"#define EQ_DESCRIPTION \\\n{quoted}", "", "#endif", "",
        ]
    )  # fmt: skip


def mlperf_header(manifest: Manifest, board: Board) -> str:
    """The text of eq_mlperf.h: which task of MLPerf Tiny the model solves, and how its tensors are coded.

    Raises:
        EdgeqError: none of them, or not in int8.
    """
    (x, *more), (y, *others) = manifest.inputs, manifest.outputs
    task = next((t for t, (given, results, _) in TASKS.items() if (x.bytes, y.bytes) == (given, results)), None)
    if task is None or more or others or x.scale is None or y.scale is None or {x.dtype, y.dtype} != {"s8"} or manifest.state_bytes:
        why = "they have one int8 input and output of " + ", ".join(f"{a} and {b} values ({t})" for t, (a, b, _) in TASKS.items())
        raise EdgeqError("not a model of MLPerf Tiny", where=manifest.model, why=why, fix="choose another application")
    values, outputs, coding = TASKS[task]
    words = {
        "EQ_MLPERF_NAME": f'"edgeq-{board.name}"', "EQ_MLPERF_TASK": f'"{task}"', "EQ_MLPERF_UNSIGNED": "1", "EQ_MLPERF_REAL": "2",
        "EQ_MLPERF_CODING": f"{coding}", "EQ_MLPERF_VALUES": f"{values}u", "EQ_MLPERF_OUTPUTS": f"{outputs}u",
        "EQ_MLPERF_BYTES": f"{values * (4 if coding == 2 else 1)}u", "EQ_MLPERF_TFLM": f"{int(manifest.law == 'tflm')}",
        "EQ_MLPERF_FACTOR": f"{float(quantize_factor(manifest.law, x.scale)).hex()}f",
        "EQ_MLPERF_INPUT_ZERO": f"({x.zero_point})", "EQ_MLPERF_SCALE": f"{y.scale.hex()}f",
        "EQ_MLPERF_ZERO": f"({y.zero_point})",
    }  # fmt: skip
    lines = [f"#define {name} {value}" for name, value in words.items()]
    return "\n".join(["/* What the MLPerf Tiny runner's commands mean for this model. Made by edgeq. */", *lines, ""])
