"""The excerpts in docs/add-an-operator.md are the code, word for word; its example is made of the files that the page lists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgeq.ops import registry

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "add-an-operator.md").read_text(encoding="utf-8")
EXCERPTS = re.findall(r"<!-- excerpt (\S+) -->\n```\w+\n(.*?)```", PAGE, re.S)
LISTED = set(re.findall(r"^\| `(\S+?/\S+)` \|", PAGE, re.M))


def test_the_page_has_excerpts() -> None:
    assert len(EXCERPTS) == 8 and len(LISTED) == 4


@pytest.mark.parametrize(("name", "text"), EXCERPTS, ids=[f"{i}-{name}" for i, (name, _) in enumerate(EXCERPTS)])
def test_excerpt_is_in_its_file(name: str, text: str) -> None:
    assert text in (ROOT / name).read_text(encoding="utf-8")


def test_the_example_is_these_files_and_no_other_names_it() -> None:
    """But for frontends, which read it by its class, training (PyTorch's), tables of all operators, and TFLite's arithmetic of it."""
    assert "log_softmax" in registry()
    naming = set()
    for folder, ending in (("edgeq", "*.py"), ("templates", "*.j2"), ("tests/ops", "*.py")):
        for path in (ROOT / folder).rglob(ending):
            elsewhere = not {"frontends", "train"}.isdisjoint(path.parts)
            if not elsewhere and re.search(r"\blog_softmax|\bLogSoftmax\b", path.read_text(encoding="utf-8")):
                naming.add(path.relative_to(ROOT).as_posix())
    assert naming - {"edgeq/ops/fixed_log_softmax.py"} == LISTED


def test_every_trait_is_on_the_page() -> None:
    import dataclasses

    from edgeq.traits import Traits

    assert {f.name for f in dataclasses.fields(Traits)} <= set(re.findall(r"`(\w+)`", PAGE))
