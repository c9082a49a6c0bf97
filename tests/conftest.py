"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from installed import absent
from places import DATA

from edgeq.errors import EdgeqError

os.environ.pop("COLUMNS", None)  # xdist gives its workers 80: output is as wide as in a pipe
os.environ.setdefault("TRITON_INTERPRET", "1")  # before anything imports Triton: GPU kernels are interpreted
OBJECTS = "EDGEQ_OBJECTS"


def pytest_configure(config: pytest.Config) -> None:
    """Board support and equal models are compiled once for all tests, workers and processes that tests start; see firmware/make.py."""
    if OBJECTS not in os.environ:
        folder = tempfile.mkdtemp(prefix="objects-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ[OBJECTS] = folder


def passed_over(error: BaseException) -> None:
    if program := absent(error):
        pytest.skip(f"not installed: {program}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, Any, Any]:
    """A test that needs an optional program is skipped where there is none, whether or not it looks for it."""
    try:
        return (yield)
    except (EdgeqError, FileNotFoundError) as error:
        passed_over(error)
        raise


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, Any, Any]:
    """So is one whose fixture needs it."""
    try:
        return (yield)
    except (EdgeqError, FileNotFoundError) as error:
        passed_over(error)
        raise


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real models and signals; the test is skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no data folder at {DATA} (set EDGEQ_DATA)")
    return DATA
