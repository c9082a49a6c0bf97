"""scikit-learn's digits, split: the arrays of the example, and the .npz files that edgeq reads.

    python examples/digits/data.py FOLDER      writes FOLDER/calib.npz and FOLDER/test.npz
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits


def load() -> tuple[NDArray[Any], ...]:
    """x_train, y_train, x_test, y_test: float32 [N, 1, 8, 8] in 0...1 and int64 [N]; every fourth digit is for testing."""
    digits = load_digits()
    x = (digits.images / 16).astype(np.float32)[:, None]
    y = digits.target.astype(np.int64)
    test = np.arange(len(x)) % 4 == 3
    return x[~test], y[~test], x[test], y[test]


def write(folder: Path) -> tuple[Path, Path]:
    """128 training images for calibration, all test images with their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    x_train, _, x_test, y_test = load()
    np.savez(folder / "calib.npz", image=x_train[:128])
    np.savez(folder / "test.npz", x=x_test, y=y_test)
    return folder / "calib.npz", folder / "test.npz"


if __name__ == "__main__":
    write(Path(sys.argv[1]))
