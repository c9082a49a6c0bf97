"""Kernels: template files whose front matter says what they compute, where and when; facts, layouts, costs and the choice among them.

`kernel` reads front matters; `facts` has what they may ask of constants beside the operator's own scalars; `layouts` what tables may be
packed as; `costs` what a call is expected to take; `select` chooses.
"""

from edgeq.kernels.costs import cost_table, expected, features
from edgeq.kernels.kernel import Kernel, scan
from edgeq.kernels.select import candidates, fused, select, signature

__all__ = ["Kernel", "candidates", "cost_table", "expected", "features", "fused", "scan", "select", "signature"]
