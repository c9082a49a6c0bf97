"""Sections -> one page. A section is one file of sections/: ``TITLE``, ``ORDER``, ``context(data)`` and ``TEMPLATE``, its HTML."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup, escape

from edgeq import text
from edgeq.report import data as report_data
from edgeq.report import sections
from edgeq.report.data import Data
from edgeq.resources import resource

DASH = "\u2013"


@dataclass(frozen=True)
class Section:
    """One section of the report.

    Attributes:
        stem: of its file, and its anchor.
        order: sections are sorted by it.
        context: what the template sees; None leaves the section out.
        template: Jinja.
    """

    stem: str
    title: str
    order: int
    context: Callable[[Data], Mapping[str, Any] | None]
    template: str


def registry() -> list[Section]:
    """Every section, found by scanning the folder, in order."""
    found = []
    for module in pkgutil.iter_modules(sections.__path__):
        m = importlib.import_module(f"{sections.__name__}.{module.name}")
        found.append(Section(module.name, m.TITLE, m.ORDER, m.context, m.TEMPLATE))
    return sorted(found, key=lambda s: (s.order, s.stem))


def ratio(a: float | None, b: float | None, digits: int = 2) -> str:
    """a / b; a dash where either is unknown or b is 0."""
    return DASH if a is None or not b else f"{a / b:.{digits}f}"


def number(x: float | None, digits: int = 4) -> str:
    """A real number with few digits; a dash where unknown."""
    return DASH if x is None else f"{x:.{digits}g}".replace("-", "\u2212")


def breakable(name: str) -> Markup:
    """A name that may be broken after its punctuation; escaped."""
    return Markup("<wbr>").join(Markup(escape(part)) for part in re.split(r"(?<=[/;_.:,])(?=[^/;_.:,])", name))


def named(name: str) -> Markup:
    """A node's or tensor's name for a table cell: the first of fused names, all of them on hovering; escaped."""
    first, more = text.first_name(name)
    rest = Markup(' <span class="faint nowrap">+{} fused</span>').format(more) if more else ""
    return Markup('<span title="{}">{}{}</span>').format(name, breakable(first), rest)


def environment() -> jinja2.Environment:
    """Strict, and every value escaped."""
    env = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates") / "report"), undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, autoescape=True,
    )  # fmt: skip
    env.filters.update(
        count=lambda n: text.count(n, "\u202f", DASH), size=lambda n: text.size(n, "\u202f", DASH), number=number, named=named,
        first_name=lambda name: text.first_name(name)[0],
    )  # fmt: skip
    env.globals.update(ratio=ratio)
    return env


def render(folder: Path) -> str:
    """The report of an emitted folder as one HTML page without references to anything outside it.

    Raises:
        EdgeqError: the folder is none of edgeq's, or damaged.
    """
    from edgeq import __version__

    data = report_data.collect(folder)
    env = environment()
    parts = []
    for section in registry():
        context = section.context(data)
        if context is not None:
            html = env.from_string(section.template).render(d=data, m=data.manifest, **context)
            parts.append({"stem": section.stem, "title": section.title, "html": html})
    return env.get_template("page.html.j2").render(d=data, m=data.manifest, sections=parts, version=__version__)
