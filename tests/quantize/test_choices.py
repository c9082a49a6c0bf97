"""What quantization chooses stays what it was, unless somebody means to change it."""

from __future__ import annotations

import choices
import pytest


@pytest.mark.parametrize("name", choices.CASES)
def test_choices_are_those_that_are_kept(name: str) -> None:
    assert not choices.difference(name), "if this is better, python tests/quantize/choices.py --bless, and say why in the commit"


def test_every_choice_that_is_kept_is_made() -> None:
    assert list(choices.kept()) == list(choices.CASES)
