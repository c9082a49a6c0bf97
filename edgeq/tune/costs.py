"""The tuning file: what each candidate kernel costs for a call of given constants, as measured. A build reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgeq.errors import EdgeqError
from edgeq.files import json_text, read_text, reason, write_bytes

FORMAT = 2  # 1 had instructions alone
Costs = Mapping[str, Mapping[str, int]]  # signature -> kernel -> cycles, or instructions where the core has no model


@dataclass(frozen=True)
class Tuning:
    """Measured costs per target, tool chain and optimization level.

    Attributes:
        costs: ``"cortex-m4 zig O3"`` -> `kernels.cost_key` of a call -> name of a kernel -> cycles (or
            instructions, where the core has no model of cycles) of one call.
    """

    costs: Mapping[str, Costs] = field(default_factory=dict)

    def known(self, key: str) -> Costs:
        """What was measured under a key of `key_of`."""
        return self.costs.get(key, {})

    def choices(self, key: str) -> dict[str, str]:
        """Signature -> the kernel that costs least; of equal ones the preferred.

        Raises:
            EdgeqError: nothing was measured under this key.
        """
        if key not in self.costs:
            have = ", ".join(sorted(self.costs)) or "nothing"
            raise EdgeqError(f"the tuning file knows nothing of {key}", why=f"it holds {have}", fix="run `edgeq tune` with these options")
        return {signature: min(kernels, key=lambda k: kernels[k]) for signature, kernels in self.costs[key].items()}

    def updated(self, key: str, costs: Costs) -> Tuning:
        """With more costs under a key."""
        return Tuning(dict(sorted({**self.costs, key: {**self.known(key), **costs}}.items())))


def key_of(target: str, toolchain: str, optimize: str) -> str:
    """What costs depend on beside the call."""
    return f"{target} {toolchain} O{optimize}"


def read(path: Path) -> Tuning:
    """Read a tuning file.

    Raises:
        EdgeqError: it is missing, damaged or of another format.
    """
    try:
        data = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as e:
        raise EdgeqError("cannot read the tuning file", where=str(path), why=reason(e), fix="make one with `edgeq tune`") from e
    costs = data.get("costs") if isinstance(data, dict) and data.get("format") == FORMAT else None
    if not isinstance(costs, dict) or not all(_is_costs(c) for c in costs.values()):
        raise EdgeqError("not a tuning file of this version", where=str(path), fix="make one with `edgeq tune`")
    return Tuning(costs)


def _is_costs(costs: object) -> bool:
    if not isinstance(costs, dict):
        return False
    return all(isinstance(k, dict) and k and all(type(n) is int and n >= 0 for n in k.values()) for k in costs.values())


def write(tuning: Tuning, path: Path) -> None:
    """Write a tuning file, whole or not at all.

    Raises:
        EdgeqError: the place cannot be written.
    """
    write_bytes(path, json_text({"format": FORMAT, "costs": tuning.costs}).encode())
