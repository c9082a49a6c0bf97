"""What quantization chooses stays what it was, unless somebody means to change it."""

from __future__ import annotations

import choices
import pytest


@pytest.mark.parametrize("name", choices.kept())
def test_choices_are_those_that_are_kept(name: str) -> None:
    assert not choices.difference(name), "if this is better, python tests/quantize/choices.py --bless, and say why in the commit"


def test_every_choice_that_is_kept_is_made() -> None:
    """A new method has a test of its own; it is kept here from the next time that somebody blesses what is chosen."""
    assert set(choices.kept()) <= set(choices.CASES)
