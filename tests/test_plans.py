"""What the planner decides stays what it was, unless somebody means to change it."""

from __future__ import annotations

import plans


def test_decisions_are_those_that_are_kept() -> None:
    assert not plans.difference(), "if this is better, python tests/plans.py --bless, and say why in the commit"
