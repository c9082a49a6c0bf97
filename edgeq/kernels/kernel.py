"""Kernels: template files whose place and front matter say what they compute, where and when.

A kernel is `templates/kernels/<isa>/<stem>.c.j2`; its front matter is TOML between ``{#---`` and
``---#}``::

    op = "conv2d"                  operator kind
    dtype = "s8"                   output dtype, or "<input>_<output>" where they differ; "f16_w8": int8 weights on halves;
                                   "f16_a16": sums in halves; "s8_wz": weights with a zero point other than 0
    summary = "..."                one line, printed above the C function
    specialize = ["kernel_h"]      scalars rendered as literals; each combination is one C function
    when = "groups == 1"           condition on the scalars (default: always)
    priority = 0                   the highest that applies wins within an ISA
    scratch = "kernel_h * in_c"    bytes of scratch inside a call (default: none)
    inplace = [0]                  operands that may share their storage with the output
    inplace_when = "kernel_h == 1" condition on the scalars for that (default: always)
    pack = { weights = "interleaved(4)" }   layouts applied to tables, see `layouts`: "thirds(filled(32))", "chunks with bias" where
                                   "" where the kernel needs none of this one
    drop = { loops = "not axes" }  tables that the template does not read where the condition on the scalars holds
    base = "conv2d_dense_s8"       kernel of the same ISA that it extends, whose front matter it inherits (`specialize` grows)
    operands = ["x", "addend"]     names of the pointers (default: x; a and b; x0, x1, ...)
    results = ["y", "cell"]        names of the pointers that are written (default: y)
    tiles = [{ pixels = 2 }]       literals `t.pixels`; each entry is a kernel of its own, the first is preferred. They may be used
                                   in the expressions, and in layouts as "rows{pixels}"
    epilogue = ["add"]             operators that it computes too, on the result: their other operands follow its own (default: none)
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.kernels.expressions import evaluate, value
from edgeq.resources import resource


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
    inplace_when: str = "true"
    pack: Mapping[str, str] = field(default_factory=dict)
    drop: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ("y",)
    tile: Mapping[str, int] = field(default_factory=dict)
    suffix: str = ""
    epilogue: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """C name without the model's prefix; the tile is part of it unless preferred, the ISA unless portable."""
        return f"{self.stem}{self.suffix}" if self.isa == "c" else f"{self.stem}{self.suffix}_{self.isa}"

    def _evaluate(self, expression: str, params: Params) -> object:
        return evaluate(expression, params, self.tile)

    def value(self, name: str, params: Params) -> int | str:
        """What the template reads as `name`: a scalar of the operator or a fact.

        Raises:
            EdgeqError: it is neither.
        """
        try:
            return value(name, params)
        except KeyError:
            raise EdgeqError(f"the kernel reads '{name}', which is no scalar of the operator and no fact", where=self.path) from None

    def applies(self, params: Params) -> bool:
        return bool(self._evaluate(self.when, params))

    def reads(self, table: str, params: Params) -> bool:
        """Whether the template reads a table of the operator's as such."""
        return self.pack.get(table) != "" and not (table in self.drop and self._evaluate(self.drop[table], params))

    def scratch_bytes(self, params: Params) -> int:
        return int(str(self._evaluate(self.scratch, params)))

    def overwrites(self, params: Params) -> tuple[int, ...]:
        """Positions of the operands whose storage the output may take."""
        return self.inplace if self.inplace and self._evaluate(self.inplace_when, params) else ()


def _tiled(kernel: Kernel, tiles: Sequence[Mapping[str, int]]) -> Iterator[Kernel]:
    """The kernel once per tile."""
    for i, tile in enumerate(tiles):
        suffix = "".join(f"_{key}{value}" for key, value in tile.items()) if i else ""
        layouts = {table: layout.format(**tile) for table, layout in kernel.pack.items()}
        yield replace(kernel, tile=tile, suffix=suffix, pack=layouts)


def _front_matter(path: Path) -> dict[str, Any]:
    """A template's front matter over that of its base.

    Raises:
        EdgeqError: there is none.
    """
    text = path.read_text(encoding="utf-8")
    if not text.startswith("{#---"):
        raise EdgeqError("kernel template has no front matter", where=str(path))
    matter = tomllib.loads(text[len("{#---") : text.index("---#}")])
    if "base" in matter:
        below = _front_matter(path.with_name(f"{matter['base']}.c.j2"))
        matter = {**below, **matter, "specialize": [*below.get("specialize", ()), *matter.get("specialize", ())]}
    return matter


@functools.cache
def scan() -> tuple[Kernel, ...]:
    """All kernels of the templates folder.

    Raises:
        EdgeqError: a file has no front matter or an unknown key.
    """
    root = resource("templates")
    found: list[Kernel] = []
    for path in sorted((root / "kernels").glob("*/*.c.j2")):
        matter = _front_matter(path)
        tiles = matter.pop("tiles", [{}])
        for key in ("specialize", "inplace", "operands", "results", "epilogue"):
            if key in matter:
                matter[key] = tuple(matter[key])
        kernel = Kernel(path.name.removesuffix(".c.j2"), path.parent.name, path.relative_to(root).as_posix(), **matter)
        found.extend(_tiled(kernel, tiles))
    return tuple(found)
