"""The table of trials: counts are added to the row of a command, and a new one gets a row."""

from __future__ import annotations

from trials import added


def test_counts_are_added_up() -> None:
    page = "# T\n\n| a | b | c | d |\n|---|---|--:|--:|\n| `python x.py` | what | 1 990 | 1 |\n\nEnd.\n"
    once = added(page, "python x.py", "", 20, 0)
    assert "| `python x.py` | what | 2 010 | 1 |" in once
    assert "| `python x.py` | what | 2 010 | 1 |\n| `python x.py --y` | new | 3 | 2 |\n\nEnd." in added(
        once, "python x.py --y", "new", 3, 2
    )
