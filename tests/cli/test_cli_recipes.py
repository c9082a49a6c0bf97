"""Every verb that takes a float model takes every option of every recipe; options are shown in groups."""

from __future__ import annotations

import inspect
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from edgeq.api.recipe import Choices
from edgeq.cli import accuracy, build, faults, options, quantize, tune
from edgeq.quantize.plan import Options
from edgeq.recipes import RECIPES, takers

VERBS = {m.__name__.rpartition(".")[2]: m for m in (quantize, build, tune, accuracy, faults)}


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    path = tmp_path / "calib.npz"
    np.savez(path, x=np.random.default_rng(0).normal(0, 1, (24, 1, 12)).astype(np.float32))
    return path


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_takes_every_option(name: str) -> None:
    own = set(inspect.signature(getattr(VERBS[name], name).all_options()).parameters)
    samples = {"calib", "calib_limit", "stored", "pixels", "mean", "std", "classes"}
    wanted = {f"recipe_{option}" for option in takers()} | {f.name for f in fields(Options) if f.metadata}
    assert wanted | samples | {"recipe", "precision", "spectrum", "budget"} <= own


def test_the_api_has_the_same_options() -> None:
    samples = {"calibration_limit", "stored", "pixels", "mean", "std", "classes"}
    assert set(takers()) | samples | {"recipe", "options", "precision", "spectrum", "unseen"} == set(Choices.__annotations__)


@pytest.mark.parametrize("name", VERBS)
def test_help_shows_groups(edgeq, name: str) -> None:
    text = edgeq(name, "--help").out
    assert all(f"─ {panel} ─" in text for panel in (options.CALIBRATION, options.QUANTIZATION, "Recipe fp16, mixed", "Recipe robust"))
    assert all(recipe in text for recipe in RECIPES)


def test_another_recipes_option_is_refused(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    found = edgeq("quantize", float_model, "--calib", samples, "--accumulate", "f16", "-o", tmp_path / "q")
    assert found.code == 1 and "--recipe fp16 or mixed" in found.err
    found = edgeq("quantize", float_model, "--calib", samples, "--recipe", "int9", "-o", tmp_path / "q")
    assert found.code == 1 and ", ".join(RECIPES) in found.err


def test_options_reach_accuracy_and_tune(edgeq, float_model: Path, samples: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "d.npz", x=rng.normal(0, 1, (8, 1, 12)).astype(np.float32), y=rng.integers(0, 3, 8))
    given = ("--data", tmp_path / "d.npz", "--calib", samples)
    assert edgeq("accuracy", float_model, *given, "--method", "minmax", "--rounding", "nearest", "--json").code == 0
    assert "choose one of" in edgeq("accuracy", float_model, *given, "--method", "none").err
    assert edgeq("accuracy", float_model, *given, "--recipe", "auto", "--budget", "drop=20dB", "--json").code == 0
    rates = ("--p", "1%", "--patterns", "2", "--device", "simulator", "--no-layers", "--json")
    assert edgeq("faults", float_model, *given, "--recipe", "robust", "--recipe-p", "1%", "--code", "6", *rates).code == 0


def test_a_warning_of_calibration_is_one_line_once(edgeq, float_model: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "p.npz", x=(101325 + np.random.default_rng(0).uniform(-200, 200, (24, 1, 12))).astype(np.float32))
    found = edgeq("quantize", float_model, "--calib", tmp_path / "p.npz", "-o", tmp_path / "q")
    assert found.code == 0 and [line.startswith("edgeq: warning: 'x' lies between") for line in found.err.splitlines()].count(True) == 1
