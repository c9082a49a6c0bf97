"""Hand-written Triton kernels, one file per family of operators, and what launches them.

A family's file defines kernels and, decorated with `computes`, the functions that launch them for a step. Triton is imported here
alone; the files are found by a scan of this folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from edgeq.run.gpu.step import Step, Value

Launcher = Callable[[Step], tuple[Value, ...]]
_LAUNCHERS: dict[str, Launcher] = {}


def computes(*operators: str) -> Callable[[Launcher], Launcher]:
    """Register what launches the kernels of some operators (by `Op.kernel_op`)."""

    def register(launcher: Launcher) -> Launcher:
        _LAUNCHERS.update(dict.fromkeys(operators, launcher))
        return launcher

    return register


def launchers() -> dict[str, Launcher]:
    """Every launcher by operator."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _LAUNCHERS
