"""Modules of examples/: every folder has its own `demo`, `deploy` or `train`, so none stays in `sys.modules` under that name."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(example: str, *names: str) -> list[ModuleType]:
    """Modules of one example's folder, in the order of ``names``; what else the folder has is imported by them alone."""
    folder = EXAMPLES / example
    own = {path.stem for path in folder.glob("*.py")}
    hidden = {name: sys.modules.pop(name) for name in own & sys.modules.keys()}
    sys.path[:0] = [str(folder), str(EXAMPLES.parent)]
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        del sys.path[:2]
        for name in own:
            sys.modules.pop(name, None)
        sys.modules.update(hidden)
