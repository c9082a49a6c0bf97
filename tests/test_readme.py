"""Pages say what is: the table of operators is generated, links lead somewhere, the README's example runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.pages import OPERATORS, filled  # noqa: E402
from edgeq.report.coverage import markdown  # noqa: E402

README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_coverage_table_is_current() -> None:
    page = OPERATORS.read_text(encoding="utf-8")
    assert filled(page, "coverage", markdown()) == page, "run `python -m benchmarks.pages`"
    assert "| conv2d |" in page


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)  # without code
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    np.savez(tmp_path / "calib.npz", image=np.random.default_rng(0).random((8, 1, 8, 8), np.float32))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
