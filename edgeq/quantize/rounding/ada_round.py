"""Adaptive rounding (Nagel et al., ICML 2020): whether each weight goes up or down is learned by gradients, layer by layer.

The layer's error is taken from its inputs' moments, so that a step costs one matrix product whatever the number of samples.
"""

from __future__ import annotations

import numpy as np

from edgeq import reals
from edgeq.matrices import matmul, right, times
from edgeq.quantize.problem import LayerProblem
from edgeq.quantize.rounding import Rounded
from edgeq.quantize.weight_scales import within

STEPS, WARM = 600, 0.2  # of gradient descent; the part of it before weights are drawn to integers
RATE = 0.02
STRENGTH = 0.05  # of what draws to integers, beside a layer's error that is 1 when rounded to nearest
HARD = (20.0, 2.0)  # its exponent at first and at last
LOW, HIGH = -0.1, 1.1  # the rectified sigmoid reaches beyond 0 and 1
RIDGE = 1e-5  # of the mean second moment


def rounded(problem: LayerProblem) -> Rounded:
    """Integers next to the real weights, below or above, of least error of the layer's outputs on the calibration data."""
    m, s = problem.moments, problem.scales[..., None]
    k = problem.matrix.shape[-1]
    ridge = RIDGE * np.trace(m.square, axis1=1, axis2=2)[:, None, None] / k + 1e-30
    rows = right(m.square + ridge * np.eye(k), True)
    target = matmul(problem.matrix, m.cross, True) + ridge * problem.matrix
    floor = within(np.floor(problem.matrix / s), problem.bounds)
    part = np.clip(problem.matrix / s - floor, 0.01, 0.99)
    nearest = within(np.rint(problem.matrix / s), problem.bounds) * s - problem.matrix
    unit = np.maximum((times(nearest, rows) * nearest).sum(-1, keepdims=True), 1e-30)
    v = -reals.log((HIGH - LOW) / (part - LOW) - 1)
    first, second = np.zeros_like(v), np.zeros_like(v)
    for step in range(1, STEPS + 1):
        sigmoid = reals.sigmoid(v)
        up = np.clip(sigmoid * (HIGH - LOW) + LOW, 0, 1)
        gradient = 2 * (times((floor + up) * s, rows) - target) * s / unit
        progress = step / STEPS
        if progress > WARM:
            hard = HARD[1] + (HARD[0] - HARD[1]) * 0.5 * (1 + float(reals.cos(np.pi * (progress - WARM) / (1 - WARM))))
            middle = 2 * up - 1
            gradient = gradient - STRENGTH * 2 * hard * reals.power(np.abs(middle), hard - 1) * np.sign(middle)
        gradient = gradient * np.where((up > 0) & (up < 1), sigmoid * (1 - sigmoid) * (HIGH - LOW), 0.0)
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        v = v - RATE * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-12)
    return within(floor + (v > 0), problem.bounds), problem.scales
