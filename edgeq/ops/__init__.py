"""Operators, one file each: typed attributes, shape, float meaning, constants, bit-exact meaning."""

from __future__ import annotations

import importlib
import pkgutil

from edgeq.ir import Op


def registry() -> dict[str, type[Op]]:
    """Every operator class of this folder by `kind()`."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")

    def walk(cls: type[Op]) -> list[type[Op]]:
        return [c for s in cls.__subclasses__() for c in (s, *walk(s))]

    return {c.kind(): c for c in walk(Op) if c.__module__.startswith(f"{__name__}.") and not c.__name__.startswith("_")}
