"""Kernels: template files whose place and front matter say what they compute, where and when.

A kernel is `templates/kernels/<isa>/<name>_<types>.c.j2`; its front matter is TOML between ``{#---`` and
``---#}``::

    op = "conv2d"                  operator kind
    x = "s8"                       type of the first operand, likewise `y` of the first result, `w` of constant weights, `r` of those of a
                                   recurrent layer's state, and `sum`: what products are summed up in, see `Signature`
    summary = "..."                one line, printed above the C function
    specialize = ["kernel_h"]      scalars rendered as literals; each combination is one C function
    when = "groups == 1"           condition on the scalars under which it computes (default: always)
    suits = "out_h == 1"           condition on the scalars under which it is worth taking (default: always); in a band of rows the
                                   most frequent turn must suit, and the kernel compute all others
    priority = 0                   the highest that applies wins within an ISA
    scratch = "kernel_h * in_c"    bytes of scratch inside a call (default: none)
    roomy = "powers"               condition on the scalars under which more scratch saves time: by the scalars `triples`, `copied` or
                                   `all_lines`, which `scratch` names, see `edgeq.plan.room` (default: never)
    inplace = [0]                  operands that may share their storage with the output
    inplace_when = "kernel_h == 1" condition on the scalars for that (default: always)
    trails = "2"                   results are stored in order, and while what a pixel needs of an operand is still read, those of so many
                                   pixels from it on are at most: 0 where it is read before; elements where data are only moved. See
                                   `edgeq.plan.trails` (default: in no order, or none that is known)
    pack = { weights = "interleaved(4)" }   layouts applied to tables, see `layouts`: "thirds(filled(32))", "chunks with bias" where
                                   "" where the kernel needs none of this one
    drop = { loops = "not axes" }  tables that the template does not read where the condition on the scalars holds
    base = "conv2d_dense_s8"       kernel of the same ISA that it extends, whose front matter it inherits (`specialize` grows; no variants)
    operands = ["x", "addend"]     names of the pointers (default: x; a and b; x0, x1, ...)
    results = ["y", "cell"]        names of the pointers that are written (default: y)
    tiles = [{ pixels = 2 }]       literals `t.pixels`; each entry is a kernel of its own, the first is preferred. They may be used
                                   in the expressions, and in layouts as "rows{pixels}"
    epilogue = ["add"]             operators that it computes too, on the result: their other operands follow its own (default: none)
    variants = [{ w = "s8" }]      further kernels of the same template, each by what differs: any key above, and `name` and `isa` where
                                   they are not those of the file. The template reads ``sig.w`` and the like

A template may ask ``among("in_c % 4")`` for the values that an expression on scalars has for all calls of its kernel, to leave out
what none of them needs, and give the text of a function that kernels share: ``part("lanes", text)`` is the symbol under which it is
emitted, once however many kernels give the same text (`edgeq.emit.functions`).

A kernel's name is its `name` (the file's, without its types) and its types: the variant ``{ w = "s8" }`` of conv2d_f16 is conv2d_f16_w8.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.kernels.expressions import evaluate, known, names, value
from edgeq.kernels.signature import Signature
from edgeq.resources import resource


@dataclass(frozen=True)
class Kernel:
    """How an operator is computed on one ISA."""

    stem: str
    isa: str
    path: str
    signature: Signature
    summary: str
    specialize: tuple[str, ...] = ()
    when: str = "true"
    suits: str = "true"
    priority: int = 0
    scratch: str = "0"
    roomy: str = "false"
    inplace: tuple[int, ...] = ()
    inplace_when: str = "true"
    trails: str = ""
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

    @property
    def op(self) -> str:
        """The operator's kind."""
        return self.signature.op

    def _evaluate(self, expression: str, params: Params) -> object:
        for name in self.tile:
            if known(name, params):
                raise EdgeqError(f"the tile's literal '{name}' is a number of the operator, too", where=self.path, fix="rename it")
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
        """Whether it computes a call, and suits it."""
        return self.computes(params) and bool(self._evaluate(self.suits, params))

    def computes(self, params: Params) -> bool:
        """Whether it computes a call, well or not."""
        return bool(self._evaluate(self.when, params))

    def reads(self, table: str, params: Params) -> bool:
        """Whether the template reads a table of the operator's as such."""
        return self.pack.get(table) != "" and not (table in self.drop and self._evaluate(self.drop[table], params))

    def scratch_bytes(self, params: Params) -> int:
        return int(str(self._evaluate(self.scratch, params)))

    def scratch_names(self, name: str) -> bool:
        """Whether scratch depends on a scalar."""
        return name in names(self.scratch)

    def takes_room(self, params: Params) -> bool:
        """Whether it is faster with more scratch."""
        return bool(self._evaluate(self.roomy, params))

    def overwrites(self, params: Params) -> tuple[int, ...]:
        """Positions of the operands whose storage the output may take."""
        return self.inplace if self.inplace and self._evaluate(self.inplace_when, params) else ()

    def ahead(self, params: Params) -> int | None:
        """How many pixels may be stored, from the first on of which operands are still read; None: results are in no known order."""
        return int(str(self._evaluate(self.trails, params))) if self.trails else None


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
        below.pop("variants", None)
        matter = {**below, **matter, "specialize": [*below.get("specialize", ()), *matter.get("specialize", ())]}
    return matter


def _kernels(path: Path, root: Path) -> Iterator[Kernel]:
    """A template's kernel, and its variants.

    Raises:
        EdgeqError: the file's name does not end in its types, or a key is unknown.
    """
    matter, place = _front_matter(path), path.relative_to(root).as_posix()
    variants, stem = matter.pop("variants", []), path.name.removesuffix(".c.j2")
    file = ""
    for own in ({}, *variants):
        found = {"isa": path.parent.name, **matter, **own}
        types = {f.name: found.pop(f.name, "") for f in fields(Signature)}
        signature = Signature(**types)
        if not own:
            file = stem.removesuffix(f"_{signature.types}")
            if file == stem:
                raise EdgeqError("the name of a kernel's file does not end in its types", where=place, fix=f"call it …_{signature.types}")
        name, tiles = found.pop("name", file), found.pop("tiles", [{}])
        for key in ("specialize", "inplace", "operands", "results", "epilogue"):
            if key in found:
                found[key] = tuple(found[key])
        try:
            kernel = Kernel(f"{name}_{signature.types}", path=place, signature=signature, **found)
        except TypeError as error:
            raise EdgeqError("front matter with an unknown key, or without a summary", where=place, why=str(error)) from None
        yield from _tiled(kernel, tiles)


@functools.cache
def scan() -> tuple[Kernel, ...]:
    """All kernels of the templates folder, those of one ISA by name.

    Raises:
        EdgeqError: a file has no front matter or an unknown key, or two kernels have one name.
    """
    root = resource("templates")
    found = [k for path in sorted((root / "kernels").glob("*/*.c.j2")) for k in _kernels(path, root)]
    names: dict[str, Kernel] = {}
    for kernel in found:
        other = names.setdefault(kernel.name, kernel)
        if other is not kernel:
            raise EdgeqError(f"two kernels are called {kernel.name}", where=kernel.path, why=f"the other one is in {other.path}")
    return tuple(sorted(found, key=lambda k: (k.isa, k.stem)))
