"""Storage codes of weights and biases: integers <-> the bits that memory holds, and what faults of those bits cost.

Twin of `templates/runtime/eq_codes.h`. A code is a stream of words of `Code.width` bits, the first in the lowest bits of the first
byte. A word holds, from bit 0 on, the value in `bits` bits of two's complement (or offset binary, which inverts the highest one),
then the check.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.numerics import Array

CHECKS = {"none": 0, "parity": 1, "triple": 2, "hamming": 3}  # bits that they add
COVERED = 3  # the highest bits of a value that the parity covers
MENDED = np.array([0, 0, 0, 1, 0, 2, 4, 8])  # syndrome of `hamming` -> what to xor to the highest four bits
BIAS_BITS = 16


@dataclass(frozen=True)
class Code:
    """How the weights and biases of a graph are stored.

    Attributes:
        bits: of a weight's value, 2 to 8.
        offset: offset binary instead of two's complement.
        check: ``none``; ``parity``: one more bit makes the highest three even, and where they are odd the reader takes, of the values
            that one fault explains, that of least magnitude; ``triple``: the highest bit is stored three times and the majority holds;
            ``hamming``: three more bits mend one fault of the highest four.
        votes: biases are stored in 16 bits (times a power of two per layer) three times, of which the majority holds bit by bit; else once
            in 32 bits.
    """

    bits: int = 8
    offset: bool = False
    check: str = "none"
    votes: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8 or self.check not in CHECKS or (self.check == "hamming" and not 4 <= self.bits <= 7):
            fix = f"2 to 8 bits (4 to 7 with hamming); {', '.join(CHECKS)}"
            raise EdgeqError(f"no storage code of {self.bits} bits with check '{self.check}'", fix=fix)

    @property
    def width(self) -> int:
        """Stored bits of a weight."""
        return self.bits + CHECKS[self.check]

    @property
    def limit(self) -> int:
        """The largest magnitude that quantization uses."""
        return int(2 ** (self.bits - 1) - 1)

    @property
    def plain(self) -> bool:
        """Whether weights are stored as C computes with them."""
        return self.bits == 8 and not self.offset and self.check == "none"

    def __str__(self) -> str:
        check = "" if self.check == "none" else f" + {self.check}"
        return f"{self.bits} bit {'offset binary' if self.offset else 'two’s complement'}{check}, biases {'voted' if self.votes else 'int32'}"

    def words(self, values: Array) -> Array:
        """Values to words, uint32."""
        word = np.asarray(values, np.int64) & (2**self.bits - 1)
        word = word ^ (2 ** (self.bits - 1) if self.offset else 0)
        if self.check == "parity":
            word = word | self._parity(word) << self.bits
        elif self.check == "triple":
            word = word | (word >> (self.bits - 1)) * 3 << self.bits
        elif self.check == "hamming":
            word = word | _hamming(word >> (self.bits - 4)) << self.bits
        return np.asarray(word, np.uint32)

    def values(self, words: Array) -> Array:
        """Words, faulty ones too, to values, int8."""
        w = np.asarray(words, np.int64)
        top = self.bits - 1
        if self.check == "triple":
            votes = (w >> top & 1) + (w >> self.bits & 1) + (w >> (self.bits + 1) & 1)
            w = (w & (2**top - 1)) | (votes >= 2).astype(np.int64) << top
        elif self.check == "hamming":
            syndrome = _hamming(w >> (self.bits - 4) & 15) ^ (w >> self.bits & 7)
            w = w ^ MENDED[syndrome] << (self.bits - 4)
        value = self._value(w)
        if self.check == "parity":
            odd = (self._parity(w) ^ (w >> self.bits & 1)).astype(bool)
            for bit in range(top, max(top - COVERED, -1), -1):
                other = self._value(w ^ 1 << bit)
                value = np.where(odd & (np.abs(other) < np.abs(value)), other, value)
        return value.astype(np.int8)

    def _value(self, words: Array) -> Array:
        half = 2 ** (self.bits - 1)
        code = words & (2**self.bits - 1)
        return np.asarray((code ^ (0 if self.offset else half)) - half)

    def _parity(self, words: Array) -> Array:
        covered = words >> max(self.bits - COVERED, 0) & (2 ** min(COVERED, self.bits) - 1)
        return np.asarray((covered ^ covered >> 1 ^ covered >> 2) & 1)

    def encode(self, values: Array) -> Array:
        """int8 values, in order, to the stored bytes: uint8.

        Raises:
            EdgeqError: a value does not fit `bits`.
        """
        flat = values.astype(np.int64).ravel()
        half = 2 ** (self.bits - 1)
        if flat.min(initial=0) < -half or flat.max(initial=0) >= half:
            raise EdgeqError(f"weights from {flat.min()} to {flat.max()} do not fit {self.bits} bits", fix="quantize the model again")
        bits = self.words(flat)[:, None] >> np.arange(self.width, dtype=np.uint32) & 1
        return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")

    def decode(self, data: Array, count: int) -> Array:
        """What `encode` stored: int8 ``[count]``."""
        bits = np.unpackbits(data, bitorder="little")[: count * self.width].reshape(count, self.width)
        return self.values(bits.astype(np.int64) @ (1 << np.arange(self.width)))

    def errors(self, values: Array, p0: float, p1: float) -> Array:
        """The expected square error of stored weights, exactly: over all faults of a word, each stored 0 (1) flipping with p0 (p1)."""
        domain = np.arange(-(2 ** (self.bits - 1)), 2 ** (self.bits - 1))
        words = self.words(domain).astype(np.int64)[:, None]
        flips = np.arange(2**self.width)[None]
        chance = np.ones((len(domain), 2**self.width))
        for bit in range(self.width):
            p = np.where(words >> bit & 1, p1, p0)
            chance *= np.where(flips >> bit & 1, p, 1 - p)
        square = (self.values(words ^ flips).astype(np.float64) - domain[:, None]) ** 2
        return np.asarray((chance * square).sum(1)[np.asarray(values, np.int64) - domain[0]])


def _hamming(data: Array) -> Array:
    """The three check bits of four."""
    d0, d1, d2, d3 = (data >> i & 1 for i in range(4))
    return np.asarray((d0 ^ d1 ^ d3) | (d0 ^ d2 ^ d3) << 1 | (d1 ^ d2 ^ d3) << 2)


def bias_shift(biases: Array) -> int:
    """The power of two that voted biases are multiples of."""
    return max(0, int(np.abs(biases.astype(np.int64)).max(initial=0)).bit_length() - (BIAS_BITS - 1))


def round_biases(biases: Array) -> Array:
    """int32 biases to those that votes can store."""
    shift = bias_shift(biases)
    most = 2 ** (BIAS_BITS - 1) - 1
    whole = np.clip((biases.astype(np.int64) + (1 << shift >> 1)) >> shift, -most, most)
    return (whole << shift).astype(np.int32)


def encode_biases(biases: Array) -> Array:
    """Biases of `round_biases` to what is stored: int16 ``[3, N]``."""
    return np.stack([biases.ravel() >> bias_shift(biases)] * 3).astype(np.int16)


def decode_biases(votes: Array, shift: int) -> Array:
    """The majority of three, bit by bit: int32 ``[N]``."""
    a, b, c = votes.astype(np.int32)
    return np.asarray(((a & b) | (b & c) | (a & c)) << shift, np.int32)


def bias_errors(biases: Array, p: float, votes: bool) -> Array:
    """The expected square error of stored biases where every bit flips with probability p."""
    shift = bias_shift(biases) if votes else 0
    bits, p = (BIAS_BITS, 3 * p**2 - 2 * p**3) if votes else (32, p)
    value = (biases.astype(np.int64) >> shift).astype(np.float64)
    return np.asarray((p * (1 - p) * (4.0**bits - 1) / 3 + p**2 * (1 + 2 * value) ** 2) * 4.0**shift)
