"""Methods of one kind: a folder of modules, one each, found by scan and read when one is asked for."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Any


class Methods(Mapping[str, Any]):
    """Name -> what the module of that name calls `attribute`. ``second_order.py`` is ``second-order``; others start with ``_``."""

    def __init__(self, package: str, path: Sequence[str], attribute: str) -> None:
        self._package, self._attribute = package, attribute
        found = (m.name for m in pkgutil.iter_modules(path) if not m.name.startswith("_"))
        self._modules = {name.replace("_", "-"): name for name in sorted(found)}

    def __getitem__(self, name: str) -> Any:
        return getattr(self.module(name), self._attribute)

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def module(self, name: str) -> Any:
        """The module of a method."""
        return importlib.import_module(f"{self._package}.{self._modules[name]}")
