"""Units in the order of their noise, and by bisection how many of the least sensitive go into each cheaper storage (Schaefer et al.,
augmented Hessians, 2023).

From the dearest storage to the cheapest: of the units that can take the next one, those whose noise in it is least go first, as many as
the limits allow. It tries a few choices per storage where the integer program tries thousands, and weighs no bytes against others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgeq.quantize.allocate import NOISE, Problem, Wanted


def choose(problem: Problem, wanted: Wanted) -> Mapping[str, str] | None:
    """The choice of the most units in cheap storages that keeps the noise; where noise is the aim, of the fewest that keep the limits."""
    noise = {choice: float(np.max(problem.noise[:, i])) for i, choice in enumerate(problem.choices)}
    price = dict(zip(problem.choices, problem.price(wanted.aim).tolist(), strict=False))
    chosen: dict[str, str] = {}
    for u in problem.units:
        chosen[u.name] = min(u.choices, key=lambda s, name=u.name: (noise[name, s], price[name, s]))  # type: ignore[misc]
    storages = {s for _, s in problem.choices}
    mean = {s: np.mean([price[u, t] for u, t in problem.choices if t == s]) for s in storages}
    bounds = replace(wanted, flash=math.inf, ram=math.inf, instructions=math.inf) if wanted.aim != NOISE else wanted
    for storage in sorted(storages, key=lambda s: (-mean[s], s)):
        able = sorted((u.name for u in problem.units if storage in u.choices), key=lambda n, s=storage: (noise[n, s], n))  # type: ignore[misc]
        cheaper = [n for n in able if price[n, storage] < price[n, chosen[n]]]

        def moved(count: int, names: list[str] = cheaper, storage: str = storage, before: Mapping[str, str] = chosen) -> dict[str, str]:
            return {**before, **dict.fromkeys(names[:count], storage)}

        if wanted.aim == NOISE and problem.keeps(chosen, wanted):
            break
        low, high = 0, len(cheaper)
        while low < high:
            middle = (low + high + (wanted.aim != NOISE)) // 2
            if problem.keeps(moved(middle), bounds):
                low, high = (low, middle) if wanted.aim == NOISE else (middle, high)
            else:
                low, high = (middle + 1, high) if wanted.aim == NOISE else (low, middle - 1)
        chosen = moved(low)
    return chosen if problem.keeps(chosen, wanted) else None
