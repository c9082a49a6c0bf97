"""Kernels: template files whose front matter says what they compute, where and when; facts, layouts, costs and the choice among them.

`kernel` reads front matters; `facts` has what they may ask of constants beside the operator's own scalars; `layouts` what tables may be
packed as; `costs` what a call is expected to take; `select` chooses; `signature`
is what a kernel computes, on which types.
"""

from edgeq.kernels.costs import cost_table, expected, features
from edgeq.kernels.kernel import Kernel, scan
from edgeq.kernels.select import candidates, cost_key, fused, select
from edgeq.kernels.signature import Signature

__all__ = ["Kernel", "Signature", "candidates", "cost_key", "cost_table", "expected", "features", "fused", "scan", "select"]
