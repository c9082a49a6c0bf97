"""Annotations in ACSL for a value analysis (Frama-C's Eva): how often a loop may turn. Comments alone: compilers see the same code.

With them the analysis follows every loop turn by turn, so that places in buffers and sums of products are exact ranges.
"""

from __future__ import annotations

import re

LOOP = re.compile(r"^( *)((?:for|while) \(.*[^\\])$", re.MULTILINE)


def annotated(text: str, turns: int) -> str:
    """C with a limit before each loop that is no macro's.

    Args:
        turns: no loop turns more often.
    """
    return LOOP.sub(lambda m: f"{m[1]}//@ loop unroll {turns};\n{m[0]}", text)
