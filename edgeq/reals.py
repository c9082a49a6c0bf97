"""Functions of real numbers that are the same on every computer: float64 sums, products, quotients and roots, each rounded once.

What float arithmetic decides about a model (ranges, weights, formats, tables of functions) must not depend on the processor. NumPy and
the C library choose among several versions of exp, log, tanh and the like when a program starts, and these differ in the last bit. Here
nothing but IEEE operations, exact scalings by powers of two and comparisons takes part. Results are within 3e-15 of the true ones,
relative to them (sin, cos and tan: absolute, and for magnitudes below 1e5).

Arrays of float32 are computed in float64 and rounded once; arrays of float64 stay so. Not-a-number gives itself. What a chip computes
is in `floats`, whose sequences are float32.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float = NDArray[np.float64]

LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # the first has 32 bits: its multiples are exact
LN2, LN10, PI = 0.6931471805599453, 2.302585092994046, 3.141592653589793
HALF_PI = (1.57079632673412561417, 6.07710050630396597660e-11, 2.02226624879595063154e-21)  # the first two have 33 bits each
EXP = tuple(1 / math.factorial(k) for k in range(13, 0, -1))  # of (e^r - 1) / r, |r| <= ln 2 / 2
ATANH = tuple(1 / (2 * k + 1) for k in range(17, -1, -1))  # of atanh(s) / s in s^2, |s| <= 1/3
ATAN = tuple((-1.0) ** k / (2 * k + 1) for k in range(21, -1, -1))  # of atan(s) / s in s^2, |s| <= tan(pi / 8)
SIN = tuple((-1.0) ** k / math.factorial(2 * k + 1) for k in range(8, -1, -1))
COS = tuple((-1.0) ** k / math.factorial(2 * k) for k in range(8, -1, -1))
ERF = tuple((-1.0) ** k / (math.factorial(k) * (2 * k + 1)) for k in range(15, -1, -1))  # of erf(x) sqrt(pi) / 2 / x in x^2, |x| <= 3/4
TWO_OVER_ROOT_PI = 1.1283791670955126
ERFC_MIDDLE = 3.75
ERFC = (  # of erfc(x) e^(x^2) (1 + 2 x) in t = (x - middle) / (x + middle): a Chebyshev series of its own, cut at 5e-17
    4.2514714447963895e-10, 3.1114333809799254e-10, -5.1739902140113095e-09, -3.744210080962018e-09, 3.8675334242222354e-08,
    2.3263508708859124e-08, -2.5866850716155884e-07, -5.7218230603224086e-08, 1.751637648849062e-06, -9.73559896736775e-07,
    -1.1444146237700524e-05, 2.238423915508223e-05, 5.164909889268241e-05, -0.0002901540805408417, 0.0002937136655913448,
    0.0017556258528952954, -0.009746579558029276, 0.028362277418956406, -0.05869339858963677, 0.09230432116037748,
    -0.10880393014174886, 0.0822767384901452, 0.0035854154854644293, -0.14024059858554697, 1.2375126308378275,
)  # fmt: skip
LARGEST = 750.0  # beyond it exponentials are infinite or 0
ROOTS = (1.0, 1.189207115002721, 1.4142135623730951, 1.681792830507429)  # 2^(k / 4)


def _polynomial(x: Float, coefficients: tuple[float, ...]) -> Float:
    """Horner's scheme, highest power first."""
    y = np.full_like(x, coefficients[0])
    for c in coefficients[1:]:
        y *= x
        y += c
    return y


def _function(inner: Callable[[Float], Any]) -> Callable[[Any], Array]:
    """Works in float64; the result has the argument's type, float64 where that is no float."""

    @functools.wraps(inner)
    def outer(x: Any) -> Array:
        given = np.asarray(x)
        with np.errstate(all="ignore"):
            y = inner(np.asarray(given, np.float64))
        return np.asarray(y, given.dtype if given.dtype.kind == "f" else np.float64)

    return outer


def _reduced(x: Float) -> tuple[Float, Array]:
    """``(e^r - 1, n)`` with x = n ln 2 + r, |r| <= ln 2 / 2."""
    x = np.clip(x, -LARGEST, LARGEST)
    n = np.rint(x * (1 / LN2))
    r = (x - n * LN2_HIGH) - n * LN2_LOW
    return r * _polynomial(r, EXP), np.where(np.isnan(n), 0, n).astype(np.int32)


def _exp(x: Float) -> Float:
    q, n = _reduced(x)
    return np.asarray(np.ldexp(1 + q, n))


def _expm1(x: Float) -> Float:
    q, n = _reduced(x)
    return np.where(n == 0, q, np.ldexp(1 + q, n) - 1)


def _log(x: Float) -> Float:
    m, e = np.frexp(x)
    low = m < ROOTS[2] / 2
    m, n = np.where(low, 2 * m, m), (e - low).astype(np.float64)
    s = (m - 1) / (m + 1)
    y = n * LN2_HIGH + (2 * s * _polynomial(s * s, ATANH) + n * LN2_LOW)
    return np.where(x > 0, np.where(np.isinf(x), x, y), np.where(x == 0, -np.inf, np.nan))


def _log1p(u: Float) -> Float:
    """Of 0 <= u <= 1."""
    s = u / (2 + u)
    return np.asarray(2 * s * _polynomial(s * s, ATANH))


def _tanh(x: Float) -> Float:
    m = _expm1(-2 * np.abs(x))
    return np.copysign(m / (m + 2), x)


def _softplus(x: Float) -> Float:
    return np.asarray(np.maximum(x, 0) + _log1p(_exp(-np.abs(x))))


def _erf(x: Float) -> Float:
    size = np.minimum(np.abs(x), 30)
    inner = np.minimum(size, 0.75)
    t = (size - ERFC_MIDDLE) / (size + ERFC_MIDDLE)
    tail = _polynomial(t, ERFC) * _exp(-(size * size)) / (1 + 2 * size)
    return np.copysign(np.where(size <= 0.75, TWO_OVER_ROOT_PI * inner * _polynomial(inner * inner, ERF), 1 - tail), x)


def _turned(x: Float) -> tuple[Float, Float, Float]:
    """Sine and cosine of x less a multiple of pi / 2, and that multiple."""
    n = np.rint(x * (1 / HALF_PI[0]))
    r = ((x - n * HALF_PI[0]) - n * HALF_PI[1]) - n * HALF_PI[2]
    return r * _polynomial(r * r, SIN), _polynomial(r * r, COS), n % 4


def _sine(x: Float, quarter: float) -> Float:
    s, c, n = _turned(x)
    n = (n + quarter) % 4
    y = np.where(n % 2 == 0, s, c)
    return np.where(n >= 2, -y, y)


def _tan(x: Float) -> Float:
    s, c, n = _turned(x)
    return np.where(n % 2 == 0, s / c, -c / s)


def _atan(x: Float) -> Float:
    size = np.abs(x)
    steep = np.where(size > 1, 1 / np.where(size > 0, size, 1), size)
    middle = steep > ROOTS[2] - 1
    s = np.where(middle, (steep - 1) / (steep + 1), steep)
    y = np.where(middle, PI / 4, 0) + s * _polynomial(s * s, ATAN)
    return np.copysign(np.where(size > 1, PI / 2 - y, y), x)


def _sinh(x: Float) -> Float:
    m = _expm1(np.abs(x))
    half = _exp(0.5 * np.abs(x))
    return np.copysign(np.where(np.abs(x) < 700, 0.5 * (m + m / (m + 1)), 0.5 * half * half), x)


def _cosh(x: Float) -> Float:
    half = _exp(0.5 * np.abs(x))
    return np.asarray(0.5 * half * half + 0.5 * _exp(-np.abs(x)))


def _asinh(x: Float) -> Float:
    size = np.abs(x)
    small = np.minimum(size, 0.5)
    more = small + small * small / (1 + np.sqrt(small * small + 1))  # log(1 + a) = 2 atanh(a / (2 + a))
    s = more / (2 + more)
    large = np.where(size > 1e150, _log(size) + LN2, _log(size + np.sqrt(np.minimum(size, 1e150) ** 2 + 1)))
    return np.copysign(np.where(size < 0.5, 2 * s * _polynomial(s * s, ATANH), large), x)


def _acosh(x: Float) -> Float:
    return 2 * _asinh(np.sqrt((x - 1) / 2))


def _atanh(x: Float) -> Float:
    size = np.abs(x)
    small = np.minimum(size, 1 / 3)
    return np.copysign(np.where(size < 1 / 3, small * _polynomial(small * small, ATANH), 0.5 * _log((1 + size) / (1 - size))), x)


def _log2(x: Float) -> Float:
    """Exact for powers of two."""
    m, e = np.frexp(x)
    return np.where(m == 0.5, (e - 1).astype(np.float64), _log(x) / LN2)


exp, expm1, log, tanh, erf = (_function(f) for f in (_exp, _expm1, _log, _tanh, _erf))
softplus = _function(_softplus)  # log(1 + e^x)
sigmoid = _function(lambda x: 1 / (1 + _exp(-x)))
sin, cos, tan = _function(functools.partial(_sine, quarter=0.0)), _function(functools.partial(_sine, quarter=1.0)), _function(_tan)
sinh, cosh, atan = (_function(f) for f in (_sinh, _cosh, _atan))
asinh, acosh, atanh = (_function(f) for f in (_asinh, _acosh, _atanh))
asin = _function(lambda x: _atan(x / np.sqrt((1 - x) * (1 + x))))
acos = _function(lambda x: 2 * _atan(np.sqrt((1 - x) / (1 + x))))
log2 = _function(_log2)
log10 = _function(lambda x: _log(x) / LN10)


def power(x: Any, exponent: float) -> Array:
    """x to a constant power; a power that is not whole wants x >= 0."""
    if not float(exponent).is_integer() or abs(exponent) > 64:
        return _function(lambda a: _signed(a, exponent))(x)

    def whole(a: Float) -> Float:
        y, base, left = np.ones_like(a), a, int(abs(exponent))
        while left:
            y, base, left = (y * base if left & 1 else y), base * base, left >> 1
        return 1 / y if exponent < 0 else y

    return _function(whole)(x)


def _signed(a: Float, exponent: float) -> Float:
    y = _exp(exponent * _log(np.abs(a)))
    whole = float(exponent).is_integer()
    return np.where(a >= 0, y, np.where(whole, y if exponent % 2 == 0 else -y, np.nan))


def exp10(x: float) -> float:
    """10 to the x."""
    return float(np.asarray(_exp(np.asarray(x * LN10))))


def quarters(exponents: Any) -> Float:
    """2^(e / 4) of whole e."""
    e = np.asarray(exponents, np.int64)
    return np.asarray(np.ldexp(np.asarray(ROOTS)[e % 4], (e // 4).astype(np.int32)))
