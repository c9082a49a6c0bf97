"""The excerpts in docs/generated-c.md come from a real build: line by line, numbers apart."""

from __future__ import annotations

import re
from pathlib import Path

from edgeq import target
from edgeq.emit import emit
from edgeq.frontends import load
from edgeq.lower import lower
from edgeq.passes import normalise
from edgeq.plan import plan

PAGE = Path(__file__).parent.parent / "docs" / "generated-c.md"
EXCERPT = re.compile(r"<!-- excerpt (\S+) -->\n```c\n(.*?)```", re.S)


def shape(text: str) -> str:
    """Sizes, offsets and column widths may change with the kernels; the words may not."""
    return re.sub(r"[ \d.]+", " ", text)


def test_excerpts_are_real(data: Path) -> None:
    program = lower(normalise(load(data / "mlperf_tiny" / "kws_ref_model.tflite")), target.load("riscv"))
    files = emit(program, plan(program), "kws").files
    excerpts = EXCERPT.findall(PAGE.read_text())
    assert len(excerpts) == 5
    for name, text in excerpts:
        lines = [shape(line) for line in files[name].decode().splitlines()]
        quoted = [shape(line) for line in text.splitlines()]
        starts = [i for i in range(len(lines)) if lines[i : i + len(quoted)] == quoted]
        assert starts, f"{name} no longer holds:\n{text}"
