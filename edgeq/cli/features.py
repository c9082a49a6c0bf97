"""edgeq features: the features of recordings, pictures or sensors, as the chip computes them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeq.cli import common
from edgeq.cli.common import JsonOption
from edgeq.errors import EdgeqError
from edgeq.files import npz_bytes, write_bytes
from edgeq.text import count

if TYPE_CHECKING:
    from edgeq.features import Description, ImageDescription, SensorDescription
    from edgeq.ir import Array


def features(
    description: Annotated[
        Path,
        typer.Argument(metavar="DESCRIPTION", help="A description of sound features, pictures or sensors (.toml).", show_default=False),
    ],
    sources: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...", help="Recordings (.wav, int16, one channel), images, or sensors' values (.csv).", show_default=False
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write the features (.npz, one array per file).")
    ] = None,
    frames: Annotated[
        Path | None,
        typer.Option("--frames", metavar="FILE", help="Where to write what the camera or the sensors store (.npz), inputs of other verbs."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a description of sound features, pictures or sensors, or compute those of files, bit for bit as the chip does."""
    import numpy as np

    from edgeq import api
    from edgeq.features import FRAME, SAMPLES, ImageDescription, SensorDescription, read

    d = read(description)
    files = sources or []
    if (output is not None or frames is not None) and not files:
        raise typer.BadParameter("give files with --output and --frames")
    names = [path.stem.encode(errors="replace").decode() for path in files]
    if twice := sorted({n for n in names if names.count(n) > 1}):
        raise EdgeqError(
            f"several files are called {', '.join(twice)}", fix="rename them: arrays are named after the files, without extensions"
        )
    if isinstance(d, ImageDescription):
        arrays = [api.image_features(description, path)[0] for path in files]
        stored = {FRAME: api.camera_frames(description, files)} if frames is not None else {}
    elif isinstance(d, SensorDescription):
        arrays = [api.sensor_features(description, path) for path in files]
        stored = {SAMPLES: np.concatenate([api.sensor_samples(description, path) for path in files])} if frames is not None else {}
    elif frames is not None:
        raise typer.BadParameter("recordings have no --frames")
    else:
        arrays, stored = [api.sound_features(description, path) for path in files], {}
    found = dict(zip(names, arrays, strict=True))
    if output is not None:
        write_bytes(output, npz_bytes(found))
    if frames is not None:
        write_bytes(frames, npz_bytes(stored))
    if as_json:
        kind = "files" if isinstance(d, ImageDescription) else "recordings"
        common.print_json({**_facts(d), kind: {name: len(a) for name, a in found.items()}})
        return
    typer.echo(_line(d))
    for name, a in found.items():
        typer.echo(f"  {name}  {_size(d, a)}, {a.min():g} to {a.max():g}")
    if not found:
        common.note(f"next: edgeq build {description} -t cortex-m4 -o DIR")


def _size(d: Description | ImageDescription | SensorDescription, a: Array) -> str:
    from edgeq.features import ImageDescription, SensorDescription

    if isinstance(d, ImageDescription):
        return " x ".join(map(str, a.shape))
    return f"{count(len(a))} {'windows' if isinstance(d, SensorDescription) else 'frames'}"


def _facts(d: Description | ImageDescription | SensorDescription) -> dict[str, Any]:
    from edgeq.features import Description, SensorDescription

    if isinstance(d, Description):
        return {
            "kind": d.kind, "precision": d.precision, "sample_rate": d.sample_rate, "n_fft": d.n_fft, "win_length": d.length,
            "hop_length": d.hop_length, "width": d.width, "frames": d.frames, "model": d.model or None,
        }  # fmt: skip
    if isinstance(d, SensorDescription):
        return {
            "kind": d.kind, "channels": d.channels, "sample_rate": d.sample_rate, "window": d.window, "hop": d.step, "spectrum": d.spectrum,
            "shape": d.shape, "model": d.model or None,
        }  # fmt: skip
    return {
        "kind": d.kind, "format": d.format, "width": d.width, "height": d.height, "crop": d.crop or None, "size": d.size or None,
        "method": d.method, "model": d.model or None,
    }  # fmt: skip


def _line(d: Description | ImageDescription | SensorDescription) -> str:
    from edgeq.features import Description, SensorDescription

    if isinstance(d, Description):
        span = f"{1000 * d.length / d.sample_rate:g} ms every {1000 * d.hop_length / d.sample_rate:g} ms"
        return f"{d.kind} in {d.precision}: {d.width} numbers of {span} at {d.sample_rate} Hz"
    if isinstance(d, SensorDescription):
        what = "samples" if d.spectrum == "none" else "magnitudes" if d.spectrum == "magnitude" else "levels in dB"
        span = f"{d.window / d.sample_rate:g} s every {d.step / d.sample_rate:g} s"
        return f"{d.shape[0]} x {d.shape[1]} {what} of {d.channels} channels: {span} at {d.sample_rate:g} Hz"
    cut = f", cut to {d.crop[2]:g} x {d.crop[3]:g}" if d.crop else ""
    scaled = f", {d.method} to {d.size[0]:g} x {d.size[1]:g}" if d.size else ""
    return f"{d.width} x {d.height} pixels of {d.format}{cut}{scaled}"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command(epilog="Example:  edgeq features listen.toml yes.wav no.wav -o features.npz")(features)
