"""markdown: its text with its headings, which the chunks keep; front matter is left out, but for its title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from memory.reading import Passage, decoded, whole

ENDINGS = (".md", ".markdown", ".mdx")
FRONT = re.compile(r"\A---\r?\n(.*?)\r?\n---\r?\n", re.DOTALL)
TITLE = re.compile(r"^title:[ \t]*[\"']?(.+?)[\"']?[ \t]*$", re.MULTILINE)
HEADING = re.compile(r"^#[ \t]+(.+?)[ \t#]*$", re.MULTILINE)


def read(path: Path) -> Iterator[Passage]:
    text = decoded(whole(path))
    front = FRONT.match(text)
    named = TITLE.search(front[1]) if front else None
    text = text[front.end() :] if front else text
    title = named or HEADING.search(text)
    yield Passage(text=text, title=(title[1] if title else path.stem)[:500])
