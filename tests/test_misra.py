"""MISRA C:2012 by cppcheck: the public header is clean, and what is reported elsewhere has its reason in docs/misra.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from installed import need_programs
from misra import documented, reported, sources

from edgeq import api, passes, target
from edgeq.emit import emit, write
from edgeq.frontends import load
from edgeq.lower import lower
from edgeq.plan import plan

DIGITS = Path(__file__).parent.parent / "examples" / "digits" / "digits.onnx"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need_programs("cppcheck")
    path = tmp_path_factory.mktemp("misra")
    real = passes.normalise(load(DIGITS))
    samples = {n: np.random.default_rng(0).normal(0, 1, (8, *real.type(n).shape)).astype(np.float32) for n in real.inputs}
    program = lower(api.quantize(real, samples).graph, target.load("cortex-m0"))
    write(emit(program, plan(program), "m"), path / "m")
    return path / "m"


def test_the_public_header_is_clean(folder: Path) -> None:
    """Macros and functions that a program may leave unused are all that is said of it."""
    use = folder.parent / "use.c"
    use.write_text('#include "m/m.h"\n')
    assert {rule for (name, rule), _ in reported([use]).items() if name == "m.h"} <= {"2.5"}


def test_what_is_reported_has_a_reason(folder: Path) -> None:
    found = reported(sources(folder))
    assert found and {rule for _, rule in found} <= documented()
