"""A model's inputs: their static shapes, and values that they are bound to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from onnx import ValueInfoProto, helper

from edgeq.errors import EdgeqError
from edgeq.frontends.onnx.file import MAX_ELEMENTS, printable, type_name
from edgeq.ir import Array


def fixed_value(info: ValueInfoProto, value: ArrayLike) -> Array:
    """The array that a caller binds an input to, in the type and shape that the file says.

    Raises:
        EdgeqError: it does not fit them.
    """
    where, type = printable(info.name), info.type.tensor_type
    try:
        dtype = helper.tensor_dtype_to_np_dtype(type.elem_type)
        given = np.asarray(value)
        found = given.astype(dtype)
    except (KeyError, TypeError, ValueError, OverflowError) as e:
        raise EdgeqError(f"an input of type {type_name(type.elem_type)} cannot be bound to a value", where=where) from e
    if dtype.kind not in "fbiu" or given.dtype.kind not in "fbiu" or (dtype.kind != "f" and not np.array_equal(found, given)):
        raise EdgeqError(f"{str(value)[:40]} is no value of type {type_name(type.elem_type)}", where=where)
    if not type.HasField("shape"):
        return found
    sizes = [int(d.dim_value) if d.HasField("dim_value") else None for d in type.shape.dim]
    if found.size == 1:
        return np.ascontiguousarray(found.reshape([1] * len(sizes))) if all(n in (None, 1) for n in sizes) else _spread(where, found, sizes)
    if len(sizes) != found.ndim or any(n not in (None, m) for n, m in zip(sizes, found.shape, strict=True)):
        raise EdgeqError(f"values of shape {list(found.shape)} do not fit", where=where, why=f"the model has {sizes}")
    return found


def _spread(where: str, value: Array, sizes: list[int | None]) -> Array:
    """One value for every element."""
    shape = [n or 1 for n in sizes]
    if math.prod(shape) > MAX_ELEMENTS:
        raise EdgeqError(f"shape {shape[:8]} is too large", where=where)
    return np.full(shape, value.ravel()[0])


def name_of(dim: Any) -> str:
    """The name of an open dimension, which has one size wherever it stands; empty where it has none, as ``?``, ``-1`` or ``None`` say."""
    name = printable(dim.dim_param)
    return name if name != "None" and any(c.isalpha() or c == "_" for c in name) else ""


def named_sizes(inputs: list[ValueInfoProto], given: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """Sizes of the file's named dimensions: those of the shapes that are given; what names an open batch is 1."""
    found: dict[str, int] = {}
    for info in inputs:
        dims = info.type.tensor_type.shape.dim
        found |= {name_of(d): n for d, n in zip(dims, given.get(info.name, ()), strict=False) if name_of(d)}
    for info in inputs:
        dims = info.type.tensor_type.shape.dim
        if dims and name_of(dims[0]) and info.name not in given:
            found.setdefault(name_of(dims[0]), 1)
    return found


def static_shape(info: ValueInfoProto, given: tuple[int, ...] | None, symbols: Mapping[str, int]) -> tuple[int, ...]:
    """An input's shape: open batch dimensions are 1, other open ones must be given, one of each name.

    Raises:
        EdgeqError: a dimension stays open, is zero, or contradicts the one given.
    """
    where, dims = printable(info.name), info.type.tensor_type.shape.dim
    known = info.type.tensor_type.HasField("shape")
    sizes = [int(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0 else None for d in dims]
    shown = "x".join(str(n) if n is not None else (name_of(d) or "?") for n, d in zip(sizes, dims, strict=True))
    if 0 in sizes:
        raise EdgeqError(f"the input's shape {shown} has a dimension of size zero", where=where)
    if given is None:
        resolved = [symbols.get(name_of(d)) if n is None else n for n, d in zip(sizes, dims, strict=True)]
        if not known or any(n is None for n in resolved[1:]):
            sample = [str(n) if n else (name_of(d) or f"N{i}") for i, (n, d) in enumerate(zip(resolved, dims, strict=True))]
            sample[:1] = [str(resolved[0] or 1)] if resolved else []
            open_ones = ", ".join(t for t in dict.fromkeys(sample) if not t.isdigit()) or "its axes"
            fix = f'give it, as --shape "{where}={"x".join(sample) or "1x3x32x32"}" with sizes for {open_ones}'
            raise EdgeqError(f"the input's shape {shown or '(unknown)'} is dynamic", where=where, fix=fix)
        given = tuple(n or 1 for n in resolved)
    fits = all(isinstance(n, int) and n > 0 for n in given)
    if fits and math.prod(given) > MAX_ELEMENTS:
        raise EdgeqError(f"shape {'x'.join(map(str, given))} is too large", where=where, why=f"at most {MAX_ELEMENTS} elements are read")
    if not fits or (known and (len(given) != len(sizes) or any(n not in (None, m) for n, m in zip(sizes, given, strict=True)))):
        raise EdgeqError(f"shape {'x'.join(map(str, given))} does not fit", where=where, why=f"the model has {shown}" if known else "")
    return tuple(given)
