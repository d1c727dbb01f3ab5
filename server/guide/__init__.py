"""The authors' guide: a file server/guide/<section>.md is the section <section>."""

from __future__ import annotations

from functools import cache
from pathlib import Path

SECTIONS = ("start", "definition", "expressions", "nodes", "agents", "flow", "waiting", "testing", "running", "errors")
"""In the order in which one reads them."""


@cache
def section_text(section: str) -> str:
    """One section as Markdown. Raises FileNotFoundError for a name that is not in SECTIONS."""
    return (Path(__file__).parent / f"{section}.md").read_text(encoding="utf-8").strip()
