"""edgeq features: the features of recordings, as the chip computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption
from edgeq.text import count


def features(
    description: Annotated[Path, typer.Argument(metavar="DESCRIPTION", help="A description of features (.toml).", show_default=False)],
    sounds: Annotated[
        list[Path] | None, typer.Argument(metavar="[SOUND]...", help="Recordings (.wav, int16, one channel).", show_default=False)
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the features (.npz, one array per recording).")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a description of sound features, or compute those of recordings, bit for bit as the chip does."""
    import numpy as np

    from edgeq import api
    from edgeq.features import read

    d = read(description)
    found = {path.stem: api.sound_features(description, path) for path in sounds or ()}
    if output is not None:
        if not found:
            raise typer.BadParameter("give recordings with --output")
        np.savez(output, **found)  # type: ignore[arg-type]
    facts = {
        "kind": d.kind, "precision": d.precision, "sample_rate": d.sample_rate, "n_fft": d.n_fft, "win_length": d.length,
        "hop_length": d.hop_length, "width": d.width, "frames": d.frames, "model": d.model or None,
        "recordings": {name: len(a) for name, a in found.items()},
    }  # fmt: skip
    if as_json:
        common.print_json(facts)
        return
    span = f"{1000 * d.length / d.sample_rate:g} ms every {1000 * d.hop_length / d.sample_rate:g} ms"
    typer.echo(f"{d.kind} in {d.precision}: {d.width} numbers of {span} at {d.sample_rate} Hz")
    for name, a in found.items():
        typer.echo(f"  {name}  {count(len(a))} frames, {a.min():g} to {a.max():g}")
    if not found:
        common.note(f"next: edgeq build {description} -t cortex-m4 -o DIR")


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq features listen.toml yes.wav no.wav -o features.npz")(features)
