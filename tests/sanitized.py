"""A runner for tests under AddressSanitizer and UBSan: every buffer by itself, of exactly its bytes, and all of them inside the arena."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeq.build import COMMON_FLAGS, sources
from edgeq.ir import Array
from edgeq.process import run_tool
from edgeq.record import manifest
from edgeq.run.layout import Layout
from edgeq.simulate import Run

FLAGS = ("-O0", "-g1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")  # to compile it takes the most time
QUIET = ("-fsanitize-undefined-trap-on-error",)  # so that it takes less: no words for what is undefined
MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "eq_step.h"
#include "%(model)s.h"

static FILE *results;

void eq_step(int32_t index, const void *output, int32_t bytes)
{
    static const char padding[4];
    (void)index;
    fwrite(output, 1, (size_t)bytes, results);
    fwrite(padding, 1, (size_t)((4 - bytes %% 4) %% 4), results);
}

static unsigned char *buffer(size_t bytes)
{
    unsigned char *made = malloc(bytes);
    if (made == NULL) {
        abort();
    }
    return made;
}

static void take(unsigned char *to, int32_t bytes, FILE *from)
{
    char padding[4];
    if (fread(to, 1, (size_t)bytes, from) != (size_t)bytes) {
        abort();
    }
    (void)!fread(padding, 1, (size_t)((4 - bytes %% 4) %% 4), from);
}

int main(int argc, char **argv)
{
    FILE *vectors = fopen(argv[1], "rb");
    int32_t inside = argc > 3;
    unsigned char *arena = buffer(%(arena)d);
    unsigned char *ins[] = {%(ins)s};
    unsigned char *kept[] = {%(copies)s};
    unsigned char *outs[] = {%(outs)s};
    const int32_t in_bytes[] = {%(in_bytes)s};
    const int32_t out_bytes[] = {%(out_bytes)s};
    results = fopen(argv[2], "wb");
    for (int32_t i = 0; i < %(vectors)d; i++) {
        memset(arena, 0x55 + i, %(arena)d);
        for (size_t k = 0; k < sizeof ins / sizeof *ins; k++) {
            take(ins[k], in_bytes[k], vectors);
            memcpy(kept[k], ins[k], (size_t)in_bytes[k]);
        }
        %(model)s_invoke(arena, %(arguments)s);
        for (size_t k = 0; k < sizeof outs / sizeof *outs; k++) {
            eq_step(0, outs[k], out_bytes[k]);
        }
        for (size_t k = 0; k < sizeof ins / sizeof *ins; k++) {
            if (!inside && memcmp(kept[k], ins[k], (size_t)in_bytes[k]) != 0) {
                fprintf(stderr, "input %%d was written\\n", (int)k);
                return 1;
            }
        }
    }
    return fclose(results);
}
"""


def run(folder: Path, inputs: Mapping[str, Array]) -> list[Run]:
    """Compile an emitted folder with GCC and run every vector, inputs and outputs beside the arena and then inside it; all steps kept.

    Raises:
        AssertionError: a sanitizer stopped the program, or it wrote an input that lies beside the arena.
    """
    data = manifest(folder)
    layout = Layout(data)
    vectors, packed = layout.pack(inputs)

    text = MAIN % {
        "model": data.model, "arena": data.arena_bytes, "vectors": vectors,
        "ins": _places(layout.inputs), "outs": _places(layout.outputs), "copies": ", ".join(f"buffer({x.bytes})" for x in layout.inputs),
        "in_bytes": ", ".join(str(x.bytes) for x in layout.inputs), "out_bytes": ", ".join(str(x.bytes) for x in layout.outputs),
        "arguments": ", ".join(f"(void *){n}[{i}]" for n, xs in (("ins", layout.inputs), ("outs", layout.outputs)) for i in range(len(xs))),
    }  # fmt: skip
    (folder / "sanitized.c").write_text(text)
    (folder / "vectors.bin").write_bytes(packed.tobytes())
    program = folder / "sanitized"
    compiler = ["gcc", *COMMON_FLAGS, *FLAGS, "-DEQ_HOOK", *sources(folder, data), str(folder / "sanitized.c"), "-o", str(program)]
    run_tool([*compiler, *QUIET], "test")
    runs = []
    for place in ("beside", "inside"):
        results = folder / f"{place}.bin"
        command = [str(program), str(folder / "vectors.bin"), str(results), *(["inside"] if place == "inside" else [])]
        done = _executed(command)
        if done.returncode < 0 and not done.stderr:
            run_tool(compiler, "test")
            done = _executed(command)
        assert done.returncode == 0, done.stderr
        blocks = np.frombuffer(results.read_bytes(), np.uint8).reshape(vectors, layout.step_bytes + layout.output_bytes)
        steps, outputs = blocks[:, : layout.step_bytes], blocks[:, layout.step_bytes :]
        runs.append(Run(f"{place} the arena, sanitized", layout.unpack_outputs(outputs), layout.unpack_steps(steps)))
    return runs


def _executed(command: list[str]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0:handle_sigill=0"}
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=env)


def _places(entries: list[Any]) -> str:
    return ", ".join(f"inside ? arena + {x.offset} : buffer({x.bytes})" for x in entries)
