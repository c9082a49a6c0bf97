"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton: GPU kernels are interpreted

DATA = Path(os.environ.get("EDGEQ_DATA") or Path(__file__).parent.parent.parent / "shared" / "data")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real models and signals; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no data folder at {DATA} (set EDGEQ_DATA)")
    return DATA
