"""Numbers and names for people, the same wherever they are shown."""

from __future__ import annotations

from collections.abc import Sequence


def size(n: float | None, space: str = " ", unknown: str = "-") -> str:
    """Bytes as B, KiB or MiB."""
    if n is None:
        return unknown
    unit, power = ("B", 1) if n < 1024 else ("KiB", 1024) if n < 2**20 else ("MiB", 2**20)
    return f"{n / power:.1f}".removesuffix(".0") + f"{space}{unit}"


def count(n: float | None, space: str = " ", unknown: str = "-") -> str:
    """A whole number in groups of three."""
    return unknown if n is None else f"{n:,.0f}".replace(",", space)


def many(n: int, thing: str) -> str:
    """``1 sample``, ``2 samples``."""
    return f"{count(n)} {thing}{'' if n == 1 else 's'}"


def percent(share: float) -> str:
    """A share (0 to 1) in percent: two digits, never a power of ten, as ``0.31 %`` and ``100 %``."""
    hundredths = 100 * share
    return f"{hundredths:.0f} %" if hundredths >= 10 else "less than 0.01 %" if 0 < hundredths < 0.01 else f"{hundredths:.2g} %"


def first_of(items: Sequence[str], most: int = 3) -> str:
    """``a, b, c and 4 more``: the first `most` items, and how many are left."""
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def first_name(name: str) -> tuple[str, int]:
    """The first of the names that a converter joined with semicolons when it fused nodes, and how many more there are."""
    first, *rest = name.split(";")
    return (first, len(rest)) if first else (name, 0)


def unused(name: str, taken: set[str]) -> str:
    """The name, with a number behind it where it is taken; it is taken from now on."""
    candidate, n = name, 1
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    taken.add(candidate)
    return candidate


def short(name: str, room: int = 44) -> str:
    """A node's or tensor's name for a table or an error: the first of fused names, of a long path the last parts, no control characters."""
    first, more = first_name("".join(c if c.isprintable() else "?" for c in name))
    if len(first) > room:
        parts = first.split("/")
        tails = [f".../{'/'.join(parts[i:])}" for i in range(1, len(parts))]
        middle = f"{first[: room // 3]}...{first[3 - room + room // 3 :]}"
        return next((t for t in tails if len(t) <= room), middle)
    return f"{first};..." if more and len(first) <= room - 4 else first
