"""edgeq features: the features of recordings or pictures, as the chip computes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption
from edgeq.text import count

if TYPE_CHECKING:
    from edgeq.features import Description, ImageDescription
    from edgeq.ir import Array


def features(
    description: Annotated[
        Path, typer.Argument(metavar="DESCRIPTION", help="A description of sound features or pictures (.toml).", show_default=False)
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="Recordings (.wav, int16, one channel), or images.", show_default=False),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the features (.npz, one array per file).")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option("--frames", metavar="FILE", help="Where to write images as the camera stores them (.npz), inputs of other verbs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a description of sound features or pictures, or compute those of files, bit for bit as the chip does."""
    import numpy as np

    from edgeq import api
    from edgeq.features import FRAME, ImageDescription, read

    d = read(description)
    picture = isinstance(d, ImageDescription)
    files = sources or []
    if (output is not None or frames is not None) and not files:
        raise typer.BadParameter("give recordings or images with --output and --frames")
    if frames is not None and not picture:
        raise typer.BadParameter("recordings have no --frames")
    compute = (lambda path: api.image_features(description, path)[0]) if picture else lambda path: api.sound_features(description, path)
    found: dict[str, Array] = {path.stem: compute(path) for path in files}
    if output is not None:
        np.savez(output, **found)  # type: ignore[arg-type]
    if frames is not None:
        np.savez(frames, **{FRAME: api.camera_frames(description, files)})  # type: ignore[arg-type]
    if as_json:
        common.print_json({**_facts(d), "files" if picture else "recordings": {name: len(a) for name, a in found.items()}})
        return
    typer.echo(_line(d))
    for name, a in found.items():
        size = " x ".join(map(str, a.shape)) if picture else f"{count(len(a))} frames"
        typer.echo(f"  {name}  {size}, {a.min():g} to {a.max():g}")
    if not found:
        common.note(f"next: edgeq build {description} -t cortex-m4 -o DIR")


def _facts(d: Description | ImageDescription) -> dict[str, Any]:
    from edgeq.features import Description

    if isinstance(d, Description):
        return {
            "kind": d.kind, "precision": d.precision, "sample_rate": d.sample_rate, "n_fft": d.n_fft, "win_length": d.length,
            "hop_length": d.hop_length, "width": d.width, "frames": d.frames, "model": d.model or None,
        }  # fmt: skip
    return {
        "kind": d.kind, "format": d.format, "width": d.width, "height": d.height, "crop": d.crop or None, "size": d.size or None,
        "method": d.method, "model": d.model or None,
    }  # fmt: skip


def _line(d: Description | ImageDescription) -> str:
    from edgeq.features import Description

    if isinstance(d, Description):
        span = f"{1000 * d.length / d.sample_rate:g} ms every {1000 * d.hop_length / d.sample_rate:g} ms"
        return f"{d.kind} in {d.precision}: {d.width} numbers of {span} at {d.sample_rate} Hz"
    cut = f", cut to {d.crop[2]:g} x {d.crop[3]:g}" if d.crop else ""
    scaled = f", {d.method} to {d.size[0]:g} x {d.size[1]:g}" if d.size else ""
    return f"{d.width} x {d.height} pixels of {d.format}{cut}{scaled}"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq features listen.toml yes.wav no.wav -o features.npz")(features)
