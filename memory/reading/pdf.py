"""pdf: the text of the pages, one after the other, by pypdf (the extra `documents`). Pictures of text have none."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memory.reading import Passage, whole
from store.errors import Invalid, Misconfigured

ENDINGS = (".pdf",)


def read(path: Path) -> Iterator[Passage]:
    try:
        import pypdf  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise Misconfigured('Reading PDF takes the extra "documents": pip install "weft[documents]".') from None
    logging.getLogger("pypdf").setLevel(logging.ERROR)  # it warns of every small fault of a file
    library: Any = pypdf
    try:
        document = library.PdfReader(io.BytesIO(whole(path)))
        pages = [str(page.extract_text()).strip() for page in document.pages]
        named = str((document.metadata and document.metadata.title) or "").strip()
    except Invalid:
        raise
    except Exception as wrong:  # noqa: BLE001  # a broken file breaks a parser in many ways, and all mean the same
        raise Invalid(f"{path.name} cannot be read as PDF: {str(wrong)[:200]}.") from None
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise Invalid(f"{path.name} has {len(pages)} pages and no text; pictures of text must be recognized by another program first.")
    yield Passage(text=text, title=(named or path.stem)[:500], data={"pages": len(pages)})
