"""Which kernel computes a node on a target."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

from edgeq.errors import EdgeqError
from edgeq.ir import Params
from edgeq.kernels import facts
from edgeq.kernels.costs import expected
from edgeq.kernels.expressions import names
from edgeq.kernels.kernel import Kernel, scan
from edgeq.kernels.signature import Signature
from edgeq.target import Target

Epilogue = tuple[str, ...]  # kinds of operators that a kernel computes too, on its operator's result


@functools.cache
def _asked(signature: Signature) -> tuple[str, ...]:
    """The facts that decide among the kernels of an operator."""
    expressions = {e for k in scan() if k.signature in (signature, signature.decoded) for e in (k.when, k.suits, k.scratch, k.inplace_when)}
    return tuple(sorted(set().union(*map(names, expressions)) & (set(facts.FACTS) - facts.ROOM)))


def cost_key(signature: Signature, params: Params) -> str:
    """What the cost of a call depends on but for the weights, as one line: equal ones take about the same instructions in one kernel."""
    asked = {name: facts.value(name, params) for name in _asked(signature)}
    numbers = {**params.scalars, **asked}
    told = (f"{n}={v}" for n, v in numbers.items() if not n.endswith(("zero", "offset")))
    return " ".join([signature.op, signature.types, params.law, *told])


def candidates(
    signature: Signature, params: Params, isa: tuple[str, ...], core: str = "", then: Epilogue = (), own: Epilogue = ()
) -> list[Kernel]:
    """Kernels that apply, preferred first: ISA in the target's order, then those that read weights as they are stored,
    then priority, then tile.

    Where the cost table knows the core, the one that it expects to be the fastest comes first, of those that save as much
    memory as the preferred one: that work in place, and take the epilogue in, where it does.

    Args:
        core: name of the target's core in the cost table.
        then: operators that might be folded into this one.
        own: operators that a kernel must compute too.
    """
    known = (signature, signature.decoded)
    fitting = [k for k in scan() if k.signature in known and k.epilogue == own and k.isa in isa and k.applies(params)]
    fitting.sort(key=lambda k: (isa.index(k.isa), k.signature != signature, -k.priority, k.stem))
    if not fitting or expected(fitting[0], params, core) is None:
        return fitting

    def saving(kernel: Kernel) -> tuple[tuple[int, ...], bool]:
        return kernel.overwrites(params), bool(then and fused(kernel, then))

    equals = [k for k in fitting if saving(k) == saving(fitting[0])]
    costs = {k.name: cost for k in equals if (cost := expected(k, params, core)) is not None}
    return sorted(fitting, key=lambda k: k.name != min(costs, key=lambda name: costs[name]))


def select(
    where: str, signature: Signature, params: Params, target: Target, choices: Mapping[str, str] | None = None, then: Epilogue = (),
    allowed: Callable[[Kernel], bool] | None = None,
) -> Kernel:  # fmt: skip
    """The kernel for a node on a target.

    Args:
        choices: name of a node, or `cost_key` -> name of the kernel to take, where it is not the preferred one.
        then: operators that might be folded into this one.
        allowed: what else a kernel must fulfil.

    Raises:
        EdgeqError: none applies, or the chosen one does not.
    """
    found = [k for k in candidates(signature, params, target.isa, target.core, then) if allowed is None or allowed(k)]
    if not found:
        raise EdgeqError(f"no kernel computes {signature.op} on {signature.types}", where=where, fix="see `edgeq targets --operators`")
    wanted = choices.get(where) or choices.get(cost_key(signature, params)) if choices else None
    if wanted is None:
        return found[0]
    for kernel in found:
        if kernel.name == wanted:
            return kernel
    raise EdgeqError(f"the tuning chose kernel {wanted}, which does not apply", where=where, fix="run `edgeq tune` again")


def fused(kernel: Kernel, then: Epilogue) -> Kernel | None:
    """The kernel that computes what `kernel` does and then the operators `then`, in one pass."""
    place = (kernel.isa, kernel.stem, kernel.suffix, then)
    return next((k for k in scan() if (k.isa, k.base, k.suffix, k.epilogue) == place), None) if then else None
