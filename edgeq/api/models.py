"""Load: a file or folder becomes a graph; and arrays for its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from edgeq import graphfile
from edgeq.errors import EdgeqError
from edgeq.files import read_arrays
from edgeq.ir import Array, DType, Graph

Progress = Callable[[str, int, int], None]  # stage, done, total
Shapes = Mapping[str, tuple[int, ...]]
States = Mapping[str, str]
Consts = Mapping[str, ArrayLike]
Arrays = Mapping[str, Array]

SEED = 0


def stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    """The (done, total) callback of one stage."""
    if progress is None:
        return None
    report = progress

    def step(done: int, total: int) -> None:
        report(name, done, total)

    return step


def is_quantized(graph: Graph) -> bool:
    """Whether any activation is stored in integers with a scale, or in half precision."""
    return any(t.type.q is not None or t.type.dtype is DType.FLOAT16 for t in graph.tensors.values() if not t.is_constant)


def load(
    path: str | Path, *, shapes: Shapes | None = None, const: Consts | None = None, states: States | None = None,
    signature: str | None = None, normalise: bool = True,
) -> Graph:  # fmt: skip
    """Read a model.

    Args:
        path: a model file (.tflite, .onnx, .pt2), a graph file (.eqg), or a folder that `build` or
            `quantize` wrote.
        shapes: shapes of inputs whose dimensions the file leaves open, by input name.
        const: values that inputs are bound to, by input name; such an input is no input of the graph.
        states: input name -> the output that is its value at the next inference, for a model that streams; without it pairs
            like ``rnn_state_in`` and ``rnn_state_out`` are taken for states, and what a .tflite file keeps itself (LSTM and SVDF
            layers, variables); ``{}`` declares none: every inference begins with zeros.
        signature: which of a .tflite file's signatures, where it has several.
        normalise: clean the graph up; False gives it as the frontend read it.

    Raises:
        EdgeqError: the file is missing, damaged, or holds unsupported parts (all are listed).
    """
    path = Path(path)
    if path.is_dir() or graphfile.is_graph(path):
        return graphfile.load(path)
    from edgeq import frontends, passes

    graph = passes.declare_states(frontends.load(path, shapes=shapes, const=const, signature=signature), states)
    return passes.normalise(graph) if normalise else graph


def random_inputs(graph: Graph, vectors: int, seed: int = SEED) -> dict[str, Array]:
    """Vectors of noise for every input: all stored values of integer inputs, a standard normal for float ones.

    Returns:
        Per input ``[V, *shape]`` in the stored dtype.
    """
    return random_arrays({n: (graph.type(n).dtype, graph.type(n).shape) for n in graph.given}, vectors, seed)


def random_arrays(types: Mapping[str, tuple[DType, tuple[int, ...]]], vectors: int, seed: int = SEED) -> dict[str, Array]:
    """As `random_inputs`, of dtypes and shapes."""
    rng = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name, (dtype, shape) in types.items():
        if dtype in (DType.FLOAT32, DType.FLOAT16):
            arrays[name] = rng.standard_normal((vectors, *shape)).astype(dtype.numpy)
        else:
            info = np.iinfo(dtype.numpy)
            arrays[name] = rng.integers(info.min, info.max, (vectors, *shape), dtype=dtype.numpy, endpoint=True)
    return arrays


def select_inputs(graph: Graph, arrays: Arrays, where: str = "") -> dict[str, Array]:
    """The arrays that feed a graph's inputs: by name, or the only array, or ``x`` for a single input.

    Raises:
        EdgeqError: an input finds no array.
    """
    if set(graph.given) <= set(arrays):
        return {n: arrays[n] for n in graph.given}
    if len(graph.given) == 1:
        for name in ("x", "", *arrays) if len(arrays) == 1 else ("x", ""):
            if name in arrays:
                return {graph.given[0]: arrays[name]}
    missing = [n for n in graph.given if n not in arrays]
    raise EdgeqError(
        f"no array for input {', '.join(repr(n) for n in missing[:4])}",
        where=where,
        why=f"arrays are {', '.join(repr(n) for n in list(arrays)[:8])}",
        fix="name the arrays as the model names its inputs",
    )


def read_inputs(source: str | Path | Arrays, graph: Graph) -> dict[str, Array]:
    """Arrays for a graph's inputs, from an .npz or .npy file or as given; not yet fitted.

    Raises:
        EdgeqError: the file cannot be read, or an input finds no array.
    """
    if isinstance(source, Mapping):
        return select_inputs(graph, source)
    return select_inputs(graph, read_arrays(Path(source)), str(source))
