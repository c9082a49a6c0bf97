"""Denoises recordings through the C that edgeq emits, in several precisions, and compares them.

    python examples/denoiser/demo.py                                  # the network and sound of this folder
    python examples/denoiser/demo.py --model M.onnx --data FOLDER --targets cortex-m4,riscv-f

Needs `pip install "edgeq[audio]"` for PESQ, STOI and the pictures.
"""

from __future__ import annotations

import argparse
import sys
from importlib.util import find_spec
from pathlib import Path

import metrics
from deploy import Precision, read
from evaluate import COSTS, SCORES, Row, cost_cells, reference_rows, row, score_cells, write_sounds
from page import page
from recordings import calibration_set, test_set

from edgeq.cli.common import note, table
from edgeq.errors import EdgeqError
from edgeq.recipes import RECIPES

HERE = Path(__file__).parent


def precision(text: str) -> Precision:
    """A recipe, or ``NAME=PATH``."""
    name, _, path = text.partition("=")
    if not path and name not in RECIPES:
        raise argparse.ArgumentTypeError(f"'{name}' is no recipe; choose of {', '.join(RECIPES)}, or write NAME=PATH")
    return Precision(name, Path(path) if path else None)


def parse(words: list[str] | None = None) -> argparse.Namespace:
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=Path, default=HERE / "denoiser.onnx", help="a float denoiser of one frame with its states")
    p.add_argument("--data", type=Path, help="a folder of recordings, see recordings.py; default: synthetic sound")
    p.add_argument(
        "--precisions", type=precision, nargs="+", default=[Precision(r) for r in RECIPES],
        help="what to compare with float: recipes of edgeq's, or NAME=PATH of what `edgeq quantize` wrote (default: every recipe)",
    )  # fmt: skip
    p.add_argument("--targets", default="cortex-m4", help="what to build for; sound is made by the first one's code (default: %(default)s)")
    p.add_argument("--recordings", type=int, default=6, help="how many to score (default: %(default)s)")
    p.add_argument("--calibration", type=int, default=4, help="how many to calibrate with (default: %(default)s)")
    p.add_argument("--output", type=Path, default=Path("build/denoiser"))
    return p.parse_args(words)


def run(options: argparse.Namespace) -> list[Row]:
    targets = options.targets.split(",")
    network = read(options.model)
    test, calibration = test_set(options.data, options.recordings), calibration_set(options.data, options.calibration)
    rows = list(reference_rows(network, test))
    for each in options.precisions:
        rows.append(row(network, each, calibration, test, rows[1], targets, options.output, note))
    table([(h, "right" if h else "left") for h in SCORES], score_cells(rows), f"{options.model.name}, {len(test)} recordings")
    table([(h, "right" if h not in ("", "target") else "left") for h in COSTS], cost_cells(rows))
    write_sounds(rows, test, options.output / "sound")
    print(f"sound     {options.output / 'sound'}")
    if find_spec("matplotlib") is None:
        print("no report: matplotlib is not installed (pip install 'edgeq[audio]')")
    else:
        (options.output / "report.html").write_text(page(options.model.stem, rows, test), encoding="utf-8")
        print(f"report    {options.output / 'report.html'}")
    if metrics.missing():
        print(f"-         not scored: {', '.join(metrics.missing())} not installed (pip install 'edgeq[audio]')")
    return rows


def main() -> None:
    try:
        run(parse())
    except (EdgeqError, ValueError, OSError) as e:
        sys.exit(f"error: {e}")


if __name__ == "__main__":
    main()
