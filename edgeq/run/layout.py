"""How vectors, outputs and step tensors lie in the blocks that every runner exchanges with the C side (eq_model.h)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.ir import Array, DType
from edgeq.record import Interface, Manifest


def _aligned(n: int) -> int:
    return (n + 3) // 4 * 4


class Layout:
    """Block layout of one emitted model, from its manifest: each tensor aligned to 4 bytes.

    Attributes:
        streams: the vectors are consecutive: a state is carried from each to the next.
        arena_bytes: of the arena and the state behind it.
        steps: the tensors that the hook delivers, in order: every output of every step.
        step_of: for each of them, the step that computes it.
        step_count: of all steps.
    """

    def __init__(self, model: Manifest | Interface) -> None:
        self.inputs, self.outputs = model.inputs, model.outputs
        per_step = [s.results for s in model.steps]
        self.steps = [tensor for tensors in per_step for tensor in tensors]
        self.step_count = len(per_step)
        self.step_of = [i for i, tensors in enumerate(per_step) for _ in tensors]
        self.streams = bool(model.states if isinstance(model, Manifest) else model.state_bytes)
        self.arena_bytes = model.arena_bytes + model.state_bytes
        self.input_bytes = sum(_aligned(x.bytes) for x in self.inputs)
        self.output_bytes = sum(_aligned(x.bytes) for x in self.outputs)
        self.step_bytes = sum(_aligned(s.bytes) for s in self.steps)

    def pack(self, arrays: Mapping[str, Array]) -> tuple[int, Array]:
        """Number of vectors and the uint8 block ``[V, input_bytes]``.

        Args:
            arrays: per input ``[V, *shape]`` in the stored dtype, V the same for all and not 0.

        Raises:
            EdgeqError: an input is missing, or its dtype or shape does not fit.
        """
        vectors = max((len(a) for a in arrays.values() if a.ndim), default=0)
        block = np.zeros((vectors, self.input_bytes), np.uint8)
        at = 0
        for x in self.inputs:
            array, dtype = arrays.get(x.name), DType(x.dtype).numpy
            if array is None or array.dtype != dtype or array.shape != (vectors, *x.shape) or vectors == 0:
                got = "none" if array is None else f"{array.dtype}{list(array.shape)}"
                fix = f"give {dtype}{['V', *x.shape]}".replace("'", "")
                raise EdgeqError("the vectors do not fit this input", where=x.name, why=f"got {got}", fix=fix)
            block[:, at : at + x.bytes] = np.ascontiguousarray(array).reshape(vectors, -1).view(np.uint8)
            at += _aligned(x.bytes)
        return vectors, block

    def _unpack(self, block: Array, entries: list[tuple[str, int, np.dtype[Any], tuple[int, ...]]]) -> dict[str, Array]:
        arrays, at = {}, 0
        for name, size, dtype, shape in entries:
            flat = np.ascontiguousarray(block[:, at : at + size]).view(dtype)
            arrays[name] = flat.reshape(len(block), *shape)
            at += _aligned(size)
        return arrays

    def unpack_outputs(self, block: Array) -> dict[str, Array]:
        """Output name -> ``[V, *shape]`` from the uint8 block ``[V, output_bytes]``."""
        return self._unpack(block, [(x.name, x.bytes, DType(x.dtype).numpy, x.shape) for x in self.outputs])

    def unpack_steps(self, block: Array) -> dict[str, Array]:
        """Tensor name -> ``[V, *shape]`` from the uint8 block ``[V, step_bytes]``."""
        return self._unpack(block, [(s.tensor, s.bytes, DType(s.dtype).numpy, s.shape) for s in self.steps])
