"""Fills generated parts of pages: the table of docs/operators.md, and with --demo what `make demo` prints in the README.

    python -m benchmarks.pages [--demo]
"""

from __future__ import annotations

import re
import subprocess
import sys

from benchmarks.models import ROOT
from edgeq.report.coverage import markdown

README = ROOT / "README.md"
OPERATORS = ROOT / "docs" / "operators.md"


def filled(text: str, part: str, content: str) -> str:
    """The text with what stands between `<!-- part -->` and `<!-- /part -->` replaced."""
    pattern = re.compile(rf"(<!-- {part} -->\n).*?(<!-- /{part} -->)", re.DOTALL)
    return pattern.sub(lambda m: f"{m[1]}{content.rstrip()}\n{m[2]}", text)


def main() -> None:
    OPERATORS.write_text(filled(OPERATORS.read_text(encoding="utf-8"), "coverage", markdown()), encoding="utf-8")
    if "--demo" in sys.argv:
        demo = [sys.executable, "examples/digits/demo.py"]
        printed = subprocess.run(demo, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        lines = "\n".join(line.rstrip() for line in printed.strip().splitlines())
        text = filled(README.read_text(encoding="utf-8"), "demo", f"```console\n{lines}\n```")
        README.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
