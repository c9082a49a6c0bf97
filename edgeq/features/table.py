"""The table of a description: a TOML file, and its keys and values as the fields of a record."""

from __future__ import annotations

import difflib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError

WANTED = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", tuple: "a list of numbers"}


def read_table(path: Path) -> dict[str, Any]:
    """The table of a description file.

    Raises:
        EdgeqError: it cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise EdgeqError("cannot read the description", where=str(path), why=e.strerror or type(e).__name__) from e
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise EdgeqError("the description is no TOML", where=str(path), why=str(e)) from e


def values_of(record: type[Any], table: Mapping[str, Any], aliases: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The values of a table by the fields of a dataclass, of the types of their defaults; a number may stand for a list of one.

    Args:
        aliases: other names of fields.

    Raises:
        EdgeqError: an unknown or double key, a value of another type, or a number that is not finite.
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
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if wanted is tuple:
        given = value if isinstance(value, (list, tuple)) else [value]
        if not given or not all(isinstance(n, (int, float)) and not isinstance(n, bool) and math.isfinite(n) for n in given):
            raise EdgeqError(f"'{key}' is {value!r}", why=f"expected {WANTED[tuple]}")
        return tuple(given)
    value = float(value) if wanted is float and number else value
    if not isinstance(value, wanted) or (wanted is int and not number):
        raise EdgeqError(f"'{key}' is {value!r}", why=f"expected {WANTED[wanted]}")
    if wanted is float and not math.isfinite(value):
        raise EdgeqError(f"{key} = {value}", why="it must be finite")
    return value
