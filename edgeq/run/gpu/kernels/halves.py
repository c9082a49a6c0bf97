"""Device functions of half precision: twins of edgeq.half and edgeq.floats. Divisions and roots are rounded as IEEE says."""

import triton
import triton.language as tl

from edgeq import floats

HIGHEST = tl.constexpr(2**31 - 1)  # a limit of `clamped` that is none
MAGIC = tl.constexpr(float(floats.MAGIC))
MAGIC_BITS = tl.constexpr(0x4B400000)
LN2_HIGH, LN2_LOW = tl.constexpr(float(floats.LN2_HIGH)), tl.constexpr(float(floats.LN2_LOW))
EXP_0, EXP_1, EXP_2, EXP_3, EXP_4 = (tl.constexpr(float(c)) for c in floats.EXP)
ERF_0, ERF_1, ERF_2, ERF_3, ERF_4, ERF_5 = (tl.constexpr(float(c)) for c in floats.ERF)
ERFC_0, ERFC_1, ERFC_2, ERFC_3, ERFC_4, ERFC_5, ERFC_6 = (tl.constexpr(float(c)) for c in floats.ERFC)
ATANH_0, ATANH_1, ATANH_2, ATANH_3 = (tl.constexpr(float(c)) for c in floats.ATANH)
SIN_0, SIN_1, SIN_2 = (tl.constexpr(float(c)) for c in floats.SIN)
COS_0, COS_1, COS_2 = (tl.constexpr(float(c)) for c in floats.COS)
ATAN_0, ATAN_1, ATAN_2, ATAN_3, ATAN_4, ATAN_5 = (tl.constexpr(float(c)) for c in floats.ATAN)
PART_0, PART_1, PART_2, PART_3 = (tl.constexpr(float(c)) for c in floats.HALF_PI)
POWER_22 = tl.constexpr(float(2**22))


@triton.jit
def bits_of(x):
    return x.to(tl.int32, bitcast=True)


@triton.jit
def float_of(n):
    return n.to(tl.float32, bitcast=True)


@triton.jit
def magnitude(x):
    return float_of(bits_of(x) & 0x7FFFFFFF)


@triton.jit
def copy_sign(x, sign):
    return float_of((bits_of(x) & 0x7FFFFFFF) | (bits_of(sign) & -2147483648))


@triton.jit
def number(x):
    """x; not-a-number without a sign."""
    return tl.where(x != x, float_of(bits_of(x) & 0x7FFFFFFF), x)


@triton.jit
def negative(x):
    return float_of(bits_of(x) ^ -2147483648)


@triton.jit
def round_half(x):
    """float32 to the bits of a half, int32 in [0, 2^16); not-a-number 0x7e00."""
    bits = x.to(tl.float16).to(tl.int16, bitcast=True).to(tl.int32) & 0xFFFF
    return tl.where(x != x, 0x7E00, bits)


@triton.jit
def half_of(bits):
    """int32 bits to a half."""
    return bits.to(tl.int16).to(tl.float16, bitcast=True)


@triton.jit
def from_float(x):
    return half_of(round_half(x))


@triton.jit
def order(h):
    """int32 that sort as the halves do."""
    n = h.to(tl.int16, bitcast=True).to(tl.int32)
    return n ^ ((n >> 15) & 0x7FFF)


@triton.jit
def rank(h):
    """int32 that sort as the numbers that halves are: -0 and 0 are equal."""
    n = order(h)
    return n - (n >> 31)


@triton.jit
def of_order(n):
    return half_of(n ^ ((n >> 31) & 0x7FFF))


@triton.jit
def of_rank(n):
    """Half of `rank`, 0 for both zeros."""
    return of_order(n + (n >> 31))


@triton.jit
def finish(x, low, high):
    """float32 to a half between limits of `order`."""
    return of_order(tl.minimum(tl.maximum(order(from_float(x)), low), high))


@triton.jit
def between_orders(h, LOW: tl.constexpr, HIGH: tl.constexpr):
    """A half between limits of `order`; infinite ones are none."""
    return h if LOW <= -31745 and HIGH >= 31744 else of_order(tl.minimum(tl.maximum(order(h), LOW), HIGH))


@triton.jit
def plus_product(total, a, b, SUMS: tl.constexpr):
    """total + a b of halves in float32; of the law SUMS rounded once, to a half: float64 holds enough of it (see edgeq.half.fused)."""
    return (a.to(tl.float64) * b.to(tl.float64) + total.to(tl.float64)).to(tl.float16).to(tl.float32) if SUMS else total + a * b


@triton.jit
def round_float(x, EVEN: tl.constexpr):
    """float32 to the nearest int32, halves to even or away from zero; limited to +-2^22 (so is not-a-number)."""
    m = float_of(tl.minimum(bits_of(x) & 0x7FFFFFFF, 0x4A800000))
    if EVEN:
        n = ((m + MAGIC) - MAGIC).to(tl.int32)
    else:
        n = m.to(tl.int32)
        n += tl.where(m - n.to(tl.float32) >= 0.5, 1, 0)
    return tl.where(bits_of(x) < 0, -n, n)


@triton.jit
def limited(x, LIMIT: tl.constexpr):
    """x with its magnitude at most that of the bits LIMIT, compared on the bits."""
    return copy_sign(float_of(tl.minimum(bits_of(x) & 0x7FFFFFFF, LIMIT)), x)


@triton.jit
def exp_parts(x):
    """exp(x) as ``(q, t)``: exp(x) = t + q * t."""
    x = limited(x, 0x42A00000)  # 80
    shifted = x * 1.44269502 + MAGIC
    exponent = bits_of(shifted) - MAGIC_BITS
    n = shifted - MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    p = (((EXP_0 * r + EXP_1) * r + EXP_2) * r + EXP_3) * r + EXP_4
    q = r + (r * r) * p
    return q, float_of((exponent + 127) << 23)


@triton.jit
def exp(x):
    q, t = exp_parts(x)
    return q * t + t


@triton.jit
def expm1(x):
    q, t = exp_parts(x)
    return q * t + (t - 1.0)


@triton.jit
def reciprocal(x):
    return tl.div_rn(1.0, x)


@triton.jit
def sigmoid(x):
    return reciprocal(1.0 + exp(negative(number(x))))


@triton.jit
def tanh(x):
    m = expm1(magnitude(x) * -2.0)
    return copy_sign(tl.div_rn(negative(m), m + 2.0), number(x))


@triton.jit
def silu(x):
    return tl.div_rn(x, 1.0 + exp(negative(x)))


@triton.jit
def erfc(x):
    x = limited(x, 0x41000000)  # 8
    t = reciprocal(1.0 + 0.5 * x)
    p = (((((ERFC_0 * t + ERFC_1) * t + ERFC_2) * t + ERFC_3) * t + ERFC_4) * t + ERFC_5) * t + ERFC_6
    return exp(negative(x * x)) * (t * p)


@triton.jit
def erf(x):
    m = magnitude(x)
    inner = limited(m, 0x3F800000)  # 1
    z = inner * inner
    p = ((((ERF_0 * z + ERF_1) * z + ERF_2) * z + ERF_3) * z + ERF_4) * z + ERF_5
    return copy_sign(tl.where(m < 1.0, inner * p, 1.0 - erfc(m)), x)


@triton.jit
def gelu(x):
    tail = 0.5 * erfc(magnitude(x) * 0.707106769)
    return x * tl.where(x < 0.0, tail, 1.0 - tail)


@triton.jit
def gelu_tanh(x):
    return tl.div_rn(x, 1.0 + exp(negative(x * (1.59576917 + 0.0713548139 * (x * x)))))


@triton.jit
def log_ratio(s):
    z = s * s
    p = ((ATANH_0 * z + ATANH_1) * z + ATANH_2) * z + ATANH_3
    return 2.0 * (s + s * (z * p))


@triton.jit
def log(x):
    bits = bits_of(x)
    exponent = (bits - 0x3F3504F3) >> 23
    m = float_of(bits - (exponent << 23))
    n = exponent.to(tl.float32)
    y = n * LN2_HIGH + (log_ratio(tl.div_rn(m - 1.0, m + 1.0)) + n * LN2_LOW)
    return tl.where(x > 0.0, tl.where(bits < 0x7F800000, y, x), float("-inf"))


@triton.jit
def softplus(x):
    u = exp(negative(magnitude(x)))
    return tl.where(x > 0.0, x, 0.0) + log_ratio(tl.div_rn(u, 2.0 + u))


@triton.jit
def mish(x):
    u = exp(tl.where(x < 20.0, x, 20.0))
    w = u * (u + 2.0)
    return x * tl.div_rn(w, w + 2.0)


@triton.jit
def softsign(x):
    return tl.div_rn(x, 1.0 + magnitude(x))


@triton.jit
def between(x, low, high):
    x = tl.where(x > low, x, low)
    return tl.where(x < high, x, high)


@triton.jit
def hard_sigmoid(x, alpha, beta):
    return between(alpha * x + beta, 0.0, 1.0)


@triton.jit
def hard_swish(x):
    return x * tl.div_rn(between(x + 3.0, 0.0, 6.0), 6.0)


@triton.jit
def leaky_relu(x, alpha):
    return tl.where(x > 0.0, x, alpha * x)


@triton.jit
def elu(x, alpha):
    return tl.where(x > 0.0, x, alpha * expm1(x))


@triton.jit
def celu(x, alpha):
    return tl.where(x > 0.0, x, alpha * expm1(tl.div_rn(x, alpha)))


@triton.jit
def sqrt(x):
    return tl.sqrt_rn(tl.where(x > 0.0, x, 0.0))


@triton.jit
def power(x, exponent, odd):
    below = tl.where(x < 0.0, odd, 0.0)
    y = exp(exponent * log(magnitude(tl.where(below < 0.0, 0.0, x))))
    return tl.where(below > 0.0, negative(y), y)


@triton.jit
def circle(x, QUARTER: tl.constexpr):
    """sin(x + QUARTER pi / 2)."""
    shifted = x * 0.636619747 + MAGIC
    turns = bits_of(shifted) + QUARTER
    n = shifted - MAGIC
    r = (((x - n * PART_0) - n * PART_1) - n * PART_2) - n * PART_3
    z = r * r
    sine = r + r * (z * ((SIN_0 * z + SIN_1) * z + SIN_2))
    cosine = (1.0 - 0.5 * z) + (z * z) * ((COS_0 * z + COS_1) * z + COS_2)
    y = tl.where((turns & 1) != 0, cosine, sine)
    return tl.where((turns & 2) != 0, negative(y), y)


@triton.jit
def nearest(x):
    return tl.where(magnitude(x) < POWER_22, (x + MAGIC) - MAGIC, x)


@triton.jit
def floor(x):
    n = nearest(x)
    return tl.where(n > x, n - 1.0, n)


@triton.jit
def ceil(x):
    n = nearest(x)
    return tl.where(n < x, n + 1.0, n)


@triton.jit
def sign(x):
    return tl.where(x > 0.0, 1.0, 0.0) - tl.where(x < 0.0, 1.0, 0.0)


@triton.jit
def tan(x):
    return tl.div_rn(circle(x, 0), circle(x, 1))


@triton.jit
def sinh(x):
    m = expm1(magnitude(x))
    return copy_sign(0.5 * (m + tl.div_rn(m, m + 1.0)), x)


@triton.jit
def cosh(x):
    t = exp(magnitude(x))
    return 0.5 * (t + reciprocal(t))


@triton.jit
def atan(x):
    m = magnitude(x)
    r = tl.where(m > 1.0, reciprocal(tl.where(m > 1.0, m, 1.0)), m)
    z = r * r
    y = r + r * (z * (((((ATAN_0 * z + ATAN_1) * z + ATAN_2) * z + ATAN_3) * z + ATAN_4) * z + ATAN_5))
    return copy_sign(tl.where(m > 1.0, 1.57079637 - y, y), x)


@triton.jit
def asin(x):
    x = limited(x, 0x3F800000)
    return atan(tl.div_rn(x, sqrt((1.0 - x) * (1.0 + x))))


@triton.jit
def acos(x):
    x = limited(x, 0x3F800000)
    return 2.0 * atan(sqrt(tl.div_rn(1.0 - x, 1.0 + x)))


@triton.jit
def log1p(u):
    inner = tl.where(u < 1.0, u, 1.0)
    return tl.where(u < 1.0, log_ratio(tl.div_rn(inner, 2.0 + inner)), log(1.0 + u))


@triton.jit
def asinh(x):
    square = x * x
    return copy_sign(log1p(magnitude(x) + tl.div_rn(square, 1.0 + sqrt(1.0 + square))), x)


@triton.jit
def acosh(x):
    d = tl.where(x > 1.0, x - 1.0, 0.0)
    return log1p(d + sqrt(d * (d + 2.0)))


@triton.jit
def atanh(x):
    m = limited(magnitude(x), 0x3F800000)
    return copy_sign(0.5 * log1p(tl.div_rn(2.0 * m, 1.0 - m)), x)


@triton.jit
def step(x, at_zero):
    return tl.where(x > 0.0, 1.0, tl.where(x == 0.0, at_zero, 0.0))


@triton.jit
def is_zero(x):
    return tl.where(x == 0.0, 1.0, 0.0)
