"""What edgeq knows of an emitted model: manifest.json, which is held against its own checksum."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edgeq.errors import EdgeqError
from edgeq.files import json_text, read_text, reason
from edgeq.folder import MANIFEST, SEAL, changed, digest, sealed
from edgeq.record.values import FORMAT, Check, CName, Count, Hash, Integer, Shape, Size, TargetName, convert
from edgeq.text import first_of


@dataclass(frozen=True)
class Described:
    """A tensor that runners exchange: `bytes` long, in the stored dtype; scale None where it has none."""

    name: str
    shape: Shape
    dtype: str
    bytes: Size
    scale: float | None
    zero_point: Integer


@dataclass(frozen=True)
class Placed(Described):
    """An input, output or state, and where it lies in the arena or among the states; None of an input that comes row by row: it has no
    place as a whole."""

    offset: Size | None


@dataclass(frozen=True)
class StateRecord(Placed):
    """A state; `next` is the tensor that holds its next value."""

    next: str


@dataclass(frozen=True)
class Result:
    """A tensor that a step computes."""

    tensor: str
    dtype: str
    shape: Shape
    bytes: Size


@dataclass(frozen=True)
class StepRecord(Result):
    """A step: a kernel called on operands.

    Attributes:
        epilogue: the nodes that were folded into it.
        tables: symbols of the constant tables that it reads.
        more: its further results.
        whole: its results exist as wholes; of a step in a band they need not.
        band: the first step of the band that it runs in, None where it runs on its own.
        bits: of memory per weight, None of a step without weights.
    """

    name: str
    op: str
    epilogue: tuple[str, ...]
    kernel: str
    law: str
    operands: tuple[str, ...]
    macs: Count
    scratch: Size
    scratch_offset: Size | None
    tables: tuple[CName, ...]
    more: tuple[Result, ...] = ()
    whole: bool = True
    band: Size | None = None
    bits: float | None = None

    @property
    def results(self) -> tuple[Result, ...]:
        """Every tensor that it computes as a whole, in the order of the hook."""
        return (self, *self.more) if self.whole else ()


@dataclass(frozen=True)
class Lifetime:
    """Where a tensor lies in the arena, from which step to which; `overwrites` the tensor whose bytes it takes over."""

    tensor: str
    bytes: Size
    offset: Size
    first: Integer
    last: Integer
    overwrites: str | None = None


@dataclass(frozen=True)
class LinesRecord:
    """A tensor of a band that is whole nowhere.

    Attributes:
        rows: that its buffer holds, of `height` in all; 0 of one without a buffer.
        bytes: of its buffer.
        kept: of these, in use outside of the steps `busy` too.
        busy: the first and last of the steps while which all bytes are in use; None: while all of the band.
        behind: the bytes that are kept are the last ones of the buffer, not the first.
        beside: the tensor in whose buffer its rows lie; None of one that has its own.
    """

    tensor: str
    rows: Count
    height: Count
    bytes: Size
    beside: str | None = None
    kept: Size = 0
    busy: tuple[Size, Size] | None = None
    behind: bool = False


@dataclass(frozen=True)
class BandRecord:
    """Steps `first` to `last`, which run in turn, some rows each, `turns` times.

    Attributes:
        rows: of each step the most rows that it computes (or takes in, where it sums over all) at a turn.
    """

    first: Size
    last: Size
    turns: Count
    rows: tuple[Count, ...]
    lines: tuple[LinesRecord, ...]


@dataclass(frozen=True)
class Interface:
    """What a board tells of the model that it runs."""

    inputs: tuple[Described, ...]
    outputs: tuple[Described, ...]
    arena_bytes: Size
    state_bytes: Size
    steps: tuple[StepRecord, ...] = ()


@dataclass(frozen=True)
class InstructionsRecord:
    """Whether every input takes the same number of instructions, as the build has measured it.

    Attributes:
        constant: they were one number.
        vectors: inputs that it was measured on.
        runner: that counted.
        toolchain, optimize: of the program.
    """

    constant: bool
    vectors: Count
    runner: str
    toolchain: str | None
    optimize: str


@dataclass(frozen=True)
class Manifest:
    """What the emitted files are.

    Attributes:
        model: the prefix of every external C name.
        tables, table_bytes: CRC-32 and size of each constant table by its symbol.
        fault_tables: those that bit errors may hit, and their numbers.
        sources_sha256: of all emitted C; measurements belong to it.
        files: SHA-256 of each file that edgeq wrote into the folder, but for the two records.
        instructions: None where nothing counted them when the folder was built.
        weights_in: where an inference reads weights: auto, flash or ram (`edgeq.build`).
        decode: when weights that no kernel reads as they are stored are decoded: before each call, or at the start, into the state.
        warm_up: the first inference after a reset, counted from 1, whose results no longer depend on what states begin with; None of a
            model without states, or where they always may.
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    model: Annotated[str, Meta(pattern=r"^[a-z_][a-z0-9_]{0,63}\Z")]
    target: TargetName
    law: str
    inputs: tuple[Placed, ...]
    outputs: tuple[Placed, ...]
    arena_bytes: Size
    arena_alignment: Annotated[int, Meta(ge=1, le=4096)]
    arena_lower_bound: Size
    arena_method: str
    state_bytes: Size
    io_bytes: Size
    weight_bytes: Size
    macs: Count
    states: tuple[StateRecord, ...]
    steps: tuple[StepRecord, ...]
    lifetimes: tuple[Lifetime, ...]
    tables: dict[CName, Check]
    table_bytes: dict[CName, Size]
    hardened: bool
    fault_tables: dict[CName, Size]
    sources_sha256: Hash
    files: dict[str, Hash]
    graph_sha256: Hash | None = None
    bands: tuple[BandRecord, ...] = ()
    instructions: InstructionsRecord | None = None
    warm_up: Count | None = None
    weights_in: Annotated[str, Meta(pattern=r"^(auto|flash|ram)\Z")] = "auto"
    decode: Annotated[str, Meta(pattern=r"^(call|start)\Z")] = "call"

    @property
    def ram_bytes(self) -> int:
        """Of arena, state and the weights that are copied to RAM when the program starts; the stack comes to it."""
        return self.arena_bytes + self.state_bytes + (self.weight_bytes if self.weights_in == "ram" else 0)

    def __post_init__(self) -> None:
        """Raises ValueError where its parts do not fit together."""
        if set(self.tables) != set(self.table_bytes) or not set(self.fault_tables) <= set(self.tables):
            raise ValueError("tables, table_bytes and fault_tables name different tables")
        if any(t not in self.tables for s in self.steps for t in s.tables):
            raise ValueError("a step reads a table that is not listed")

    def text(self) -> str:
        """As manifest.json has it, with a checksum of everything else: the arena's size and the like are believed when code is run."""
        data = asdict(self)
        return json_text({**data, SEAL: digest(json_text(data).encode())})


def manifest(folder: Path) -> Manifest:
    """The manifest of an emitted folder.

    Raises:
        EdgeqError: the folder holds none, one that cannot be read, one that was changed, or another graph than it was emitted from.
    """
    fix = "build the model again"
    try:
        data = json.loads(read_text(folder / MANIFEST))
    except (OSError, ValueError, RecursionError) as e:
        missing = isinstance(e, OSError)
        why = reason(e) if missing else "it is no JSON text"
        fix = "run `edgeq build MODEL -o DIR` first" if missing else fix
        raise EdgeqError("no emitted model here", where=str(folder), why=f"{MANIFEST}: {why}", fix=fix) from e
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise EdgeqError("manifest.json is of another format", where=str(folder), fix=fix)
    if not sealed(data):
        raise EdgeqError("manifest.json was changed after it was written", where=str(folder), fix=fix)
    try:
        found = convert(data, Manifest)
    except ValueError as e:
        raise EdgeqError("manifest.json is of another format", where=str(folder), why=str(e), fix=fix) from e
    graph = folder / "graph.eqg"
    if found.graph_sha256 is not None and graph.is_file() and digest(graph.read_bytes()) != found.graph_sha256:
        raise EdgeqError("damaged, or not the graph that the code was emitted from", where=str(graph), fix=fix)
    return found


def check_unchanged(folder: Path, found: Manifest, why: str = "its C would be compiled and run on this computer") -> None:
    """Refuse code that was changed after edgeq wrote it: what it does is unknown.

    Args:
        why: what would be done with it.

    Raises:
        EdgeqError: lists what was changed.
    """
    names = changed(folder, found.files)
    if names:
        raise EdgeqError(
            f"changed after edgeq wrote it: {first_of(names, 8)}", where=str(folder),
            why=why, fix="build the model again, or --trust if you know who changed it",
        )  # fmt: skip
