"""measurements.json: what was measured on an emitted model, kept beside its sources and apart from them.

The emitted files depend on the model alone; this file grows as the model is built, run, compared and
scored, and a new build starts it afresh. It holds no date, host or path::

    {"format": 1, "sources_sha256": "...",          the sources that were measured
     "build":        {"toolchain", "optimize", "code_bytes", "weight_bytes", ...},
     "quantization": {"method", "law", "samples", "tensors": [...], ...},
     "runs":         {"<runner>": {"target", "vectors", "instructions", "step_instructions", ...}},
     "activations":  {"vectors", "tensors": [{"name", "low", "high", "saturated"}]},
     "comparisons":  {"<runner>": {"vectors", "tensors", "values", "bit_exact", "difference"}},
     "accuracy":     {"<runner>": {"samples", "top1", ...}},
     "files":        {"<name>": "<SHA-256>"}}       what edgeq wrote here beside what the manifest names
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.files import json_text, reason, write_bytes

NAME = "measurements.json"
FORMAT = 1
SECTIONS = ("build", "quantization", "activations", "runs", "comparisons", "accuracy", "files")


def read(folder: Path, sources: str | None = None) -> dict[str, Any]:
    """What was measured so far; empty where nothing was, or where it was measured on other sources.

    Args:
        folder: the emitted folder.
        sources: the manifest's ``sources_sha256``.

    Raises:
        EdgeqError: the file is damaged.
    """
    path = folder / NAME
    fresh = {"format": FORMAT, "sources_sha256": sources}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, RecursionError) as e:
        raise EdgeqError("cannot read the measurements", where=str(path), why=reason(e), fix="delete the file, or build again") from e
    if not isinstance(data, dict) or data.get("format") != FORMAT or not all(isinstance(data.get(s, {}), dict) for s in SECTIONS):
        raise EdgeqError("measurements of another format", where=str(path), fix="delete the file, or build again")
    return data if data.get("sources_sha256") == sources else fresh


def update(folder: Path, sources: str | None, section: str, values: Mapping[str, Any], key: str | None = None) -> None:
    """Replace a section, or one entry of it.

    Args:
        section: one of `SECTIONS`.
        values: what was measured; JSON values alone.
        key: the section's entry (a runner's name), None for the whole section.

    Raises:
        EdgeqError: the file cannot be read or written.
    """
    data = read(folder, sources)
    if key is None:
        data[section] = dict(values)
    else:
        data[section] = dict(sorted({**data.get(section, {}), key: dict(values)}.items()))
    write_bytes(folder / NAME, json_text(data).encode())
