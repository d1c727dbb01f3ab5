"""html: the text that a reader of the page sees, with its headings; not scripts, styles, comments, nor what is marked as hidden."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from memory.reading import Passage, decoded, whole

ENDINGS = (".html", ".htm", ".xhtml")
UNSEEN = frozenset({"script", "style", "template", "noscript", "svg", "head", "iframe", "object", "select", "textarea"})
VOID = frozenset({"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"})
BLOCKS = frozenset(
    {"address", "article", "aside", "blockquote", "dd", "div", "dl", "dt", "figcaption", "figure", "footer", "form", "header", "hr", "main",
     "nav", "ol", "p", "pre", "section", "table", "ul"}
)  # fmt: skip
HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?![.\d])|opacity\s*:\s*0(?![.\d])", re.IGNORECASE)
CHARSET = re.compile(rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self.title = ""
        self._unseen: list[str] = []  # open elements from the outermost unseen one on
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._in_title = tag == "title"
        if self._unseen:
            if tag not in VOID:
                self._unseen.append(tag)
            return
        found = dict(attrs)
        if tag not in VOID and (
            tag in UNSEEN or "hidden" in found or found.get("aria-hidden") == "true" or HIDDEN.search(found.get("style") or "")
        ):
            self._unseen.append(tag)
            return
        if tag in HEADINGS:
            self.said.append(f"\n\n{HEADINGS[tag]} ")
        elif tag in BLOCKS:
            self.said.append("\n\n")
        elif tag in ("br", "tr"):
            self.said.append("\n")
        elif tag == "li":
            self.said.append("\n- ")
        elif tag in ("td", "th"):
            self.said.append(" | ")

    def handle_endtag(self, tag: str) -> None:
        self._in_title = False
        if self._unseen:
            if tag in self._unseen:  # also closes what was left open inside of it
                del self._unseen[len(self._unseen) - 1 - self._unseen[::-1].index(tag) :]
        elif tag in BLOCKS or tag in HEADINGS:
            self.said.append("\n\n")

    def handle_data(self, data: str) -> None:
        if self._in_title and not self.title:
            self.title = " ".join(data.split())[:500]
        elif not self._unseen:
            self.said.append(re.sub(r"\s+", " ", data))


def seen(source: str) -> tuple[str, str]:
    """The text of a page, and its title."""
    page = _Page()
    page.feed(source)
    page.close()
    lines = (" ".join(line.split()).removeprefix("| ") for line in "".join(page.said).splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip(), page.title


def read(path: Path) -> Iterator[Passage]:
    raw = whole(path)
    named = CHARSET.search(raw[:4096])
    try:
        source = raw.decode(named[1].decode()) if named else decoded(raw)
    except (LookupError, UnicodeDecodeError):
        source = decoded(raw)
    text, title = seen(source)
    yield Passage(text=text, title=title or path.stem)
