"""Records: what edgeq knows of an emitted model (manifest.json) and what was measured on it (measurements.json).

One writer and one reader for both files. A build passes the records in memory and writes them once. Both files may come from
anybody: the reader checks every type, bound and name, and holds the manifest against its own checksum.

The emitted files depend on the model alone; measurements.json grows as the model is built, run, compared and scored, and a new
build starts it afresh. Neither holds a date, a host or a path.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from edgeq.errors import EdgeqError
from edgeq.files import json_text, reason, write_bytes
from edgeq.folder import MANIFEST, MEASUREMENTS, SEAL, changed, digest, sealed

FORMAT = 1

Count = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Size = Annotated[int, Meta(ge=0, lt=2**31)]  # bytes, or an offset, in a memory of 32 bits
Integer = Annotated[int, Meta(ge=-(2**31), lt=2**31)]
Shape = tuple[Annotated[int, Meta(ge=1, lt=2**31)], ...]
CName = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*\Z", max_length=255)]
Hash = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
TargetName = Annotated[str, Meta(pattern=r"^(?!.*\.toml\Z)[A-Za-z0-9][A-Za-z0-9_.-]{0,80}\Z")]  # no path: it is looked up
Check = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}\Z")]
T = TypeVar("T")


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
    """An input, output or state, and where it lies in the arena or among the states."""

    offset: Size


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
        beside: the tensor in whose buffer its rows lie; None of one that has its own.
    """

    tensor: str
    rows: Count
    height: Count
    bytes: Size
    beside: str | None = None


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
class Manifest:
    """What the emitted files are.

    Attributes:
        model: the prefix of every external C name.
        tables, table_bytes: CRC-32 and size of each constant table by its symbol.
        fault_tables: those that bit errors may hit, and their numbers.
        sources_sha256: of all emitted C; measurements belong to it.
        files: SHA-256 of each file that edgeq wrote into the folder, but for the two records.
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


@dataclass(frozen=True)
class BuildRecord:
    """What the code was compiled with; bytes of flash, of the code None where the target has no such measure."""

    toolchain: str
    optimize: str
    code_bytes: Size | None
    weight_bytes: Size


@dataclass(frozen=True)
class CyclesRecord:
    """Cycles per inference and per step by a model of the core; the true ones lie between these multiples of them."""

    total: Count
    steps: tuple[Integer, ...] | None
    low: float
    high: float


@dataclass(frozen=True)
class RunRecord:
    """A run: counts per inference, None where the runner does not count; of the stack the high-water mark and a bound."""

    target: str
    toolchain: str | None
    optimize: str
    vectors: Count
    instructions: Count | None
    constant_time: bool | None
    stack_bytes: Size | None
    step_instructions: tuple[Integer, ...] | None
    cycles: CyclesRecord | None = None
    stack_bound: Size | None = None

    @property
    def stack(self) -> int | None:
        """Bytes that are claimed: the larger of what was measured and the bound."""
        return larger(self.stack_bytes, self.stack_bound)


@dataclass(frozen=True)
class DifferenceRecord:
    """The first value that differs; what is not finite is told by its name."""

    tensor: str
    vector: Count
    index: tuple[Count, ...]
    expected: float | str
    actual: float | str
    count: Count
    total: Count


@dataclass(frozen=True)
class ComparisonRecord:
    """A run compared with the simulator."""

    target: str
    toolchain: str | None
    optimize: str
    vectors: Count
    tensors: Count
    values: Count
    bit_exact: bool
    difference: DifferenceRecord | None


@dataclass(frozen=True)
class ActivationRecord:
    """The extremes of a tensor in real numbers, and the share of its values at an end of the stored range."""

    name: str
    low: float
    high: float
    saturated: float


@dataclass(frozen=True)
class Activations:
    """What the tensors took up of their ranges on real inputs."""

    vectors: Count
    tensors: tuple[ActivationRecord, ...]


@dataclass(frozen=True)
class Score:
    """Right answers out of samples.

    Attributes:
        confusion: per class how often each class was the answer; empty where it was not counted.
    """

    right: Count
    samples: Annotated[int, Meta(ge=1, le=2**63 - 1)]
    confusion: tuple[tuple[Count, ...], ...] = ()


@dataclass(frozen=True)
class Measured:
    """What was measured on the sources of that hash; runs, comparisons and scores by the runner's name.

    Attributes:
        quantization: how the graph was quantized and how each tensor fares (`edgeq.api.quantizing`).
        files: SHA-256 of files that edgeq wrote beside those that the manifest names.
    """

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    sources_sha256: str | None = None
    build: BuildRecord | None = None
    quantization: dict[str, Any] = field(default_factory=dict)
    activations: Activations | None = None
    runs: dict[str, RunRecord] = field(default_factory=dict)
    comparisons: dict[str, ComparisonRecord] = field(default_factory=dict)
    accuracy: dict[str, Score] = field(default_factory=dict)
    files: dict[str, Hash] = field(default_factory=dict)

    def text(self) -> str:
        """As measurements.json has it: without what was not measured."""
        data = {k: v for k, v in asdict(self).items() if v not in (None, {}) or k in ("format", "sources_sha256")}
        return json_text({k: dict(sorted(v.items())) if k in ("runs", "comparisons", "accuracy", "files") else v for k, v in data.items()})

    def with_run(self, runner: str, run: RunRecord) -> Measured:
        """With a run, in place of an earlier one of that runner."""
        return replace(self, runs={**self.runs, runner: run})

    def with_comparison(self, runner: str, comparison: ComparisonRecord) -> Measured:
        """With a comparison, in place of an earlier one of that runner."""
        return replace(self, comparisons={**self.comparisons, runner: comparison})


def _parse(path: Path) -> Any:
    """JSON without NaN and infinities."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number of JSON")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


def finite(value: float) -> float | str:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def larger(*figures: int | None) -> int | None:
    """The largest of what is known; None where nothing is."""
    return max((n for n in figures if n is not None), default=None)


def convert(data: Any, kind: type[T]) -> T:
    """Checked JSON values as a record.

    Raises:
        ValueError: they are none: says which entry is wrong.
    """
    return msgspec.convert(data, kind)


def manifest(folder: Path) -> Manifest:
    """The manifest of an emitted folder.

    Raises:
        EdgeqError: the folder holds none, one that cannot be read, one that was changed, or another graph than it was emitted from.
    """
    fix = "build the model again"
    try:
        data = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        fix = "run `edgeq build MODEL -o DIR` first"
        raise EdgeqError("no emitted model here", where=str(folder), why=f"manifest.json: {reason(e)}", fix=fix) from e
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
    """Refuse code that was changed after edgeq wrote it: nobody vouches for what it does.

    Args:
        why: what would be done with it.

    Raises:
        EdgeqError: lists what was changed.
    """
    names = changed(folder, found.files)
    if names:
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        raise EdgeqError(
            f"changed after edgeq wrote it: {', '.join(names[:8])}{more}", where=str(folder),
            why=why, fix="build the model again, or --trust if you know who changed it",
        )  # fmt: skip


def measured(folder: Path, sources: str | None = None) -> Measured:
    """What was measured so far in a folder; nothing where it was measured on other sources than those of that hash.

    Raises:
        EdgeqError: the file is damaged.
    """
    path, fix = folder / MEASUREMENTS, "delete the file, or build again"
    fresh = Measured(sources_sha256=sources)
    try:
        data = _parse(path)
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError, RecursionError) as e:
        raise EdgeqError("cannot read the measurements", where=str(path), why=reason(e), fix=fix) from e
    try:
        found = convert(data, Measured)
    except ValueError as e:
        raise EdgeqError("measurements of another format", where=str(path), why=str(e), fix=fix) from e
    return found if found.sources_sha256 == sources else fresh


def note(folder: Path, values: Measured) -> None:
    """Write measurements.json.

    Raises:
        EdgeqError: it cannot be written.
    """
    write_bytes(folder / MEASUREMENTS, values.text().encode())
