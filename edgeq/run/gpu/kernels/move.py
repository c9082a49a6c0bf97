"""Elements in other places: transpose, slice, gather, nearest resizing, padding, reshaping and concatenation."""

import numpy as np
import triton.language as tl

from edgeq.ir import Array, DType
from edgeq.ops.pad import Pad
from edgeq.ops.reshape import Reshape
from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.step import Step, Value

ANY = tuple(t.value for t in DType)


@kernel()
def gather(x_ptr, map_ptr, y_ptr, total, size, in_size, fill, FILLED: tl.constexpr, BLOCK: tl.constexpr):
    """``y[row, e] = x[row, map[e]]``, or `fill` where the map is -1; elements are integers of any width."""
    i = elements(BLOCK)
    live = i < total
    at = tl.load(map_ptr + i % size, mask=live, other=0)
    y = tl.load(x_ptr + (i // size) * in_size + at, mask=live & (at >= 0), other=0)
    if FILLED:
        y = tl.where(at >= 0, y, fill)
    tl.store(y_ptr + i, y.to(y_ptr.dtype.element_ty), mask=live)


@kernel()
def scatter(
    x_ptr, values_ptr, y_ptr, total, size, out_size, vectors, pattern, vector, run, out_run, start,
    RESCALED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One input of a concatenation: runs of `run` elements go to runs of `out_run`, from `start` on, perhaps through a table."""
    i = elements(BLOCK)
    live = i < total
    e, row = i % size, i // size
    y = tl.load(x_ptr + (row // vectors) * pattern + (row % vectors) * vector + e, mask=live, other=0)
    if RESCALED:
        y = tl.load(values_ptr + y.to(tl.int32) + 128, mask=live, other=0)
    tl.store(y_ptr + row * out_size + (e // run) * out_run + start + e % run, y, mask=live)


def integers(value: Value) -> object:
    """The tensor's bytes as integers of its width."""
    import torch

    data = value.data
    return data.view({1: torch.int8, 2: torch.int16, 4: torch.int32}[data.element_size()])


@computes("copy", on=ANY)
@computes("pad", on=("s8", "f16", "f32"))
def move(step: Step) -> tuple[Value, ...]:
    """An operator that moves elements: its own meaning on their numbers says which goes where."""
    x, op, p = step.operands[0], step.node.op, step.params
    shape = step.graph.type(step.node.inputs[0]).shape
    filled = isinstance(op, Pad) and op.mode == "constant"

    def places() -> Array:
        numbers = np.arange(x.size, dtype=np.int32).reshape(1, *shape)
        if isinstance(op, Pad) and filled:
            return np.pad(numbers, ((0, 0), *op.pads), constant_values=-1)
        return op.real(numbers)

    y = step.result()
    block, grid = flat(step, y.total)
    fill = int(np.array(p.fill, np.uint16).view(np.int16)) if filled and step.half else p.fill if filled else 0
    arguments = integers(x), step.constant("map", places), integers(y), y.total, y.size, x.size
    step.device.launch(gather, grid, *arguments, fill, FILLED=filled, BLOCK=block)
    return (y,)


@computes("reshape", on=ANY)
def reshape(step: Step) -> tuple[Value, ...]:
    """The same elements: nothing to do."""
    assert isinstance(step.node.op, Reshape)
    return (step.operands[0],)


@computes("concat", on=ANY)
def concat(step: Step) -> tuple[Value, ...]:
    """Inputs one after the other along an axis."""
    p, y = step.params, step.result()
    runs = [int(n) for n in p.runs]
    start = 0
    for i, (x, run) in enumerate(zip(step.operands, runs, strict=True)):
        total = y.patterns * y.vectors * x.size
        block, grid = flat(step, total)
        values = step.table("values")[0][0, i] if p.rescaled else None
        sizes = total, x.size, y.size, y.vectors, *x.steps, run, sum(runs), start
        step.device.launch(scatter, grid, integers(x), values, integers(y), *sizes, RESCALED=bool(p.rescaled), BLOCK=block)
        start += run
    return (y,)


@computes("slide", on=ANY)
def slide(step: Step) -> tuple[Value, ...]:
    """The last rows of a window, then new ones."""
    import torch

    y, p = step.result(), step.params
    patterns, vectors, _ = y.data.shape
    new, before = (v.data.expand(patterns, vectors, -1).reshape(patterns, vectors, p.outer, -1) for v in step.operands)
    y.data.copy_(torch.cat([before[..., p.new :], new], -1).reshape(y.data.shape))
    return (y,)
