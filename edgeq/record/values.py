"""What the values of both records may be; a figure from anybody is checked against these types."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from edgeq.files import read_text

FORMAT = 1  # of both
Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=0, lt=2**31)]  # bytes, or an offset, in a memory of 32 bits
Integer = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Shape = tuple[Annotated[int, Meta(ge=1, lt=2**31)], ...]
CName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=255)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
TargetName = Annotated[str, Meta(pattern=r"^(?!.*\.toml\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,80}\Z")]  # no path: it is looked up
Check = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
T = TypeVar("T")


def parse(path: Path) -> Any:
    """JSON without NaN and infinities.

    Raises:
        OSError: see `files.read_bytes`.
        ValueError: it is no such text, or nested too deeply.
    """

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is not a number in JSON")

    try:
        return json.loads(read_text(path), parse_constant=refuse)
    except RecursionError as e:
        raise ValueError("it is nested too deeply") from e


def finite(value: float) -> float | str:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def larger(*figures: int | None) -> int | None:
    """The largest of what is known; None where nothing is."""
    return max((n for n in figures if n is not None), default=None)


def convert(data: Any, kind: type[T]) -> T:
    """Checked JSON values as a record.

    Raises:
        ValueError: they are none: says which entry is wrong.
    """
    return msgspec.convert(data, kind)
