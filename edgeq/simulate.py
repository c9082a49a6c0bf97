"""The simulator: runs a quantized graph with the operators' reference meaning. It is the truth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgeq import half, numerics
from edgeq.errors import EdgeqError
from edgeq.evaluate import follow
from edgeq.ir import Array, DType, Graph, Node, Params, TensorType
from edgeq.lower import bind
from edgeq.record import larger

ROOM = 12 * 2**20  # bytes that are computed at once: the sums of a layer then stay in a processor's caches


@dataclass(frozen=True)
class Cycles:
    """Clock cycles of one inference, by a model of the core.

    Attributes:
        total: the largest over the vectors.
        steps: per call, None where unknown.
        low, high: the true ones lie between these multiples of them; both 1 where the model was held against the core itself.
    """

    total: int
    steps: tuple[int, ...] | None
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Run:
    """What a runner returns.

    Attributes:
        runner: its name.
        outputs: per graph output that is no state an array ``[V, *shape]`` in the stored dtype.
        steps: per tensor (by name) an array like `outputs`; empty where not asked for.
        instructions: executed per inference (the largest over the vectors), None where unknown.
        step_instructions: per call, None where unknown.
        constant_time: all vectors took the same number of instructions; None where unknown.
        stack_bytes: high-water mark of the stack, None where unknown.
        stack_bound: what the stack can take at most by the compiler's own figures along the call graph, None where they do not tell.
        code_bytes: flash of the model's code without its weights, None where unknown.
        cycles: None where there is no model of the core.
    """

    runner: str
    outputs: Mapping[str, Array]
    steps: Mapping[str, Array]
    instructions: int | None = None
    step_instructions: tuple[int, ...] | None = None
    constant_time: bool | None = None
    stack_bytes: int | None = None
    stack_bound: int | None = None
    code_bytes: int | None = None
    cycles: Cycles | None = None

    @property
    def stack(self) -> int | None:
        """Bytes that are claimed: the larger of what was measured and the bound."""
        return larger(self.stack_bytes, self.stack_bound)


def fit_inputs(graph: Graph, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Check and reshape named arrays to ``[V, *shape]`` in the stored dtype.

    The first axis runs over vectors, for a graph with states consecutive ones; the rest must hold as many elements as the input. Float
    arrays given for an int8 input are quantized by its scale and zero point, for a half one rounded; float16 arrays may hold all that a
    half can be, infinities and not-a-number too.

    Raises:
        EdgeqError: a name is missing or unknown, a shape or dtype does not fit, or a value is NaN.
    """
    expected = ", ".join(f"'{n}' {graph.type(n)}" for n in graph.given)
    if set(arrays) != set(graph.given):
        if len(arrays) == len(graph.given) == 1:
            arrays = {graph.given[0]: next(iter(arrays.values()))}
        else:
            raise EdgeqError(f"input arrays {sorted(arrays)} do not match", fix=f"give {expected}, first axis = vectors")
    fitted = {}
    for name in graph.given:
        a, t = np.asarray(arrays[name]), graph.type(name)
        if a.ndim == 0 or len(a) == 0 or a.size != len(a) * t.size:
            raise EdgeqError(f"array {list(a.shape)} does not fit", where=name, fix=f"give {expected}, first axis = vectors")
        given, wanted = _long(a.shape[1:]), _long(t.shape)
        if given != wanted and sorted(given) == sorted(wanted):
            raise EdgeqError(f"the axes of {list(a.shape)} are in another order", where=name, fix=f"give {expected}, first axis = vectors")
        stored = a.dtype == t.dtype.numpy == np.float16  # all that a half can be
        if a.dtype.kind == "f" and not stored:
            if not np.isfinite(a).all():
                raise EdgeqError("array holds NaN or infinity", where=name)
            if t.q is not None:
                a = quantize_array(a, t.scale, t.zero_point, t.dtype.numpy, graph.law)
        if a.dtype != t.dtype.numpy:
            info = np.iinfo(t.dtype.numpy) if t.dtype.numpy.kind == "i" else None
            if info and a.dtype.kind == "f" and (a != np.rint(a)).any():
                raise EdgeqError(f"array of {a.dtype} holds fractions", where=name, why=f"the input is {t.dtype.value} without a scale")
            if t.dtype is DType.INT8 and a.dtype == np.uint8:
                fix = "give int8; what was uint8 in the model file is byte - 128 here"
                raise EdgeqError("array of uint8 for an input of int8", where=name, why="a byte may mean either", fix=fix)
            if a.dtype.kind not in "iuf" or (info and (a.min() < info.min or a.max() > info.max)):
                raise EdgeqError(f"array of {a.dtype} does not fit {t.dtype.value}", where=name, fix="give the stored dtype or float32")
            a = half.from_float(a.astype(np.float32)) if t.dtype is DType.FLOAT16 else a.astype(t.dtype.numpy)
            if a.dtype.kind == "f" and not np.isfinite(a).all():
                raise EdgeqError(f"array holds values that {t.dtype.value} cannot", where=name, why=f"it ends at {np.finfo(a.dtype).max:g}")
        fitted[name] = (half.from_float(a) if stored else a).reshape(len(a), *t.shape)
    if len({len(a) for a in fitted.values()}) > 1:
        raise EdgeqError("inputs have different numbers of vectors", fix=f"give {expected}, first axis = vectors")
    return fitted


def _long(shape: Sequence[int]) -> list[int]:
    """The axes that are longer than 1: the others may be there or not."""
    return [n for n in shape if n != 1]


def quantize_array(x: Array, scale: float, zero_point: int, dtype: np.dtype[np.generic], law: str = "single") -> Array:
    """Float to stored integers of `dtype`, saturated (`numerics.quantize`)."""
    info = np.iinfo(dtype.type)  # type: ignore[type-var]
    return numerics.quantize(law, x, scale, zero_point, int(info.min), int(info.max)).astype(dtype)


def dequantize_array(q: Array, scale: float, zero_point: int) -> Array:
    """Stored integers to float32 (`numerics.dequantize`)."""
    return numerics.dequantize(q, scale, zero_point)


def real_array(a: Array, t: TensorType) -> Array:
    """Stored values of a type as float32."""
    return np.asarray(a, np.float32) if t.q is None else dequantize_array(a, t.scale, t.zero_point)


def simulate(
    graph: Graph,
    arrays: Mapping[str, Array],
    *,
    steps: bool = False,
    parameters: Mapping[str, Params] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Run a quantized graph bit-exactly over a batch of vectors; those of a graph with states follow each other.

    Args:
        graph: quantized; float graphs run through `quantize.evaluate_float`.
        arrays: per input ``[V, ...]`` (see `fit_inputs`).
        steps: keep every intermediate tensor.
        parameters: node -> constants to compute with instead of its own.
        progress: called with (vectors done, vectors in all).

    Raises:
        EdgeqError: an array does not fit, or an operator has no integer meaning here.
    """
    inputs = fit_inputs(graph, arrays)
    given = parameters or {}
    params = {node.name: given.get(node.name) or bind(graph, node) for node in graph.nodes}
    positions = {node.name: [i for i in range(len(node.inputs)) if i not in node.op.parameters] for node in graph.nodes}

    def step(node: Node, x: list[Array]) -> tuple[Array, ...]:
        return node.op.compute(params[node.name], *(x[i] for i in positions[node.name]))

    total, done = len(next(iter(inputs.values()))), 0
    wanted = [n for n, t in graph.tensors.items() if not t.is_constant] if steps else list(graph.outputs)
    parts: dict[str, list[Array]] = {n: [] for n in wanted}
    for values in follow(graph, inputs, step, steps, ROOM):
        for name in wanted:
            parts[name].append(values[name])
        done += len(values[wanted[0]])
        if progress:
            progress(done, total)
    tensors = {n: np.concatenate(p) for n, p in parts.items()}
    return Run("simulator", {n: tensors[n] for n in graph.results}, tensors if steps else {})
