"""What a storage format of constants is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from edgeq.errors import EdgeqError
from edgeq.numerics import Array


@dataclass(frozen=True)
class Records:
    """How a kernel's table divides into words that are stored as they are and bytes of weights: `count` times head, body and tail.

    Attributes:
        head, body, tail: bytes.
        flip: what bytes of the body are xored with before they are weights: 0 or 128.
        borrow: the body is int16, ``256 w0 + w1`` of two weights in turn: the high byte is less by one where w1 is negative.
    """

    count: int
    head: int
    body: int
    tail: int
    flip: int = 0
    borrow: bool = False

    def weights(self, body: Array) -> Array:
        """Bytes of the body, uint8 ``[count, body]``, to weights: int8."""
        found = body ^ np.uint8(self.flip)
        if self.borrow:
            found[:, 1::2] += found[:, ::2] >> np.uint8(7)
        return found.view(np.int8)


@dataclass(frozen=True)
class Target:
    """Where C decodes rows to.

    Attributes:
        source, place: C expressions of the stored table and of its decoded form.
        rows, length: what is decoded.
        blocks: of a format by rows, runs of rows that lie alike in the decoded table: (first row, rows, place of its first element, rows
            of a block whose first elements lie side by side, then the second ones, and so on).
        records: of a format that is `Packed`, how the kernel's table divides; None: all of it are weights.
    """

    source: str
    place: str
    rows: int
    length: int
    blocks: Sequence[tuple[int, int, int, int]] = ()
    records: Records | None = None


@dataclass(frozen=True)
class Format:
    """How the integers of a constant are stored; a kernel gets them decoded. Immutable, compared by value.

    A format is a file of this folder and a header ``eq_w_<name>.h`` of `templates/runtime`, its twin; `formats.registry` finds both.
    """

    name: ClassVar[str]
    marks: ClassVar[tuple[int, ...]] = ()  # the integers of every layer, in order, where these are not all of `levels`
    type: ClassVar[str] = ""  # of weights in signatures of kernels that read them as they are stored; nothing: there are none

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The format that `str` of it spells; None where the text is another's.

        Raises:
            EdgeqError: it is this one's, with impossible numbers.
        """
        return cls() if text == cls.name else None

    def __str__(self) -> str:
        return self.name

    @property
    def header(self) -> str:
        """The file of `templates/runtime` that decodes."""
        return f"eq_w_{self.name}.h"

    @property
    def levels(self) -> range:
        """The integers that symmetric rounding may use."""
        return range(-127, 128)

    def grid(self, ratios: Array, importance: Array) -> Array | None:
        """The integers, in order, that a layer's weights may become, with 0, float64; None: all of `levels`.

        Args:
            ratios: weights over their scales, within `levels`.
            importance: of their square errors, to be broadcast to them.
        """
        return np.array(self.marks, np.float64) if self.marks else None

    @property
    def asymmetric(self) -> bool:
        """Whether a row has a zero point, so that twice as many levels on one side may be used."""
        return False

    @property
    def by_rows(self) -> bool:
        """Whether rows are stored in the operator's order, one after the other, whatever the kernel's table looks like."""
        return False

    @property
    def faulty(self) -> bool:
        """Whether it is made for memory that errs: kernels then may not rely on bounds of what is decoded."""
        return False

    def plain(self, count: int) -> bool:
        """Whether a table of `count` elements is stored as C computes with it."""
        return False

    def stored_bits(self, rows: int, length: int) -> int:
        """Stored bits of a table."""
        raise NotImplementedError

    def settled(self, table: Array) -> Array:
        """A bound table as it can be stored; the bytes that a graph computes follow from it."""
        return table

    def fitted(self, table: Array) -> Self:
        """The format with what it must know of a settled table."""
        return self

    def encode(self, values: Array) -> Array:
        """Integers, ``[rows, length]`` where `by_rows`, to what is stored, one axis or more.

        Raises:
            EdgeqError: a value does not fit.
        """
        raise NotImplementedError

    def decode(self, data: Array, *shape: int) -> Array:
        """What `encode` stored, faulty or not, in the shape that it was given."""
        raise NotImplementedError

    def statements(self, target: Target) -> list[str]:
        """C statements that decode a table."""
        raise NotImplementedError


def chances(words: Array, width: int, p0: float, p1: float) -> Array:
    """How likely each word of `width` bits is read of each of `words`, a 0 (1) flipping with p0 (p1): ``[words, 2^width]``."""
    stored, read = np.asarray(words, np.int64)[:, None], np.arange(2**width)
    chance = np.ones((len(stored), 2**width))
    for bit in range(width):
        p = np.where(stored >> bit & 1, p1, p0)
        chance *= np.where((stored ^ read) >> bit & 1, p, 1 - p)
    return chance


class Packed(Format):
    """Codes of `width` bits without gaps: groups of whole words hold `group` weights each, wherever in its layer a weight is.

    A format of this kind gives `width`, `group`, `words` and `codes`, and its twin has ``eq_decode_<name>(from, to, records, head, groups,
    tail, flip)``: per record so many words as they are, groups of weights, and words as they are; `flip` is xored to decoded bytes. Codes
    are two's complement, symmetric, where it gives no `entries` of its own.

    Attributes:
        even: the levels lie side by side.
        listed: a stream begins with the table of what its codes stand for.
    """

    width: ClassVar[int]
    group: ClassVar[int]  # weights that a group of words holds
    even: ClassVar[bool] = True
    listed: ClassVar[bool] = False

    @property
    def levels(self) -> range:
        return range(1 - 2 ** (self.width - 1), 2 ** (self.width - 1))

    def entries(self, values: Array) -> Array:
        """What each code stands for in a table of int8 `values`: int8 ``[2^width]``."""
        half = 2 ** (self.width - 1)
        return np.asarray((np.arange(2 * half) ^ half) - half, np.int8)

    def stored_bits(self, rows: int, length: int) -> int:
        return -(-rows * length // self.group) * self.group * self.width + (8 << self.width if self.listed else 0)

    def words(self, codes: Array) -> Array:
        """Codes uint32 ``[groups, group]``, each below 2^width, to words uint32 ``[groups, n]``."""
        raise NotImplementedError

    def codes(self, words: Array) -> Array:
        """The inverse of `words`."""
        raise NotImplementedError

    def fits(self, values: Array) -> bool:
        """Whether codes of `width` bits stand for all integers `values`."""
        return bool(np.isin(values, self.entries(values)).all())

    def _coded(self, values: Array) -> tuple[Array, Array]:
        """The words before those of the codes, and these, uint32 both."""
        flat = np.asarray(values, np.int64).reshape(-1)
        entries = self.entries(flat)
        if not np.isin(flat, entries).all():
            why = f"{self.name} holds {2**self.width} integers, of a layer's or of its own"
            raise EdgeqError(
                f"weights from {flat.min()} to {flat.max()} do not fit {self.width} bits", why=why, fix="quantize the model again"
            )
        code = np.zeros(256, np.uint32)
        code[entries[::-1].view(np.uint8)] = np.arange(len(entries), dtype=np.uint32)[::-1]
        padded = np.pad(code[flat & 255], (0, -len(flat) % self.group)).reshape(-1, self.group)
        return entries.view("<u4") if self.listed else np.zeros(0, np.uint32), np.asarray(self.words(padded).ravel(), np.uint32)

    def encode(self, values: Array) -> Array:
        return np.concatenate(self._coded(values)).astype(np.uint32)

    def decode(self, data: Array, *shape: int) -> Array:
        words, first = np.asarray(data, np.uint32).ravel(), 2**self.width // 4 * self.listed
        entries = words[:first].astype("<u4").view(np.int8) if self.listed else self.entries(np.zeros(0, np.int8))
        codes = self.codes(words[first:].reshape(-1, self.group * self.width // 32)).ravel()[: math.prod(shape)]
        return np.asarray(entries[codes].reshape(shape))

    def errors(self, values: Array, p0: float, p1: float) -> Array:
        """The expected square error of each weight of a table, each stored 0 (1) flipping with p0 (p1): of its code, and of what it
        stands for where that is stored, too."""
        entries, codes = self.entries(values).astype(np.int64), np.arange(2**self.width)
        first, second = entries.astype(np.float64), entries.astype(np.float64) ** 2
        if self.listed:
            bytes = np.arange(256).astype(np.int8).astype(np.float64)
            byte = chances(entries & 255, 8, p0, p1)
            first, second = ((byte * bytes**k).sum(axis=1) for k in (1, 2))
        code = chances(codes, self.width, p0, p1)
        each = (code * second).sum(axis=1) - 2 * entries * (code * first).sum(axis=1) + entries**2
        found = np.zeros(256)
        found[entries[::-1] & 255] = each[::-1]
        return np.asarray(found[np.asarray(values, np.int64) & 255])

    def stream(self, table: Array, records: Records) -> Array:
        """A kernel's table to what is stored: uint32."""
        parts = np.ascontiguousarray(table).view(np.uint8).reshape(records.count, -1)
        body = records.weights(parts[:, records.head : records.head + records.body])
        tail = parts[:, records.head + records.body :]
        first, coded = self._coded(body)
        words = [np.ascontiguousarray(p).view("<u4") for p in (parts[:, : records.head], tail)]
        each = np.concatenate([words[0], coded.reshape(records.count, -1), words[1]], axis=1)
        return np.concatenate([first, each.ravel()]).astype(np.uint32)

    def statements(self, target: Target) -> list[str]:
        r = target.records or Records(1, 0, target.rows * target.length, 0)
        sizes = f"{r.count}, {r.head // 4}, {-(-r.body // self.group)}, {r.tail // 4}, {f'0x{r.flip:02x}' * bool(r.flip) or '0'}"
        last = [f"eq_borrow({target.place}, {r.body // 4});"] if r.borrow else []
        return [f"eq_decode_{self.name}({target.source}, {target.place}, {sizes});", *last]


def places(bits: int) -> Array:
    """Where in a word each of the codes of so many bits (1, 2 or 4) begins: a byte has the ones at places i, i + 4, i + 8 and so on, so
    that a word of four bytes is masked out at once."""
    return np.array([8 * (i % 4) + bits * (i // 4) for i in range(32 // bits)], np.uint32)


class Planes(Packed):
    """Codes in planes of 4, 2 and 1 bits, the lowest bits first: of 32 weights the words of one plane, then those of the next."""

    planes: ClassVar[tuple[int, ...]]
    group: ClassVar[int] = 32

    def words(self, codes: Array) -> Array:
        found, rest = [], codes.astype(np.uint32)
        for bits in self.planes:
            part = (rest & np.uint32(2**bits - 1)).reshape(len(codes), bits, 32 // bits)
            found.append(np.bitwise_or.reduce(part << places(bits), axis=2))
            rest = rest >> np.uint32(bits)
        return np.concatenate(found, axis=1)

    def codes(self, words: Array) -> Array:
        found, at, below = np.zeros((len(words), 32), np.uint32), 0, 0
        for bits in self.planes:
            part = words[:, at : at + bits, None] >> places(bits) & np.uint32(2**bits - 1)
            found |= part.reshape(-1, 32) << np.uint32(below)
            at, below = at + bits, below + bits
        return found


class Nibbles(Packed):
    """Codes of four bits, eight to a word."""

    width: ClassVar[int] = 4
    group: ClassVar[int] = 8

    def words(self, codes: Array) -> Array:
        return np.bitwise_or.reduce(codes << places(4), axis=1, keepdims=True)

    def codes(self, words: Array) -> Array:
        return np.asarray(words >> places(4) & np.uint32(15))
