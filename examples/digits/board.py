"""The digits network on a board that QEMU emulates: firmware, a serial port, and the commands that a real board answers too.

    python examples/digits/board.py [FOLDER]      default: build/digits
"""

from __future__ import annotations

import sys
from pathlib import Path

from data import write
from demo import HERE, show

from edgeq import target
from edgeq.build import build_firmware, toolchain
from edgeq.run.emulated import EmulatedBoard

BOARD = "mps2-an386"


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/digits")
    calibration, test = write(folder)
    out, chip = folder / BOARD, target.load(BOARD)
    show("build", HERE / "digits.onnx", "--target", BOARD, "--calib", calibration, "-o", out)
    elf = build_firmware(out, chip, toolchain(chip), folder / "serve.elf", app="serve", optimize="-Os")
    with EmulatedBoard(elf, chip) as board:
        board.start()
        show("run", out, "--port", board.port)
        show("compare", out, "--port", board.port, "--data", test)
        show("bench", out, "--port", board.port)


if __name__ == "__main__":
    main()
