"""MISRA C:2012 over emitted C, by cppcheck's addon: how often each rule is reported.

    python -m tests.misra                    # digits and the denoiser in half precision, three chips: minutes
    python -m tests.misra FOLDER             # a folder of yours

docs/misra.md says of every rule that is reported why the code stays as it is.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgeq import api
from edgeq.api import Recipe

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
DOCUMENT = HERE.parent / "docs" / "misra.md"
MODELS: tuple[tuple[str, Recipe], ...] = (("digits", {"recipe": "int8", "calibration": "random"}), ("denoiser", {"recipe": "fp16"}))
CHIPS = ("cortex-m4", "cortex-m55", "riscv")
OPTIONS = ["--addon=misra", "--std=c99", "--platform=unix32", "--enable=style", "--suppress=missingIncludeSystem", "--quiet"]
REPORT = re.compile(r"^(?P<file>[^:\n]+):\d+: misra-c2012-(?P<rule>\d+\.\d+)", re.MULTILINE)


def reported(files: Sequence[Path]) -> Counter[tuple[str, str]]:
    """Reports by file name and rule."""
    command = ["cppcheck", *OPTIONS, "--template={file}:{line}: {id}", *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=900)
    return Counter((Path(m["file"]).name, m["rule"]) for m in REPORT.finditer(done.stderr))


def documented() -> set[str]:
    """The rules that docs/misra.md names in its table."""
    return set(re.findall(r"^\| (\d+\.\d+) \|", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))


def sources(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.c") if p.name != "main.c" and not p.name.endswith(("_weights.c", "_vectors.c")))


def main(folders: Sequence[str]) -> None:
    total: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as work:
        places = [Path(f) for f in folders]
        for name, recipe in () if folders else MODELS:
            for chip in CHIPS:
                places.append(Path(work) / f"{name}-{chip}")
                api.build(EXAMPLES / name / f"{name}.onnx", target=chip, output=places[-1], check=False, **recipe)
        for place in places:
            found = reported(sources(place))
            for (_, rule), count in found.items():
                total[rule] += count
            print(f"{place.name}: {sum(found.values())}", flush=True)
    for rule, count in total.most_common():
        print(f"{rule:>6} {count:>6}{'' if rule in documented() else '   not in docs/misra.md'}")


if __name__ == "__main__":
    main(sys.argv[1:])
