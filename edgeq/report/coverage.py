"""Which operator is computed on which dtype by kernels of which ISA: from the registry, never from a list."""

from __future__ import annotations

from dataclasses import dataclass

from edgeq import kernels, ops
from edgeq.ir import Op


@dataclass(frozen=True)
class Row:
    """An operator; `kernels` maps ``(dtype, isa)`` to how many kernels there are.

    `note` says why an operator without kernels needs none.
    """

    op: str
    kernels: dict[tuple[str, str], int]
    note: str


def coverage() -> list[Row]:
    """One row per operator, by name."""
    return [_row(kind, cls) for kind, cls in sorted(ops.registry().items())]


def _row(kind: str, cls: type[Op]) -> Row:
    computed = _kernel_op(kind, cls)
    found: dict[tuple[str, str], int] = {}
    for k in kernels.scan():
        if k.op == computed and not k.epilogue:
            found[(k.signature.types, k.isa)] = found.get((k.signature.types, k.isa), 0) + 1
    return Row(kind, found, f"by {computed}" if computed != kind else "")


def _kernel_op(kind: str, cls: type[Op]) -> str:
    """Whose kernels compute a class of operators; it doesn't depend on the attributes."""
    return cls.kernel_op(object.__new__(cls)) if cls.kernel_op is not Op.kernel_op else kind


def columns(rows: list[Row]) -> list[str]:
    """All ISAs that occur, the portable one first."""
    return sorted({isa for r in rows for _, isa in r.kernels}, key=lambda isa: (isa != "c", isa))


def cells(row: Row, isas: list[str]) -> list[str]:
    """Per ISA the dtypes that an operator is computed on."""
    return [", ".join(sorted(d for d, found in row.kernels if found == isa)) for isa in isas]


def markdown() -> str:
    """The coverage table of docs/operators.md."""
    rows = coverage()
    isas = columns(rows)
    lines = ["| operator | " + " | ".join(isas) + " |", "|---" * (len(isas) + 1) + "|"]
    lines += [f"| {r.op} | " + " | ".join(cells(r, isas)) + " |" for r in rows]
    return "\n".join(lines) + "\n"
