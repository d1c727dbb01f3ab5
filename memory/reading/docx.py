"""docx: paragraphs, headings, lists and tables of a Word document, read by the standard library: it is XML in a zip archive."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from memory.reading import MAX_FILE, Passage, whole
from store.errors import Invalid

ENDINGS = (".docx",)
W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
HEADING = re.compile(r"heading ?([1-6])$", re.IGNORECASE)


def read(path: Path) -> Iterator[Passage]:
    raw = whole(path)
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            if archive.getinfo("word/document.xml").file_size > MAX_FILE:
                raise Invalid(f"{path.name} is larger than {MAX_FILE:,} bytes once it is unpacked.")
            xml = archive.read("word/document.xml")
        if b"<!DOCTYPE" in xml[:1000]:  # Word writes none; entities are declared there
            raise Invalid(f"{path.name} is not a Word document.")
        root = ElementTree.fromstring(xml)  # noqa: S314  # without a document type there are no entities to expand
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, RuntimeError, NotImplementedError) as wrong:
        raise Invalid(f"{path.name} is not a Word document: {wrong}.") from None
    body = root.find(f"{W}body")
    blocks = [text for element in (body if body is not None else ()) if (text := _block(element))]
    title = next((text.lstrip("# ") for text in blocks if text.startswith("#")), path.stem)
    yield Passage(text="\n\n".join(blocks), title=title[:500])


def _block(element: ElementTree.Element) -> str:
    if element.tag == f"{W}tbl":
        rows = (
            " | ".join(" ".join(_paragraph(p) for p in cell.iter(f"{W}p")) for cell in row.iter(f"{W}tc")) for row in element.iter(f"{W}tr")
        )
        return "\n".join(rows)
    if element.tag == f"{W}p":
        return _paragraph(element, marks=True)
    return "\n\n".join(text for inner in element.iter(f"{W}p") if (text := _paragraph(inner, marks=True)))


def _paragraph(element: ElementTree.Element, *, marks: bool = False) -> str:
    said: list[str] = []
    for inner in element.iter():
        if inner.tag == f"{W}t":
            said.append(inner.text or "")
        elif inner.tag in (f"{W}tab", f"{W}br", f"{W}cr"):
            said.append("\n" if inner.tag != f"{W}tab" else " ")
    text = "".join(said).strip()
    style = element.find(f"{W}pPr/{W}pStyle")
    level = HEADING.match(style.get(f"{W}val", "")) if style is not None else None
    listed = element.find(f"{W}pPr/{W}numPr") is not None
    if not marks or not text:
        return text
    return f"{'#' * int(level[1])} {text}" if level else f"- {text}" if listed else text
