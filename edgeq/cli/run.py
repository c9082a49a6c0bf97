"""edgeq run: the emitted C, on this computer, an emulated chip or a board."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli import common, execute
from edgeq.cli.common import (
    BaudOption,
    ConstOption,
    FaultRateOption,
    FaultsOption,
    InputOption,
    JsonOption,
    ModelArgument,
    OptimizeOption,
    OutputArraysOption,
    PortOption,
    RunnerOption,
    SeedOption,
    ShapeOption,
    SignatureOption,
    TargetOption,
    TimeoutOption,
    ToolchainOption,
    TrustOption,
    VectorsOption,
)
from edgeq.run.ports import BAUD, SILENCE


def run(
    model: ModelArgument,
    inputs: InputOption = None,
    output: OutputArraysOption = None,
    target: TargetOption = None,
    runner: RunnerOption = None,
    real: Annotated[bool, typer.Option("--float", help="Write dequantized float32 outputs.")] = False,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compare the outputs with the simulator's.")] = True,
    vectors: VectorsOption = 4,
    toolchain: ToolchainOption = None,
    optimize: OptimizeOption = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    port: PortOption = None,
    baud: BaudOption = BAUD,
    timeout: TimeoutOption = SILENCE,
    faults: FaultsOption = None,
    p: FaultRateOption = None,
    seed: SeedOption = None,
    trust: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the emitted C and compare its outputs with the simulator's.

    A quantized model file is built in a temporary folder first. With --port the board's firmware must have been built from
    MODEL, a folder. Exit code 1 if an output differs.
    """
    from edgeq import api

    with common.bars() as progress:
        outcome = api.run(
            model, inputs, target=target, runner=runner, vectors=vectors, check=check, toolchain=toolchain,
            optimize=optimize, shapes=common.parse_shapes(shape), const=common.parse_consts(const), signature=signature,
            port=common.board_port(port, baud, timeout), faults=common.fault_map(faults, p, seed), trust=trust,
            progress=progress,
        )  # fmt: skip
    execute.write_outputs(outcome, output, real)
    if as_json:
        common.print_json(api.contract(outcome))
    else:
        execute.show(outcome, steps=True)
    if outcome.comparison is not None and not outcome.comparison.bit_exact:
        common.note(execute.stamp(outcome))
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq run out --input x.npz --output y.npz --json")(run)
