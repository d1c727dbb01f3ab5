"""The pages as data: their code, tables, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]]+\]\(([^)\s]+)\)")
CELL = re.compile(r"(?<!\\)\|")


@dataclass(frozen=True)
class Page:
    """One Markdown file; `name` is its path from the root of the project."""

    name: str

    @cached_property
    def text(self) -> str:
        return (ROOT / self.name).read_text(encoding="utf-8")

    @cached_property
    def prose(self) -> str:
        """The text without its code blocks."""
        return FENCE.sub("", self.text)

    def blocks(self, *languages: str) -> list[str]:
        """Code blocks in these languages; all of them without any."""
        return [code for _, language, code in FENCE.findall(self.text) if not languages or language in languages]

    @cached_property
    def code(self) -> list[str]:
        """Every line of code: of blocks, and each span in the prose."""
        return [*(line.strip() for block in self.blocks() for line in block.splitlines()), *SPAN.findall(self.prose)]

    @cached_property
    def links(self) -> list[str]:
        """Targets of links that are not web addresses."""
        return [link for link in LINK.findall(self.prose) if "://" not in link]

    @cached_property
    def anchors(self) -> set[str]:
        """What links may name after #, as the usual renderers spell it."""
        headings = re.findall(r"^#+ +(.*)$", self.prose, re.MULTILINE)
        return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}

    def section(self, heading: str) -> str:
        """What follows a heading, up to the next one of any level."""
        found = re.search(rf"^#+ +{re.escape(heading)}\n(.*?)(?=^#|\Z)", self.prose, re.DOTALL | re.MULTILINE)
        assert found is not None, f"{self.name} has no section {heading!r}"
        return found[1]

    def table(self, heading: str, number: int = 0) -> list[list[str]]:
        """Rows of a section's table, without its head; cells without backticks around them."""
        tables = re.findall(r"(?:^\|.*\n)+", self.section(heading), re.MULTILINE)
        return [list(cells(row)) for row in tables[number].splitlines()[2:]]


def cells(row: str) -> Iterator[str]:
    for cell in CELL.split(row)[1:-1]:
        yield cell.strip().replace("\\|", "|")


def plain(cell: str) -> str:
    """`name` as name, and [`name`](#name) as name."""
    return re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", cell).strip("`")


def named(cell: str) -> list[str]:
    """The code spans of a cell."""
    return SPAN.findall(cell)


PAGES = tuple(
    Page(str(path.relative_to(ROOT)))
    for path in sorted((*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").glob("*.md")))
)


def page(name: str) -> Page:
    return next(found for found in PAGES if found.name == name)
