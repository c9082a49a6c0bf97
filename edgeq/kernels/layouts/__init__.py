"""Layouts of kernels' tables: array -> array, applied when a call is lowered.

A family of layouts is a module of this folder, found by being there; its ``__all__`` names them. A kernel's front matter writes a layout
as an expression over those names: ``chunks``, ``interleaved(8, 4)``, ``thirds(filled(32))``, or ``chunks with bias, multiplier, shift``
where the function gets other tables, as the operator bound them, as well.
"""

from __future__ import annotations

import ast
import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from edgeq.ir import Array


@functools.cache
def scan() -> Mapping[str, Callable[..., Any]]:
    """All layouts, and what makes layouts of numbers or of other layouts, by name."""
    found: dict[str, Callable[..., Any]] = {}
    for module in pkgutil.iter_modules(__path__):
        family = importlib.import_module(f"{__name__}.{module.name}")
        found |= {name: getattr(family, name) for name in family.__all__}
    return found


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and not node.keywords:
        return _value(node.func)(*map(_value, node.args))
    if isinstance(node, ast.Name):
        return scan()[node.id]
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return node.value
    raise KeyError(ast.unparse(node))


@functools.cache
def layout(expression: str) -> Callable[..., Array]:
    """The function that an expression names.

    Raises:
        KeyError: there is no such layout.
    """
    try:
        result: Callable[..., Array] = _value(ast.parse(expression.strip(), mode="eval").body)
    except SyntaxError as error:
        raise KeyError(expression) from error
    return result


def applied(text: str, name: str, tables: Mapping[str, Array]) -> Array:
    """Table `name` of `tables` in a layout, ``expression`` or ``expression with other, ...``.

    Raises:
        KeyError: there is no such layout, or no such other table.
    """
    expression, _, others = text.partition(" with ")
    return layout(expression)(tables[name], *(tables[other.strip()] for other in others.split(",") if other))


def places(layout: str, name: str, tables: Mapping[str, Array]) -> Array:
    """Where the elements of table `name` lie in a layout that only moves them: int64 of the table's shape; ``""`` moves none.

    Raises:
        ValueError: the layout does more than move elements.
    """
    table = tables[name]
    order = np.arange(table.size)
    if layout:
        order = applied(layout, name, {**tables, name: order.reshape(table.shape)}).ravel()
    if len(order) != table.size or not np.array_equal(np.sort(order), np.arange(table.size)):
        raise ValueError(layout)
    found = np.empty_like(order)
    found[order] = np.arange(table.size)
    return np.asarray(found.reshape(table.shape))
