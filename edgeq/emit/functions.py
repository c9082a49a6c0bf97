"""The kernels of a program as C functions: each template rendered once per combination of literals that differs in the code."""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2

from edgeq import system
from edgeq.emit.arrays import ctype_of
from edgeq.emit.syntax import block_comment
from edgeq.ir import Graph, Params
from edgeq.kernels import facts
from edgeq.kernels.expressions import evaluate
from edgeq.program import Call, Program
from edgeq.resources import resource

MEMBER = re.compile(r"\bp->(\w+)")
SYMBOL, SIGNATURE = "edgeq_symbol", "edgeq_signature"  # stand in a rendered function until it has its name and it is known what it reads


@dataclass(frozen=True)
class Member:
    """What a function reads of its params: a table, or an int32."""

    name: str
    ctype: str
    table: bool


@dataclass(frozen=True)
class Function:
    """A C function and the struct of its params, which holds what it reads and nothing else."""

    symbol: str
    members: tuple[Member, ...]
    code: str
    prototype: str

    @property
    def struct(self) -> str:
        return f"{self.symbol}_params"


class _Access:
    """`{{ p.name }}` in a kernel template: a literal where the kernel is specialised, else a struct member."""

    def __init__(self, call: Call) -> None:
        self._call, self._literals = call, call.specialized

    def __getattr__(self, name: str) -> str:
        if name in self._literals:
            value = self._literals[name]
            return f"({value})" if isinstance(value, int) and value < 0 else str(value)
        if name not in self._call.tables:
            self._call.kernel.value(name, self._call.params)
        return f"p->{name}"


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Compiled templates in the user's cache, where there is room."""

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


@functools.cache
def environment() -> jinja2.Environment:
    """The template environment: strict, without line statements."""
    options: dict[str, Any] = {"trim_blocks": True, "lstrip_blocks": True, "keep_trailing_newline": True, "autoescape": False}
    kept = system.kept()
    pattern = f"template-{zlib.crc32(repr(options).encode()):08x}-%s"
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")), undefined=jinja2.StrictUndefined,
        bytecode_cache=_Compiled(str(kept), pattern) if kept else None, **options,
    )  # fmt: skip
    env.filters["align4"] = lambda n: (n + 3) // 4 * 4
    return env


def _signature(call: Call, graph: Graph, params: bool, apart: bool) -> str:
    types = [graph.type(n).dtype.c for n in call.operands]
    keep = "restrict " if apart and not call.kernel.inplace else ""
    parts = [f"const {SYMBOL}_params *p"] if params else []
    if getattr(call.node.op, "variadic", False):
        parts.append(f"const {types[0]} *const *x")
    else:
        names = list(call.kernel.operands) or {1: ["x"], 2: ["a", "b"]}.get(len(types), [f"x{i}" for i in range(len(types))])
        parts += [f"const {t} *{keep}{n}" for t, n in zip(types, names, strict=True)]
    parts += [f"{graph.type(n).dtype.c} *{keep}{y}" for n, y in zip(call.outputs, call.kernel.results, strict=True)]
    if call.kernel.scratch != "0":
        parts.append("void *scratch")
    return ", ".join(parts)


class Functions:
    """The functions of a program, in the order of their first calls.

    Args:
        model: the model's name, which every symbol begins with.
        trails: calls whose results are stored over their operands, see `MemoryPlan`.
    """

    def __init__(self, program: Program, model: str, trails: Collection[int] = ()) -> None:
        self._graph, self._env, self._model = program.graph, environment(), model
        self._program = program
        self._trailing = {program.calls[i].kernel.name for i in trails}
        self._parts: dict[str, str] = {}  # a rendered text -> its symbol
        bodies: dict[str, tuple[str, str, tuple[Member, ...]]] = {}  # a rendered text -> signature and members
        first: dict[str, Call] = {}
        known: dict[object, str] = {}
        texts = []
        for call in program.calls:
            key = (call.kernel.name, call.params.law, *call.specialized.items())
            if key not in known:
                code, signature, members = self._render(call)
                known[key] = code
                bodies.setdefault(code, (code, signature, members))
                first.setdefault(code, call)
            texts.append(known[key])
        self._of: dict[str, Function] = {}
        for code, call in first.items():
            alike = [c for c in first.values() if c.kernel.name == call.kernel.name]
            number = [c is call for c in alike].index(True)
            symbol = f"{model}_{call.kernel.name}" + (f"_v{number + 1}" if number else "")
            self._of[code] = self._named(symbol, call, alike, *bodies[code])
        self.calls = [self._of[text] for text in texts]

    @property
    def all(self) -> list[Function]:
        """Each function once."""
        return list(self._of.values())

    @property
    def parts(self) -> list[str]:
        """The code of the static functions that kernels share."""
        return [text.replace(SYMBOL, symbol) for text, symbol in self._parts.items()]

    def _part(self, name: str, text: str) -> str:
        """The symbol of a static function, ``{{ part(name, text) }}`` in a kernel template: kernels that need the same text share it."""
        if text not in self._parts:
            number = sum(symbol.startswith(f"{self._model}_{name}_part") for symbol in self._parts.values())
            self._parts[text] = f"{self._model}_{name}_part" + (f"_v{number + 1}" if number else "")
        return self._parts[text]

    def _among(self, call: Call, expression: str, parts: bool = False) -> list[object]:
        """The values that an expression on scalars has for all calls of a call's kernel, ``among(expression)`` in a template; with
        `parts` for all that may share a part with it: of the same operator on the same types by the same instruction set and tile."""

        def family(c: Call) -> object:
            return (c.kernel.signature, c.kernel.isa, c.kernel.tile) if parts else c.kernel.name

        calls = [c for c in self._program.calls if family(c) == family(call)]
        params = [p for c in calls for p in (c.params, *(s.params for s in c.shares))]
        params += [Params(c.params.law, {**c.params.scalars, "out_c": c.tiled.rows}, c.params.tables) for c in calls if c.tiled]
        return sorted({evaluate(expression, p, call.kernel.tile) for p in params}, key=str)

    def _render(self, call: Call) -> tuple[str, str, tuple[Member, ...]]:
        """Body, signature and members, all without the function's name and comment."""
        graph = self._graph
        text = self._env.get_template(call.kernel.path).render(
            symbol=SYMBOL, signature=SIGNATURE, law=call.params.law, isa=call.kernel.isa,
            xtype=graph.type(call.operands[0]).dtype.c, ytype=graph.type(call.output).dtype.c,
            p=_Access(call), v=call.specialized, t=call.kernel.tile, sig=call.kernel.signature,
            part=self._part, among=functools.partial(self._among, call),
        )  # fmt: skip
        read = dict.fromkeys(MEMBER.findall(text))
        tables = [Member(n, f"const {ctype_of(a)} *", True) for n, a in call.tables.items() if n in read]
        scalars = sorted((n for n in read if n not in call.tables), key=[*call.params.scalars, *facts.FACTS].index)
        members = (*tables, *(Member(n, "int32_t ", False) for n in scalars))
        signature = _signature(call, graph, bool(members), call.kernel.name not in self._trailing)
        return text.replace(SIGNATURE, signature), signature, members

    @staticmethod
    def _named(symbol: str, call: Call, alike: Sequence[Call], code: str, signature: str, members: tuple[Member, ...]) -> Function:
        literals = call.specialized
        varying = [k for k in literals if len({c.specialized[k] for c in alike}) > 1]
        fixed = ", ".join(f"{k} = {literals[k]}" for k in varying)
        paragraphs = [call.kernel.summary, f"From {call.kernel.path}.", *([f"For {fixed}."] if fixed else [])]
        text = f"{block_comment(*paragraphs)}\n{code}".replace(SYMBOL, symbol)
        return Function(symbol, members, text, f"void {symbol}({signature});".replace(SYMBOL, symbol).replace("restrict ", ""))


def values(function: Function, call: Call, symbols: Mapping[str, str]) -> dict[str, str]:
    """What a call's params hold, as C: member -> the symbol of a table (0 of one that is decoded first), or a number."""
    tables = {n: "0" if n in call.staged else symbol for n, symbol in symbols.items()}
    return {m.name: tables[m.name] if m.table else str(call.kernel.value(m.name, call.params)) for m in function.members}
