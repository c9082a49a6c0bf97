"""The operator classes by name."""

from __future__ import annotations

from typing import Any

from edgeq.errors import EdgeqError
from edgeq.ops import registry


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    for cls in registry().values():
        if cls.__name__ == name:
            return cls
    raise EdgeqError(f"operator {name} is not supported")
