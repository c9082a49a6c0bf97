"""Hand-written Triton kernels, one file per family of operators, and what launches them.

A family's file defines kernels and, decorated with `computes`, the functions that launch them for a step. Triton is imported here
alone; the files are found by a scan of this folder.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Sequence

from edgeq.run.gpu.step import Step, Value

Launcher = Callable[[Step], tuple[Value, ...]]
_LAUNCHERS: dict[tuple[str, str], Launcher] = {}


def computes(*operators: str, on: Sequence[str] = ("s8", "f16")) -> Callable[[Launcher], Launcher]:
    """Register what launches the kernels of some operators (by `Op.kernel_op`) on some dtypes (by `Signature.types`)."""

    def register(launcher: Launcher) -> Launcher:
        _LAUNCHERS.update(dict.fromkeys(((operator, dtype) for operator in operators for dtype in on), launcher))
        return launcher

    return register


def launchers() -> dict[tuple[str, str], Launcher]:
    """Every launcher by operator and dtype."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return _LAUNCHERS
