"""Recipes: ways to quantize a float model, one file each, found by scan.

A recipe is a module with a class ``RECIPE``, a frozen dataclass that inherits from `Recipe`; its name is the file's. The fields are its
own options: the command line and the API are made from them (`option`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from edgeq.errors import EdgeqError
from edgeq.quantize.methods import Methods
from edgeq.recipes._others import Other, advice
from edgeq.recipes._others import others as _others
from edgeq.recipes._recipe import Job, Made, Recipe, check_sums, divided, half_made
from edgeq.recipes._unseen import unseen

__all__ = [
    "DEFAULT",
    "RECIPES",
    "Job",
    "Made",
    "Other",
    "Recipe",
    "advice",
    "check_sums",
    "divided",
    "half_made",
    "make",
    "others",
    "takers",
    "unseen",
]

RECIPES: Mapping[str, type[Recipe]] = Methods(__name__, __path__, "RECIPE")
DEFAULT = "int8"


def takers() -> dict[str, list[str]]:
    """Option -> the recipes that have it."""
    found: dict[str, list[str]] = {}
    for name, recipe in RECIPES.items():
        for field in fields(recipe):
            found.setdefault(field.name, []).append(name)
    return found


def make(name: str, given: Mapping[str, Any]) -> Recipe:
    """A recipe with its options; those that are None take their default.

    Raises:
        EdgeqError: no such recipe, an option of another one, or an option's value.
    """
    if name not in RECIPES:
        raise EdgeqError(f"unknown recipe '{name}'", fix=f"choose one of {', '.join(RECIPES)}")
    known, chosen = takers(), {key: value for key, value in given.items() if value is not None}
    for key in chosen:
        if name not in known[key]:
            raise EdgeqError(f"recipe {name} has no option '{key}'", fix=f"add --recipe {' or '.join(known[key])}, or leave it out")
    return RECIPES[name](**chosen)


def others(name: str, job: Job, made: Made) -> list[Other]:
    """What other recipes keep where this one keeps little, see `_others`."""
    return _others(name, job, made, RECIPES)
