"""Planning: the order of steps, how the tables of each are stored, which run as parts, and where everything lies in memory.

`order` is the order of steps, `place` the offsets of blocks, `arena` the plan of a program and `room` the scratch that it has room for;
`stage` decodes tables whole or by tiles, `lines`, `bands` and `segments` run calls by bands of rows, `shares` divides them among cores,
`fit` finds what keeps a limit of memory.
"""

from edgeq.plan.arena import MemoryPlan, plan

__all__ = ["MemoryPlan", "plan"]
