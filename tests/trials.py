"""The table of docs/trials.md: each harness adds what it has tried to the row of its command."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs/trials.md"


def number(text: str) -> int:
    """Of a cell."""
    return int(text.replace(" ", ""))


def added(page: str, command: str, what: str, tried: int, failed: int) -> str:
    """The page with so many trials more in the row of a command; the row is made where there is none.

    Args:
        what: for the second column of a new row.
    """
    lines = page.split("\n")
    rows = [i for i, line in enumerate(lines) if line.startswith("| `python ")]
    found = next((i for i in rows if lines[i].split(" | ")[0] == f"| `{command}`"), None)
    if found is None:
        found = rows[-1] + 1
        lines.insert(found, f"| `{command}` | {what} | 0 | 0 |")
    name, what, before, wrong = (cell.strip() for cell in lines[found].strip("| ").split(" | "))
    counts = (f"{number(a) + b:,}".replace(",", " ") for a, b in ((before, tried), (wrong, failed)))
    lines[found] = f"| {name} | {what} | {' | '.join(counts)} |"
    return "\n".join(lines)


def record(command: str, what: str, tried: int, failed: int) -> None:
    """`added` to the page itself."""
    PAGE.write_text(added(PAGE.read_text(encoding="utf-8"), command, what, tried, failed), encoding="utf-8")
