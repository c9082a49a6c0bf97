"""Memory faults: which stored bits of a program's weights and biases flip, by one law on every device.

The law (twin: firmware/lib/faults.c; uint32 arithmetic alone). Every bit of a table has a number, ``8 * byte + bit``, bit 0 the
lowest. Seed, table and number give it one uniform ``u`` in 0 ... 2^32 - 1::

    key(seed, table) = mix(mix(seed + 0x9e3779b9) ^ table)          table: its place in `Constants.tables`
    u = mix(mix(number ^ key) + key)                                 mix: the finalizer lowbias32 of C. Wellons (public domain)

and the cell is faulty where ``u < threshold(p)``, ``threshold(p) = min(round(p * 2^32), 2^32 - 1)``: what is faulty at some p is so
at every larger one, as on one chip whose voltage falls.
"""

from __future__ import annotations

import json
import math
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeq.chains import Composite
from edgeq.errors import EdgeqError
from edgeq.files import read_text
from edgeq.ir import Array, Graph, Params
from edgeq.kernels.layouts import places
from edgeq.lower import lower
from edgeq.ops.weights import has_weights
from edgeq.plan.stage import WHOLE
from edgeq.program import Call, Program
from edgeq.tables import Constant, Constants
from edgeq.target import Target

KINDS = ("random", "columns", "stuck", "asymmetric", "list")
STORED = re.compile(r"weights|bias")  # in the names of the tables that faults hit
GOLDEN = 0x9E3779B9
COLUMNS, ROWS = 128, 256  # of a memory bank: bit `number` lies in column number % COLUMNS of bank number // (COLUMNS * ROWS)
COLUMN_TABLE = 0x80000000  # added to the table's place for the draws of columns
# Bit error rates of static memory over its supply voltage, in parts of the least at which it is free of them (Stutz et al. 2021).
VOLTAGES = ((0.79, 0.055), (0.84, 0.011), (0.88, 0.0015))
STUCK = 0x632BE5AB  # added to u for the draw of the value that a cell is stuck at
Words = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


def mix(x: Words | int) -> Words:
    """lowbias32: a bijection of 32-bit words whose output bits look independent of the input's."""
    x = np.asarray(x, np.uint32)
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
        x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return np.asarray(x ^ (x >> np.uint32(16)))


def uniform(seed: int, table: int, numbers: Words) -> Words:
    """The uniform words of some bits of a table."""
    key = mix(mix((seed + GOLDEN) % 2**32) ^ np.uint32(table))
    with np.errstate(over="ignore"):
        return mix(mix(numbers ^ key) + key)


def threshold(p: float) -> int:
    """Cells with a word below it are faulty at rate `p`."""
    return min(round(p * 2**32), 2**32 - 1)


@dataclass(frozen=True)
class FaultMap:
    """Faulty cells of one chip at one rate.

    Attributes:
        kind: ``random``: every bit flips with probability p. ``columns``: a column of a memory bank is weak with probability
            sqrt(p), and a bit of a weak column flips with probability sqrt(p). ``stuck``: a cell is stuck with probability 2 p, at
            0 or 1 alike, so that p of the bits are wrong. ``asymmetric``: a stored 0 flips with probability p0, a stored 1 with p1,
            where p = (p0 + p1) / 2. ``list``: what `entries` say.
        seed: the pattern.
        p: the rate.
        ratio: p1 / p0 of ``asymmetric``; and of ``stuck`` the share of cells stuck at 0, in which 0.5 is the default (see `parse`).
        entries: (table's symbol, byte, xor, least p at which it appears) of ``list``.
    """

    kind: str = "random"
    seed: int = 0
    p: float = 0.0
    ratio: float = 0.5
    entries: tuple[tuple[str, int, int, float], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise EdgeqError(f"unknown fault map '{self.kind}'", fix=f"choose one of {', '.join(KINDS[:-1])} or a file")
        if not (0 <= self.p <= 1 and 0 <= self.seed < 2**32):
            raise EdgeqError(f"a fault rate of {self.p} or a seed of {self.seed}", fix="give 0 <= p <= 1 and 0 <= seed < 2^32")

    def __str__(self) -> str:
        what = f"list of {len(self.entries)}" if self.kind == "list" else f"{self.kind}, seed {self.seed}"
        return f"{what}, p {100 * self.p:g} %"

    def flips(self, table: int, symbol: str, data: Bytes) -> Bytes:
        """What to xor to the stored bytes ``[n]`` of a table.

        Args:
            table: its place in `Constants.tables`.
            symbol: its name, without the model's prefix.
        """
        if self.kind == "list":
            return self._listed(symbol, data)
        if self.p == 0:
            return np.zeros_like(data)
        ones = np.unpackbits(data, bitorder="little").astype(np.bool_)
        return np.packbits(self._faulty(table, np.arange(8 * len(data), dtype=np.uint32), ones), bitorder="little")

    def _faulty(self, table: int, numbers: Words, ones: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which bits flip, of those that are 1 or not."""
        first, second = (np.uint32(threshold(p)) for p in self.thresholds)
        u = uniform(self.seed, table, numbers)
        if self.kind == "columns":
            columns = numbers // np.uint32(COLUMNS * ROWS) * np.uint32(COLUMNS) + numbers % np.uint32(COLUMNS)
            return np.asarray((uniform(self.seed, table + COLUMN_TABLE, columns) < first) & (u < second))
        if self.kind == "stuck":
            with np.errstate(over="ignore"):
                at_one = mix(u + np.uint32(STUCK)) >= second
            return np.asarray((u < first) & (at_one != ones))
        return np.asarray(u < np.where(ones, second, first))

    @property
    def rates(self) -> tuple[float, float]:
        """The probabilities that a stored 0 and a stored 1 flip."""
        if self.kind == "stuck":
            cell = min(1.0, 2 * self.p)
            return cell * (1 - self.ratio), cell * self.ratio
        if self.kind == "asymmetric":
            p0 = 2 * self.p / (1 + self.ratio)
            return min(1.0, p0), min(1.0, p0 * self.ratio)
        return self.p, self.p

    @property
    def thresholds(self) -> tuple[float, float]:
        """The two probabilities that the law of this kind compares uniform words with."""
        if self.kind == "columns":
            return self.p**0.5, self.p**0.5
        return (min(1.0, 2 * self.p), self.ratio) if self.kind == "stuck" else self.rates

    def _listed(self, symbol: str, data: Bytes) -> Bytes:
        flips = np.zeros_like(data)
        for name, byte, xor, least in self.entries:
            if name == symbol and self.p >= least:
                if byte >= len(data):
                    raise EdgeqError(f"byte {byte} of a table with {len(data)}", where=symbol, fix="make the fault list for this model")
                flips[byte] ^= np.uint8(xor)
        return flips


def parse(text: str) -> FaultMap:
    """``random``, ``columns``, ``stuck``, ``stuck:SHARE`` (of cells stuck at 0), ``asymmetric:RATIO`` (p of ones over p of zeros), or a
    JSON file ``{"faults": [[symbol, byte, xor], [symbol, byte, xor, least p], ...]}``; seed and p are to be replaced.

    Raises:
        EdgeqError: none of these.
    """
    kind, _, value = text.partition(":")
    if kind in ("random", "columns", "stuck", "asymmetric"):
        defaults = {"stuck": 0.5, "asymmetric": 4.0}
        try:
            ratio = float(value) if value else defaults.get(kind, 0.0)
        except ValueError:
            ratio = -1.0
        if (value and kind not in defaults) or not 0 <= ratio <= (1 if kind == "stuck" else 1e6):
            raise EdgeqError(f"fault map '{text}'", fix="write stuck:SHARE with 0 <= SHARE <= 1, or asymmetric:RATIO")
        return FaultMap(kind, ratio=ratio)
    path = Path(text)
    if not path.is_file():
        raise EdgeqError(f"no fault map '{text}'", fix="choose random, columns, stuck, asymmetric, or a JSON file of faults")
    try:
        rows = json.loads(read_text(path))["faults"]
        return FaultMap("list", entries=tuple(_entry(row) for row in rows))
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as e:
        why = str(e)[:120]
        raise EdgeqError("not a fault list", where=text, why=why, fix='write {"faults": [["s0_weights", byte, xor], ...]}') from e


def _entry(row: object) -> tuple[str, int, int, float]:
    if not isinstance(row, list) or len(row) not in (3, 4):
        raise ValueError(f"entry {str(row)[:40]}")
    symbol, byte, xor, least = (*row, 0.0)[:4]
    whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (byte, xor))
    if not (isinstance(symbol, str) and whole and byte >= 0 and 0 < xor < 256 and isinstance(least, (int, float)) and 0 <= least <= 1):
        raise ValueError(f"entry {str(row)[:40]}")
    return symbol, byte, xor, float(least)


def hardened(graph: Graph, target: Target, isa: tuple[str, ...] = ("c",), decode: str = WHOLE) -> Program:
    """The program that faults are studied on: portable kernels, which give the simulator's bytes whatever the weights and biases.

    The others, but those of ISA ``host``, rely on bounds of this model's weights. Sums wrap modulo 2^32 (build with ``-fwrapv``).

    Raises:
        EdgeqError: see `lower`.
    """
    program = lower(graph, replace(target, isa=isa), decode=decode)
    return replace(program, target=target, calls=tuple(_hardened(c) for c in program.calls))


def _hardened(call: Call) -> Call:
    return replace(call, params=replace(call.params, scalars=_for_any_sum(call.params)))


def _for_any_sum(params: Params) -> dict[str, int | str]:
    """The scalars for accumulators of any size: under law ``tflm`` the general output stage, on int16 sums in 64 bits."""
    general = {n for n in params.scalars if n.removeprefix("x_").removeprefix("h_") == "wide" or (n == "left" and params.law == "tflm")}
    return {**params.scalars, **dict.fromkeys(general, 1)}


def is_hardened(program: Program) -> bool:
    """Whether faults may be studied on a program: it has nothing that `hardened` would change."""
    return all(call.kernel.isa == "c" and call.tiled is None and call.params.scalars == _for_any_sum(call.params) for call in program.calls)


def tables(program: Program) -> list[tuple[int, Constant]]:
    """The tables that faults hit, each with its place among all: integer weights, and the biases that belong to them."""
    layers = {i for i, call in enumerate(program.calls) if has_weights(call.params)}

    def hit(constant: Constant) -> bool:
        return constant.array.dtype.kind in "iu" and any(step in layers and STORED.search(name) for step, name in constant.users)

    return [(i, c) for i, c in enumerate(Constants(program).tables) if hit(c)]


def stored(program: Program) -> float:
    """Bits that the memory holds of weights and biases, over those of plain int8 and int32."""
    hit = [c for _, c in tables(program)]
    plain = sum(program.calls[step].tables[name].nbytes for step, name in (c.users[0] for c in hit))
    return sum(len(c.data) for c in hit) / plain


def voltage(p: float) -> float:
    """The supply at which a memory has bit errors at rate p, in parts of the least without: log p is linear between `VOLTAGES`, and on."""
    if p <= 0:
        return 1.0
    rows = sorted(VOLTAGES, reverse=True)
    at = next((i for i in range(1, len(rows)) if p <= rows[i][1]), len(rows) - 1)
    (v0, p0), (v1, p1) = rows[at - 1], rows[at]
    return min(1.0, v0 + (v1 - v0) * math.log(p / p0) / math.log(p1 / p0))


def flips(program: Program, faults: FaultMap, layers: frozenset[int] | None = None) -> dict[str, Bytes]:
    """What to xor to the stored bytes of the tables in which something flips, by symbol.

    Args:
        layers: flip in the tables of these steps alone.

    Raises:
        EdgeqError: a fault list does not fit.
    """
    if faults.kind == "list":
        known = {c.symbol for _, c in tables(program)}
        for symbol, *_ in faults.entries:
            if symbol not in known:
                why = f"it has {', '.join(sorted(known)[:6])}, ..."
                raise EdgeqError(f"the model stores no table '{symbol}'", why=why, fix="make the fault list for this model")
    found = {
        c.symbol: faults.flips(place, c.symbol, c.data)
        for place, c in tables(program) if layers is None or not layers.isdisjoint(step for step, _ in c.users)
    }  # fmt: skip
    return {symbol: xor for symbol, xor in found.items() if xor.any()}


def apply(program: Program, faults: FaultMap, layers: frozenset[int] | None = None) -> Program:
    """The program whose tables carry the flips, as they are stored and as the simulator reads them (`parameters`).

    Raises:
        EdgeqError: a kernel's layout does not keep the weights one by one, or a fault list does not fit.
    """
    return flipped(program, flips(program, faults, layers))


def flipped(program: Program, xor: Mapping[str, Bytes]) -> Program:
    """The program whose tables carry some flips, by symbol."""
    changed: dict[tuple[int, str], Array] = {}
    for _, constant in tables(program):
        if constant.symbol in xor:
            little = constant.array.dtype.newbyteorder("<")
            array = (constant.data ^ xor[constant.symbol]).view(little).astype(constant.array.dtype).reshape(constant.array.shape)
            changed |= dict.fromkeys(constant.users, array)
    return with_tables(program, changed)


def with_tables(program: Program, changed: Mapping[tuple[int, str], Array]) -> Program:
    """The program with other stored tables, by step and name."""
    calls = list(program.calls)
    for (step, name), array in changed.items():
        call, stage = calls[step], calls[step].staged.get(name)
        table = array if stage is None else stage.decoded(array, call.tables[name])
        tables = {**call.params.tables, name: _unpacked(call, name, table)}
        calls[step] = replace(
            call, params=replace(call.params, tables=tables), tables={**call.tables, name: table},
            staged=call.staged if stage is None else {**call.staged, name: replace(stage, data=array)},
        )  # fmt: skip
    return replace(program, calls=tuple(calls))


def _unpacked(call: Call, name: str, packed: Array) -> Array:
    """A table as the operator bound it, from the kernel's layout of it."""
    layout = call.kernel.pack.get(name)
    if not layout:
        return packed
    try:
        return packed.ravel()[places(layout, name, call.params.tables)]
    except ValueError:
        why = f"kernel {call.kernel.name} does not keep its weights one by one"
        raise EdgeqError(why, where=call.node.name, fix="use `hardened`") from None


MAGIC = 0x314D5145  # "EQM1"
FORM = {"random": 0, "asymmetric": 0, "columns": 1, "stuck": 2, "list": 3}
HEADER, ENTRY = 24, 12  # bytes


def block(program: Program, faults: FaultMap) -> bytes:
    """A map as firmware/lib/faults.c reads it, in words: magic, form, seed, two thresholds, number of entries, (place, byte, xor) each."""
    if faults.kind == "list":
        places = {c.symbol: i for i, c in tables(program)}
        flips(program, faults)  # refuses what does not fit
        return listed([(places[symbol], byte, xor) for symbol, byte, xor, least in faults.entries if faults.p >= least])
    first, second = (threshold(p) for p in faults.thresholds)
    return np.array([MAGIC, FORM[faults.kind], faults.seed, first, second, 0], "<u4").tobytes()


def listed(entries: Sequence[tuple[int, int, int]]) -> bytes:
    """The block of a list of (table's place, byte, xor)."""
    return np.array([MAGIC, FORM["list"], 0, 0, 0, len(entries), *(n for entry in entries for n in entry)], "<u4").tobytes()


def parts(block: bytes, most: int) -> Iterator[bytes]:
    """A map as blocks of at most `most` bytes, 36 or more, that together do the same: a long list is cut."""
    head, entries = block[:HEADER], np.frombuffer(block, "<u4", offset=HEADER).reshape(-1, 3)
    step = (most - HEADER) // ENTRY
    if len(entries) <= step:
        yield block
        return
    for i in range(0, len(entries), step):
        rows = entries[i : i + step]
        yield head[:-4] + len(rows).to_bytes(4, "little") + rows.tobytes()


@dataclass(frozen=True, eq=False)
class Damage:
    """What a map does to a hardened program."""

    program: Program
    faults: FaultMap

    @cached_property
    def flips(self) -> dict[str, Bytes]:
        """See `flips`."""
        return flips(self.program, self.faults)

    @property
    def bits(self) -> int:
        """How many stored bits flip."""
        return sum(int(np.unpackbits(xor).sum()) for xor in self.flips.values())

    @property
    def block(self) -> bytes:
        """See `block`."""
        return block(self.program, self.faults)

    @property
    def parameters(self) -> dict[str, Params]:
        """The damaged constants, for `simulate`."""
        return parameters(flipped(self.program, self.flips))

    @property
    def checksums(self) -> list[int]:
        """CRC-32 of every table, damaged or not, in the order of emission."""
        stored = Constants(self.program).tables
        return [zlib.crc32((c.data ^ self.flips.get(c.symbol, np.uint8(0))).tobytes()) for c in stored]

    def __str__(self) -> str:
        return f"{self.faults}: {self.bits} bits of {len(self.flips)} tables flipped"


def parameters(program: Program) -> dict[str, Params]:
    """Node -> its constants, for `simulate`."""
    return {call.node.name: call.params for call in program.calls if not isinstance(call.node.op, Composite)}
