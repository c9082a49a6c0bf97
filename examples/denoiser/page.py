"""One HTML file: the table, and a recording's spectrograms: noisy, clean, float, and each precision, with its sound."""

from __future__ import annotations

import base64
import html
import io
from typing import Any

import numpy as np
from audio import RATE
from evaluate import COSTS, SCORES, Row, cost_cells, score_cells
from numpy.typing import NDArray
from recordings import Utterance
from scipy.io import wavfile
from stft import HOP, analyse, frames, magnitude

Array = NDArray[Any]

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse; margin: 1rem 0 }} td, th {{ padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #ddd }}
th {{ color: #666; font-weight: normal }} td:first-child {{ text-align: left }} img {{ width: 100% }} figure {{ margin: 1rem 0 }}
audio {{ height: 1.8rem; vertical-align: middle }}
</style></head><body><h1>{title}</h1>
{scores}
{costs}
<h2>{name}</h2>
<figure><img alt="Spectrograms of {name}, one above the other" src="data:image/png;base64,{image}"></figure>
<table>{sounds}</table>
</body></html>
"""


def _table(headings: tuple[str, ...], rows: list[list[str]]) -> str:
    tagged = [("th", headings), *(("td", row) for row in rows)]
    lines = ["<tr>" + "".join(f"<{tag}>{html.escape(c)}</{tag}>" for c in line) + "</tr>" for tag, line in tagged]
    return "<table>" + "\n".join(lines) + "</table>"


def _base64(write: Any) -> str:
    buffer = io.BytesIO()
    write(buffer)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def spectrograms(sounds: dict[str, Array]) -> Any:
    """A matplotlib figure of int16 [N] each, one above the other, dB, one colour scale."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.6 * len(sounds) + 0.5), layout="constrained")
    axes = figure.subplots(len(sounds), 1, sharex=True, squeeze=False)[:, 0]
    image = None
    for axis, (name, pcm) in zip(axes, sounds.items(), strict=True):
        level = 20 * np.log10(magnitude(*analyse(frames(pcm))).T + 1e-5)
        extent = (0, level.shape[1] * HOP / RATE, 0, 8)
        image = axis.imshow(level, origin="lower", aspect="auto", vmin=-60, vmax=25, extent=extent, cmap="magma")
        axis.set_ylabel(f"{name}\nkHz")
    axes[-1].set_xlabel("s")
    figure.colorbar(image, ax=list(axes), label="dB", shrink=0.6)
    return figure


def page(title: str, rows: list[Row], test: list[Utterance]) -> str:
    """The text of the file; it shows the first recording."""
    u = test[0]
    sounds = {"clean": u.clean, **{r.name: r.sounds[0] for r in rows}}
    sounds = {n: sounds[n] for n in ("noisy", "clean", *(n for n in sounds if n not in ("noisy", "clean")))}
    figure = spectrograms(sounds)
    image = _base64(lambda f: figure.savefig(f, format="png", dpi=100))
    players = []
    for name, pcm in sounds.items():
        wav = _base64(lambda f, pcm=pcm: wavfile.write(f, RATE, pcm))
        players.append(f'<tr><td>{html.escape(name)}</td><td><audio controls src="data:audio/wav;base64,{wav}"></audio></td></tr>')
    return PAGE.format(
        title=html.escape(title), scores=_table(SCORES, score_cells(rows)), costs=_table(COSTS, cost_cells(rows)),
        name=html.escape(u.name), image=image, sounds="".join(players),
    )  # fmt: skip
