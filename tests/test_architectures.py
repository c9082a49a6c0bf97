"""A sample of `benchmarks.architectures`: networks as users write them, in every form that PyTorch exports, down to C."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks import speech_networks as speech
from benchmarks.architectures import FORMS, GOOD, TABLE, Architecture, measured

SMALL = {
    "keyword transformer": Architecture(lambda: speech.KeywordTransformer(12, 8, 16, 2, 1, 5), (1, 12, 8)),
    "conv-tasnet": Architecture(lambda: speech.ConvTasNet(2, 8, 8, 8, 8, 2), (1, 1, 64)),
}


@pytest.mark.parametrize("name", SMALL)
def test_a_network_in_every_form(name: str) -> None:
    row = measured(name, SMALL[name], build=name == "conv-tasnet")
    assert {form: row[form] for form in FORMS} == dict.fromkeys(FORMS, "yes"), row
    assert float(row["int8"].removesuffix(" dB")) > GOOD, row
    assert row["build"] == ("exact" if name == "conv-tasnet" else "")


def test_what_is_not_installed_is_named() -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'timm'")

    assert measured("x", Architecture(missing, (1, 3, 8, 8)))["int8"] == "not measured: ModuleNotFoundError: No module named 'timm'"
    assert len(TABLE) >= 20
