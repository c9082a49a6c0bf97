"""The readers of ONNX operators, by domain and name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgeq.frontends.onnx.call import Call
from edgeq.frontends.onnx.values import Value
from edgeq.ir import Tensor

Result = Value | Sequence[Value | None]
MICROSOFT = "com.microsoft"


def tensor_of(result: Result) -> Tensor:
    """The one tensor that a reader gave."""
    assert isinstance(result, Tensor)
    return result


@dataclass(frozen=True)
class Reader:
    """How an operator is read.

    Attributes:
        read: call -> its output, or its outputs.
        integers: whether it may meet tensors that are stored in int8: it moves or selects values and no more.
    """

    read: Callable[[Call], Result]
    integers: bool


READERS: dict[tuple[str, str], Reader] = {}


def reads(*kinds: str, domain: str = "", integers: bool = False) -> Callable[[Callable[[Call], Result]], Callable[[Call], Result]]:
    """Register a reader for operators of a domain."""

    def register(read: Callable[[Call], Result]) -> Callable[[Call], Result]:
        for kind in kinds:
            assert (domain, kind) not in READERS, kind
            READERS[domain, kind] = Reader(read, integers)
        return read

    return register
