"""Kernels: template files whose place and front matter say what they compute, where and when.

A kernel is `templates/kernels/<isa>/<stem>.c.j2`; its front matter is TOML between ``{#---`` and
``---#}``::

    op = "conv2d"                  operator kind
    dtype = "s8"                   output dtype, or "<input>_<output>" where they differ
    summary = "..."                one line, printed above the C function
    specialize = ["kernel_h"]      scalars rendered as literals; each combination is one C function
    when = "groups == 1"           condition on the scalars (default: always)
    priority = 0                   the highest that applies wins within an ISA
    scratch = "kernel_h * in_c"    bytes of scratch inside a call (default: none)
    inplace = [0]                  operands that may share their storage with the output
    pack = { weights = "rows4" }   layouts of packing.py applied to tables
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field

import jinja2

from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.resources import resource

_EXPRESSIONS = jinja2.Environment(undefined=jinja2.StrictUndefined)


@dataclass(frozen=True)
class Kernel:
    """How an operator is computed on one ISA."""

    stem: str
    isa: str
    path: str
    op: str
    dtype: str
    summary: str
    specialize: tuple[str, ...] = ()
    when: str = "true"
    priority: int = 0
    scratch: str = "0"
    inplace: tuple[int, ...] = ()
    pack: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """C name without the model's prefix; the ISA is part of it unless portable."""
        return self.stem if self.isa == "c" else f"{self.stem}_{self.isa}"

    def _evaluate(self, expression: str, params: Params) -> object:
        return _EXPRESSIONS.compile_expression(expression, undefined_to_none=False)(**params.scalars, law=params.law)

    def applies(self, params: Params) -> bool:
        return bool(self._evaluate(self.when, params))

    def scratch_bytes(self, params: Params) -> int:
        return int(str(self._evaluate(self.scratch, params)))


@functools.cache
def scan() -> tuple[Kernel, ...]:
    """All kernels of the templates folder.

    Raises:
        EdgeqError: a file has no front matter or an unknown key.
    """
    root = resource("templates")
    found = []
    for path in sorted((root / "kernels").glob("*/*.c.j2")):
        text = path.read_text(encoding="utf-8")
        if not text.startswith("{#---"):
            raise EdgeqError("kernel template has no front matter", where=str(path))
        matter = tomllib.loads(text[len("{#---") : text.index("---#}")])
        for key in ("specialize", "inplace"):
            matter[key] = tuple(matter.get(key, ()))
        found.append(Kernel(path.name.removesuffix(".c.j2"), path.parent.name, path.relative_to(root).as_posix(), **matter))
    return tuple(found)


def candidates(op: str, dtype: str, params: Params, isa: tuple[str, ...]) -> list[Kernel]:
    """Kernels that apply, best first: ISA in the target's order, then priority."""
    fitting = [k for k in scan() if k.op == op and k.dtype == dtype and k.isa in isa and k.applies(params)]
    return sorted(fitting, key=lambda k: (isa.index(k.isa), -k.priority, k.stem))


def select(where: str, op: str, dtype: str, params: Params, isa: tuple[str, ...]) -> Kernel:
    """The kernel for a node on a target.

    Raises:
        EdgeqError: none applies.
    """
    found = candidates(op, dtype, params, isa)
    if not found:
        raise EdgeqError(f"no kernel computes {op} on {dtype}", where=where, fix="see `edgeq targets --operators`")
    return found[0]
