"""Expressions of front matters and of the cost table: jinja2's, on what a call is bound to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import jinja2
from jinja2 import meta

from edgeq.ir import Params
from edgeq.kernels import facts

_ENVIRONMENT = jinja2.Environment(undefined=jinja2.StrictUndefined)


@functools.cache
def _compiled(expression: str) -> Callable[..., object]:
    return _ENVIRONMENT.compile_expression(expression, undefined_to_none=False)


@functools.cache
def names(expression: str) -> frozenset[str]:
    """What an expression asks for."""
    return frozenset(meta.find_undeclared_variables(_ENVIRONMENT.parse(f"{{{{ {expression} }}}}")))


def known(name: str, params: Params) -> bool:
    """Whether a name is a scalar of the operator, ``law``, or a fact."""
    return name == "law" or name in params.scalars or name in facts.FACTS


def value(name: str, params: Params) -> int | str:
    """One name: ``law``, a scalar of the operator, or a fact.

    Raises:
        KeyError: it is none of these.
    """
    if name == "law":
        return params.law
    return params.scalars[name] if name in params.scalars else facts.value(name, params)


def evaluate(expression: str, params: Params, tile: Mapping[str, int] | None = None) -> object:
    """The expression's value; facts are computed where it names them."""
    own = ((name, value(name, params)) for name in sorted(names(expression)) if known(name, params))
    return _evaluated(expression, (*own, *(tile or {}).items()))


@functools.lru_cache(maxsize=65536)
def _evaluated(expression: str, values: tuple[tuple[str, int | str], ...]) -> object:
    return _compiled(expression)(**dict(values))
