"""The options of verbs that take a float model: how it is calibrated and quantized, made from `Options` and the recipes.

They are made when a verb is called, or asked for its help: `edgeq --help` imports nothing of quantization.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from edgeq.cli import common

if TYPE_CHECKING:
    from edgeq.api.recipe import Recipe

CHOSEN = "chosen"  # the parameter by which a verb gets what was chosen
CALIBRATION, QUANTIZATION = "Calibration of a float model", "Quantization of a float model"


def _parameter(name: str, kind: Any, flags: tuple[str, ...], panel: str, help: str, metavar: str = "", **more: Any) -> inspect.Parameter:
    shown = metavar or ("NAME" if kind == str | None else None)
    info = typer.Option(*flags, help=help, metavar=shown, rich_help_panel=panel, show_default=False, **more)
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, info])


def _samples() -> list[inspect.Parameter]:
    return [
        _parameter(
            "calib", str | None, ("--calib",), CALIBRATION,
            "Samples: .npz, .npy, .csv, a folder of those or of images, `data-free` or `random`.", "PATH",
        ),
        _parameter("calib_limit", int | None, ("--calib-limit",), CALIBRATION, "Use at most N samples.", "N", min=1),
        _parameter("stored", str | None, ("--stored",), CALIBRATION, "Integer samples mean SCALE * (q - ZERO).", "SCALE,ZERO"),
        _parameter(
            "pixels", str | None, ("--pixels",), CALIBRATION,
            "What the model expects for pixels 0 and 255 of images and uint8 arrays: 0,1 or 0,255 or -1,1.", "BLACK,WHITE",
        ),
        _parameter(
            "mean", str | None, ("--mean",), CALIBRATION,
            "Subtracted from the pixels after that (default black and white: 0,1), one number or one per channel: 0.485,0.456,0.406.",
            "R,G,B",
        ),
        _parameter("std", str | None, ("--std",), CALIBRATION, "Divides the pixels after --mean: 0.229,0.224,0.225.", "R,G,B"),
        _parameter(
            "classes", str | None, ("--classes",), CALIBRATION,
            "Names of the classes in the model's order, or a file with one a line, for labels that are names (default: sorted).", "A,B,C",
        ),
    ]  # fmt: skip


def flag(name: str) -> str:
    """The usual flag of a field."""
    return f"--{name.replace('_', '-')}"


def _options() -> list[inspect.Parameter]:
    """Of the fields of `Options` that have a help."""
    from edgeq.quantize.plan import Options

    found = []
    for field in fields(Options):
        if "help" not in field.metadata:
            continue
        switch, choices = isinstance(field.default, bool), field.metadata.get("choices", ())
        help = field.metadata["help"] + (f": {', '.join(choices)}" if choices else "")
        default = f"--{'' if field.default else 'no-'}{field.name.replace('_', '-')}" if switch else field.default
        flags = f"{flag(field.name)}/--no-{field.name.replace('_', '-')}" if switch else flag(field.name)
        kind = bool | None if switch else str | None
        found.append(_parameter(field.name, kind, (flags,), QUANTIZATION, f"{help} (default {default})."))
    return found


def _recipes(taken: frozenset[str]) -> list[inspect.Parameter]:
    """The recipe, and the options of all; one whose flag the verb has itself is called ``--recipe-...``."""
    from edgeq.recipes import DEFAULT, RECIPES, takers

    summary = "; ".join(f"{n}{' (default)' if n == DEFAULT else ''}: {r.summary}" for n, r in RECIPES.items())
    help = f"How a float model is quantized. {summary}."
    found = [_parameter("recipe", str | None, ("--recipe",), QUANTIZATION, help)]
    for name, having in takers().items():
        field = next(f for f in fields(RECIPES[having[0]]) if f.name == name)
        flags = tuple(f if f not in taken else f"--recipe-{f.lstrip('-')}" for f in field.metadata["flags"] or (flag(name),))
        kind = str | None
        panel = f"Recipe {', '.join(having)}"
        found.append(_parameter(f"recipe_{name}", kind, flags, panel, field.metadata["help"], field.metadata["metavar"]))
    return found


def parameters(taken: frozenset[str] = frozenset()) -> list[inspect.Parameter]:
    """All options of quantization, of a verb that has the flags `taken` itself."""
    written = _parameter("precision", Path | None, ("--precision",), QUANTIZATION, "Quantize as this edited precision.toml says.", "FILE")
    spectra = "What spectra of a model that takes samples are computed in: float32 (default), or int16."
    front = _parameter("spectrum", str | None, ("--spectrum",), QUANTIZATION, spectra, "float32|int16")
    return [*_samples(), *_recipes(taken), *_options(), front, written]


def _read(name: str, text: str | None) -> str | float | None:
    """A recipe's option as the API takes it."""
    from edgeq.recipes import RECIPES

    field = next(f for r in RECIPES.values() for f in fields(r) if f.name == name)
    return common.parse_rate(text, flag(name)) if text is not None and field.metadata["rate"] else text


def takes_float_models(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb every option of every recipe; it gets them as keywords of the API in its parameter `CHOSEN`.

    What is returned has the verb's own options alone, for the list of verbs; `completed` has them all.
    """
    own, hints = inspect.signature(verb), get_type_hints(verb, include_extras=True)
    mine = [p.replace(annotation=hints[n], kind=inspect.Parameter.KEYWORD_ONLY) for n, p in own.parameters.items() if n != CHOSEN]
    short = _with(verb, mine, lambda **given: verb(**given, **{CHOSEN: {}}))

    def all_options() -> Callable[..., None]:
        added = parameters(frozenset(f for p in mine for f in _flags(p)))

        def call(**given: Any) -> None:
            values = {p.name: given.pop(p.name) for p in added}
            verb(**given, **{CHOSEN: chosen(values)})

        return _with(verb, [*mine, *added], call)

    short.all_options = all_options  # type: ignore[attr-defined]
    return short


def _with(verb: Callable[..., None], parameters: list[inspect.Parameter], call: Callable[..., None]) -> Callable[..., None]:
    """A function that is called by other parameters than the verb that it stands for."""

    @functools.wraps(verb)
    def wrapper(**given: Any) -> None:
        call(**given)

    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
    del wrapper.__wrapped__
    return wrapper


def completed(name: str, command: Any) -> Any:
    """The click command of a verb with all its options."""
    make = getattr(command.callback, "all_options", None)
    if make is None:
        return command
    app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)
    app.command(name, epilog=command.epilog)(make())
    return typer.main.get_command(app)


def _flags(parameter: inspect.Parameter) -> list[str]:
    """The flags of a verb's own parameter."""
    infos = [i for i in getattr(parameter.annotation, "__metadata__", ()) if hasattr(i, "param_decls")]
    return [f for i in infos for d in i.param_decls or () for f in d.split("/")] + [flag(parameter.name)]


def chosen(values: Mapping[str, Any]) -> Recipe:
    """The options as the API takes them; warns of random calibration.

    Raises:
        EdgeqError: an unknown method, law or rounding.
        typer.BadParameter: a value that cannot be read.
    """
    from edgeq.quantize.classes import names_of
    from edgeq.quantize.plan import Options
    from edgeq.recipes import DEFAULT, RECIPES, takers

    given = {f.name: values[f.name] for f in fields(Options) if values.get(f.name) is not None}
    if str(given.get("weights", "")).isdecimal():
        given["weights"] = f"int{given['weights']}"
    own = {name: _read(name, values[f"recipe_{name}"]) for name in takers()}
    if values["calib"] == "random" and (values["recipe"] is None or RECIPES.get(values["recipe"], RECIPES[DEFAULT]).calibrated):
        common.warn("calibrated on random data: the code is right, the accuracy is not (keyword spotting: 51 % right answers, not 88 %)")
    return {
        "recipe": values["recipe"], "calibration": values["calib"], "calibration_limit": values["calib_limit"],
        "stored": common.parse_pair(values["stored"], "--stored"), "pixels": common.parse_pair(values["pixels"], "--pixels"),
        "mean": common.parse_numbers(values["mean"], "--mean"), "std": common.parse_numbers(values["std"], "--std"),
        "classes": None if values["classes"] is None else names_of(values["classes"]),
        "options": Options(**given) if given else None, "precision": values["precision"], "spectrum": values["spectrum"], **own,  # type: ignore[typeddict-item]
    }  # fmt: skip
