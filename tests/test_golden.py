"""Every model computes the bytes that golden.json keeps: ``python tests/golden.py --bless PATTERN...`` takes new ones for right."""

from __future__ import annotations

import copy
import fnmatch
import subprocess
import sys

import golden
import pytest

GROUPS = (
    ("zoo *", "random ?", "random ??"), ("random 1??",), ("resnet *", "mobilenet *", "unet *", "flat_keywords *"),
    ("keywords *", "shufflenet *", "decoder *", "mlp *", "attention *", "stream *", "requantized *"), ("digits *", "robust_vision *"),
    ("denoiser *", "tt_rank_*"), ("kws_*", "pretrained*", "vww_*", "ad01_*", "str_*"),
)  # fmt: skip


@pytest.mark.parametrize("patterns", GROUPS, ids=" ".join)
def test_models_compute_the_bytes_that_they_did(patterns: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, golden.__file__, *patterns], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    if done.stdout:
        pytest.skip(done.stdout)  # the others hold


@pytest.mark.parametrize("name", ["zoo 1 tflm", "zoo 0 single", *(f"random {i}" for i in (4, 5, 8, 11, 14, 19, 23))])
def test_some_integers_in_this_process(name: str) -> None:
    """No float arithmetic takes part in these, so that they hold everywhere."""
    found = golden.computed(name)
    assert not isinstance(found, str) and golden.differences(golden.stored()[name], found) == []


def test_every_entry_is_compared() -> None:
    names = golden.names()
    assert list(golden.stored()) == names
    assert {n: sum(fnmatch.fnmatch(n, p) for group in GROUPS for p in group) for n in names} == dict.fromkeys(names, 1)


def test_a_difference_is_seen() -> None:
    """Outputs must be there and alike; steps may go, some of them, and may not change."""
    right = golden.stored()["zoo 0 single"]

    def wrong(part: str, name: str, value: str | None) -> list[str]:
        found = copy.deepcopy(right)
        del found[part][name]
        if value is not None:
            found[part][name] = value
        return golden.differences(right, found)

    output, step = next(iter(right["outputs"])), next(iter(right["steps"]))
    assert wrong("outputs", output, None) == wrong("outputs", output, "00000000") == [f"output '{output}'"]
    assert wrong("steps", step, "00000000") == [f"'{step}'"]
    assert wrong("steps", step, None) == []
    assert len(golden.differences(right, {"outputs": right["outputs"], "steps": {}})) == 1
