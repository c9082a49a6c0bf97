"""What a report is made from: the manifest, the graph and the measurements of an emitted folder."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeq import graphfile
from edgeq import target as targets
from edgeq.errors import EdgeqError
from edgeq.ir import Graph, Node
from edgeq.record import Manifest, Measured, RunRecord, StepRecord
from edgeq.record import manifest as read_manifest
from edgeq.record import measured as read_measured
from edgeq.target import Target
from edgeq.text import short


@dataclass(frozen=True)
class Step:
    """One step of the emitted model, with what it costs.

    Attributes:
        family: its class of colour, the same in every drawing.
        index: number of the step, None for a view, which costs nothing.
        weight_bytes: its constant tables; one that several steps share counts at the first.
        live_bytes: arena bytes in use while it runs.
        instructions: executed per inference, None where not measured.
        bits: of memory per weight, None of a step without weights.
    """

    index: int | None
    name: str
    op: str
    family: str
    kernel: str
    inputs: tuple[str, ...]
    output: str
    tensor: str
    macs: int
    weight_bytes: int
    output_bytes: int
    scratch: int
    live_bytes: int
    instructions: int | None
    bits: float | None = None


@dataclass(frozen=True, eq=False)
class Data:
    """Everything that sections read."""

    folder: Path
    manifest: Manifest
    measured: Measured
    graph: Graph
    target: Target

    @functools.cached_property
    def run(self) -> tuple[str, RunRecord] | None:
        """The measured run with instruction counts, most vectors first; its runner's name."""
        runs = [(n, r) for n, r in self.measured.runs.items() if r.instructions]
        return max(runs, key=lambda item: (bool(item[1].step_instructions), item[1].vectors), default=None)

    @functools.cached_property
    def steps(self) -> tuple[Step, ...]:
        """The graph's nodes in order: steps, and between them views and what is folded into a step."""
        records = {s.name: (i, s) for i, s in enumerate(self.manifest.steps)}
        counts = (self.run[1].step_instructions if self.run else None) or (None,) * len(records)
        owned = self.owned_tables()
        return tuple(self._step(node, records.get(node.name), counts, owned) for node in self.graph.nodes)

    def _step(self, node: Node, found: tuple[int, StepRecord] | None, counts: Sequence[int | None], owned: Mapping[int, int]) -> Step:
        inputs = tuple(str(t.type) for t in self.graph.node_inputs(node) if not t.is_constant)
        output, op, family = self.graph.type(node.outputs[0]), node.op.kind(), node.op.traits.family
        if found is None:
            host = next((s.name for s in self.manifest.steps if node.name in s.epilogue), None)
            kernel = f"folded into {short(host)}" if host else "view"
            return Step(None, node.name, op, family, kernel, inputs, str(output), node.outputs[0], 0, 0, output.bytes, 0, 0, None)
        i, s = found
        return Step(
            i, node.name, op, family, s.kernel, inputs, str(output), node.outputs[0], s.macs, owned.get(i, 0), output.bytes,
            s.scratch, self.live(i), counts[i], s.bits,
        )  # fmt: skip

    def owned_tables(self) -> dict[int, int]:
        """Step -> bytes of the constant tables that no earlier step uses."""
        seen: set[str] = set()
        owned: dict[int, int] = {}
        for i, s in enumerate(self.manifest.steps):
            fresh = [t for t in dict.fromkeys(s.tables) if t not in seen]
            seen.update(fresh)
            owned[i] = sum(self.manifest.table_bytes[t] for t in fresh)
        return owned

    def live(self, step: int) -> int:
        """The highest address in use at a step, less the gaps: bytes of the union of what lives there."""
        s = self.manifest.steps[step]
        spans = [(t.offset, t.offset + t.bytes) for t in self.manifest.lifetimes if t.first <= step <= t.last]
        if s.scratch and s.scratch_offset is not None:
            spans.append((s.scratch_offset, s.scratch_offset + s.scratch))
        total, end = 0, 0
        for low, high in sorted(spans):
            total += max(0, high - max(low, end))
            end = max(end, high)
        return total

    @functools.cached_property
    def code_bytes(self) -> int | None:
        return self.measured.build.code_bytes if self.measured.build else None


def collect(folder: Path) -> Data:
    """Read an emitted folder.

    Raises:
        EdgeqError: it is none, or one of its files is damaged.
    """
    manifest = read_manifest(folder)
    try:
        chip = targets.load(manifest.target)
        data = Data(folder, manifest, read_measured(folder, manifest.sources_sha256), graphfile.load(folder), chip)
        _ = data.steps, data.run  # their parts fit together
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as e:
        raise EdgeqError(
            "manifest.json and the graph do not belong together", where=str(folder), why=repr(e), fix="build the model again"
        ) from e
    return data
