"""Functions of float32 as fixed sequences of additions, products, quotients and roots, each rounded once.

Twin of `templates/runtime/eq_float.h` and `eq_float_functions.h`; every function has its C twin's name without the ``eq_`` prefix. No
libm takes part, nothing is contracted to a fused operation, so that a desktop, an FPU and soft-float give the same bits. The polynomials
are minimax fits of edgeq's own (Lawson's iteration, relative error). Measured over all halves, results differ from float64 by less than
`ACCURACY` relative to the result, except near zeros of sin, cos and hard_sigmoid, where the error is absolute.

No sequence relies on subnormal numbers: arguments of exponentials are limited to +-80, so that every power lies in 2^-116 ... 2^116,
and for arguments of 2^-60 and more in magnitude no intermediate result is below 2^-126 unless it is zero. They are rounded as IEEE
says where smaller arguments make them.

Arrays are float32 of any shape and so are results. Not-a-number, which has no sign (`number`), is treated as a large number where
an argument is limited.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
F = np.float32
ACCURACY = 4e-6

LIMIT = F(80)  # largest magnitude of an exponential's argument
MAGIC = F(1.5 * 2**23)  # added and taken away, it rounds to the nearest integer, halves to even
LN2_HIGH, LN2_LOW = F(0.693359375), F(-2.12194440e-4)  # ln 2; the first has 9 bits, so that its product with an exponent is exact
EXP = (F(1.38824654e-3), F(8.36654380e-3), F(4.16671968e-2), F(1.66665435e-1), F(4.99999976e-1))
ERF = (F(-5.63142204e-4), F(4.91755130e-3), F(-2.67113112e-2), F(1.12801805e-1), F(-3.76123250e-1), F(1.12837911))
ERFC = (F(8.82040113e-2), F(-3.56737095e-1), F(3.89222980e-1), F(3.78917903e-2), F(2.81503350e-1), F(2.77582228e-1), F(2.82331407e-1))
ATANH = (F(1.40122294e-1), F(1.39995694e-1), F(2.00108498e-1), F(3.33332062e-1))
ATAN = (F(8.10635835e-3), F(-3.77966948e-2), F(8.4841013e-2), F(-1.35445744e-1), F(1.98978737e-1), F(-3.33284914e-1))
SIN = (F(-1.95089946e-4), F(8.33212025e-3), F(-1.66666538e-1))
COS = (F(2.44292121e-5), F(-1.38872885e-3), F(4.16666456e-2))
HALF_PI = (F(201 / 2**7), F(253 / 2**19), F(170 / 2**27), F(9.92093574e-10))  # all but the last have 8 bits


def polynomial(x: Array, coefficients: tuple[Any, ...]) -> Array:
    """Horner's scheme, highest power first."""
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y = y * x + c
    return y


def number(x: Array) -> Array:
    """x; not-a-number without a sign, as Arm and RISC-V make it of infinities and x86 does not."""
    return np.where(np.isnan(x), F(np.nan), x)


def limited(x: Array, limit: Any) -> Array:
    """x with its magnitude at most `limit`, compared on the bits."""
    magnitude = np.abs(x).view(np.int32)
    return np.asarray(np.copysign(np.minimum(magnitude, limit.view(np.int32)).view(F), x))


def _parts(x: Array) -> tuple[Array, Array]:
    """exp(x) as ``(q, t)``: t a power of two, exp(x) = t + q * t, and q accurate near zero.

    x = n ln 2 + r, |r| <= ln 2 / 2 (Cody and Waite); q = r + r^2 p(r), p of degree 4.
    """
    x = limited(np.ascontiguousarray(x, F), LIMIT)
    shifted = x * F(1.44269502) + MAGIC
    exponent = shifted.view(np.int32) - MAGIC.view(np.int32)
    n = shifted - MAGIC
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    q = r + (r * r) * polynomial(r, EXP)
    return q, ((exponent + 127) << 23).view(F)


def exp(x: Array) -> Array:
    """e to the x; beyond +-80 that of 80."""
    q, t = _parts(x)
    return q * t + t


def expm1(x: Array) -> Array:
    """e to the x, less 1, accurate near zero."""
    q, t = _parts(x)
    return q * t + (t - F(1))


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return F(1) / (F(1) + exp(-number(x)))


def tanh(x: Array) -> Array:
    """-m / (m + 2) with m = e^(-2|x|) - 1, and the sign of x."""
    m = expm1(np.abs(x) * F(-2))
    return np.copysign(-m / (m + F(2)), number(x))


def silu(x: Array) -> Array:
    """x / (1 + e^-x)."""
    return x / (F(1) + exp(-x))


def erfc(x: Array) -> Array:
    """The complementary error function of x >= 0: e^(-x^2) t Q(t), t = 1 / (1 + x / 2), Q of degree 6; x is limited to 8."""
    x = limited(x, F(8))
    t = F(1) / (F(1) + F(0.5) * x)
    return np.asarray(exp(-(x * x)) * (t * polynomial(t, ERFC)))


def erf(x: Array) -> Array:
    """The error function: x P(x^2), P of degree 5, below 1; else 1 - erfc."""
    magnitude = np.abs(x)
    inner = limited(magnitude, F(1))
    y = np.where(magnitude < 1, inner * polynomial(inner * inner, ERF), F(1) - erfc(magnitude))
    return np.copysign(y, x)


def gelu(x: Array) -> Array:
    """x times the normal distribution function, which is erfc(|x| / sqrt 2) / 2 below zero and 1 less that above."""
    tail = F(0.5) * erfc(np.abs(x) * F(0.707106769))
    return x * np.where(x < 0, tail, F(1) - tail)


def gelu_tanh(x: Array) -> Array:
    """x (1 + tanh u) / 2 = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    return x / (F(1) + exp(-(x * (F(1.59576917) + F(0.0713548139) * (x * x)))))


def _log_ratio(s: Array) -> Array:
    """log((1 + s) / (1 - s)) = 2 (s + s^3 P(s^2)) for |s| <= 1/3, P of degree 3."""
    z = s * s
    return np.asarray(F(2) * (s + s * (z * polynomial(z, ATANH))))


def log(x: Array) -> Array:
    """Natural logarithm: x = 2^n m, m in [sqrt 1/2, sqrt 2), s = (m - 1) / (m + 1). Of 0 and below -inf, of infinity inf."""
    bits = np.ascontiguousarray(x, F).view(np.int32)
    exponent = (bits - 0x3F3504F3) >> 23
    m = (bits - (exponent << 23)).view(F)
    n = exponent.astype(F)
    with np.errstate(all="ignore"):
        y = n * LN2_HIGH + (_log_ratio((m - F(1)) / (m + F(1))) + n * LN2_LOW)
    return np.where(x > 0, np.where(bits < 0x7F800000, y, x), F(-np.inf))


def softplus(x: Array) -> Array:
    """max(x, 0) + log(1 + u), u = e^-|x|, by s = u / (2 + u)."""
    u = exp(-np.abs(x))
    return np.where(x > 0, x, F(0)) + _log_ratio(u / (F(2) + u))


def mish(x: Array) -> Array:
    """x tanh(softplus(x)) = x w / (w + 2), w = u (u + 2), u = e^x with x at most 20."""
    u = exp(np.where(x < 20, x, F(20)))
    w = u * (u + F(2))
    return x * (w / (w + F(2)))


def softsign(x: Array) -> Array:
    """x / (1 + |x|)."""
    return x / (F(1) + np.abs(x))


def hard_sigmoid(x: Array, alpha: Any, beta: Any) -> Array:
    """alpha x + beta between 0 and 1."""
    return clamp_float(alpha * x + beta, F(0), F(1))


def hard_swish(x: Array) -> Array:
    """x (c / 6), c = x + 3 between 0 and 6."""
    return x * (clamp_float(x + F(3), F(0), F(6)) / F(6))


def clamp_float(x: Array, low: Any, high: Any) -> Array:
    """x between two limits."""
    x = np.where(x > low, x, low)
    return np.where(x < high, x, high)


def leaky_relu(x: Array, alpha: Any) -> Array:
    """x where positive, else alpha x."""
    return np.where(x > 0, x, alpha * x)


def thresholded_relu(x: Array, alpha: Any) -> Array:
    """x where it is above alpha, else 0."""
    return np.where(x > alpha, x, F(0))


def elu(x: Array, alpha: Any) -> Array:
    """x where positive, else alpha (e^x - 1)."""
    return np.where(x > 0, x, alpha * expm1(x))


def selu(x: Array, alpha: Any, gamma: Any) -> Array:
    """gamma times elu."""
    return np.asarray(gamma * elu(x, alpha))


def celu(x: Array, alpha: Any) -> Array:
    """x where positive, else alpha (e^(x / alpha) - 1)."""
    return np.where(x > 0, x, alpha * expm1(x / alpha))


def opposite(x: Array) -> Array:
    """-x; not-a-number stays as it is."""
    return F(-0.0) - x


def absolute(x: Array) -> Array:
    """|x|."""
    return np.abs(x)


def square(x: Array) -> Array:
    """x x."""
    return x * x


def sqrt(x: Array) -> Array:
    """Square root, correctly rounded; of negative numbers 0."""
    return np.sqrt(np.where(x > 0, x, F(0)))


def rsqrt(x: Array) -> Array:
    """1 / sqrt(x); infinity of 0 and below."""
    return F(1) / sqrt(x)


def reciprocal(x: Array) -> Array:
    """1 / x."""
    return F(1) / x


def power(x: Array, exponent: Any, odd: Any) -> Array:
    """e^(exponent log |x|), negative where x is and `odd` is 1; x below 0 counts as 0 where `odd` is below 0."""
    y = exp(exponent * log(np.abs(np.where((odd < 0) & (x < 0), F(0), x))))
    return np.where((odd > 0) & (x < 0), -y, y)


def _circle(x: Array, quarter: int) -> Array:
    """sin(x + quarter pi / 2): x less the nearest multiple of pi / 2, taken away in parts, then a polynomial of degree 7 or 8."""
    shifted = x * F(0.636619747) + MAGIC
    turns = shifted.view(np.int32) + quarter
    n = shifted - MAGIC
    r = x
    for part in HALF_PI:
        r = r - n * part
    z = r * r
    sine = r + r * (z * polynomial(z, SIN))
    cosine = (F(1) - F(0.5) * z) + (z * z) * polynomial(z, COS)
    y = np.where(turns & 1, cosine, sine)
    return np.asarray(np.where(turns & 2, -y, y))


def sin(x: Array) -> Array:
    """Sine of |x| < 2^16."""
    return _circle(np.ascontiguousarray(x, F), 0)


def cos(x: Array) -> Array:
    """Cosine of |x| < 2^16."""
    return _circle(np.ascontiguousarray(x, F), 1)


def nearest(x: Array) -> Array:
    """The nearest integer, halves to even; beyond 2^22 x itself."""
    return np.where(np.abs(x) < F(2**22), (x + MAGIC) - MAGIC, x)


def floor(x: Array) -> Array:
    """The largest integer that is not above x."""
    n = nearest(x)
    return np.where(n > x, n - F(1), n)


def ceil(x: Array) -> Array:
    """The smallest integer that is not below x."""
    n = nearest(x)
    return np.where(n < x, n + F(1), n)


def sign(x: Array) -> Array:
    """-1, 0 or 1."""
    return np.where(x > 0, F(1), F(0)) - np.where(x < 0, F(1), F(0))


def tan(x: Array) -> Array:
    """Tangent of |x| < 2^16: the sine by the cosine."""
    return np.asarray(sin(x) / cos(x))


def sinh(x: Array) -> Array:
    """(m + m / (m + 1)) / 2 with m = e^|x| - 1, and the sign of x."""
    m = expm1(np.abs(x))
    return np.copysign(F(0.5) * (m + m / (m + F(1))), x)


def cosh(x: Array) -> Array:
    """(t + 1 / t) / 2 with t = e^|x|."""
    t = exp(np.abs(x))
    return np.asarray(F(0.5) * (t + F(1) / t))


def atan(x: Array) -> Array:
    """r + r^3 P(r^2), P of degree 5, with r = |x| or, above 1, pi / 2 less that of 1 / |x|; and the sign of x."""
    magnitude = np.abs(x)
    inverted = magnitude > 1
    r = np.where(inverted, F(1) / np.where(inverted, magnitude, F(1)), magnitude)
    z = r * r
    y = r + r * (z * polynomial(z, ATAN))
    return np.asarray(np.copysign(np.where(inverted, F(1.57079637) - y, y), x))


def asin(x: Array) -> Array:
    """The inverse tangent of x / sqrt((1 - x) (1 + x)); x is limited to +-1."""
    x = limited(np.ascontiguousarray(x, F), F(1))
    return atan(x / sqrt((F(1) - x) * (F(1) + x)))


def acos(x: Array) -> Array:
    """Twice the inverse tangent of sqrt((1 - x) / (1 + x)); x is limited to +-1."""
    x = limited(np.ascontiguousarray(x, F), F(1))
    return np.asarray(F(2) * atan(sqrt((F(1) - x) / (F(1) + x))))


def _log1p(u: Array) -> Array:
    """log(1 + u) for u >= 0, accurate near zero."""
    small = u < 1
    inner = np.where(small, u, F(1))
    return np.where(small, _log_ratio(inner / (F(2) + inner)), log(F(1) + u))


def asinh(x: Array) -> Array:
    """log(1 + u), u = |x| + x^2 / (1 + sqrt(1 + x^2)), and the sign of x."""
    magnitude = np.abs(x)
    square = x * x
    return np.copysign(_log1p(magnitude + square / (F(1) + sqrt(F(1) + square))), x)


def acosh(x: Array) -> Array:
    """log(1 + u), u = d + sqrt(d (d + 2)), d = x - 1; of less than 1, 0."""
    d = np.where(x > 1, x - F(1), F(0))
    return np.asarray(_log1p(d + sqrt(d * (d + F(2)))))


def atanh(x: Array) -> Array:
    """log(1 + u) / 2, u = 2 |x| / (1 - |x|), and the sign of x; |x| is limited to 1."""
    magnitude = limited(np.abs(np.ascontiguousarray(x, F)), F(1))
    return np.copysign(F(0.5) * _log1p((F(2) * magnitude) / (F(1) - magnitude)), x)


def step(x: Array, at_zero: Any) -> Array:
    """1 above 0, `at_zero` at 0, else 0."""
    return np.where(x > 0, F(1), np.where(x == 0, at_zero, F(0)))


def is_zero(x: Array) -> Array:
    """1 at 0, else 0."""
    return np.where(x == 0, F(1), F(0))


assert math.isclose(float(LN2_HIGH) + float(LN2_LOW), math.log(2), rel_tol=1e-8)
