"""What inferences took on a board beside what the model of its core said: pairs.json beside the board's bsp.toml."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from edgeq.errors import EdgeqError
from edgeq.files import json_text, reason, write_bytes
from edgeq.record.values import FORMAT, Hash, TargetName, convert, parse

NAME = "pairs.json"
Cycles = Annotated[int, Meta(ge=1, le=2**63 - 1)]


@dataclass(frozen=True)
class Pair:
    """One program on one board: cycles of an inference by the model of the core, and as measured.

    Attributes:
        sources_sha256: of the folder's C.
        toolchain, optimize: what the estimated program was compiled with; the measured one has to be the same.
    """

    target: TargetName
    sources_sha256: Hash
    toolchain: str
    optimize: str
    estimate: Cycles
    measured: Cycles

    @property
    def ratio(self) -> float:
        """Measured cycles over estimated ones."""
        return self.measured / self.estimate

    @property
    def program(self) -> tuple[str, str, str, str]:
        """What was measured."""
        return self.target, self.sources_sha256, self.toolchain, self.optimize


@dataclass(frozen=True)
class Pairs:
    """A file of pairs, each program once."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)] = FORMAT
    pairs: tuple[Pair, ...] = ()


def read(path: Path) -> tuple[Pair, ...]:
    """The pairs of a file; none where there is no file.

    Raises:
        EdgeqError: it cannot be read, or is no file of pairs.
    """
    try:
        return convert(parse(path), Pairs).pairs
    except FileNotFoundError:
        return ()
    except OSError as e:
        raise EdgeqError("cannot be read", where=str(path), why=reason(e)) from e
    except ValueError as e:
        raise EdgeqError("no file of pairs of estimates and measurements", where=str(path), why=str(e), fix="give another file") from e


def add(path: Path, pair: Pair) -> None:
    """Add a pair to a file, in place of an earlier one of the same program.

    Raises:
        EdgeqError: the file cannot be read or written, or is no file of pairs; it stays as it is then.
    """
    others = tuple(p for p in read(path) if p.program != pair.program)
    write_bytes(path, json_text(asdict(Pairs(pairs=(*others, pair)))).encode())
