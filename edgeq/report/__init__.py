"""The HTML report of an emitted folder: one self-contained file; each section is a file of sections/."""

from edgeq.report.page import render

__all__ = ["render"]
