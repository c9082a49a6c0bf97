"""Cross-compiles the GPU's kernels without a GPU and prints what it found; run by test_gpu.py, for a process either compiles or interprets.

The specialisations are those that the cases of tests/ops launch, one of each kernel, function, operator and dtypes.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from pathlib import Path

os.environ.pop("TRITON_INTERPRET", None)
OPS = Path(__file__).parent / "ops"
sys.path[:0] = [str(OPS), str(OPS.parent)]

from harness import LAW, LAWS, Case, _Bench, differ, interpreted  # noqa: E402

from edgeq.run import gpu  # noqa: E402
from edgeq.run.gpu.device import KERNELS, Launch, assembly  # noqa: E402

SOME = 8  # cases of one operator
NAMED = ("FUNCTION", "OPERATOR", "RADIX")
CONTRACTED = re.compile(r"\bfma\.\S*|\S*\.(?:ftz|approx|full)\.\S*f32\S*")


def suites() -> list[list[Case]]:
    """The cases of every operator's tests."""
    modules = [importlib.import_module(p.stem) for p in sorted(OPS.glob("test_*.py"))]
    return [f.cases for m in modules for f in vars(m).values() if isinstance(getattr(f, "cases", None), list)]


def launches() -> dict[tuple[str, ...], Launch]:
    """One specialisation per kernel, function, operator and dtypes."""
    device = gpu.recorder()
    for cases in suites():
        for law in (*LAWS, LAW):
            own = interpreted(cases, law)
            own = own if differ(own) else own[:: max(1, len(own) // SOME)]
            if own:
                bench = _Bench(own, law)
                gpu.run(bench.program("host"), {n: a[:2] for n, a in bench.data.items()}, device=device)
    found: dict[tuple[str, ...], Launch] = {}
    for launch in device.launches:
        named = [str(v) for k, v in launch.constants if k in NAMED]
        types = [t for n, t in launch.signature if n.endswith("_ptr")]
        found.setdefault((launch.kernel.__name__, *named, *types), launch)
    return found


def main() -> None:
    seen: set[str] = set()
    report: dict[str, object] = {}
    for key, launch in launches().items():
        both = key[0] not in seen
        seen.add(key[0])
        for capability in (80, 90) if both else (90,):
            ptx = assembly(launch, capability)["ptx"]
            report[f"{' '.join(key)} {capability}"] = {"contracted": CONTRACTED.findall(ptx), "tensor_cores": "mma" in ptx}
    json.dump({"kernels": sorted(KERNELS), "compiled": report}, sys.stdout)


if __name__ == "__main__":
    main()
