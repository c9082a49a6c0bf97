"""Storage codes of weights: words with a check, and what faults of their bits cost.

Twin of `templates/runtime/eq_w_code.h`. A code is a stream of words of `Code.width` bits, the first in the lowest bits of the first
byte. A word holds, from bit 0 on, the value in `bits` bits of two's complement (or offset binary, which inverts the highest one),
then the check. Of a small table every byte is stored three times, side by side, so that no column of a memory holds two of its bits
alike, and read as their majority, bit by bit.

A code with a zero point or a checksum stores row by row, a row being the weights of one output channel in the operator's order:
its zero point, its checksum (a byte each, three times, side by side), and its stream, which ends with a whole byte.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.formats.format import Format, Target, chances
from edgeq.matrices import matmul
from edgeq.numerics import Array

CHECKS = {"none": 0, "parity": 1, "triple": 2, "hamming": 3}  # bits that they add
COVERED = 3  # the highest bits of a value that the parity covers
SUMMED = 2  # the highest bits of a value that the checksum of a row covers
POLYNOMIAL, START = 0x1D, 0xFF  # of the checksum: CRC-8 of SAE J1850, which sees any two faults in 123 weights
MENDED = np.array([0, 0, 0, 1, 0, 2, 4, 8])  # syndrome of `hamming` -> what to xor to the highest four bits
SPELLING = re.compile(r"([2-8])(?:\+(parity|triple|hamming))?(\+offset)?(\+asymmetric)?(\+crc)?(?:\+small(\d{1,9}))?(\+once)?", re.ASCII)


@dataclass(frozen=True)
class Code(Format):
    """How weights are stored, and whether the biases beside them have `votes.Votes`.

    Attributes:
        bits: of a weight's value, 2 to 8.
        offset: offset binary instead of two's complement.
        check: ``none``; ``parity``: one more bit makes the highest three even, and where they are odd the reader takes, of the values
            that one fault explains, that of least magnitude; ``triple``: the highest bit is stored three times and the majority holds;
            ``hamming``: three more bits correct one bit error in the highest four.
        votes: biases are 11-bit multiples of a power of two per layer, in words of 15 bits that correct one bit error (Hamming), three
            times, of which the majority holds bit by bit; else 32 bits, once.
        small: tables of at most so many weights are stored three times.
        asymmetric: of each row a zero point is stored, and its weights plus that; `bits` is 7 at most, for the difference of two numbers
            of 8 bits needs 9.
        crc: each row has a checksum of its weights' highest two bits, as the check has corrected them, and of its zero point; where that
            is not what is stored, the reader takes zeros for the whole row.
    """

    name: ClassVar[str] = "code"

    bits: int = 8
    offset: bool = False
    check: str = "none"
    votes: bool = False
    small: int = 0
    asymmetric: bool = False
    crc: bool = False

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8 or self.check not in CHECKS or (self.check == "hamming" and not 4 <= self.bits <= 7):
            fix = f"2 to 8 bits (4 to 7 with hamming); {', '.join(CHECKS)}"
            raise EdgeqError(f"no storage code of {self.bits} bits with check '{self.check}'", fix=fix)
        if self.asymmetric and self.bits > 7:
            why = "a weight is the difference of two stored numbers, which needs 9 bits of 8, and kernels take 8"
            raise EdgeqError("no asymmetric storage code of 8 bits", why=why, fix="store 2 to 7 bits")
        if not 0 <= self.small < 2**31:
            raise EdgeqError(f"tables of {self.small} weights", fix="store those of 0 to 2147483647 weights three times")

    @classmethod
    def parse(cls, text: str) -> Code:
        """``BITS``, ``BITS+parity``, ``BITS+hamming+offset`` and so on; ``+asymmetric``: a zero point for each row; ``+crc``: a
        checksum for each; ``+small600``: tables of at most 600 weights three times; ``+once``: biases in 32 bits, once.

        Raises:
            EdgeqError: no such code.
        """
        found = SPELLING.fullmatch(text)
        if not found:
            fix = "write BITS[+parity|+triple|+hamming][+offset][+asymmetric][+crc][+smallWEIGHTS][+once]"
            raise EdgeqError(f"no storage code '{text}'", fix=fix)
        bits, check, offset, asymmetric, crc, small, once = found.groups()
        return cls(int(bits), bool(offset), check or "none", not once, int(small or 0), bool(asymmetric), bool(crc))

    @classmethod
    def read(cls, text: str) -> Self | None:
        return cls(**vars(cls.parse(text))) if SPELLING.fullmatch(text) else None

    @property
    def width(self) -> int:
        """Stored bits of a weight."""
        return self.bits + CHECKS[self.check]

    @property
    def limit(self) -> int:
        """The largest magnitude that symmetric quantization uses; an asymmetric one has 2 limit + 2 levels."""
        return self._half - 1

    @property
    def levels(self) -> range:
        return range(-self.limit, self.limit + 1)

    @property
    def faulty(self) -> bool:
        return True

    @property
    def by_rows(self) -> bool:
        return self.asymmetric or self.crc

    @property
    def _half(self) -> int:
        return int(2 ** (self.bits - 1))

    @property
    def _head(self) -> int:
        """Bytes of a row before its stream."""
        return 3 * (self.asymmetric + self.crc)

    def copies(self, count: int) -> int:
        """How often a table of `count` weights is stored: once or three times."""
        return 3 if 0 < count <= self.small else 1

    def plain(self, count: int) -> bool:
        return self.bits == 8 and not self.offset and self.check == "none" and not self.by_rows and self.copies(count) == 1

    def row_bytes(self, rows: int, length: int) -> int:
        """Stored bytes of a row of `length` weights, of a table of so many rows."""
        return self._head + self.copies(rows * length) * (-(-length * self.width // 8))

    def stored_bits(self, rows: int, length: int) -> int:
        if self.by_rows:
            return 8 * rows * self.row_bytes(rows, length)
        return 8 * self.copies(rows * length) * (-(-rows * length * self.width // 8))

    def __str__(self) -> str:
        parts = {
            self.check: self.check != "none", "offset": self.offset, "asymmetric": self.asymmetric, "crc": self.crc,
            f"small{self.small}": self.small > 0, "once": not self.votes,
        }  # fmt: skip
        return "+".join((str(self.bits), *(word for word, given in parts.items() if given)))

    def rate(self, p: float, count: int) -> float:
        """How often a bit of a word of such a table is wrong, where every stored one is with probability p."""
        return outvoted(p) if self.copies(count) == 3 else p

    def words(self, values: Array) -> Array:
        """Values, with their zero point, to words, uint32."""
        word = self._plain(values)
        if self.check == "parity":
            word = word | self._parity(word) << self.bits
        elif self.check == "triple":
            word = word | (word >> (self.bits - 1)) * 3 << self.bits
        elif self.check == "hamming":
            word = word | _hamming(word >> (self.bits - 4)) << self.bits
        return np.asarray(word, np.uint32)

    def values(self, words: Array) -> Array:
        """Words, faulty ones too, to values, int8; all zero points are 0."""
        return self._mended(words, 0).astype(np.int8)

    def _mended(self, words: Array, zeros: Array | int) -> Array:
        """Words, faulty ones too, to values with their zero points, int64."""
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
                value = np.where(odd & (np.abs(other - zeros) < np.abs(value - zeros)), other, value)
        return value

    def _plain(self, values: Array) -> Array:
        """Values to words without a check, int64."""
        return (np.asarray(values, np.int64) & (2 * self._half - 1)) ^ (self._half if self.offset else 0)

    def _value(self, words: Array) -> Array:
        code = words & (2 * self._half - 1)
        return np.asarray((code ^ (0 if self.offset else self._half)) - self._half)

    def _parity(self, words: Array) -> Array:
        covered = words >> max(self.bits - COVERED, 0) & (2 ** min(COVERED, self.bits) - 1)
        return np.asarray((covered ^ covered >> 1 ^ covered >> 2) & 1)

    def _highest(self, values: Array) -> Array:
        """What of a value, with its zero point, the checksum covers."""
        return np.asarray(values >> (self.bits - SUMMED) & (2**SUMMED - 1))

    def _sums(self, values: Array, zeros: Array) -> Array:
        """The checksums of rows ``[rows, length]`` of values with their zero points ``[rows]``."""
        found = START ^ (zeros & 0xFF)
        for column in self._highest(values).T:
            found = found ^ column << (8 - SUMMED)
            for _ in range(SUMMED):
                found = (found << 1 ^ np.where(found & 0x80, POLYNOMIAL, 0)) & 0xFF
        return np.asarray(found)

    def zeros(self, rows: Array) -> Array:
        """The zero points of rows ``[rows, length]``: less the middle of their weights, as near as `bits` allow; int64."""
        if not self.asymmetric:
            return np.zeros(len(rows), np.int64)
        middle = (rows.min(1).astype(np.int64) + rows.max(1) + 1) >> 1
        return np.asarray(np.clip(-middle, -self._half, self._half - 1))

    def encode(self, values: Array) -> Array:
        """The int8 values of a table, in order, or ``[rows, length]`` of a code by rows, to its stored bytes: uint8.

        Raises:
            EdgeqError: a value does not fit `bits`.
        """
        rows = np.asarray(values, np.int64)
        rows = rows if self.by_rows else rows.reshape(1, -1)
        zeros = self.zeros(rows)
        moved = rows + zeros[:, None]
        if moved.min(initial=0) < -self._half or moved.max(initial=0) >= self._half:
            why = "from the least weight of a channel, or zero, to the largest" if self.asymmetric else ""
            raise EdgeqError(
                f"weights from {rows.min()} to {rows.max()} do not fit {self.bits} bits", why=why, fix="quantize the model again"
            )  # fmt: skip
        bits = self.words(moved)[..., None] >> np.arange(self.width, dtype=np.uint32) & 1
        streams = np.packbits(bits.astype(np.uint8).reshape(len(rows), -1), axis=1, bitorder="little")
        heads = ([self._plain(zeros)] if self.asymmetric else []) + ([self._sums(moved, zeros)] if self.crc else [])
        parts = [np.repeat(head.astype(np.uint8)[:, None], 3, axis=1) for head in heads]
        return np.concatenate([*parts, np.repeat(streams, self.copies(rows.size), axis=1)], axis=1).ravel()

    def decode(self, data: Array, *shape: int) -> Array:
        """What `encode` stored: int8 of the shape that it was given."""
        rows, length = shape if self.by_rows else (1, math.prod(shape))
        records = data.reshape(rows, -1)
        heads = [_voted(part) for part in np.split(records[:, : self._head], self._head // 3, axis=1)] if self._head else []
        streams = records[:, self._head :]
        if self.copies(rows * length) == 3:
            streams = _voted(streams)
        bits = np.unpackbits(streams, axis=1, bitorder="little")[:, : length * self.width].reshape(rows, length, self.width)
        zeros = self._value(heads[0].astype(np.int64))[:, 0] if self.asymmetric else np.zeros(rows, np.int64)
        moved = self._mended(bits.astype(np.int64) @ (1 << np.arange(self.width)), zeros[:, None])
        values = moved - zeros[:, None]
        if self.crc:
            values[self._sums(moved, zeros) != heads[-1][:, 0]] = 0
        return np.asarray(values.astype(np.int8).reshape(shape))

    def statements(self, target: Target) -> list[str]:
        count = target.rows * target.length
        word = f"{int(self.copies(count) == 3)}, {self.bits}, {int(self.offset)}, EQ_CHECK_{self.check.upper()}"
        if not self.by_rows:
            place = f"(int8_t *){target.place}" if target.records else target.place
            return [f"eq_decode_weights({target.source}, {place}, {count}, {word});"]
        step = self.row_bytes(target.rows, target.length)
        return [
            f"eq_decode_rows({target.source} + {first * step}, {target.place} + {start}, {rows}, {target.length}, {block}, {word}, "
            f"{int(self.asymmetric)}, {int(self.crc)});"
            for first, rows, start, block in target.blocks
        ]

    def errors(self, values: Array, p0: float, p1: float) -> Array:
        """The expected square error of each weight of a table as `encode` takes it, each stored 0 (1) flipping with p0 (p1): exactly, over
        all faults of its word, its zero point and its checksum, but for a damaged row whose checksum fits by chance (1 in 256)."""
        rows = np.asarray(values, np.int64)
        shape, rows = rows.shape, rows if self.by_rows else rows.reshape(1, -1)
        voted = outvoted(p0), outvoted(p1)
        domain = np.arange(-self._half, self._half)
        points = domain if self.asymmetric else np.zeros(1, np.int64)
        word = chances(self.words(domain), self.width, *(self.rate(p, rows.size) for p in (p0, p1)))  # [value, word read]
        point = chances(self._plain(points), self.bits, *voted)[:, self._plain(points)] if self.asymmetric else np.ones((1, 1))
        read = self._mended(np.broadcast_to(np.arange(2**self.width), (len(points), 2**self.width)), points[:, None])  # [point, word read]
        weight = (read - points[:, None]).astype(np.float64)
        meant = (domain - points[:, None]).astype(np.float64)  # [zero point, value]
        first, second = (matmul(point, matmul(w, word.T, True), True) for w in (weight, weight**2))
        expected = second - 2 * meant * first + meant**2
        zeros = self.zeros(rows)
        moved, place = rows + zeros[:, None], (zeros + self._half if self.asymmetric else zeros)
        at = place[:, None], moved + self._half
        if not self.crc:
            return np.asarray(expected[at].reshape(shape))
        seen = word * (self._highest(read)[:, None] == self._highest(domain)[:, None])  # [zero point, value, word read]
        good = seen.sum(-1)
        near = (seen * (weight[:, None] - meant[..., None]) ** 2).sum(-1) / np.maximum(good, 1e-300)
        kept = np.diag(chances(np.arange(256), 8, *voted))[self._sums(moved, zeros)]
        intact = (np.diag(point)[place] * kept * good[at].prod(1))[:, None]
        return np.asarray(intact * near[at] + (1 - intact) * rows.astype(np.float64) ** 2).reshape(shape)


def _voted(streams: Array) -> Array:
    """Of bytes that are stored three times, side by side, along the last axis, their majority."""
    return majority(*(streams[..., i::3] for i in range(3)))


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
