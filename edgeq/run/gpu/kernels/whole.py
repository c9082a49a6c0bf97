"""Integers that are numbers themselves: twin of edgeq.ops.whole."""

import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.elementwise import both, elements, flat, operand
from edgeq.run.gpu.kernels.law import limit
from edgeq.run.gpu.step import Step, Value


@kernel()
def whole_s32(
    a_ptr, b_ptr, y_ptr, a_map_ptr, b_map_ptr, total, size, vectors, a_pattern, a_vector, b_pattern, b_vector, low, high,
    OPERATOR: tl.constexpr, A_MAPPED: tl.constexpr, B_MAPPED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """OPERATOR is a name of `edgeq.ops.whole.FUNCTIONS`."""
    i = elements(BLOCK)
    live = i < total
    a = tl.load(a_ptr + operand(i, size, vectors, a_pattern, a_vector, a_map_ptr, A_MAPPED), mask=live, other=0).to(tl.int64)
    b = tl.load(b_ptr + operand(i, size, vectors, b_pattern, b_vector, b_map_ptr, B_MAPPED), mask=live, other=0).to(tl.int64)
    if OPERATOR == "add":
        y = a + b
    elif OPERATOR == "sub":
        y = a - b
    elif OPERATOR == "mul":
        y = a * b
    elif OPERATOR == "div":
        quotient = tl.abs(a) // tl.maximum(tl.abs(b), 1)
        y = tl.where(b == 0, 0, tl.where((a < 0) != (b < 0), -quotient, quotient))
    elif OPERATOR == "minimum":
        y = tl.minimum(a, b)
    else:
        y = tl.maximum(a, b)
    tl.store(y_ptr + i, limit(y.to(tl.int32).to(tl.int64), low, high).to(tl.int32), mask=live)


@computes("whole", on=("s32",))
def whole(step: Step) -> tuple[Value, ...]:
    """Two integers combined."""
    p = step.params
    return both(step, whole_s32, step.result(), p.act_min, p.act_max, OPERATOR=p.function)


@kernel()
def cast_whole(x_ptr, y_ptr, total, BLOCK: tl.constexpr):
    i = elements(BLOCK)
    live = i < total
    tl.store(y_ptr + i, tl.load(x_ptr + i, mask=live, other=0).to(y_ptr.dtype.element_ty), mask=live)


@computes("whole_cast", on=("s8_s16", "s8_s32", "s16_s8", "s16_s32", "s32_s8", "s32_s16"))
def whole_cast(step: Step) -> tuple[Value, ...]:
    """The same numbers modulo another range."""
    x, y = step.operands[0], step.result()
    block, grid = flat(step, y.total)
    step.device.launch(cast_whole, grid, x.data, y.data, y.total, BLOCK=block)
    return (y,)
