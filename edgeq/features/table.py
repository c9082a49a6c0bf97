"""The table of a description: a TOML file, and its keys and values as the fields of a record."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.files import parse_toml, read_text

WANTED = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", tuple: "a list of numbers"}
LARGEST = 1e30  # whose float32 is finite


def read_table(path: Path) -> dict[str, Any]:
    """The table of a description file.

    Raises:
        EdgeqError: it cannot be read, or is no TOML.
    """
    try:
        return parse_toml(read_text(path))
    except OSError as e:
        raise EdgeqError("cannot read the description", where=str(path), why=e.strerror or type(e).__name__) from e
    except ValueError as e:  # of TOML, of UTF-8, or of an integer of thousands of digits
        raise EdgeqError("the description is no TOML", where=str(path), why=str(e)) from e


def values_of(record: type[Any], table: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The values of a table by the fields of a dataclass, of the types of their defaults; a number may stand for a list of one.

    Args:
        aliases: other names of fields.

    Raises:
        EdgeqError: an unknown or double key, a value of another type, or a number that is not finite or above `LARGEST`.
    """
    aliases = aliases or {}
    types = {f.name: type(f.default) for f in fields(record)}
    found: dict[str, Any] = {}
    for key, value in table.items():
        name = aliases.get(key, key)
        if name not in types:
            near = difflib.get_close_matches(key, [*types, *aliases], 1)
            raise EdgeqError(f"unknown key '{key}'", fix=f"did you mean '{near[0]}'?" if near else f"keys are {', '.join(types)}")
        if name in found:
            raise EdgeqError(f"'{name}' is given twice", why=f"'{key}' is another name of it")
        found[name] = _value(key, value, types[name])
    return found


def _value(key: str, value: Any, wanted: type[Any]) -> Any:
    given = value if wanted is tuple and isinstance(value, (list, tuple)) else [value]
    if wanted in (int, float, tuple):
        if not given or not all(_number(n) for n in given):
            raise EdgeqError(f"'{key}' is {value!r}", why=f"expected {WANTED[wanted]}")
        if not all(abs(n) <= LARGEST for n in given):
            raise EdgeqError(f"{key} = {value}", why=f"numbers are finite, {LARGEST:g} at most")
    if wanted is tuple:
        return tuple(given)
    value = float(value) if wanted is float else value
    if not isinstance(value, wanted):
        raise EdgeqError(f"'{key}' is {value!r}", why=f"expected {WANTED[wanted]}")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
