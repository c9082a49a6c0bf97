"""The front end alone on an emulated chip: its bytes and its instructions per frame.

stft.c is packed as if it were a model of edgeq's (a frame of samples and a mask in, magnitudes and a frame of samples out),
and the firmware that measures models measures it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from stft import BINS, HOP, analyse, frames, magnitude, overlap_add, synthesise

from edgeq.files import temporary_folder
from edgeq.folder import digest, digests
from edgeq.record import FORMAT, Manifest, Placed
from edgeq.resources import resource
from edgeq.run import unicorn
from edgeq.simulate import Run
from edgeq.target import load as load_target

HERE = Path(__file__).parent / "c"
Array = NDArray[Any]

MODEL = """\
/* The front end seen as a model. Made by frontend.py. */
#ifndef EQ_MODEL_H
#define EQ_MODEL_H

#include "stft.h"

#define EQ_MODEL_NAME "stft"
#define EQ_MODEL_STATE_BYTES sizeof(stft_t)
#define EQ_MODEL_ARENA_BYTES sizeof(stft_t)
#define EQ_MODEL_STEPS 0
#define EQ_MODEL_INPUT_BYTES 1228
#define EQ_MODEL_OUTPUT_BYTES 1228
#define EQ_MODEL_STEP_BYTES 0

static inline void eq_model_invoke(void *arena, const unsigned char *in, unsigned char *out)
{
    stft_analyse((stft_t *)arena, (const int16_t *)(const void *)in, (float *)(void *)out);
    stft_synthesise((stft_t *)arena, (const float *)(const void *)(in + 200), (int16_t *)(void *)(out + 1028));
}

static inline void eq_model_reset(void *arena)
{
    stft_reset((stft_t *)arena);
}

#endif
"""


def package(folder: Path) -> None:
    """Write the front end as a folder that edgeq's runners take."""
    for file in (*(HERE / f for f in ("stft.c", "stft.h", "stft_tables.h")), *(resource("templates") / "runtime").glob("eq_*.h")):
        shutil.copyfile(file, folder / file.name)
    (folder / "eq_model.h").write_text(MODEL, encoding="ascii")
    (folder / "stft_weights.h").write_text("/* None. */\n", encoding="ascii")
    samples = Placed("samples", (HOP,), "s16", 2 * HOP, None, 0, 0)
    mask, bins = (Placed(name, (BINS,), "f32", 4 * BINS, None, 0, 0) for name in ("mask", "magnitude"))
    files = digests({file.name: file.read_bytes() for file in folder.iterdir()})
    manifest = Manifest(
        format=FORMAT, model="stft", target="host", law="single", inputs=(samples, mask), outputs=(bins, samples), arena_bytes=0,
        arena_alignment=1, arena_lower_bound=0, arena_method="none", state_bytes=0, io_bytes=4 * HOP + 8 * BINS, weight_bytes=0, macs=0,
        states=(), steps=(), lifetimes=(), tables={}, table_bytes={}, hardened=False, fault_tables={},
        sources_sha256=digest(b"".join(sorted(h.encode() for h in files.values()))), files=files,
    )  # fmt: skip
    (folder / "manifest.json").write_text(manifest.text(), encoding="ascii")


def expected(pcm: Array, mask: Array) -> dict[str, Array]:
    """What stft.py says: magnitudes [T, 257] and samples [T, 100] for int16 [N] and masks [T, 257]."""
    re, im = analyse(frames(pcm))
    return {"magnitude": magnitude(re, im), "samples": overlap_add(synthesise(re, im, mask)).reshape(-1, HOP)}


def measure(target: str, pcm: Array, mask: Array, chain: str | None = None, optimize: str = "-O2") -> Run:
    """Run the frames of int16 [N] on a target's emulated core; `run.instructions` are those of one frame."""
    padded = np.zeros((len(mask), HOP), np.int16)
    padded.reshape(-1)[: len(pcm)] = pcm
    with temporary_folder() as folder:
        package(Path(folder))
        return unicorn.run(Path(folder), load_target(target), {"samples": padded, "mask": mask}, chain=chain, optimize=optimize)
