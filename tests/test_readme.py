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


def test_tokens_a_second_are_the_measured_ones() -> None:
    page = (ROOT / "benchmarks" / "language_model.md").read_text(encoding="utf-8")
    rates = [re.search(rf"\| {form} \| {chip} \| [\d,]+ \| (\d+) ", page) for form in ("int8", "int4") for chip in ("cortex-m4", "riscv")]
    m4, riscv, m4_of_four, riscv_of_four = (m[1] for m in rates if m)
    told = f"{m4} tokens a second at 120 MHz on\nCortex-M4 in int8 and {m4_of_four} in int4, {riscv} and {riscv_of_four} on RV32IMC"
    assert told in README, "run `python -m benchmarks.language_model`, and write its figures here"


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    np.savez(tmp_path / "calib.npz", image=np.random.default_rng(0).random((8, 1, 8, 8), np.float32))
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
