"""docs/tflite.md: which of TFLite's builtin operators are read in which type. ``python tests/frontends/tflite_table.py`` writes it."""

# ruff: noqa: E402
from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]

import test_tflite
import test_tflite_unsigned
import tflite_cases as tc
from tflite_models import unsigned, words

from edgeq import target
from edgeq.errors import EdgeqError
from edgeq.frontends.tflite import FOLDED_ONLY, load
from edgeq.frontends.tflite.attributes import TRANSLATORS
from edgeq.frontends.tflite.choosing import COMPARISONS
from edgeq.frontends.tflite.file import OPERATORS
from edgeq.frontends.tflite.loops import KIND
from edgeq.lower import lower
from edgeq.passes import normalise

PAGE = Path(__file__).parents[2] / "docs" / "tflite.md"
# read by translators whose tests have files of their own: float32, int8, uint8, int16, what they are compared with
OTHERS = {
    "QUANTIZE": ("yes", "yes", "yes", "yes", "TFLM"), "DEQUANTIZE": ("", "yes", "yes", "yes", "TFLM"),
    "CAST": ("yes", "", "from bytes", "", "LiteRT"), "UNIDIRECTIONAL_SEQUENCE_LSTM": ("yes", "yes", "yes", "yes", "TFLM, LiteRT in float"),
    "SVDF": ("yes", "yes", "", "state and weights along time", "TFLM, LiteRT in float"), "CALL_ONCE": ("yes", "yes", "yes", "", "TFLM"),
    "VAR_HANDLE": ("yes", "yes", "yes", "", "TFLM"), "READ_VARIABLE": ("yes", "yes", "yes", "", "TFLM"),
    "ASSIGN_VARIABLE": ("yes", "yes", "yes", "", "TFLM"), "DENSIFY": ("constants", "constants", "constants", "", "the dense matrix"),
    **dict.fromkeys(COMPARISONS, ("yes", "yes", "", "", "TFLM, LiteRT in float")),
    **dict.fromkeys(("LOGICAL_AND", "LOGICAL_OR", "LOGICAL_NOT", "ARG_MAX", "ARG_MIN", "CUMSUM", "GATHER_ND"),
                    ("yes", "yes", "", "", "TFLM, LiteRT in float")),
    "SELECT": ("yes", "yes", "", "yes", "LiteRT"), "SELECT_V2": ("yes", "yes", "", "yes", "TFLM, LiteRT in float"),
    "WHILE": ("yes", "yes", "", "", "TFLM, LiteRT in float"),
    **dict.fromkeys(("RFFT2D", "COMPLEX_ABS", "REAL", "IMAG"), ("of rows", "", "", "", "LiteRT")),
}  # fmt: skip
HEAD = """# TFLite operators

Written by `python tests/frontends/tflite_table.py`; a test holds it. What is not listed is refused by name, with every node.

* **float32** is what edgeq quantizes; weights may be float16, int8 or sparse. Compared with LiteRT.
* **int8** equals TensorFlow Lite Micro (TFLM) byte for byte where it has the operator, else it lies within a step of the float meaning.
* **uint8** is read as int8, 128 lower; give and expect `byte - 128`. Compared with LiteRT's reference kernels. Convolutions and fully
  connected layers may have one zero point of weights.
* **int16** activations beside int8 weights and int64 biases (16x8).

Truth values are int8, 1 or 0. `ARG_MAX` and `ARG_MIN` on int8 give int32. `GATHER_ND` wants constant indices; where the condition of
`SELECT` is constant, elements are only moved. A `WHILE` is read turn by turn, its condition known from constants.

Variables (`VAR_HANDLE`, ...) and the states of LSTM and SVDF layers keep their values from one inference to the next, as in TFLM;
variables begin with what the file gives them. `--state none` begins every inference with zeros. Of a file with several signatures
`--signature` chooses one.

| operator | float32 | int8 | uint8 | int16 | compared with |
|---|---|---|---|---|---|
"""

TAIL = """Custom operators: {other}.

TFLM's signal operators, byte for byte as it: {signal}. They compute with int16 and int32 without a scale; the
Fourier transforms also with float32, of every even length whose prime factors are 2, 3 and 5. Unsigned integers are kept in the bits of
signed ones, those of 64 bits in two words, the low one first. On int32 without a scale `ADD`, `SUB`, `MUL`, `MINIMUM`, `MAXIMUM`, `DIV`
by constants and `CAST` between integers are read too, and whatever only moves data.
"""


def computes(model: Callable[[], bytes]) -> bool:
    """Whether edgeq reads a file and has kernels for it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tflite"
        try:
            path.write_bytes(model())
            lower(normalise(load(path)), target.load("host"))
        except EdgeqError:
            return False
    return True


def row(kind: str) -> tuple[str, str, str, str, str]:
    if kind in OTHERS:
        return OTHERS[kind]
    cases = [c for c in tc.CASES if c.kind == kind]
    micro = any(c.micro for c in cases)
    int8 = kind not in test_tflite.FLOAT_ONLY
    uint8 = kind in test_tflite_unsigned.KINDS
    int16 = kind in test_tflite_unsigned.WORDS
    assert not int8 or computes(lambda: tc.int8_model(cases[0])), kind
    assert not uint8 or computes(lambda: unsigned(tc.int8_model(cases[0]))), kind
    assert not int16 or computes(lambda: words(tc.int8_model(cases[0]))), kind
    other = "TFLM, LiteRT in float" if micro and int8 else "LiteRT"
    return "yes", "yes" if int8 else "", "yes" if uint8 else "", "yes" if int16 else "", other


def page() -> str:
    """The whole page."""
    read = sorted(k for k in OPERATORS.values() if k in TRANSLATORS or k in ("DENSIFY", KIND))
    rows = [f"| `{k}` | " + " | ".join(row(k)) + " |" for k in read]
    folded = ", ".join(f"`{k}`" for k in sorted(FOLDED_ONLY - {"DENSIFY"}))
    custom = sorted(k.removeprefix("CUSTOM ") for k in TRANSLATORS if k.startswith("CUSTOM "))
    signal, other = (", ".join(f"`{k}`" for k in custom if k.startswith("Signal") == own) for own in (True, False))
    tail = TAIL.format(signal=signal, other=other)
    return f"{HEAD}{chr(10).join(rows)}\n\nOn constants alone, computed while reading: {folded}.\n\n{tail}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
