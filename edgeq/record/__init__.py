"""Records: what edgeq knows of an emitted model (manifest.json) and what was measured on it (measurements.json).

One writer and one reader for both files. A build passes the records in memory and writes them once. Both files may come from
anybody: the reader checks every type, bound and name, and holds the manifest against its own checksum.

The emitted files depend on the model alone, but for what the manifest says of instructions, which a runner has counted;
measurements.json grows as the model is built, run, compared and scored, and a new
build starts it afresh. Neither holds a date, a host or a path.
"""

from edgeq.record.emitted import (
    BandRecord,
    Described,
    InstructionsRecord,
    Interface,
    Lifetime,
    LinesRecord,
    Manifest,
    Placed,
    Result,
    StateRecord,
    StepRecord,
    check_unchanged,
    manifest,
)
from edgeq.record.measurements import (
    ActivationRecord,
    Activations,
    BuildRecord,
    ComparisonRecord,
    CyclesRecord,
    DifferenceRecord,
    Measured,
    RunRecord,
    Score,
    measured,
    note,
)
from edgeq.record.values import FORMAT, convert, finite, larger

__all__ = [
    "FORMAT",
    "ActivationRecord",
    "Activations",
    "BandRecord",
    "BuildRecord",
    "ComparisonRecord",
    "CyclesRecord",
    "Described",
    "DifferenceRecord",
    "InstructionsRecord",
    "Interface",
    "Lifetime",
    "LinesRecord",
    "Manifest",
    "Measured",
    "Placed",
    "Result",
    "RunRecord",
    "Score",
    "StateRecord",
    "StepRecord",
    "check_unchanged",
    "convert",
    "finite",
    "larger",
    "manifest",
    "measured",
    "note",
]
