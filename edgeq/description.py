"""What a firmware knows of its model: eq_description.h, made for each build from the manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from edgeq.board import Board

TENSOR = ("name", "dtype", "shape", "bytes", "scale", "zero_point")
MODEL = ("model", "target", "law", "sources_sha256", "arena_bytes", "state_bytes", "weight_bytes", "macs")


def description(manifest: Mapping[str, Any], board: Board) -> dict[str, Any]:
    """What the device link tells a host (docs/link.md)."""
    return {
        "edgeq": version("edgeq"), "board": board.name, **{k: manifest.get(k) for k in MODEL},
        "inputs": [{k: x[k] for k in TENSOR} for x in manifest["inputs"]],
        "outputs": [{k: x[k] for k in TENSOR} for x in manifest["outputs"]],
        "instructions_per_tick": board.qemu.instructions_per_tick if board.qemu else None,
    }  # fmt: skip


def header(manifest: Mapping[str, Any], board: Board, *, weights_in_ram: bool) -> str:
    """The text of eq_description.h: the description as JSON, and where the model's tables lie."""
    text = json.dumps(description(manifest, board), separators=(",", ":"))
    pieces = [text[i : i + 100] for i in range(0, len(text), 100)]
    quoted = " \\\n".join(f'    "{p}"' for p in (piece.replace("\\", "\\\\").replace('"', '\\"').replace("?", "\\?") for piece in pieces))
    rows = [f"    {{ {symbol}, {size}u }}, \\" for symbol, size in manifest["table_bytes"].items()]
    return "\n".join(
        [
            "/* What this firmware knows of its model. Made by edgeq. */",
            "#ifndef EQ_DESCRIPTION_H", "#define EQ_DESCRIPTION_H", "", f'#include "{manifest["model"]}_weights.h"', "",
            "typedef struct {", "    const void *data;", "    uint32_t bytes;", "} eq_table_t;", "",
            f"#define EQ_WEIGHTS_IN_RAM {int(weights_in_ram)}", f"#define EQ_TABLE_COUNT {len(rows)}u",
            "#define EQ_TABLES { \\", *rows, "    { 0, 0u } }", "", f"#define EQ_DESCRIPTION \\\n{quoted}", "", "#endif", "",
        ]
    )  # fmt: skip
