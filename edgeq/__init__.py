"""edgeq turns a trained model into C99 for a small chip and proves that the chip computes what the desktop said.

The verbs are those of the command line: `load`, `quantize`, `build`, `simulate`, `run`, `compare`,
`accuracy`, `report`, `tune`; edgeq.api documents them. `edgeq.train` trains in PyTorch. Importing edgeq imports none
of what they need; the first use does.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgeq.errors import EdgeqError

if TYPE_CHECKING:
    from edgeq.api import accuracy, build, compare, load, quantize, report, run, simulate, tune
    from edgeq.ir import Graph

__all__ = [
    "EdgeqError", "Graph", "__version__", "accuracy", "build", "compare", "load", "quantize", "report", "run", "simulate", "tune",
]  # fmt: skip

_STAGES = ("build", "compare", "quantize", "report", "run", "simulate", "tune")  # verbs that are also the names of modules
_VERBS = ("accuracy", "load")
_PACKAGES = ("train",)


class _Stage(ModuleType):
    """A stage's module that may be called: ``edgeq.build(...)`` is ``edgeq.api.build(...)``, and has its signature and documentation."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _verb(self)(*args, **kwargs)

    @property
    def __signature__(self) -> Any:
        return importlib.import_module("edgeq.api.keywords").signature(_verb(self))

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        verb = _verb(self)
        return f"{verb.__name__}{self.__signature__}\n\n{verb.__doc__}"


def _verb(module: ModuleType) -> Any:
    return getattr(importlib.import_module("edgeq.api"), module.__name__.rpartition(".")[2])


class _Package(ModuleType):
    """The import system binds each submodule here: the stages become callable as it does."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _STAGES and isinstance(value, ModuleType):
            value.__class__ = _Stage
        super().__setattr__(name, value)


def __getattr__(name: str) -> Any:
    if name in _STAGES or name in _PACKAGES:
        return importlib.import_module(f"edgeq.{name}")
    if name in _VERBS:
        return getattr(importlib.import_module("edgeq.api"), name)
    if name == "Graph":
        return importlib.import_module("edgeq.ir").Graph
    if name == "__version__":
        from importlib.metadata import version

        return version("edgeq")
    raise AttributeError(f"module 'edgeq' has no attribute '{name}'")


sys.modules[__name__].__class__ = _Package
