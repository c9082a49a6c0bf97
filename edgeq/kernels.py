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
    pack = { weights = "rows4" }   layouts of packing.py applied to tables; "name(table)" where one needs another table,
                                   "" where the kernel needs none of this one
    base = "conv2d_dense_s8"       kernel of the same ISA that it extends, whose front matter it inherits (`specialize` grows)
    operands = ["x", "addend"]     names of the pointers (default: x; a and b; x0, x1, ...)
    results = ["y", "cell"]        names of the pointers that are written (default: y)
    tiles = [{ pixels = 2 }]       literals `t.pixels`; each entry is a kernel of its own, the first is preferred. They may be used
                                   in the expressions, and in layouts as "rows{pixels}"
    headers = ["eq_gates.h"]       files of templates/runtime that it includes (default: none)
"""

from __future__ import annotations

import functools
import json
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2

from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.resources import resource
from edgeq.target import Target

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
    inplace_when: str = "true"
    pack: Mapping[str, str] = field(default_factory=dict)
    base: str = ""
    operands: tuple[str, ...] = ()
    results: tuple[str, ...] = ("y",)
    tile: Mapping[str, int] = field(default_factory=dict)
    suffix: str = ""
    headers: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """C name without the model's prefix; the tile is part of it unless preferred, the ISA unless portable."""
        return f"{self.stem}{self.suffix}" if self.isa == "c" else f"{self.stem}{self.suffix}_{self.isa}"

    def _evaluate(self, expression: str, params: Params) -> object:
        return _compiled(expression)(**{**params.scalars, **self.tile}, law=params.law)

    def applies(self, params: Params) -> bool:
        return bool(self._evaluate(self.when, params))

    def scratch_bytes(self, params: Params) -> int:
        return int(str(self._evaluate(self.scratch, params)))

    def overwrites(self, params: Params) -> tuple[int, ...]:
        """Positions of the operands whose storage the output may take."""
        return self.inplace if self.inplace and self._evaluate(self.inplace_when, params) else ()


@functools.cache
def _compiled(expression: str) -> Callable[..., object]:
    return _EXPRESSIONS.compile_expression(expression, undefined_to_none=False)


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
        for key in ("specialize", "inplace", "operands", "results", "headers"):
            if key in matter:
                matter[key] = tuple(matter[key])
        kernel = Kernel(path.name.removesuffix(".c.j2"), path.parent.name, path.relative_to(root).as_posix(), **matter)
        found.extend(_tiled(kernel, tiles))
    return tuple(found)


def signature(op: str, dtype: str, params: Params) -> str:
    """What the cost of a call depends on but for the weights, as one line: equal ones take about the same instructions in one kernel."""
    scalars = " ".join(f"{name}={value}" for name, value in params.scalars.items() if not name.endswith(("zero", "offset")))
    return f"{op} {dtype} {params.law} {scalars}"


def candidates(op: str, dtype: str, params: Params, isa: tuple[str, ...], core: str = "", follower: str = "") -> list[Kernel]:
    """Kernels that apply, preferred first: ISA in the target's order, then priority, then tile.

    Where the cost table knows the core, the one that it expects to be the fastest comes first, of those that save as much
    memory as the preferred one: that work in place, and take the follower in, where it does.

    Args:
        core: name of the target's core in the cost table.
        follower: operator that might be folded into this one.
    """
    fitting = [k for k in scan() if k.op == op and k.dtype == dtype and k.isa in isa and k.applies(params)]
    fitting.sort(key=lambda k: (isa.index(k.isa), -k.priority, k.stem))
    if not fitting or expected(fitting[0], params, core) is None:
        return fitting

    def saving(kernel: Kernel) -> tuple[tuple[int, ...], bool]:
        return kernel.overwrites(params), bool(follower and fused(kernel, follower))

    equals = [k for k in fitting if saving(k) == saving(fitting[0])]
    costs = {k.name: cost for k in equals if (cost := expected(k, params, core)) is not None}
    return sorted(fitting, key=lambda k: k.name != min(costs, key=lambda name: costs[name]))


@functools.cache
def cost_table() -> Mapping[str, Any]:
    """templates/kernels/costs.json: ``features`` (operator -> expressions on the scalars) and ``cores`` (core -> kernel ->
    instructions per unit of each feature), fitted to measurements by ``python -m benchmarks.costs``."""
    data: Mapping[str, Any] = json.loads((resource("templates") / "kernels" / "costs.json").read_text(encoding="utf-8"))
    return data


def features(op: str, params: Params) -> list[float]:
    """What the cost of a call is a linear function of, for operators that the cost table holds."""
    return [float(str(_compiled(e)(**params.scalars))) for e in cost_table()["features"].get(op, ())]


def expected(kernel: Kernel, params: Params, core: str) -> float | None:
    """Instructions of a call by the cost table; None where it does not know the kernel on this core."""
    weights = cost_table()["cores"].get(core, {}).get(kernel.name)
    return None if weights is None else sum(w * f for w, f in zip(weights, features(kernel.op, params), strict=True))


def select(
    where: str, op: str, dtype: str, params: Params, target: Target, choices: Mapping[str, str] | None = None, follower: str = "",
    allowed: Callable[[Kernel], bool] | None = None,
) -> Kernel:  # fmt: skip
    """The kernel for a node on a target.

    Args:
        choices: name of a node, or `signature` -> name of the kernel to take, where it is not the preferred one.
        follower: operator that might be folded into this one.
        allowed: what else a kernel must fulfil.

    Raises:
        EdgeqError: none applies, or the chosen one does not.
    """
    found = [k for k in candidates(op, dtype, params, target.isa, target.core, follower) if allowed is None or allowed(k)]
    if not found:
        raise EdgeqError(f"no kernel computes {op} on {dtype}", where=where, fix="see `edgeq targets --operators`")
    wanted = choices.get(where) or choices.get(signature(op, dtype, params)) if choices else None
    if wanted is None:
        return found[0]
    for kernel in found:
        if kernel.name == wanted:
            return kernel
    raise EdgeqError(f"the tuning chose kernel {wanted}, which does not apply", where=where, fix="run `edgeq tune` again")


def fused(kernel: Kernel, follower: str) -> Kernel | None:
    """The kernel that computes what `kernel` does and then the operator `follower`, in one pass."""
    place = (kernel.isa, kernel.stem, kernel.suffix, f"{kernel.op}_{follower}")
    return next((k for k in scan() if (k.isa, k.base, k.suffix, k.op) == place), None)
