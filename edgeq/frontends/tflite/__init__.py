"""TensorFlow Lite models: float32, float16 or int8 weights with float activations, fully quantized ones, and signal operators."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from numpy.typing import ArrayLike

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import batches, choosing, compute, loops, movement, padding, recurrent, signal, variables
from edgeq.frontends.tflite.attributes import TRANSLATORS
from edgeq.frontends.tflite.builder import CONTRADICTIONS, Builder
from edgeq.frontends.tflite.file import FileOperator, FileTensor, read
from edgeq.frontends.tflite.fold import BINARY, FOLDERS, fold
from edgeq.ir import Graph

__all__ = ["batches", "choosing", "compute", "load", "loops", "movement", "padding", "recurrent", "signal", "variables"]

FOLDED_ONLY = {"SHAPE", *FOLDERS, *BINARY} - set(TRANSLATORS)
HINTS = {
    "WHERE": "it gives as many indices as it finds: use SELECT_V2, or end the model before it",
    "TOPK_V2": "end the model before it and sort the output in your own code",
    "IF": "remove control flow before converting",
}
# TensorFlow Lite Micro moves or compares the bytes of these without looking at their scales.
ONE_SCALE = {
    "MINIMUM", "MAXIMUM", "AVERAGE_POOL_2D", "MAX_POOL_2D", "REDUCE_MAX", "REDUCE_MIN", "SPLIT", "SPLIT_V", "SLICE", "STRIDED_SLICE", "PAD",
    "PADV2", "MIRROR_PAD", "RESHAPE", "SQUEEZE", "EXPAND_DIMS", "TRANSPOSE", "GATHER", "PACK", "UNPACK", "DEPTH_TO_SPACE", "SPACE_TO_DEPTH",
    "RESIZE_NEAREST_NEIGHBOR", "RESIZE_BILINEAR", "SELECT", "SELECT_V2", "GATHER_ND",
}  # fmt: skip
LISTED, FIRST = 20, 3  # reasons in one message, and nodes named for each


def load(
    path: Path, *, shapes: Mapping[str, tuple[int, ...]] | None = None, const: Mapping[str, ArrayLike] | None = None,
    signature: str | None = None,
) -> Graph:  # fmt: skip
    """Read a .tflite file.

    A fully quantized model keeps its own scales and gets the law ``tflm``; weights that are stored
    as float16 or int8 beside float activations become float32.

    Args:
        shapes: input name -> shape, for inputs with open dimensions. An open batch is 1.
        const: none: inputs of a .tflite file cannot be bound to values.
        signature: which of the model's signatures, where it has several.

    Variables, and the states of LSTM and SVDF layers, become states of the graph.

    Raises:
        EdgeqError: the file cannot be read or is damaged, an input's shape stays open, or parts of
            the model are not supported: then each is listed with its node.
    """
    if const:
        raise EdgeqError("inputs of a .tflite file cannot be bound to values", where=str(path), fix="leave --const out")
    file = read(path, signature)
    try:
        builder = Builder(file, path.stem, shapes)
        problems = _translate(builder)
        if problems:
            raise _refusal(problems)
        return builder.graph()
    except EdgeqError as e:
        raise EdgeqError(e.what, where=f"{path}: {e.where}" if e.where else str(path), why=e.why, fix=e.fix) from e


def _translate(b: Builder) -> list[tuple[str, EdgeqError]]:
    """Translate every operator; after a failure go on as if its outputs were as declared, to find all of them."""
    problems: list[tuple[str, EdgeqError]] = []
    unknown: set[int] = set()  # outputs of operators that failed, of types that nothing can be computed with
    known = TRANSLATORS.keys() | FOLDED_ONLY | {loops.KIND}
    for i, op in enumerate(b.file.operators):
        name = b.tensor_name(op.outputs[0]) if op.outputs else f"operator {i}"
        try:
            if unknown.isdisjoint(op.inputs) or op.kind not in known:
                _translate_one(b, op)
                continue
        except EdgeqError as e:
            problems.append((name, e))
        for index in op.outputs:
            if not _placeholder(b, index):
                unknown.add(index)
    return problems


def _translate_one(b: Builder, op: FileOperator) -> None:
    if not op.outputs and op.kind not in variables.SILENT:
        raise EdgeqError(f"{op.kind} has no output", why="the file is damaged")
    if (op.kind in TRANSLATORS or op.kind in FOLDED_ONLY) and fold(b, op):
        return
    if op.kind not in TRANSLATORS and op.kind != loops.KIND:
        fix = HINTS.get(op.kind, "")
        if op.kind.startswith("CUSTOM Flex"):
            fix = "convert without SELECT_TF_OPS, or replace the operator in the model"
        elif not fix:
            fix = "replace it in the model by supported operators, or end the model before it"
        raise EdgeqError(f"{op.kind} is not supported" + (" on computed values" if op.kind in FOLDED_ONLY else ""), fix=fix)
    _check_scales(b, op)
    try:
        if op.kind == loops.KIND:
            loops.unrolled(b, op, _translate_one)
        else:
            TRANSLATORS[op.kind](b, op)
    except CONTRADICTIONS as e:
        raise EdgeqError(f"{op.kind} contradicts itself", why=f"{type(e).__name__}: {e}"[:120]) from e


def _check_scales(b: Builder, op: FileOperator) -> None:
    """Refuse an operator that would give one value several meanings."""
    ends = [b.file.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0]
    scales = {(t.quantization.scales, t.quantization.zero_points) for t in ends if t.kind == "INT8" and t.quantization is not None}
    if op.kind in ONE_SCALE and len(scales) > 1 and ends[-1].kind == "INT8":
        why = ", ".join(f"{s[0]:.4g} with zero point {z[0]}" for s, z in sorted(scales))
        raise EdgeqError(f"the int8 ends of {op.kind} have different scales", why=why, fix="quantize the model again by the converter")


def _placeholder(b: Builder, index: int) -> bool:
    """Declare the output of a failed operator; False where its type cannot be computed with."""
    stored: FileTensor = b.file.tensors[index]
    try:
        if index not in b.values:
            b.put(index, b.activation_type(stored, stored.shape))
    except EdgeqError:
        return False
    return True


def _refusal(problems: list[tuple[str, EdgeqError]]) -> EdgeqError:
    """One error that lists all: equal causes are told once, with their number and the first nodes."""
    if len(problems) == 1:
        (name, e), *_ = problems
        return EdgeqError(e.what, where=f"node '{name}'", why=e.why, fix=e.fix)
    causes: dict[tuple[str, str, str], list[str]] = {}
    for name, e in problems:
        causes.setdefault((e.what, e.why, e.fix), []).append(name)
    parts = []
    for (what, why, fix), names in list(causes.items())[:LISTED]:
        nodes = ", ".join(f"'{n}'" for n in names[:FIRST])
        nodes = f"{len(names)} nodes, first {nodes}" if len(names) > FIRST else nodes
        parts.append(f"{what}{f' ({why})' if why else ''} at {nodes}{f': {fix}' if fix else ''}")
    if len(causes) > LISTED:
        parts.append(f"and {len(causes) - LISTED} other reasons")
    return EdgeqError(f"{len(problems)} nodes cannot be translated: " + "; ".join(parts))
