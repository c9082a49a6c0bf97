"""edgeq simulate: the bit-exact meaning of a model."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeq.cli import common, execute
from edgeq.cli.common import (
    ConstOption,
    DeviceOption,
    InputOption,
    JsonOption,
    ModelArgument,
    OutputArraysOption,
    ShapeOption,
    SignatureOption,
    TargetOption,
    VectorsOption,
)


def simulate(
    model: ModelArgument,
    inputs: InputOption = None,
    output: OutputArraysOption = None,
    target: TargetOption = None,
    real: Annotated[bool, typer.Option("--float", help="Write dequantized float32 outputs.")] = False,
    vectors: VectorsOption = 16,
    device: DeviceOption = None,
    shape: ShapeOption = None,
    const: ConstOption = None,
    signature: SignatureOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a quantized model on the simulator, whose outputs every chip must match bit for bit."""
    from edgeq import api

    with common.bars() as progress:
        outcome = api.simulate(
            model,
            inputs,
            target=target,
            vectors=vectors,
            shapes=common.parse_shapes(shape),
            const=common.parse_consts(const),
            signature=signature,
            device=device,
            progress=progress,
        )
    execute.write_outputs(outcome, output, real)
    if as_json:
        common.print_json(api.contract(outcome))
    else:
        execute.show(outcome, steps=False)


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq simulate out --input x.npz --output y.npz --float")(simulate)
