"""WHILE loops whose conditions are known are read turn by turn, as Keras' recurrent layers are converted to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import File, FileOperator
from edgeq.ops.reshape import Reshape

KIND = "WHILE"
MAX_DEPTH = 8  # of a loop in a loop
MAX_TURNED = 2**13  # operators that all turns of all loops may hold
FIX = "convert recurrent layers with a fixed batch size, so that each is one operator, or with unroll=True"
Translate = Callable[[Builder, FileOperator], None]


@dataclass
class _Part:
    """A subgraph of a loop, and where its constants are once they have a number among the file's tensors."""

    graph: File
    constants: dict[int, int] = field(default_factory=dict)


def unrolled(b: Builder, op: FileOperator, translate: Translate) -> None:
    """Read the turns of a WHILE.

    Args:
        translate: reads one operator.

    Raises:
        EdgeqError: its condition is computed, or it has too many turns.
    """
    condition, body = (_Part(b.file.called[int(op.option(f"{n}SubgraphIndex"))]) for n in ("Cond", "Body"))
    if not len(op.inputs) == len(op.outputs) == len(body.graph.inputs) == len(body.graph.outputs) or -1 in op.inputs:
        raise EdgeqError("the ends of WHILE do not fit its body", why="the file is damaged")
    if b.depth >= MAX_DEPTH:
        raise EdgeqError(f"WHILE nested in more than {MAX_DEPTH} others is not supported", fix=FIX)
    current: Sequence[int] = op.inputs
    changed = [i for i, (given, made) in enumerate(zip(body.graph.inputs, body.graph.outputs, strict=True)) if given != made]
    for i in changed:  # what begins with int8 constants is computed: operators on int8 constants alone are not folded
        if b.is_constant(op, i) and b.stored(op, i).kind in ("INT8", "INT16") and b.stored(op, i).quantization is not None:
            x = b.operand(op, i)
            current = [*current[:i], _number(b, current[i]), *current[i + 1 :]]
            b.alias(current[i], b.insert(Reshape(x.type.shape), [x], f"{x.name}/copy"))
    b.depth += 1
    while _holds(b, condition, current, translate):
        _count(b, body)
        current = _turn(b, body, current, translate)
    b.depth -= 1
    for index, now in zip(op.outputs, current, strict=True):
        if now in b.values:
            b.alias(index, b.values[now])
        else:
            b.folded[index] = b.constant(now)


def _number(b: Builder, index: int) -> int:
    """A number for a tensor like another one, computed."""
    b.file = replace(b.file, tensors=(*b.file.tensors, replace(b.file.tensors[index], data=None)))
    return len(b.file.tensors) - 1


def _count(b: Builder, part: _Part) -> None:
    b.turned += max(1, len(part.graph.operators))
    if b.turned > MAX_TURNED:
        raise EdgeqError(
            "WHILE with too many iterations is not supported", why=f"unrolled, it has more than {MAX_TURNED} operators", fix=FIX
        )


def _holds(b: Builder, condition: _Part, given: Sequence[int], translate: Translate) -> bool:
    """Whether there is another turn."""
    _count(b, condition)
    try:
        found = _turn(b, condition, given, translate)
    except EdgeqError as e:
        raise EdgeqError("WHILE by a computed condition is not supported", why=e.what, fix=FIX) from e
    if len(found) != 1 or found[0] in b.values or (found[0] not in b.folded and b.file.tensors[found[0]].data is None):
        raise EdgeqError("WHILE by a computed condition is not supported", fix=FIX)
    return bool(b.constant(found[0]).all())


def _turn(b: Builder, part: _Part, given: Sequence[int], translate: Translate) -> list[int]:
    """The outputs of a subgraph read once: its tensors get numbers behind the file's."""
    graph = part.graph
    numbers = {**part.constants, **dict(zip(graph.inputs, given, strict=True)), -1: -1}
    own = [i for i in range(len(graph.tensors)) if i not in numbers]
    first = len(b.file.tensors)
    b.file = replace(b.file, tensors=(*b.file.tensors, *(graph.tensors[i] for i in own)))
    numbers.update({i: first + k for k, i in enumerate(own)})
    part.constants.update({i: numbers[i] for i in own if graph.tensors[i].data is not None})
    for step in graph.operators:
        translate(b, replace(step, inputs=tuple(numbers[i] for i in step.inputs), outputs=tuple(numbers[i] for i in step.outputs)))
    return [numbers[i] for i in graph.outputs]
