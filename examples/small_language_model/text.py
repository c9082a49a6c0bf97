"""Text that Python itself ships: the topics of its interactive help. Every tenth topic is kept for the test."""

from __future__ import annotations

from pydoc_data.topics import topics

import numpy as np
from numpy.typing import NDArray

SYMBOLS = "\n" + "".join(map(chr, range(32, 127)))  # token t is SYMBOLS[t]
NUMBERS = {c: i for i, c in enumerate(SYMBOLS)}


def encode(text: str) -> NDArray[np.int64]:
    """Tokens of a text; what is no symbol is left out."""
    return np.array([NUMBERS[c] for c in text if c in NUMBERS], np.int64)


def decode(tokens: NDArray[np.generic]) -> str:
    """The text of tokens."""
    return "".join(SYMBOLS[int(t)] for t in tokens)


def split() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Tokens to train with, and those of the topics held out."""
    names = sorted(topics)
    held = names[::10]
    train, test = ("\n\n".join(topics[n] for n in names if (n in held) == own) for own in (False, True))
    return encode(train), encode(test)
