"""Numbers and names for people."""

from __future__ import annotations

from edgeq.text import count, first_name, percent, short, size


def test_sizes() -> None:
    sizes = [size(n) for n in (None, 0, 1023, 1024, 1536, 2**20, 3 * 2**19)]
    assert sizes == ["-", "0 B", "1023 B", "1 KiB", "1.5 KiB", "1 MiB", "1.5 MiB"]


def test_counts() -> None:
    assert [count(n) for n in (None, 7, 1234567)] == ["-", "7", "1 234 567"]


def test_shares() -> None:
    told = [percent(share) for share in (0, 1e-6, 0.00031, 0.0996, 0.1, 0.994, 1)]
    assert told == ["0 %", "less than 0.01 %", "0.031 %", "10 %", "10 %", "99 %", "100 %"]


def test_names() -> None:
    assert first_name("a/b;c;d") == ("a/b", 2) and first_name(";x") == (";x", 0)
    assert short("a/b;c") == "a/b;..."
    assert short("functional_1/activation_1/Relu;more", 22) == ".../activation_1/Relu"
    assert short("functional_1/activation_1/Relu", 12) == ".../Relu"
    assert short("no_slashes_in_this_long_name", 12) == "no_s..._name"
    assert all(len(short("x" * 99, room)) == room for room in (8, 12, 44))
