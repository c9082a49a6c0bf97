"""Frama-C's value analysis (Eva) over an emitted model, for every input: sums that may overflow, accesses that may leave their buffer.

    python -m tests.eva                 # examples/digits in int8 for Cortex-M0, whose kernels are the portable ones
    python -m tests.eva FOLDER          # a folder of yours, without states

The model is exported with limits of its loops as comments (`edgeq export --annotate acsl`); a caller gives it any bytes. Prints each place
of an alarm. `apt install frama-c-base`; takes about 15 seconds of processor time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from edgeq import api
from edgeq.export import export
from edgeq.record import manifest

ROOT = Path(__file__).parent.parent
CALLER = """
#include "{m}.h"
volatile unsigned char any;
static union {{ int align; unsigned char bytes[{M}_ARENA_BYTES]; }} arena;
{buffers}
int main(void)
{{
    unsigned char *to;
{fill}
    {m}_invoke(arena.bytes, {arguments});
    return 0;
}}
"""
COMPILER = "-std=c99 -U__GNUC__"  # the analysis takes assembly, which only keeps registers apart here, for a write of any value


def caller(folder: Path) -> str:
    """A program that calls the model with any bytes as inputs."""
    facts, m = manifest(folder), manifest(folder).model
    names = re.search(rf"void {m}_invoke\(([^)]*)\)", (folder / f"{m}.h").read_text(encoding="ascii"))
    assert names is not None and not facts.states, "a model with states"
    own = [n.split("*")[-1].split()[-1].strip() for n in names[1].split(",")][1:]
    placed = dict(zip(own, (*facts.inputs, *facts.outputs), strict=True))
    types = dict(zip(own, (re.sub(r"\bconst\b|\*.*", "", n).strip() for n in names[1].split(",")[1:]), strict=True))
    buffers = "\n".join(f"static {types[n]} {n}[{p.bytes} / sizeof({types[n]})];" for n, p in placed.items())
    fill = "\n".join(
        f"    to = (unsigned char *){n};\n    //@ loop unroll {p.bytes};\n    for (int i = 0; i < {p.bytes}; i++)\n        to[i] = any;"
        for n, p in list(placed.items())[: len(facts.inputs)]
    )
    return CALLER.format(m=m, M=m.upper(), buffers=buffers, fill=fill, arguments=", ".join(own))


def alarms(folder: Path) -> Counter[str]:
    """How many alarms there are per file and line."""
    with tempfile.TemporaryDirectory() as work:
        place = export(folder, "c", Path(work) / "c", annotate="acsl")
        (place / "caller.c").write_text(caller(folder), encoding="ascii")
        sources = sorted(p.name for p in place.glob("*.c"))
        options = ["-machdep", "x86_32", "-eva", "-eva-precision", "0", "-eva-no-print", f"-cpp-extra-args=-I{place} {COMPILER}"]
        done = subprocess.run(
            ["frama-c", *options, *map(str, map(place.joinpath, sources))], cwd=place, env={**os.environ, "PWD": str(place)},
            capture_output=True, text=True, timeout=1800, check=False,
        )  # fmt: skip
        assert "ANALYSIS SUMMARY" in done.stdout, done.stdout[-2000:]
        lines = {n: (place / n).read_text(encoding="ascii").splitlines() for n in {*sources, *(p.name for p in place.glob("*.h"))}}
        found = re.findall(r"\[eva:alarm\] (?:[^:\n]*/)?([\w.]+):(\d+): Warning", done.stdout)
        return Counter(f"{file}: {lines[file][int(line) - 1].strip()}" for file, line in found)


def main() -> int:
    """Print the alarms."""
    with tempfile.TemporaryDirectory() as work:
        folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(work) / "digits"
        if len(sys.argv) < 2:
            model = ROOT / "examples" / "digits" / "digits.onnx"
            api.build(model, output=folder, target="cortex-m0", calibration="random", check=False)
        found = alarms(folder)
    for line, count in sorted(found.items()):
        print(f"{count:4} {line}")
    print(f"{sum(found.values())} alarms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
