"""A front end hears a week of noise: nothing overflows, and what it says of a sound does not drift.

    python -m tests.week_of_noise                          # PCEN in int16 at 8 kHz, a week: some minutes
    python -m tests.week_of_noise listen.toml --hours 24   # a description of yours

The emitted C runs on this computer as fast as it can, two hours of it under UndefinedBehaviorSanitizer too. A minute of a fixed
sound comes first and, after silence, clipping, bursts and noise of all loudnesses, last: the answers to its second half must be the same,
but for a step of int16 (of floats: but for their last bits), because no state of a front end remembers half a minute.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from edgeq import api, features
from edgeq.emit import emit, write
from edgeq.ir import Array, Graph, TensorType
from edgeq.lower import lower
from edgeq.plan import plan
from edgeq.target import load

DEFAULT = 'kind = "pcen"\nprecision = "int16"\nsample_rate = 8000\nn_fft = 256\nhop_length = 128\nn_mels = 16\nf_min = 60\n'
PROBE = 60.0  # seconds
CHECKED = 2.0  # hours under the sanitizer: every kind of sound, more than once
FAST, CAREFUL = ("-O2", "-ffp-contract=off"), ("-O2", "-ffp-contract=off", "-fsanitize=undefined", "-fno-sanitize-recover=all")
MAIN = """#include <stdio.h>
#include <stdlib.h>
#include "noise.h"
#define SIZE (NOISE_SAMPLES_BYTES / 2)
static _Alignas(16) unsigned char arena[NOISE_ARENA_BYTES], state[NOISE_STATE_BYTES], out[OUT_BYTES];
static uint32_t seed;
static int32_t drawn(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (int32_t)(seed >> 16) - 32768;
}
static void step(int32_t loud, int32_t shape, FILE *to)
{
    static int16_t samples[SIZE];
    for (int32_t i = 0; i < SIZE; i++) {
        const int32_t noise = drawn() * loud / 32768;
        samples[i] = (int16_t)(shape == 1 ? (noise < 0 ? -32768 : 32767) : shape == 2 ? 32767 : noise);
    }
    noise_invoke(arena, state, samples, (void *)out);
    if (to) {
        fwrite(out, 1, sizeof out, to);
    }
}
int main(int count, char **words)
{
    const long steps = atol(words[1]), probe = atol(words[2]);
    FILE *to = fopen(words[3], "wb");
    noise_reset(state);
    for (int turn = 0; turn < 2; turn++) {
        seed = 1;
        for (long i = 0; i < probe; i++) {
            step(1000 + (int32_t)(i % 50) * 300, 0, i < probe / 2 ? (FILE *)0 : to);
        }
        for (long i = 0; turn == 0 && i < steps; i++) {
            const long part = i / 5000; /* another kind of sound now and then */
            const int32_t loud[] = {0, 1, 32767}, kind = (int32_t)(part % 7);
            step(kind < 3 ? loud[kind] : (int32_t)(i * 37 % 32768), kind == 3 ? 1 : kind == 4 ? 2 : 0, (FILE *)0);
        }
    }
    return count != 4 || fclose(to);
}
"""


class Heard(NamedTuple):
    """What a week came to.

    Attributes:
        steps: of the stream. largest: difference of an answer after the week, in steps of int16, or in parts of the largest float.
    """

    steps: int
    largest: float


def hear(graph: Graph, seconds_of_step: float, hours: float, work: Path) -> Heard:
    """Let a front end's C hear noise.

    Raises:
        subprocess.CalledProcessError: something overflowed, or it does not compile.
    """
    program = lower(graph, load("host"))
    write(emit(program, plan(program), "noise"), work / "m")
    t = graph.type(graph.results[0])
    (work / "m" / "hear.c").write_text(MAIN)
    steps, probe = round(hours * 3600 / seconds_of_step), 2 * round(PROBE / seconds_of_step / 2)
    checked = min(steps, round(CHECKED * 3600 / seconds_of_step))
    careful = _answers(work, CAREFUL, checked, probe, t)
    before, after = _answers(work, FAST, steps, probe, t) if steps > checked else careful
    return Heard(steps, max(_largest(b, a, t.q is not None) for b, a in (careful, (before, after))))


def _answers(work: Path, flags: tuple[str, ...], steps: int, probe: int, t: TensorType) -> Array:
    """What is said of the probe before and after the noise, ``[2, N]``, by the C compiled with some flags.

    Raises:
        subprocess.CalledProcessError: something overflowed, or it does not compile.
    """
    sources = [str(p) for p in sorted((work / "m").glob("*.c")) if p.name != "main.c"]
    subprocess.run(["gcc", *flags, f"-DOUT_BYTES={t.bytes}", *sources, "-o", str(work / "hear")], check=True, timeout=300)
    subprocess.run([str(work / "hear"), str(steps), str(probe), str(work / "out.bin")], check=True)
    return np.fromfile(work / "out.bin", t.dtype.numpy).astype(np.float64).reshape(2, -1)


def _largest(before: Array, after: Array, integers: bool) -> float:
    apart = float(np.abs(before - after).max())
    return apart if integers else apart / float(np.abs(before).max())


def main() -> int:
    """Print what came of it; 1 where it drifted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("description", nargs="?", type=Path, default=None)
    parser.add_argument("--hours", type=float, default=168.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        path = options.description or Path(name) / "noise.toml"
        if options.description is None:
            path.write_text(DEFAULT)
        d = features.read(path)
        if not isinstance(d, features.Description):
            parser.error("a description of sounds is needed")
        found = hear(api.load(path), d.frames * d.hop_length / d.sample_rate, options.hours, Path(name))
    print(f"{found.steps} steps, {options.hours:g} hours: no overflow; the same sound differs by {found.largest:g} at most")
    return int(found.largest > 1)


if __name__ == "__main__":
    raise SystemExit(main())
