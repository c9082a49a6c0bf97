"""Compares a graph with the torch.export program that it was read from: what an exporter drops shows in the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType, Graph

VECTORS = 2  # a tie may fall otherwise on one
LIMIT = 1e-3  # relative, of the root of the mean square
SMALL = 1e-4  # a smaller output counts as so large: it may be a difference of equal numbers
COARSE = 5e-2  # of models that PyTorch does not compute in float32 throughout


def compare(program: Any, graph: Graph, const: Mapping[str, Any], where: str) -> None:
    """Both on vectors of noise; integer inputs are 0 or 1. Quantized graphs, and models that do not accept such a vector, pass.

    Args:
        program: a torch.export.ExportedProgram.
        const: values of inputs that the graph does not have.

    Raises:
        EdgeqError: an output differs on every vector.
    """
    if any(t.type.dtype is not DType.FLOAT32 for t in graph.tensors.values() if not t.is_constant):
        return
    rounded = any(n.op.traits.natural is not None and n.op.traits.natural.when == "given" for n in graph.nodes)  # ties fall either way
    worst: tuple[float, str] | None = None
    for seed in range(VECTORS):
        inputs = _inputs(program, graph, const, np.random.default_rng(seed))
        wanted = _run(program, inputs)
        read = [a for n, a in inputs.items() if isinstance(a, np.ndarray) and n not in const]
        if wanted is None or len(read) != len(graph.inputs):
            return
        arrays = {n: a.astype(np.float32)[None] for n, a in zip(graph.inputs, read, strict=True)}
        values = _meaning(graph, arrays)
        error, name = _difference(graph, values, wanted)
        if error <= (COARSE if rounded else _limit(program)):
            return
        worst = max(worst or (error, name), (error, name))
    assert worst is not None
    raise EdgeqError(
        "the model means something else after PyTorch's export to ONNX", where=where,
        why=f"output '{worst[1]}' differs from PyTorch's by {100 * min(worst[0], 1e4):.3g} % on random inputs",
        fix="replace the operator that the exporter drops a part of: halve the model until the difference is gone",
    )  # fmt: skip


def _inputs(program: Any, graph: Graph, const: Mapping[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """Per user input an array, or the constant that the program was exported with."""
    values: dict[str, Any] = {n.name: n.meta.get("val") for n in program.graph.nodes if n.op == "placeholder"}
    found: dict[str, Any] = {}
    shapes = iter([graph.type(n).shape for n in graph.inputs])  # the exporter may rename an input, but keeps their order
    for spec in program.graph_signature.input_specs:
        if spec.kind.name != "USER_INPUT":
            continue
        name = spec.arg.name
        value: Any = values.get(name)
        if name in const:
            found[name] = np.asarray(const[name])
        elif not hasattr(value, "shape"):
            found[name] = getattr(spec.arg, "value", None)
        else:
            shape = next(shapes, ())
            found[name] = rng.standard_normal(shape).astype(np.float32) if value.dtype.is_floating_point else rng.integers(0, 2, shape)
    return found


def _meaning(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs in float, for one vector ``[1, *shape]`` per input."""
    values: dict[str, Array] = {n: t.data for n, t in graph.tensors.items() if t.data is not None} | dict(arrays)
    for node in graph.nodes:
        x = [values[n] for n in node.inputs]
        if all(graph.tensors[n].is_constant for n in node.inputs):
            x = [a if i in node.op.parameters else a[None] for i, a in enumerate(x)]
        values |= zip(node.outputs, node.op.real_all(*x), strict=True)
    return {n: values[n][None] if graph.tensors[n].is_constant else values[n] for n in graph.outputs}


def _run(program: Any, inputs: Mapping[str, Any]) -> list[Array] | None:
    """PyTorch's outputs; None where the model does not accept such inputs."""
    import torch
    from torch.utils import _pytree as trees

    dtypes = {n.name: n.meta["val"].dtype for n in program.graph.nodes if n.op == "placeholder" and hasattr(n.meta.get("val"), "dtype")}
    given = [torch.from_numpy(a).to(dtypes[n]) if isinstance(a, np.ndarray) else a for n, a in inputs.items()]
    try:
        arguments, keywords = trees.tree_unflatten(given, program.call_spec.in_spec)
        with torch.no_grad():
            results = program.module()(*arguments, **keywords)
    except Exception:  # whatever the model raises that wants other inputs
        return None
    return [y.to(torch.float32).numpy() for y in trees.tree_leaves(results) if isinstance(y, torch.Tensor)]


def _limit(program: Any) -> float:
    kinds = {str(v.dtype) for n in program.graph.nodes if hasattr(v := n.meta.get("val"), "dtype") and v.dtype.is_floating_point}
    return LIMIT if kinds <= {"torch.float32", "torch.float64"} else COARSE


def _difference(graph: Graph, values: Mapping[str, Array], wanted: list[Array]) -> tuple[float, str]:
    """The largest relative difference of an output, where PyTorch's is finite, and the output's name."""
    worst = (0.0, "")
    if len(wanted) != len(graph.outputs):
        return np.inf, graph.outputs[0]
    for name, want in zip(graph.outputs, wanted, strict=True):
        got = values[name][0].astype(np.float64)
        if got.shape != want.shape:
            return np.inf, name
        finite = np.isfinite(want)
        if finite.any():
            error = np.sqrt(np.mean((got[finite] - want[finite]) ** 2))
            size = np.sqrt(np.mean(want[finite].astype(np.float64) ** 2))
            ratio = float(error / max(size, SMALL))
            worst = max(worst, (ratio if np.isfinite(ratio) else np.inf, name))
    return worst
