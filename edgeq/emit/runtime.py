"""The runtime headers, of which an emitted model gets the functions that it reaches and no others.

A header of ``templates/runtime`` is C at file scope: definitions, and conditionals around them. It is read as units: a definition with the
comment before it, a directive, or what lies between ``#if`` and ``#endif``. A definition is reached by its name, from the code of the
kernels or from another one that is reached.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from edgeq.resources import resource

STEP = "eq_step.h"  # the hook, which belongs to `<m>.c` and not to kernels
TEAM, COPY = "eq_team.h", "eq_copy.h"  # hooks too, for programs whose calls several cores compute, or whose tables are copied
EXACT = "eq_exact.h"  # what files need that compute with floats
_WORD = re.compile(r"[A-Za-z_]\w*")
_SILENT = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)
_CONDITIONAL = re.compile(r"#\s*(if|el|endif)")
_OPEN, _CLOSE = re.compile(r"\s*#\s*if"), re.compile(r"\s*#\s*endif")
_DEFINED = re.compile(r"#\s*define\s+(\w+)")
_CALL = re.compile(r"EQ_\w+\([^{}]*\)")  # of a macro that makes functions
_INCLUDED = re.compile(r'#\s*include\s+"(\w+\.h)"')


@dataclass(frozen=True)
class Unit:
    """Some lines of a header.

    Attributes:
        defines: the names that they define at file scope; none of a directive that always goes with its header.
        reads: the names in them.
        conditions: the conditionals around them, by number, outermost first.
    """

    text: str
    defines: frozenset[str]
    reads: frozenset[str]
    conditions: tuple[int, ...]


@dataclass(frozen=True)
class Header:
    """A header: its units, and the directives of its conditionals, by number, as (unit, text)."""

    name: str
    units: tuple[Unit, ...]

    @functools.cached_property
    def includes(self) -> tuple[str, ...]:
        """Headers of the runtime that it includes."""
        return tuple(name for u in self.units for name in _INCLUDED.findall(u.text))

    @functools.cached_property
    def defines(self) -> frozenset[str]:
        """All names that it defines."""
        return frozenset().union(*(u.defines for u in self.units))


def words(text: str) -> frozenset[str]:
    """The identifiers of C text, comments and strings apart; assembly in strings names no C."""
    return frozenset(_WORD.findall(_SILENT.sub(" ", text)))


def _pieces(text: str) -> Iterator[str]:
    """The text cut behind each directive and each definition; a comment stands before what it tells of."""
    lines, piece, depth = text.splitlines(keepends=True), "", 0
    silent = _SILENT.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text).splitlines(keepends=True)
    continued = False
    for line, bare in zip(lines, silent, strict=True):
        piece += line
        directive = continued or bare.lstrip().startswith("#")
        continued = directive and bare.rstrip().endswith("\\")
        if directive and not depth:
            if not continued:
                yield piece
                piece = ""
            continue
        if not directive:
            depth += sum(bare.count(c) for c in "{(") - sum(bare.count(c) for c in "})")
        if not depth and (bare.rstrip().endswith((";", "}")) or _CALL.fullmatch(_SILENT.sub(" ", piece).strip())):
            yield piece
            piece = ""
    if piece:
        yield piece


def _defined(bare: str, macros: Mapping[str, tuple[list[str], str]]) -> frozenset[str]:
    """The names that a definition without comments defines."""
    text = " ".join(bare.split())
    if found := _DEFINED.match(text):
        return frozenset(found.groups())
    if text.startswith("#"):
        return frozenset()
    call = re.fullmatch(r"(\w+)\((.*)\)", text)
    if call and call[1] in macros:
        names, body = macros[call[1]]
        for name, value in zip(names, (a.strip() for a in call[2].split(",")), strict=True):
            body = re.sub(rf"\s*##\s*{name}\b|\b{name}\s*##\s*", value, body)
        return frozenset(re.findall(r"(\w+)\([^()]*\) \{", " ".join(body.split())))
    if text.startswith("enum"):
        return frozenset(_WORD.findall(text[text.index("{") :]))
    if re.match(r"typedef char \w+_required\[", text):
        return frozenset()
    if text.startswith("typedef"):
        return frozenset(_WORD.findall(re.sub(r"\{.*\}", "", text).split("[")[0])[-1:])
    head = re.split(r"[=({\[]", text)[0]
    return frozenset(_WORD.findall(head)[-1:])


def _macros(text: str) -> dict[str, tuple[list[str], str]]:
    """Parameters and bodies of the macros with parameters of a header and of those that it includes."""
    found: dict[str, tuple[list[str], str]] = {}
    for inner in _INCLUDED.findall(text):
        found |= _macros(_text(inner))
    for macro in re.finditer(r"#define (\w+)\(([^)]*)\)((?:.*\\\n)*.*)", text):
        found[macro[1]] = ([a.strip() for a in macro[2].split(",")], macro[3].replace("\\\n", "\n"))
    return found


def _text(name: str) -> str:
    return (resource("templates") / "runtime" / name).read_text(encoding="ascii")


@functools.cache
def header(name: str) -> Header:
    """A header of templates/runtime, read."""
    text = _text(name)
    macros = _macros(text)
    units, inside, number = [], [], 0
    for piece in _pieces(text):
        bare = _SILENT.sub(" ", piece)
        directive = bare.strip()
        if _OPEN.match(directive):
            inside.append(number)
            number += 1
        units.append(Unit(piece, _defined(bare, macros), words(piece), tuple(inside)))
        if _CLOSE.match(directive):
            inside.pop()
    return Header(name, tuple(units))


@functools.cache
def headers() -> Mapping[str, Header]:
    """All headers that kernels may use, each behind those that it includes."""
    found: dict[str, Header] = {}

    def add(name: str) -> None:
        for inner in header(name).includes:
            add(inner)
        found.setdefault(name, header(name))

    for path in sorted((resource("templates") / "runtime").glob("*.h")):
        if path.name not in (STEP, TEAM, COPY):
            add(path.name)
    return found


def whole(name: str) -> str:
    """A header as it is."""
    return "".join(u.text for u in header(name).units)


def _bare(unit: Unit) -> str:
    return _SILENT.sub(" ", unit.text).strip()


def _guard(unit: Unit, name: str) -> bool:
    """Whether a unit belongs to what keeps a header from being read twice."""
    return name.upper().replace(".", "_") in unit.reads


def _conditional(unit: Unit) -> bool:
    return _CONDITIONAL.match(_bare(unit)) is not None


@functools.cache
def _by_name() -> Mapping[str, tuple[tuple[Header, Unit], ...]]:
    found: dict[str, tuple[tuple[Header, Unit], ...]] = {}
    for head in headers().values():
        for unit in head.units:
            for name in () if _guard(unit, head.name) else unit.defines:
                found[name] = (*found.get(name, ()), (head, unit))
    return found


def variant(name: str, isa: Iterable[str]) -> str:
    """The runtime's function `name`, ``eq_...``, for the first ISA for which there is one, ``eq_<isa>_...``, or the portable one."""
    return next((n for n in (name.replace("eq_", f"eq_{i}_", 1) for i in isa) if n in _by_name()), name)


def reached(code: Iterable[str]) -> dict[str, str]:
    """The headers that C code needs, each cut to what is reached, in an order in which they can be included."""
    kept: dict[str, list[Unit]] = {}
    taken, seen, waiting = set[str](), set[str](), set(words("\n".join(code)))
    while waiting:
        name = waiting.pop()
        seen.add(name)
        for head, unit in _by_name().get(name, ()):
            if head.name not in kept:
                taken |= {inner for inner in head.includes if all(_guard(u, inner) or not u.defines for u in header(inner).units)}
            kept.setdefault(head.name, []).append(unit)
            around = [u for u in head.units if _conditional(u) and u.conditions[-1] in unit.conditions]
            waiting |= unit.reads.union(*(u.reads for u in around)) - seen
    files = {}
    for file, head in headers().items():
        if file in taken:
            files[file] = whole(file)
        elif file in kept:
            files[file] = _cut(head, kept[file], {*taken, *kept}, seen)
    return files


def _cut(head: Header, kept: Sequence[Unit], files: set[str], seen: set[str]) -> str:
    """A header's text with the kept definitions alone, checks on them, and the directives and conditionals that are left."""
    reached_here = set(map(id, kept))

    def stays(unit: Unit) -> bool:
        if _conditional(unit) or any(inner not in files for inner in _INCLUDED.findall(unit.text)):
            return False
        if unit.defines or _bare(unit).startswith("#"):
            return id(unit) in reached_here or not unit.defines
        return all(name in seen for name in unit.reads if name in _by_name())

    alive = {c for u in head.units if stays(u) for c in u.conditions}
    lines = (u.text for u in head.units if (u.conditions[-1] in alive if _conditional(u) else stays(u) or _guard(u, head.name)))
    return re.sub(r"\n{3,}", "\n\n", "".join(lines))
