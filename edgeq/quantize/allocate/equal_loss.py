"""Every unit may lose alike: the closed form of the best bit widths gives all layers the same loss (Zhang et al., BAQ, 2025).

Of the storages that there are, each unit takes the cheapest one whose noise stays below a bound that all share, the highest bound that
keeps to the limits. Quicker than the integer program, and no better: it knows no casts when it chooses.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgeq.quantize.allocate import NOISE, Problem, Wanted


def choose(problem: Problem, wanted: Wanted) -> Mapping[str, str] | None:
    """The choice of the highest bound that keeps to what is wanted, of the lowest one where noise is the aim."""
    noise = {choice: float(np.max(problem.noise[:, i])) for i, choice in enumerate(problem.choices)}
    price = dict(zip(problem.choices, problem.price(wanted.aim).tolist(), strict=False))

    def below(bound: float) -> dict[str, str]:
        found = {}
        for u in problem.units:
            least = min(noise[u.name, s] for s in u.choices)
            able = [s for s in u.choices if noise[u.name, s] <= max(bound, least)]
            found[u.name] = min(able, key=lambda s, name=u.name: (price[name, s], noise[name, s]))  # type: ignore[misc]
        return found

    tried = (below(bound) for bound in sorted(set(noise.values()), reverse=wanted.aim != NOISE))
    return next((chosen for chosen in tried if problem.keeps(chosen, wanted)), None)
