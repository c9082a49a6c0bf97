"""Storage codes of weights and biases: integers <-> the bits that memory holds, and what faults of those bits cost.

Twin of `templates/runtime/eq_codes.h`. A code is a stream of words of `Code.width` bits, the first in the lowest bits of the first
byte. A word holds, from bit 0 on, the value in `bits` bits of two's complement (or offset binary, which inverts the highest one),
then the check. A small table is stored three times, one stream behind the other, and read as their majority, bit by bit.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.numerics import Array

CHECKS = {"none": 0, "parity": 1, "triple": 2, "hamming": 3}  # bits that they add
COVERED = 3  # the highest bits of a value that the parity covers
MENDED = np.array([0, 0, 0, 1, 0, 2, 4, 8])  # syndrome of `hamming` -> what to xor to the highest four bits
BIAS_BITS, BIAS_WORD = 11, 15  # of a voted bias, and of its word in the Hamming code
SPELLING = re.compile(r"([2-8])(?:\+(parity|triple|hamming))?(\+offset)?(?:\+small(\d{1,9}))?(\+once)?", re.ASCII)
BIAS_PLACES = (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)


@dataclass(frozen=True)
class Code:
    """How the weights and biases of a graph are stored.

    Attributes:
        bits: of a weight's value, 2 to 8.
        offset: offset binary instead of two's complement.
        check: ``none``; ``parity``: one more bit makes the highest three even, and where they are odd the reader takes, of the values
            that one fault explains, that of least magnitude; ``triple``: the highest bit is stored three times and the majority holds;
            ``hamming``: three more bits mend one fault of the highest four.
        votes: biases are 11-bit multiples of a power of two per layer, in words of 15 bits that mend one fault (Hamming), three times, of
            which the majority holds bit by bit; else 32 bits, once.
        small: tables of at most so many weights are stored three times.
    """

    bits: int = 8
    offset: bool = False
    check: str = "none"
    votes: bool = False
    small: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8 or self.check not in CHECKS or (self.check == "hamming" and not 4 <= self.bits <= 7):
            fix = f"2 to 8 bits (4 to 7 with hamming); {', '.join(CHECKS)}"
            raise EdgeqError(f"no storage code of {self.bits} bits with check '{self.check}'", fix=fix)
        if not 0 <= self.small < 2**31:
            raise EdgeqError(f"tables of {self.small} weights", fix="store those of 0 to 2147483647 weights three times")

    @classmethod
    def parse(cls, text: str) -> Code:
        """``BITS``, ``BITS+parity``, ``BITS+hamming+offset`` and so on; ``+small600``: tables of at most 600 weights three times;
        ``+once``: biases in 32 bits, once.

        Raises:
            EdgeqError: no such code.
        """
        found = SPELLING.fullmatch(text)
        if not found:
            raise EdgeqError(f"no storage code '{text}'", fix="write BITS[+parity|+triple|+hamming][+offset][+smallWEIGHTS][+once]")
        bits, check, offset, small, once = found.groups()
        return cls(int(bits), bool(offset), check or "none", not once, int(small or 0))

    @property
    def width(self) -> int:
        """Stored bits of a weight."""
        return self.bits + CHECKS[self.check]

    @property
    def limit(self) -> int:
        """The largest magnitude that quantization uses."""
        return int(2 ** (self.bits - 1) - 1)

    def copies(self, count: int) -> int:
        """How often a table of `count` weights is stored: once or three times."""
        return 3 if 0 < count <= self.small else 1

    def plain(self, count: int) -> bool:
        """Whether a table of `count` weights is stored as C computes with it."""
        return self.bits == 8 and not self.offset and self.check == "none" and self.copies(count) == 1

    def __str__(self) -> str:
        parts = {self.check: self.check != "none", "offset": self.offset, f"small{self.small}": self.small > 0, "once": not self.votes}
        return "+".join((str(self.bits), *(word for word, given in parts.items() if given)))

    def rate(self, p: float, count: int) -> float:
        """How often a bit of a word of such a table is wrong, where every stored one is with probability p."""
        return outvoted(p) if self.copies(count) == 3 else p

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
        """The int8 values of a table, in order, to its stored bytes: uint8.

        Raises:
            EdgeqError: a value does not fit `bits`.
        """
        flat = values.astype(np.int64).ravel()
        half = 2 ** (self.bits - 1)
        if flat.min(initial=0) < -half or flat.max(initial=0) >= half:
            raise EdgeqError(f"weights from {flat.min()} to {flat.max()} do not fit {self.bits} bits", fix="quantize the model again")
        bits = self.words(flat)[:, None] >> np.arange(self.width, dtype=np.uint32) & 1
        return np.tile(np.packbits(bits.astype(np.uint8).ravel(), bitorder="little"), self.copies(len(flat)))

    def decode(self, data: Array, count: int) -> Array:
        """What `encode` stored: int8 ``[count]``."""
        if self.copies(count) == 3:
            data = majority(*data.reshape(3, -1))
        bits = np.unpackbits(data, bitorder="little")[: count * self.width].reshape(count, self.width)
        return self.values(bits.astype(np.int64) @ (1 << np.arange(self.width)))

    def errors(self, values: Array, p0: float, p1: float) -> Array:
        """The expected square error of a table's weights, exactly: over all faults of a word, each stored 0 (1) flipping with p0 (p1)."""
        p0, p1 = (self.rate(p, np.size(values)) for p in (p0, p1))
        domain = np.arange(-(2 ** (self.bits - 1)), 2 ** (self.bits - 1))
        words = self.words(domain).astype(np.int64)[:, None]
        flips = np.arange(2**self.width)[None]
        chance = np.ones((len(domain), 2**self.width))
        for bit in range(self.width):
            p = np.where(words >> bit & 1, p1, p0)
            chance *= np.where(flips >> bit & 1, p, 1 - p)
        square = (self.values(words ^ flips).astype(np.float64) - domain[:, None]) ** 2
        return np.asarray((chance * square).sum(1)[np.asarray(values, np.int64) - domain[0]])


def majority(a: Array, b: Array, c: Array) -> Array:
    """Bit by bit."""
    return np.asarray((a & b) | (b & c) | (a & c))


def outvoted(p: float) -> float:
    """How often two or three of three bits are wrong."""
    return 3 * p**2 - 2 * p**3


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
    return np.asarray((whole << shift).astype(np.int32))


def _syndrome(words: Array) -> Array:
    """The places, from 1 on, of the ones of 15-bit words, xored: 0 of a word without fault, else where one fault is."""
    found = np.zeros_like(words)
    for place in range(1, BIAS_WORD + 1):
        found ^= (words >> (place - 1) & 1) * place
    return found


def bias_words(values: Array) -> Array:
    """Biases over their power of two to words of the Hamming code: data at the places that are no powers of two; int64."""
    words = np.zeros_like(np.asarray(values, np.int64))
    for i, place in enumerate(BIAS_PLACES):
        words |= (values >> i & 1) << (place - 1)
    check = _syndrome(words)
    for bit in (1, 2, 4, 8):
        words |= (check & bit != 0).astype(np.int64) << (bit - 1)
    return words


def bias_values(words: Array) -> Array:
    """Words, faulty ones too, to biases over their power of two, one fault mended; int64."""
    words = np.asarray(words, np.int64) & (2**BIAS_WORD - 1)
    syndrome = _syndrome(words)
    words = np.where(syndrome > 0, words ^ 1 << np.maximum(syndrome - 1, 0), words)
    values = np.zeros_like(words)
    for i, place in enumerate(BIAS_PLACES):
        values |= (words >> (place - 1) & 1) << i
    half = 2 ** (BIAS_BITS - 1)
    return np.asarray((values ^ half) - half)


def encode_biases(biases: Array) -> Array:
    """Biases of `round_biases` to what is stored: uint16 ``[3, N]``."""
    return np.stack([bias_words(biases.ravel().astype(np.int64) >> bias_shift(biases))] * 3).astype(np.uint16)


def decode_biases(votes: Array, shift: int) -> Array:
    """The majority of three, bit by bit, mended: int32 ``[N]``."""
    return np.asarray(bias_values(majority(*votes.astype(np.int64))) << shift, np.int32)
