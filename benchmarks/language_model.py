"""The small language model of the examples on text held out and on chips: perplexity, bytes and tokens a second.

python -m benchmarks.language_model          all of it, to benchmarks/language_model.md (PyTorch)
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from benchmarks.models import ROOT
from edgeq import load, quantize
from edgeq.files import temporary_folder
from edgeq.quantize import Options, evaluate_float
from edgeq.simulate import simulate

PAGE = ROOT / "benchmarks" / "language_model.md"
WINDOWS, TOKENS, MEGAHERTZ = 64, 120, 120.0  # of text that judges, 128 tokens each; tokens that the chips write; of the chips
FORMS: dict[str, dict[str, Any]] = {
    "fp16": {"recipe": "fp16"}, "int8": {"options": Options(weights="int8")}, "int4": {"options": Options(weights="int4")},
}  # fmt: skip

TEXT = f"""# A language model on chips

Made by `python -m benchmarks.language_model`: [examples/small_language_model](../examples/small_language_model), 224 thousand parameters, a
character at a time. Perplexity of {128 * WINDOWS:,} characters held out. A chip is asked for {TOKENS} characters; every score and every
character is the simulator's, on the emulated core and over the serial line of an emulated board. Tokens a second are those at
{MEGAHERTZ:g} MHz by the model of the core, with the least and the most that its error allows.

"""


def main() -> None:
    sys.path.insert(0, str(ROOT / "examples" / "small_language_model"))
    import deploy  # type: ignore[import-not-found]
    from export import write  # type: ignore[import-not-found]
    from text import split  # type: ignore[import-not-found]

    with temporary_folder() as folder:
        write(deploy.HERE / "weights.npz", Path(folder) / "model.onnx")
        graph = load(Path(folder) / "model.onnx")
        (samples, _), (held, following) = (deploy.windows(t, n) for t, n in zip(split(), (WINDOWS // 4, WINDOWS), strict=True))
        lines = ["| | perplexity | bytes of keys and values |", "|---|--:|--:|"]
        real = deploy.perplexity(evaluate_float(graph, held)[graph.results[0]], following)
        lines.append(f"| float | {real:.3f} | |")
        chips = ["", "| weights | chip | instructions | tokens a second | weights, bytes | arena |", "|---|---|--:|--:|--:|--:|"]
        for form, options in FORMS.items():
            made = quantize(graph, samples, **options).graph
            scores = deploy.real(made, simulate(made, held).outputs[made.results[0]])
            kept = sum(made.type(a).bytes for a, _ in made.states)
            lines.append(f"| {form} | {deploy.perplexity(scores, following):.3f} | {kept:,} |")
            if form == "fp16":
                continue
            want = deploy.told(deploy.Writer(made), deploy.PROMPT, TOKENS)
            for chip in deploy.BOARDS:
                deploy.same(deploy.on_board(made, chip, Path(folder) / f"board_{chip}_{form}", TOKENS), want, chip)
                token = deploy.measured(made, chip, Path(folder) / f"{chip}_{form}", want[0], MEGAHERTZ)
                usual, least, most = token.rates or (0.0, 0.0, 0.0)
                rate = f"{usual:.0f} ({least:.0f} to {most:.0f})"
                chips.append(f"| {form} | {chip} | {token.instructions:,} | {rate} | {token.weights:,} | {token.arena:,} |")
                print(chips[-1], flush=True)
    PAGE.write_text(TEXT + "\n".join([*lines, *chips]) + "\n")


if __name__ == "__main__":
    main()
