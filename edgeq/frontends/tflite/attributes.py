"""Reading attributes of the file's operators with their ranges checked, and the table of translators."""

from __future__ import annotations

import math
from collections.abc import Callable

from edgeq.errors import EdgeqError
from edgeq.frontends.tflite.builder import Builder
from edgeq.frontends.tflite.file import FileOperator
from edgeq.ir import Tensor

Translator = Callable[[Builder, FileOperator], None]
TRANSLATORS: dict[str, Translator] = {}


def reads(*kinds: str) -> Callable[[Translator], Translator]:
    """Register a translator for operators of the file."""

    def register(translator: Translator) -> Translator:
        TRANSLATORS.update(dict.fromkeys(kinds, translator))
        return translator

    return register


def number(op: FileOperator, name: str) -> float:
    """A finite float option."""
    value = float(op.option(name))
    if not math.isfinite(value):
        raise EdgeqError(f"option {name} of {op.kind} is {value}", why="the file is damaged")
    return value


def of_rank(op: FileOperator, tensor: Tensor, rank: int) -> tuple[int, ...]:
    """The shape of a tensor that must have `rank` axes."""
    if len(tensor.type.shape) != rank:
        raise EdgeqError(f"{op.kind} on {tensor.type}", why=f"'{tensor.name}' must have {rank} axes")
    return tensor.type.shape


def axis(op: FileOperator, value: int, rank: int) -> int:
    """A possibly negative axis as 0 … rank - 1."""
    if not -rank <= value < rank:
        raise EdgeqError(f"axis {value} of {op.kind} is outside rank {rank}", why="the file is damaged")
    return value % rank
