"""Named weight layouts for kernels: array -> array, applied when a call is lowered."""

from __future__ import annotations

from collections.abc import Callable

from edgeq.ir import Array

LAYOUTS: dict[str, Callable[[Array], Array]] = {}
