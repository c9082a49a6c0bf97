"""Keywords of the verbs: unknown ones are refused with the nearest name, and signatures show them all."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any, ParamSpec, TypeVar, get_args, get_type_hints

from edgeq import recipes
from edgeq.errors import EdgeqError

P = ParamSpec("P")
R = TypeVar("R")


class UnknownKeyword(EdgeqError, TypeError):
    """A keyword that a verb does not have."""


def check(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse unknown keywords.

    Raises:
        UnknownKeyword: there is one.
    """
    names = sorted(known)
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"choose among {', '.join(names)}"
            raise UnknownKeyword(f"unexpected keyword '{name}'", fix=fix)


def verb(function: Callable[P, R]) -> Callable[P, R]:
    """Make a function a verb: it refuses unknown keywords with the nearest of those that it has."""

    @functools.wraps(function)
    def checked(*given: P.args, **keywords: P.kwargs) -> R:
        if keywords.keys() - inspect.signature(function).parameters.keys():
            check(keywords, _names(function))
        return function(*given, **keywords)

    return checked


def as_verb(other: Callable[..., Any], *without: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function a verb that takes what another does, but for some keywords that it gives itself."""

    def made(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def checked(*given: P.args, **keywords: P.kwargs) -> R:
            check(keywords, _names(checked))
            return function(*given, **keywords)

        checked.as_verb = (other, without)  # type: ignore[attr-defined]
        return checked

    return made


@functools.cache
def _names(function: Callable[..., Any]) -> frozenset[str]:
    """All keywords of a verb, those of the recipes that are found where it takes any."""
    named = signature(function).parameters
    return frozenset(named) | (frozenset(recipes.takers()) if "recipe" in named else frozenset())


def signature(verb: Callable[..., Any]) -> inspect.Signature:
    """A verb's signature with the keywords of its ``**recipe`` spelled out."""
    verb, without = getattr(verb, "as_verb", (verb, ()))
    plain = inspect.signature(verb)
    parameters = []
    for p in plain.parameters.values():
        if p.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(p)
            continue
        (kind,) = get_args(get_type_hints(verb)[p.name])
        taken = set(plain.parameters) - {p.name}
        parameters += [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=getattr(a, "__forward_arg__", a))
            for n, a in kind.__annotations__.items()
            if n not in taken
        ]
    return plain.replace(parameters=[p for p in parameters if p.name not in without])
