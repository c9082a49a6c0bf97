"""Load: a file or folder becomes a graph; and arrays for its inputs."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from edgeq import graphfile
from edgeq.api.samples import Samples, collect
from edgeq.errors import EdgeqError
from edgeq.features.sound import read_sound
from edgeq.files import read_arrays
from edgeq.ir import Array, DType, Graph

Module = Any  # torch.nn.Module
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
    """Whether nothing is left to quantize: some activation is stored in integers with a scale or in half precision, or all in integers,
    or all that is computed stays in float32."""
    kept = [n.op.traits.float32 for n in graph.nodes]
    return not is_float(graph) or (all(kept) and "kept" in kept)


def is_float(graph: Graph) -> bool:
    """Whether some activation is stored in float32, and none in half precision or with a scale."""
    types = [t.type for t in graph.tensors.values() if not t.is_constant]
    return any(t.dtype is DType.FLOAT32 for t in types) and not any(t.q is not None or t.dtype is DType.FLOAT16 for t in types)


def load(
    path: str | Path | Module, example_inputs: Any = None, *, shapes: Shapes | None = None, const: Consts | None = None,
    states: States | None = None, signature: str | None = None, normalise: bool = True,
) -> Graph:  # fmt: skip
    """Read a model.

    Args:
        path: a model file (.tflite, .onnx, .pt2), a graph file (.eqg), a description of a front end (.toml), a folder that
            `build` or `quantize` wrote, a ``torch.nn.Module``, or a
            transform of torchaudio, which is a front end in float32 (`features.of_transform` gives it other precisions).
        example_inputs: of a module, an array or tensor, or a tuple of them, as its ``forward`` takes them, with a batch of 1: they
            fix the shapes.
        shapes: shapes of inputs whose dimensions the file leaves open, by input name.
        const: values that inputs are bound to, by input name; such an input is no input of the graph.
        states: input name -> the output that is its value at the next inference, for a model that streams; without it pairs
            like ``rnn_state_in`` and ``rnn_state_out`` are taken for states, and what a .tflite file keeps itself (LSTM and SVDF
            layers, variables); ``{}`` declares none: every inference begins with zeros.
        signature: which of a .tflite file's signatures, where it has several.
        normalise: clean the graph up; False gives it as the frontend read it.

    Raises:
        EdgeqError: the file is missing, damaged, or holds unsupported parts (all are listed); or an argument has no meaning for it.
    """
    reading = {"shapes": shapes, "const": const, "states": states, "signature": signature}
    if not isinstance(path, (str, Path)):
        from edgeq import features

        if features.is_transform(path):
            given = [name for name, value in {"example inputs": example_inputs, **reading}.items() if value is not None]
            if given:
                fix = "give the transform alone: its own settings say what it takes"
                raise EdgeqError(f"{', '.join(given)} for a transform", where=type(path).__name__, fix=fix)
            return passes_of(features.build(features.of_transform(path)), None, normalise)
        refuse("a module", {"const": const, "signature": signature})
        graph = _of_module(path, example_inputs, shapes)
        return passes_of(graph, states, normalise)
    if example_inputs is not None:
        raise EdgeqError("example inputs for a file", where=str(path), fix="give them with a torch.nn.Module alone")
    path = Path(path)
    if is_written(path):
        refuse(f"{path}, which edgeq wrote", reading)
        return graphfile.load(path)
    if path.suffix == ".toml":
        refuse(f"{path}, a description of a front end", reading)
        return _of_features(path)
    from edgeq import frontends

    return passes_of(frontends.load(path, shapes=shapes, const=const, signature=signature), states, normalise)


def is_written(path: str | Path) -> bool:
    """Whether a path is a graph file, or a folder that is no SavedModel of TensorFlow's: `load` takes it for one of edgeq's."""
    path = Path(path)
    return (path.is_dir() and not (path / "saved_model.pb").is_file()) or graphfile.is_graph(path)


def refuse(what: str, given: Mapping[str, Any]) -> None:
    """Refuse arguments that would be disregarded.

    Raises:
        EdgeqError: one is given.
    """
    for name, value in given.items():
        if value is not None:
            raise EdgeqError(f"{name} cannot be given for {what}", fix="leave it out, or give it with the model's own file")


def _of_features(path: Path) -> Graph:
    """The graph of a description of features, and of the model that it names, whose path is relative to its own."""
    from edgeq import features, passes

    named = features.read(path).model
    model = load(path.parent / named) if named else None
    if model is not None and not is_quantized(model):
        fix = "quantize it (edgeq quantize) and name the .eqg file"
        raise EdgeqError("the model behind the features is not quantized", where=str(path.parent / named), fix=fix)
    return passes.normalise(features.of_file(path, model))


def passes_of(graph: Graph, states: States | None, normalise: bool) -> Graph:
    """A graph as a frontend read it, with its states, cleaned up where wanted."""
    from edgeq import passes

    graph = passes.declare_states(graph, states)
    return passes.normalise(graph) if normalise else graph


def _of_module(module: Any, example_inputs: Any, shapes: Shapes | None) -> Graph:
    """A live module of PyTorch.

    Raises:
        EdgeqError: it is none, or there are no example inputs.
    """
    torch = sys.modules.get("torch")
    name = type(module).__name__
    if torch is None or not isinstance(module, torch.nn.Module):
        raise EdgeqError(f"an object of type {name} is no model", fix="give the path of a file, or a torch.nn.Module with example inputs")
    if example_inputs is None:
        fix = "edgeq.load(module, x) with x as its forward takes it, a batch of 1"
        raise EdgeqError("a module without example inputs", where=name, fix=fix)
    from edgeq.frontends.torch import from_module

    several = example_inputs if isinstance(example_inputs, (tuple, list)) else (example_inputs,)
    tensors = tuple(x if isinstance(x, torch.Tensor) else torch.as_tensor(x) for x in several)
    return from_module(module, tensors, re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower(), shapes=shapes)


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


def _recording(path: Path, graph: Graph) -> dict[str, Array]:
    """A recording as steps of a network that takes samples, as many as there are whole ones.

    Raises:
        EdgeqError: the network takes no samples, or there are too few.
    """
    from edgeq.features.graph import SAMPLES

    if graph.given != (SAMPLES,):
        why = f"inputs are {', '.join(graph.given)}"
        raise EdgeqError(
            "a recording for a network that takes no samples", where=str(path), why=why, fix="put a description of features before it"
        )
    samples, size = read_sound(path), graph.type(SAMPLES).size
    if len(samples) < size:
        raise EdgeqError(f"a recording of {len(samples)} samples", where=str(path), why=f"one step takes {size}")
    return {SAMPLES: samples[: len(samples) // size * size].reshape(-1, size)}


def read_inputs(source: Samples, graph: Graph) -> dict[str, Array]:
    """Arrays for a graph's inputs, from an .npz, .npy or .wav file or as given (see `edgeq.api.samples.collect`); not yet fitted.

    Raises:
        EdgeqError: the file cannot be read, or an input finds no array.
    """
    found = collect(source, graph)
    if isinstance(found, dict):
        return select_inputs(graph, found)
    if Path(str(found)).suffix.lower() == ".wav":
        return _recording(Path(str(found)), graph)
    return select_inputs(graph, read_arrays(Path(str(found))), str(found))
