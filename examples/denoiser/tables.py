"""Writes c/stft_tables.h, the constants of stft.py as exact C literals.

    python examples/denoiser/tables.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from stft import HANN, OUTPUT_SCALE, SINE, Array

FILE = Path(__file__).parent / "c" / "stft_tables.h"


def literal(x: np.float32) -> str:
    """A float as the shortest hexadecimal literal."""
    mantissa, exponent = float(x).hex().split("p")
    whole, _, digits = mantissa.partition(".")
    digits = digits.rstrip("0")
    return f"{whole}{'.' if digits else ''}{digits}p{int(exponent)}f"


def table(name: str, values: Array, note: str) -> str:
    rows = [", ".join(map(literal, values[i : i + 8])) for i in range(0, len(values), 8)]
    return f"/* {note} */\nstatic const float {name}[{len(values)}] = {{\n    " + ",\n    ".join(rows) + ",\n};\n"


def text() -> str:
    return "\n".join((
        "/* Tables of stft.c. Made by tables.py. */\n#ifndef STFT_TABLES_H\n#define STFT_TABLES_H\n",
        f"/* 2^22 / 1.5 */\n#define STFT_OUTPUT_SCALE {literal(OUTPUT_SCALE)}\n",
        table("stft_sine", SINE, "sin(2 pi k / 512)"),
        table("stft_hann", HANN, "(0.5 - 0.5 cos(2 pi i / 400)) * 2^-16"),
        "#endif\n",
    ))  # fmt: skip


if __name__ == "__main__":
    FILE.write_text(text(), encoding="ascii")
