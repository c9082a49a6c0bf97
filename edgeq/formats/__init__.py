"""Storage formats of weights and biases, one file each, found by scan: integers <-> the bits that memory holds."""

from __future__ import annotations

import functools
import importlib
import pkgutil

from edgeq.errors import EdgeqError
from edgeq.formats.format import Format, Packed
from edgeq.formats.plain import Plain

__all__ = ["PLAIN", "Format", "even", "of_weights", "parse", "registry"]

PLAIN: Format = Plain()


@functools.cache
def registry() -> dict[str, type[Format]]:
    """Name -> format class, in the order of the files' names."""
    modules = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__) if m.name != "format"]
    classes = [c for m in modules for c in vars(m).values() if isinstance(c, type) and issubclass(c, Format) and c.__module__ == m.__name__]
    return {c.name: c for c in classes}


def of_weights() -> tuple[str, ...]:
    """The names of the formats that a layer's weights may be quantized for: ``int8``, which is plain, and those in few bits."""
    return ("int8", *(n for n, c in registry().items() if issubclass(c, Packed)))


def even() -> tuple[str, ...]:
    """Those of them whose levels lie side by side: int8 in fewer bits."""
    return tuple(n for n in of_weights() if n not in registry() or getattr(registry()[n], "even", False))


def parse(text: str) -> Format:
    """The format of a name: ``plain``, ``int4``, ``6+hamming`` and so on.

    Raises:
        EdgeqError: there is none.
    """
    for kind in registry().values():
        found = kind.read(text)
        if found is not None:
            return found
    names = ", ".join(n for n in registry() if n not in ("code", "votes", "channel_votes"))
    raise EdgeqError(f"no storage format '{text[:40]}'", fix=f"choose one of {names}, or a storage code such as 6+hamming")
