"""Scales of least square error of all weights but the outliers (Tang et al., EasyQuant, 2023): they need no data.

The paper keeps outliers apart, in full precision. No kernel reads weights beside its table, so that here they saturate, or are split
(`--split ocs`) before.
"""

from __future__ import annotations

import numpy as np

from edgeq.quantize.weight_scales import Bounds, Float, Levels, mse

DEVIATIONS = 3.0  # beyond so many standard deviations of its row a weight is an outlier
PART = 0.01  # of a row's weights that are outliers at most: the largest of them


def scales(matrix: Float, bounds: Bounds, levels: Levels = None) -> Float:
    """Per row of ``[..., K]``, as `mse` has it for the row without its outliers."""
    size = np.abs(matrix)
    most = int(PART * matrix.shape[-1])
    beyond = np.sort(size, axis=-1)[..., -1 - most, None]  # the largest weight that is none
    outliers = (size > beyond) & (size > DEVIATIONS * matrix.std(axis=-1, keepdims=True))
    return mse.scales(np.where(outliers, 0.0, matrix), bounds, levels)
