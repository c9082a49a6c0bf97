"""Fourier transforms of real frames: a launch for each stage, a butterfly per thread; twin of edgeq.ops.fourier."""

import numpy as np
import triton
import triton.language as tl

from edgeq.run.gpu.device import kernel
from edgeq.run.gpu.kernels import computes
from edgeq.run.gpu.kernels.elementwise import elements, flat
from edgeq.run.gpu.kernels.halves import from_float
from edgeq.run.gpu.step import Step, Value

FLOATS, SHORT, LONG, BLOCKS = (tl.constexpr(n) for n in range(4))  # `Numbers`: float32, int16, int32, int32 with a common exponent


@triton.jit
def kept(x, N: tl.constexpr):
    """Wrapped where integers are stored."""
    if N == SHORT:
        x = x.to(tl.int16).to(tl.int64)
    elif N == LONG:
        x = x.to(tl.int32).to(tl.int64)
    return x


@triton.jit
def rounded(x, N: tl.constexpr):
    """A product of fractions as one of them; floats as they are."""
    if N == SHORT:
        x = (x + (1 << 14)) >> 15
    elif N == LONG:
        x = (x + (1 << 30)) >> 31
    return kept(x, N)


@triton.jit
def scaled(x, by, N: tl.constexpr):
    return ((x * by) >> 32) * 2 if N == BLOCKS else rounded(x * by, N)


@triton.jit
def divided(x, N: tl.constexpr, RADIX: tl.constexpr):
    if N == SHORT:
        x = rounded(x * (32767 // RADIX), N)
    elif N == LONG:
        x = rounded(x * (2147483647 // RADIX), N)
    return x


@triton.jit
def turned(a, b, c, d, N: tl.constexpr):
    """(a + i b) (c + i d); with a common exponent 1 leaves it as it is."""
    if N == BLOCKS:
        one = (c == 2147483647) & (d == 0)
        re = tl.where(one, a, (((a * c) >> 32) - ((b * d) >> 32)) * 2)
        im = tl.where(one, b, (((a * d) >> 32) + ((b * c) >> 32)) * 2)
    else:
        re, im = rounded(a * c - b * d, N), rounded(a * d + b * c, N)
    return re, im


@triton.jit
def halved(x, N: tl.constexpr):
    return x * 0.5 if N == FLOATS else x >> 1


@triton.jit
def number(x, N: tl.constexpr):
    return x.to(tl.float32) if N == FLOATS else x.to(tl.int64)


@triton.jit
def read(from_ptr, at, live, N: tl.constexpr):
    """A number and the one behind it."""
    return number(tl.load(from_ptr + at, mask=live, other=0), N), number(tl.load(from_ptr + at + 1, mask=live, other=0), N)


@triton.jit
def write(to_ptr, at, re, im, live, N: tl.constexpr):
    tl.store(to_ptr + at, kept(re, N).to(to_ptr.dtype.element_ty), mask=live)
    tl.store(to_ptr + at + 1, kept(im, N).to(to_ptr.dtype.element_ty), mask=live)


@triton.jit
def point(z_ptr, twiddles_ptr, at, place, live, N: tl.constexpr, RADIX: tl.constexpr):
    """An element of a butterfly, divided and turned."""
    a, b = read(z_ptr, at, live, N)
    c, d = read(twiddles_ptr, 2 * place, live, N)
    return turned(divided(a, N, RADIX), divided(b, N, RADIX), c, d, N)


@kernel()
def fourier_order(x_ptr, order_ptr, z_ptr, total, count, given, N: tl.constexpr, BLOCK: tl.constexpr):
    """Frames in the order of the first stage, zeros behind them."""
    i = elements(BLOCK)
    live = i < total
    place = 2 * tl.load(order_ptr + i % count, mask=live, other=0).to(tl.int64)
    x_ptr += i // count * given
    a = tl.load(x_ptr + place, mask=live & (place < given), other=0)
    b = tl.load(x_ptr + place + 1, mask=live & (place + 1 < given), other=0)
    write(z_ptr, 2 * i, number(a, N), number(b, N), live, N)


@kernel()
def fourier_stage(
    z_ptr, twiddles_ptr, total, count, m, stride, N: tl.constexpr, RADIX: tl.constexpr, INVERSE: tl.constexpr, BLOCK: tl.constexpr
):
    """total butterflies of all rows."""
    i = elements(BLOCK)
    live = i < total
    own = i % (count // RADIX)
    u = own % m
    at, step = 2 * (i // (count // RADIX) * count + own // m * m * RADIX + u), 2 * m
    turn = stride * u
    r0, i0 = read(z_ptr, at, live, N)
    r0, i0 = divided(r0, N, RADIX), divided(i0, N, RADIX)
    r1, i1 = point(z_ptr, twiddles_ptr, at + step, turn, live, N, RADIX)
    if RADIX == 2:
        write(z_ptr, at, r0 + r1, i0 + i1, live, N)
        write(z_ptr, at + step, r0 - r1, i0 - i1, live, N)
    elif RADIX == 4:
        r2, i2 = point(z_ptr, twiddles_ptr, at + 2 * step, 2 * turn, live, N, RADIX)
        r3, i3 = point(z_ptr, twiddles_ptr, at + 3 * step, 3 * turn, live, N, RADIX)
        r5, i5, r6, i6 = kept(r0 - r2, N), kept(i0 - i2, N), kept(r0 + r2, N), kept(i0 + i2, N)
        r7, i7, r8, i8 = kept(r1 + r3, N), kept(i1 + i3, N), kept(r1 - r3, N), kept(i1 - i3, N)
        second, fourth = at + (3 if INVERSE else 1) * step, at + (1 if INVERSE else 3) * step
        write(z_ptr, at, r6 + r7, i6 + i7, live, N)
        write(z_ptr, at + 2 * step, r6 - r7, i6 - i7, live, N)
        write(z_ptr, second, r5 + i8, i5 - r8, live, N)
        write(z_ptr, fourth, r5 - i8, i5 + r8, live, N)
    elif RADIX == 3:
        r2, i2 = point(z_ptr, twiddles_ptr, at + 2 * step, 2 * turn, live, N, RADIX)
        root = number(tl.load(twiddles_ptr + 2 * stride * m + 1), N)
        r3, i3, r4, i4 = kept(r1 + r2, N), kept(i1 + i2, N), kept(r1 - r2, N), kept(i1 - i2, N)
        r5, i5 = kept(r0 - halved(r3, N), N), kept(i0 - halved(i3, N), N)
        r6, i6 = scaled(r4, root, N), scaled(i4, root, N)
        write(z_ptr, at, r0 + r3, i0 + i3, live, N)
        write(z_ptr, at + 2 * step, r5 + i6, i5 - r6, live, N)
        write(z_ptr, at + step, r5 - i6, i5 + r6, live, N)
    else:
        r2, i2 = point(z_ptr, twiddles_ptr, at + 2 * step, 2 * turn, live, N, RADIX)
        r3, i3 = point(z_ptr, twiddles_ptr, at + 3 * step, 3 * turn, live, N, RADIX)
        r4, i4 = point(z_ptr, twiddles_ptr, at + 4 * step, 4 * turn, live, N, RADIX)
        ar, ai = number(tl.load(twiddles_ptr + 2 * stride * m), N), number(tl.load(twiddles_ptr + 2 * stride * m + 1), N)
        br, bi = number(tl.load(twiddles_ptr + 4 * stride * m), N), number(tl.load(twiddles_ptr + 4 * stride * m + 1), N)
        r7, i7, r10, i10 = kept(r1 + r4, N), kept(i1 + i4, N), kept(r1 - r4, N), kept(i1 - i4, N)
        r8, i8, r9, i9 = kept(r2 + r3, N), kept(i2 + i3, N), kept(r2 - r3, N), kept(i2 - i3, N)
        write(z_ptr, at, r0 + (r7 + r8), i0 + (i7 + i8), live, N)
        r5, i5 = kept(r0 + scaled(r7, ar, N) + scaled(r8, br, N), N), kept(i0 + scaled(i7, ar, N) + scaled(i8, br, N), N)
        r11, i11 = kept(r0 + scaled(r7, br, N) + scaled(r8, ar, N), N), kept(i0 + scaled(i7, br, N) + scaled(i8, ar, N), N)
        r6, i6 = kept(scaled(i10, ai, N) + scaled(i9, bi, N), N), kept(-scaled(r10, ai, N) - scaled(r9, bi, N), N)
        r12, i12 = kept(-scaled(i10, bi, N) + scaled(i9, ai, N), N), kept(scaled(r10, bi, N) - scaled(r9, ai, N), N)
        write(z_ptr, at + step, r5 - r6, i5 - i6, live, N)
        write(z_ptr, at + 4 * step, r5 + r6, i5 + i6, live, N)
        write(z_ptr, at + 2 * step, r11 + r12, i11 + i12, live, N)
        write(z_ptr, at + 3 * step, r11 - r12, i11 - i12, live, N)


@triton.jit
def parts(from_ptr, between_ptr, near, count, live, N: tl.constexpr):
    """Of elements `near` and count - near: their sum, and their difference turned."""
    ar, ai = read(from_ptr, 2 * near, live, N)
    br, bi = read(from_ptr, 2 * (count - near), live, N)
    ar, ai, br, bi = divided(ar, N, 2), divided(ai, N, 2), divided(br, N, 2), divided(-bi, N, 2)
    c, d = read(between_ptr, 2 * (near - 1), live, N)
    odd_r, odd_i = turned(kept(ar - br, N), kept(ai - bi, N), c, d, N)
    return kept(ar + br, N), kept(ai + bi, N), odd_r, odd_i


@kernel()
def fourier_spectrum(z_ptr, between_ptr, y_ptr, total, count, N: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """total: count + 1 bins a row."""
    i = elements(BLOCK)
    live = i < total
    row, k = i // (count + 1), i % (count + 1)
    z_ptr += row * 2 * count
    ends, far = (k == 0) | (k == count), 2 * k >= count
    near = tl.where(ends, 1, tl.where(far, count - k, k))
    er, ei, odd_r, odd_i = parts(z_ptr, between_ptr, near, count, live & (ends == 0), N)
    upper = 2 * k > count
    middle = 2 * k == count
    re = halved(tl.where(upper | middle, er - odd_r, er + odd_r), N)
    im = halved(tl.where(upper | middle, odd_i - ei, ei + odd_i), N)
    a, b = read(z_ptr, k * 0, live, N)
    a, b = divided(a, N, 2), divided(b, N, 2)
    re = tl.where(ends, tl.where(k == 0, a + b, a - b), re)
    re, im = kept(re, N), kept(tl.where(ends, tl.zeros_like(im), im), N)
    tl.store(y_ptr + 2 * i, from_float(re) if HALF else re.to(y_ptr.dtype.element_ty), mask=live)
    tl.store(y_ptr + 2 * i + 1, from_float(im) if HALF else im.to(y_ptr.dtype.element_ty), mask=live)


@kernel()
def fourier_elements(x_ptr, order_ptr, between_ptr, z_ptr, total, count, N: tl.constexpr, BLOCK: tl.constexpr):
    """Spectra as the inverse transform takes them."""
    i = elements(BLOCK)
    live = i < total
    x_ptr += i // count * (2 * count + 2)
    k = tl.load(order_ptr + i % count, mask=live, other=0).to(tl.int64)
    near = tl.where(k == 0, 1, tl.where(2 * k <= count, k, count - k))
    er, ei, odd_r, odd_i = parts(x_ptr, between_ptr, near, count, live & (k > 0), N)
    below = 2 * k < count
    re = tl.where(below, er + odd_r, er - odd_r)
    im = tl.where(below, ei + odd_i, -kept(ei - odd_i, N))
    low = number(tl.load(x_ptr + k * 0, mask=live, other=0), N)
    high = number(tl.load(x_ptr + k * 0 + 2 * count, mask=live, other=0), N)
    re = tl.where(k == 0, divided(kept(low + high, N), N, 2), re)
    im = tl.where(k == 0, divided(kept(low - high, N), N, 2), im)
    write(z_ptr, 2 * i, re, im, live, N)


@kernel()
def fourier_frames(z_ptr, y_ptr, total, length, N: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr):
    """Floats divided by the length."""
    i = elements(BLOCK)
    live = i < total
    y = tl.load(z_ptr + i, mask=live, other=0)
    if N == FLOATS:
        y = tl.div_rn(y, (length * (y * 0 + 1)).to(tl.float32))
    tl.store(y_ptr + i, from_float(y) if HALF else y.to(y_ptr.dtype.element_ty), mask=live)


def numbers(step: Step) -> int:
    """Which of the kinds of numbers it computes with."""
    if step.params.block:
        return int(BLOCKS)
    return int({np.dtype(np.int16): SHORT, np.dtype(np.int32): LONG}.get(step.params.twiddles.dtype, FLOATS))


def stages(step: Step, z: object, rows: int) -> None:
    p, m = step.params, 1
    for radix in p.radices.tolist():
        block, grid = flat(step, rows * p.count // radix)
        fixed = {"N": numbers(step), "RADIX": radix, "INVERSE": bool(p.inverse), "BLOCK": block}
        sizes = rows * p.count // radix, p.count, m, p.count // (m * radix)
        step.device.launch(fourier_stage, grid, z, step.table("twiddles")[0], *sizes, **fixed)
        m *= radix


def room(step: Step, rows: int) -> object:
    integers = numbers(step) != int(FLOATS)
    return step.device.empty((rows * 2 * step.params.count,), np.dtype(np.int32 if integers else np.float32))


TYPES = ("s16", "s32", "f32", "f16")


@computes("rfft", on=TYPES)
def rfft(step: Step) -> tuple[Value, ...]:
    """Frames to spectra."""
    x, p, y, n = step.operands[0], step.params, step.result(), numbers(step)
    rows = x.total // p.in_length
    z = room(step, rows)
    block, grid = flat(step, rows * p.count)
    step.device.launch(fourier_order, grid, x.data, step.table("order")[0], z, rows * p.count, p.count, p.in_length, N=n, BLOCK=block)
    stages(step, z, rows)
    total = rows * (p.count + 1)
    block, grid = flat(step, total)
    fixed = {"N": n, "HALF": step.half, "BLOCK": block}
    step.device.launch(fourier_spectrum, grid, z, step.table("between")[0], y.data, total, p.count, **fixed)
    return (y,)


@computes("irfft", on=TYPES)
def irfft(step: Step) -> tuple[Value, ...]:
    """Spectra to frames."""
    x, p, y, n = step.operands[0], step.params, step.result(), numbers(step)
    rows = x.total // p.in_length
    z, (order, between) = room(step, rows), (step.table(name)[0] for name in ("order", "between"))
    block, grid = flat(step, rows * p.count)
    step.device.launch(fourier_elements, grid, x.data, order, between, z, rows * p.count, p.count, N=n, BLOCK=block)
    stages(step, z, rows)
    block, grid = flat(step, y.total)
    step.device.launch(fourier_frames, grid, z, y.data, y.total, 2 * p.count, N=n, HALF=step.half, BLOCK=block)
    return (y,)
