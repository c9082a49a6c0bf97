"""The excerpts in docs/add-an-operator.md are the code, word for word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXCERPTS = re.findall(r"<!-- excerpt (\S+) -->\n```\w+\n(.*?)```", (ROOT / "docs" / "add-an-operator.md").read_text(encoding="utf-8"), re.S)


def test_the_page_has_excerpts() -> None:
    assert len(EXCERPTS) == 6


@pytest.mark.parametrize(("name", "text"), EXCERPTS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(EXCERPTS)])
def test_excerpt_is_in_its_file(name: str, text: str) -> None:
    assert text in (ROOT / name).read_text(encoding="utf-8")
