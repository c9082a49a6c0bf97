"""Where the kernels run: on a GPU, in Triton's interpreter, or nowhere but in a record of what would have been launched."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array

NAMES = ("gpu", "interpreter")
INTERPRET = "TRITON_INTERPRET"
ELEMENTS = {"gpu": 2**28, "interpreter": 2**22, "record": 2**28}  # of the largest tensor at once, for memory
# Rows of a tile at most: on a GPU what its registers hold; in the interpreter, whose cost is that of its operations, more.
ROWS = {"gpu": 64, "interpreter": 4096, "record": 64}
FLAT = {"gpu": 1024, "interpreter": 2**18, "record": 1024}  # elements of a program that goes element by element
OPTIONS = {"enable_fp_fusion": False}  # each addition and product is rounded: no fused multiply-add
_POINTERS = {
    "torch.int8": "*i8", "torch.int16": "*i16", "torch.int32": "*i32", "torch.int64": "*i64",
    "torch.uint16": "*u16", "torch.float16": "*fp16", "torch.float32": "*fp32",
}  # fmt: skip
KERNELS: dict[str, Any] = {}  # every kernel by its name, once the families are loaded


@dataclass(frozen=True)
class Launch:
    """A specialisation of a kernel: what `triton.compile` wants to know."""

    kernel: Any
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]


@dataclass
class Device:
    """Tensors and launches of one place.

    Attributes:
        kind: ``gpu``, ``interpreter``, or ``record``, which computes nothing.
        title: its name for people.
        launches: of ``record``, each specialisation once.
    """

    kind: str
    title: str
    launches: dict[Launch, None] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """torch's word for it."""
        return "cuda" if self.kind == "gpu" else "cpu"

    def send(self, array: Array) -> Any:
        """A contiguous copy as a torch tensor of that place."""
        import torch

        return torch.from_numpy(np.array(array, order="C")).to(self.place)

    def empty(self, shape: Sequence[int], dtype: np.dtype[Any]) -> Any:
        """A torch tensor that is not initialised."""
        import torch

        return torch.empty(tuple(shape), dtype=getattr(torch, np.dtype(dtype).name), device=self.place)

    def rows(self, count: int, least: int = 16, most: int = 0) -> int:
        """A tile's length for `count` rows: a power of two, from `least` to what the place likes (or `most`)."""
        return _power(count, least, most or ROWS[self.kind])

    def flat(self, count: int) -> int:
        """The elements of one program that goes element by element."""
        return _power(count, 128, FLAT[self.kind])

    def launch(self, kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
        """Run a kernel on a grid of programs."""
        if self.kind == "record":
            self.launches.setdefault(_specialisation(kernel, arguments, constants))
        else:
            with np.errstate(all="ignore"):  # of the interpreter
                kernel[grid](*arguments, **constants, **OPTIONS)


def _power(count: int, least: int, most: int) -> int:
    return max(least, min(most, 1 << max(0, count - 1).bit_length()))


def _specialisation(kernel: Any, arguments: Sequence[Any], constants: dict[str, Any]) -> Launch:
    names = [n for n in kernel.arg_names if n not in constants]
    assert len(names) == len(arguments), f"{kernel.__name__} takes {names}"
    types = {n: _type(a) for n, a in zip(names, arguments, strict=True)}
    missing = {n: None for n, t in types.items() if t == "constexpr"}
    signature = tuple((n, types.get(n, "constexpr")) for n in kernel.arg_names)
    return Launch(kernel, signature, tuple({**missing, **constants}.items()))


def _type(argument: Any) -> str:
    if argument is None:
        return "constexpr"
    if isinstance(argument, int):
        return "i32" if -(2**31) <= argument < 2**31 else "i64"
    return _POINTERS[str(argument.dtype)]


def find(name: str) -> Device:
    """The device of that name, ready to run.

    Args:
        name: ``gpu``, or ``interpreter`` for the same kernels interpreted on the CPU, slowly. ``TRITON_INTERPRET=1`` in the environment
            asks for the interpreter, too.

    Raises:
        EdgeqError: Triton or torch is not installed, there is no GPU, or this process has loaded the kernels for the other place.
    """
    if name not in NAMES:
        raise EdgeqError(f"there is no device '{name}'", fix=f"choose one of {', '.join(NAMES)}")
    require()
    if name == "interpreter" or os.environ.get(INTERPRET) == "1":
        _interpret(True)
        return Device("interpreter", "Triton's interpreter")
    _interpret(False)
    import torch

    if not torch.cuda.is_available():
        raise EdgeqError(
            "no CUDA device", where="--device gpu", why=f"torch {torch.__version__} finds none",
            fix="use a computer with an NVIDIA GPU and a CUDA build of torch, or --device cpu (the emitted C on all cores)",
        )  # fmt: skip
    return Device("gpu", torch.cuda.get_device_name())


def recorder() -> Device:
    """A device that launches nothing and notes each specialisation.

    Raises:
        EdgeqError: Triton or torch is not installed, or this process interprets the kernels.
    """
    require()
    _interpret(False)
    return Device("record", "none")


def assembly(launch: Launch, capability: int) -> Mapping[str, Any]:
    """What Triton makes of a specialisation for GPUs of a compute capability, 80 or 90, whether there is one or not: ``ptx``, ``cubin``."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    source = ASTSource(fn=launch.kernel, signature=dict(launch.signature), constexprs=dict(launch.constants))
    found: Mapping[str, Any] = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=OPTIONS).asm
    return found


def require() -> None:
    """Refuse to go on without Triton and torch.

    Raises:
        EdgeqError: one is not installed.
    """
    for module in ("triton", "torch"):
        if importlib.util.find_spec(module) is None:
            raise EdgeqError(f"{module} is not installed", where="--device gpu", fix="pip install 'edgeq[gpu]'")


def _interpret(wanted: bool) -> None:
    """Settle for this process whether kernels are interpreted: Triton decides it when they, and its own functions, are defined."""
    if "triton" not in sys.modules:
        if wanted:
            os.environ[INTERPRET] = "1"
        else:
            os.environ.pop(INTERPRET, None)
    import triton
    from triton.runtime.interpreter import InterpretedFunction

    if isinstance(triton.language.standard.max, InterpretedFunction) != wanted:
        raise EdgeqError(
            f"Triton was loaded to {'compile' if wanted else 'interpret'} kernels", why="one process cannot do both",
            fix=f"restart Python{f' with {INTERPRET}=1 in the environment' if wanted else f' without {INTERPRET}'}",
        )  # fmt: skip


def kernel() -> Callable[[Any], Any]:
    """The decorator of a kernel: numbers that are no ``tl.constexpr`` do not specialise it; pointers (``*_ptr``) do, by their alignment."""
    import inspect

    import triton

    def wrap(function: Any) -> Any:
        runtime = [n for n, p in inspect.signature(function).parameters.items() if "constexpr" not in str(p.annotation)]
        KERNELS[function.__name__] = triton.jit(function, do_not_specialize=[n for n in runtime if not n.endswith("_ptr")])
        return KERNELS[function.__name__]

    return wrap
