"""The excerpts in docs/add-a-weight-format.md are the code, word for word; what they show runs in test_stage.py."""

from __future__ import annotations

import re
from pathlib import Path

from edgeq.formats import registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "add-a-weight-format.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"<!-- excerpt (\S+) -->\n```\w+\n(.*?)```", PAGE, re.S)


def test_the_excerpts_are_in_their_files() -> None:
    assert len(EXCERPTS) == 3
    for name, text in EXCERPTS:
        assert text in (ROOT / name).read_text(encoding="utf-8")


def test_every_format_has_its_twin() -> None:
    for name, kind in registry().items():
        assert name == "plain" or (ROOT / "templates" / "runtime" / kind().header).is_file()
