"""A model, quantized by a recipe, as C; and the program around it that denoises a .wav file."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from audio import read_wav, to_pcm, write_wav
from numpy.typing import NDArray
from stft import BINS, analyse, frames, magnitude

import edgeq
from edgeq import build, numerics, record
from edgeq.errors import EdgeqError
from edgeq.files import temporary_folder
from edgeq.ir import DType, Graph
from edgeq.process import run_tool
from edgeq.quantize import evaluate_float
from edgeq.record import Described, Manifest
from edgeq.resources import resource
from edgeq.target import load as load_target

HERE = Path(__file__).parent
Array = NDArray[Any]
# A network and its program are measured here, not fitted to a chip.
ROOM = {"flash": 1 << 26, "ram": 1 << 24}
LEVEL = "2"

HEADER = """\
/* Between the front end and model {name}: floats into its input, its output as floats. Made by deploy.py. */
#ifndef DENOISE_MODEL_H
#define DENOISE_MODEL_H

#include "eq_model.h"
#include "{header}"

/* {bins} magnitudes -> {input} */
static inline void denoise_put(unsigned char *block, const float *magnitude)
{{
    {put_type} *const x = ({put_type} *)(void *)block;
    for (int32_t i = 0; i < {bins}; i++) {{
        x[i] = {put};
    }}
}}

/* {output} -> a mask of {bins} */
static inline void denoise_get(const unsigned char *block, float *mask)
{{
    const {get_type} *const y = (const {get_type} *)(const void *)block;
    for (int32_t i = 0; i < {bins}; i++) {{
        mask[i] = {get};
    }}
}}

#endif
"""
CTYPES = {"f32": "float", "f16": "uint16_t", "s16": "int16_t", "s8": "int8_t"}


@dataclass(frozen=True)
class Network:
    """A float denoiser: one input of 257 magnitudes, one output of 257, the rest states.

    Attributes:
        input, output: their names.
    """

    graph: Graph
    input: str
    output: str

    def masks(self, pcm: Array) -> Array:
        """In float, over the frames of int16 [N] from the beginning of a stream: float32 [T, 257]."""
        return np.asarray(evaluate_float(self.graph, self.samples([pcm]))[self.output]).reshape(-1, BINS)

    def samples(self, recordings: list[Array]) -> dict[str, Array]:
        """The magnitudes of recordings one after the other, as samples of the network's input."""
        x = np.concatenate([magnitude(*analyse(frames(pcm))) for pcm in recordings])
        return {self.input: x.reshape(len(x), *self.graph.type(self.input).shape)}


def read(path: Path) -> Network:
    """Load a model file.

    Raises:
        EdgeqError: it is not a network of this form.
    """
    graph = edgeq.load(path)
    given, results = graph.given, graph.results
    sizes = [graph.type(n).size for n in (*given, *results)]
    if sizes != [BINS, BINS] or not graph.states:
        raise EdgeqError(
            f"not a denoiser of one frame: inputs {', '.join(given)}; outputs {', '.join(results)}", where=str(path),
            fix=f"give one input and one output of {BINS} values, and states as pairs ..._state_in, ..._state_out",
        )  # fmt: skip
    return Network(graph, given[0], results[0])


@dataclass(frozen=True)
class Precision:
    """What a network becomes: by one of edgeq's recipes, or a graph that `edgeq quantize` wrote."""

    name: str
    graph: Path | None = None


def emit(network: Network, precision: Precision, calibration: list[Array], targets: list[str], output: Path) -> list[edgeq.Built]:
    """Quantize once and build for each target, into a folder of `output` each; edgeq runs each result on an emulated chip (on
    this computer for target host) and compares every step with its simulator.

    Args:
        calibration: noisy recordings, played one after the other; the network's states follow from frame to frame.
    """
    made: list[edgeq.Built] = []
    for target in targets:
        model, given = made[0].graph if made else precision.graph or network.graph, {}
        if model is network.graph:
            given = {"recipe": precision.name, "calibration": network.samples(calibration)}
        folder = output / f"{precision.name}-{target}"
        made.append(edgeq.build(model, output=folder, target=target, name="denoiser", budget=ROOM, optimize=LEVEL, **given))
    return made


def glue(manifest: Manifest) -> str:
    """The text of denoise_model.h for an emitted model."""
    (x,), (y,) = manifest.inputs, manifest.outputs
    real = {"f32": ("magnitude[i]", "y[i]"), "f16": ("eq_half_from_float(magnitude[i])", "eq_float_from_half(y[i])")}
    put, get = (real[t.dtype][k] if t.dtype in real else _integer(t, manifest.law, k) for k, t in enumerate((x, y)))
    return HEADER.format(
        name=manifest.model, bins=BINS, input=x.dtype, output=y.dtype, put=put, get=get,
        put_type=CTYPES[x.dtype], get_type=CTYPES[y.dtype], header="eq_f16.h",
    )  # fmt: skip


def _integer(t: Described, law: str, reading: int) -> str:
    """The expression that writes or reads one integer, with the rounding of the model's law."""
    if reading:
        return f"(float)(y[i] - ({t.zero_point})) * {float(np.float32(t.scale)).hex()}f"
    limit = np.iinfo(DType(t.dtype).numpy)
    steps = f"magnitude[i] {'*' if law == 'single' else '/'} {float(numerics.quantize_factor(law, t.scale)).hex()}f"
    rounded = f"eq_round_float({steps}, {int(law == 'single')}) + ({t.zero_point})"
    return f"({CTYPES[t.dtype]})eq_clamp({rounded}, {limit.min}, {limit.max})"


@dataclass(frozen=True)
class Program:
    """denoise.c with a model, compiled for this computer."""

    file: Path

    def run(self, pcm: Array, work: Path) -> tuple[Array, Array]:
        """Denoise int16 [N]: int16 [N], and the masks float32 [T, 257].

        Raises:
            EdgeqError: the program failed.
        """
        noisy, clean, masks = work / "noisy.wav", work / "clean.wav", work / "masks.f32"
        write_wav(noisy, pcm)
        done = subprocess.run([self.file, noisy, clean, masks], capture_output=True, text=True, check=False)
        if done.returncode:
            raise EdgeqError(f"the program failed with exit code {done.returncode}", where=str(self.file), why=done.stderr.strip())
        return to_pcm(read_wav(clean)), np.fromfile(masks, np.float32).reshape(-1, BINS)


def compile_program(folder: Path, file: Path, chain: str | None = None, optimize: str = "-O2") -> Program:
    """Compile an emitted model with front end and file handling for this computer.

    Args:
        folder: what `emit` wrote, for any target.
        file: the program to write.
        chain: zig (default), gcc or clang.
    """
    host = load_target("host")
    tool = build.toolchain(host, chain)
    manifest = record.manifest(folder)
    here = HERE / "c"
    with temporary_folder() as work:
        (Path(work) / "denoise_model.h").write_text(glue(manifest), encoding="ascii")
        command = [
            *tool.command, *tool.flags, *build.COMMON_FLAGS, optimize, f"-I{work}", f"-I{here}",
            f"-I{resource('templates') / 'runtime'}", f"-I{folder}", *build.sources(folder, manifest),
            *(str(here / f"{n}.c") for n in ("stft", "wav", "denoise")), "-o", str(file),
        ]  # fmt: skip
        file.parent.mkdir(parents=True, exist_ok=True)
        run_tool(command, str(folder))
    return Program(file)
