"""The emitted C, cut into steps and kernels."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Source:
    """What the report shows of the C.

    Attributes:
        steps: number of a step -> its block in ``<model>_invoke``.
        kernels: function -> its comment and its code.
        used: number of a step -> the function that it calls.
    """

    steps: Mapping[int, str] = field(default_factory=dict)
    kernels: Mapping[str, str] = field(default_factory=dict)
    used: Mapping[int, str] = field(default_factory=dict)


def read(folder: Path, model: str) -> Source:
    """The C of an emitted folder; what cannot be found is left out."""
    try:
        steps_text = (folder / f"{model}.c").read_text(encoding="utf-8")
        kernels_text = (folder / f"{model}_kernels.c").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return Source()
    found = re.finditer(r"^    /\* (\d+)  .*?\n(?=    EQ_STEP\(\1\b)", steps_text, re.DOTALL | re.MULTILINE)
    steps = {int(m[1]): textwrap.dedent(m[0]).rstrip() for m in found}
    kernels = {}
    for part in re.findall(r"^(?:/\*(?:[^*]|\*(?!/))*\*/\n)?void \w+\([^;{]*\)\n\{\n.*?^\}", kernels_text, re.DOTALL | re.MULTILINE):
        kernels[re.search(r"^void (\w+)\(", part, re.MULTILINE)[1]] = part  # type: ignore[index]
    names = {i: re.findall(r"\b(\w+)\(&", text) for i, text in steps.items()}
    return Source(steps, kernels, {i: n[-1] for i, n in names.items() if n and n[-1] in kernels})
