"""The excerpts in docs/add-a-quantization-method.md are the code, word for word, and its table names the folders that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "add-a-quantization-method.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"<!-- excerpt (\S+) -->\n```\w+\n(.*?)```", PAGE, re.S)


@pytest.mark.parametrize(("name", "text"), EXCERPTS, ids=[name for name, _ in EXCERPTS])
def test_excerpt_is_in_its_file(name: str, text: str) -> None:
    assert text in (ROOT / name).read_text(encoding="utf-8")


def test_the_folders_are_there() -> None:
    folders = re.findall(r"^\| [^|]+ \| `(edgeq/\S+/)` \|", PAGE, re.M)
    assert len(EXCERPTS) == 6 and len(folders) == 9 and all((ROOT / f / "__init__.py").is_file() for f in folders)
