"""A hook of MkDocs: the pages of the repository that lie outside docs/ are part of the site, and links to them lead there.

A link to a file that is no page (source, a folder) becomes its name.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
PAGES = {"README.md": "index.md", **{p.name: p.name for p in ROOT.glob("*.md") if p.name != "README.md"}, "LICENSE": "LICENSE.md"}
PAGES |= {f"benchmarks/{p.name}": f"benchmarks/{p.name}" for p in (ROOT / "benchmarks").glob("*") if p.suffix in (".md", ".svg")}
LINK = re.compile(r"(\[[^\]]*\])\(([^)#:\s]+)(#[^)]*)?\)")
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, *, config: Any, **_: Any) -> Files:
    """Add the pages."""
    for source, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / source).read_bytes()))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Lead links to where the pages are now."""
    here = page.file.src_uri
    source = next((s for s, place in PAGES.items() if place == here), f"docs/{here}")

    def led(match: re.Match[str]) -> str:
        text, target, anchor = match[1], match[2], match[3] or ""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        place = path.removeprefix("docs/") if path.startswith("docs/") else PAGES.get(path)
        if place is None or (ROOT / path).is_dir():
            return text[1:-1]
        return f"{text}({posixpath.relpath(place, posixpath.dirname(here) or '.')}{anchor})"

    return "".join(part if i % 2 else LINK.sub(led, part) for i, part in enumerate(FENCE.split(markdown)))
