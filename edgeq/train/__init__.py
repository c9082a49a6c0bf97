"""Training for the chip, in PyTorch: weights that tolerate bit errors in the memory that holds them, and weights in few bits.

    edgeq.train.randbet(network, batches, steps=4000)      # a trained network or a fresh one; its own module, changed in place
    edgeq.train.lsq(network, batches, steps=700, learning=edgeq.train.Learning(weights=2))
    edgeq.load of the exported network, edgeq.quantize(graph, samples, options=...), as always

docs/robustness.md tells what to expect and how to quantize what was trained. Of edgeq, this package, `edgeq.frontends.torch`
and `edgeq.run.gpu` alone import PyTorch.
"""

from edgeq.errors import EdgeqError

try:
    import torch as _torch
except ImportError as e:
    raise EdgeqError("training needs PyTorch", why=str(e), fix="pip install edgeq[torch]") from e

from edgeq.formats.code import Code
from edgeq.train import cgmq, gaqat
from edgeq.train.lsq import Learning, lsq
from edgeq.train.randbet import Descent, Outcome, randbet
from edgeq.train.robust import Options, Robust

__all__ = ["Code", "Descent", "Learning", "Options", "Outcome", "Robust", "cgmq", "gaqat", "lsq", "randbet"]
del _torch
