"""What was measured on an emitted model: measurements.json, which grows as it is built, run, compared and scored."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from edgeq.errors import EdgeqError
from edgeq.files import json_text, reason, write_bytes
from edgeq.folder import MEASUREMENTS
from edgeq.record.quantization import QuantizationRecord
from edgeq.record.values import FORMAT, Count, Hash, Integer, Size, convert, larger, parse


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
        quantization: how the graph was quantized and how each tensor fares (`edgeq.api.quantizing`); checked as a `QuantizationRecord`.
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


def measured(folder: Path, sources: str | None = None) -> Measured:
    """What was measured so far in a folder; nothing where it was measured on other sources than those of that hash.

    Raises:
        EdgeqError: the file is damaged.
    """
    path, fix = folder / MEASUREMENTS, "delete the file, or build again"
    fresh = Measured(sources_sha256=sources)
    try:
        data = parse(path)
    except FileNotFoundError:
        return fresh
    except (OSError, ValueError) as e:
        raise EdgeqError("cannot read the measurements", where=str(path), why=reason(e), fix=fix) from e
    try:
        found = convert(data, Measured)
        convert(found.quantization, QuantizationRecord)
    except ValueError as e:
        raise EdgeqError("measurements of another format", where=str(path), why=str(e), fix=fix) from e
    return found if found.sources_sha256 == sources else fresh


def note(folder: Path, values: Measured) -> None:
    """Write measurements.json.

    Raises:
        EdgeqError: it cannot be written.
    """
    write_bytes(folder / MEASUREMENTS, values.text().encode())
