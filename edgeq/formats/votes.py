"""Biases that outvote and correct faults: three copies of a Hamming code word each.

Twin of `templates/runtime/eq_w_votes.h`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from edgeq.formats.code import majority
from edgeq.formats.format import Format, Target
from edgeq.numerics import Array

BIAS_BITS, BIAS_WORD = 11, 15  # of a voted bias, and of its word in the Hamming code
LITERAL = 2048  # characters of a string in C, of which a compiler must take 4095
BIAS_PLACES = (3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15)


@dataclass(frozen=True)
class Votes(Format):
    """Biases are 11-bit multiples of a power of two per layer, in words of 15 bits that correct one fault, three times, bit by bit.

    Attributes:
        shift: the power of two of a table (`fitted` finds it).
    """

    name: ClassVar[str] = "votes"

    shift: int = 0

    def stored_bits(self, rows: int, length: int) -> int:
        return 48 * rows * length

    def settled(self, table: Array) -> Array:
        return round_biases(table)

    def fitted(self, table: Array) -> Self:
        return replace(self, shift=bias_shift(table))

    def encode(self, values: Array) -> Array:
        return encode_biases(values)

    def decode(self, data: Array, *shape: int) -> Array:
        return decode_biases(data, self.shift).reshape(shape)

    def statements(self, target: Target) -> list[str]:
        return [f"eq_decode_biases({target.source}, {target.place}, {target.rows * target.length}, {self.shift});"]


@dataclass(frozen=True)
class ChannelVotes(Votes):
    """`Votes` with a power of two per bias, so that one large bias costs the others nothing. The powers are part of the code.

    Attributes:
        shifts: the powers of two of a table (`fitted` finds them).
    """

    name: ClassVar[str] = "channel_votes"

    shifts: tuple[int, ...] = ()

    @property
    def header(self) -> str:
        return f"eq_w_{Votes.name}.h"

    def stored_bits(self, rows: int, length: int) -> int:
        return (48 + 8) * rows * length

    def settled(self, table: Array) -> Array:
        return round_biases(table, bias_shifts(table))

    def fitted(self, table: Array) -> Self:
        return replace(self, shifts=tuple(bias_shifts(table).ravel().tolist()))

    def encode(self, values: Array) -> Array:
        return encode_biases(values, np.array(self.shifts, np.int64))

    def decode(self, data: Array, *shape: int) -> Array:
        return decode_biases(data, np.array(self.shifts, np.int64)).reshape(shape)

    def statements(self, target: Target) -> list[str]:
        if len(set(self.shifts)) == 1:
            return replace(Votes(), shift=self.shifts[0]).statements(target)
        found = []
        for first in range(0, len(self.shifts), LITERAL):
            part = self.shifts[first : first + LITERAL]
            literal = "".join(f"\\{shift:03o}" for shift in part)
            place = f"{target.source} + {3 * first}, {target.place} + {first}" if first else f"{target.source}, {target.place}"
            found.append(f'eq_decode_biases_each({place}, {len(part)}, (const uint8_t *)"{literal}");')
        return found


def bias_shifts(biases: Array) -> Array:
    """The power of two that each voted bias is a multiple of: the least with which it fits."""
    return np.maximum(0, np.frexp(np.abs(biases.astype(np.float64)))[1].astype(np.int64) - (BIAS_BITS - 1))


def bias_shift(biases: Array) -> int:
    """The power of two that voted biases are multiples of."""
    return max(0, int(np.abs(biases.astype(np.int64)).max(initial=0)).bit_length() - (BIAS_BITS - 1))


def round_biases(biases: Array, shifts: Array | int | None = None) -> Array:
    """int32 biases to those that votes can store, by one power of two (`bias_shift`) or by that of each."""
    shift = np.asarray(bias_shift(biases) if shifts is None else shifts, np.int64)
    most = 2 ** (BIAS_BITS - 1) - 1
    whole = np.clip((biases.astype(np.int64) + (np.int64(1) << shift >> 1)) >> shift, -most, most)
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
    """Words, faulty ones too, to biases over their power of two, one bit error corrected; int64."""
    words = np.asarray(words, np.int64) & (2**BIAS_WORD - 1)
    syndrome = _syndrome(words)
    words = np.where(syndrome > 0, words ^ 1 << np.maximum(syndrome - 1, 0), words)
    values = np.zeros_like(words)
    for i, place in enumerate(BIAS_PLACES):
        values |= (words >> (place - 1) & 1) << i
    half = 2 ** (BIAS_BITS - 1)
    return np.asarray((values ^ half) - half)


def encode_biases(biases: Array, shifts: Array | None = None) -> Array:
    """Biases of `round_biases` to what is stored, each three times, side by side: uint16 ``[N, 3]``."""
    whole = biases.ravel().astype(np.int64) >> (bias_shift(biases) if shifts is None else shifts)
    return np.repeat(bias_words(whole)[:, None], 3, axis=1).astype(np.uint16)


def decode_biases(votes: Array, shift: Array | int) -> Array:
    """The majority of three, bit by bit, mended: int32 ``[N]``."""
    return np.asarray(bias_values(majority(*votes.T.astype(np.int64))) << shift, np.int32)
