"""The demo: build the digits network for RISC-V, run it on an emulated chip, compare, score, report.

    python examples/digits/demo.py [FOLDER]      default: build/digits
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

from data import write

HERE = Path(__file__).parent


def show(*words: object) -> None:
    """Print a command as a user would type it, then run it; its failure ends the demo."""
    arguments = [str(w) for w in words]
    print(f"\n$ {shlex.join(['edgeq', *arguments])}", flush=True)
    done = subprocess.run([sys.executable, "-m", "edgeq", *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/digits")
    calibration, test = write(folder)
    model = (HERE / "digits.onnx").absolute()
    if model.is_relative_to(Path.cwd()):
        model = model.relative_to(Path.cwd())
    out = folder / "riscv"
    show("build", model, "--target", "riscv", "--calib", calibration, "-o", out)
    show("compare", out, "--runner", "unicorn")
    show("accuracy", out, "--data", test, "--float-model", model, "--runner", "unicorn")
    show("report", out, "-o", folder / "report.html")


if __name__ == "__main__":
    main()
