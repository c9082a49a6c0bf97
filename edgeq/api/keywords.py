"""Keywords of the verbs: unknown ones are refused with the nearest name, and signatures show them all."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable
from typing import Any, get_args, get_type_hints

from edgeq.errors import EdgeqError


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


def signature(verb: Callable[..., Any]) -> inspect.Signature:
    """A verb's signature with the keywords of its ``**recipe`` spelled out."""
    plain = inspect.signature(verb)
    parameters = []
    for p in plain.parameters.values():
        if p.kind is not inspect.Parameter.VAR_KEYWORD:
            parameters.append(p)
            continue
        (kind,) = get_args(get_type_hints(verb)[p.name])
        taken = set(plain.parameters) - {p.name}
        parameters += [
            inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=a)
            for n, a in kind.__annotations__.items()
            if n not in taken
        ]
    return plain.replace(parameters=parameters)
