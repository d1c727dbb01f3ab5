"""Files as texts to remember: one reader per format, found by folder and chosen by the file's ending.

A reader is one module: ENDINGS, LIST (True: rows), and `read(path)`, which yields a document's text in one piece, or a list row by row.
Nothing is fetched, run or looked up on the way. Raises Invalid for a file that is not what its ending says.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Protocol, cast

from store.errors import Invalid

MAX_FILE = 50_000_000  # bytes of a document that is read as a whole; lists are read row by row, however long


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """`row`: its number in a list, from 1; None: it is a whole document."""

    text: str
    title: str | None = None
    speaker: str | None = None
    at: datetime | None = None
    row: int | None = None
    data: dict[str, Any] = field(default_factory=dict[str, Any])


class Reader(Protocol):
    ENDINGS: tuple[str, ...]

    def read(self, path: Path) -> Iterator[Passage]: ...


@cache
def readers() -> Mapping[str, Reader]:
    """Ending, with its dot -> reader."""
    found: dict[str, Reader] = {}
    for module in sorted(module.name for module in pkgutil.iter_modules(__path__)):
        reader = cast("Reader", importlib.import_module(f"{__name__}.{module}"))
        found |= dict.fromkeys(reader.ENDINGS, reader)
    return found


def reader_of(path: Path) -> Reader | None:
    return readers().get(path.suffix.lower())


def read(path: Path) -> Iterator[Passage]:
    """What is in the file. Raises Invalid when no reader knows its ending."""
    reader = reader_of(path)
    if reader is None:
        raise Invalid(f"{path.name}: there is no reader for this kind of file; there are readers for {', '.join(sorted(readers()))}.")
    return (passage for passage in reader.read(path) if passage.text.strip())


def is_list(path: Path) -> bool:
    """Whether it holds rows and not one text."""
    return bool(getattr(reader_of(path), "LIST", False))


def whole(path: Path) -> bytes:
    """A document's bytes. Raises Invalid when it is too large."""
    if (size := path.stat().st_size) > MAX_FILE:
        raise Invalid(f"{path.name} has {size:,} bytes; a document may have {MAX_FILE:,}.")
    return path.read_bytes()


def decoded(raw: bytes) -> str:
    """UTF-8, UTF-16 with its mark, and else Windows-1252, which older programs write."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", "replace")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("cp1252", "replace")


def encoding_of(path: Path) -> str:
    """That of a list, by its beginning; what does not fit it later is replaced."""
    with path.open("rb") as file:
        start = file.read(65_536)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        start[: start.rfind(b"\n") + 1].decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8-sig"


TEXT = ("text", "body", "content", "message", "page_content", "fact", "note")
TITLE = ("title", "subject", "headline")
SPEAKER = ("speaker", "author", "from", "sender", "name")
MOMENT = ("at", "date", "timestamp", "datetime", "created_at", "time", "occurred_at")


def row(number: int, fields: Mapping[str, Any]) -> Passage:
    """A row of a list: its columns that say what, who and when; without one that says what, all of it as `column: value` lines."""
    names = {name.strip().lower(): name for name in fields}

    def first(wanted: tuple[str, ...]) -> str | None:
        return next((names[name] for name in wanted if name in names and _said(fields[names[name]])), None)

    text, title, speaker, moment = (first(wanted) for wanted in (TEXT, TITLE, SPEAKER, MOMENT))
    at = instant(fields[moment]) if moment else None
    if text is None:
        lines = [f"{name}: {_plain(value)}" for name, value in fields.items() if _said(value)]
        return Passage(text="\n".join(lines), at=at, row=number)
    taken = {text, title, speaker, moment if at else None}
    rest = {name: value for name, value in fields.items() if name not in taken and _said(value)}
    shown = {key: str(fields[name])[:500] for key, name in (("title", title), ("speaker", speaker)) if name}
    return Passage(text=_plain(fields[text]), at=at, row=number, data=rest, **shown)  # pyright: ignore[reportArgumentType]


def instant(value: Any) -> datetime | None:
    """An ISO 8601 date or instant, or seconds (or milliseconds) since 1970; None for what is neither. Without a zone: UTC."""
    try:
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value / 1000 if abs(value) > 1e11 else value, UTC)
        found = datetime.fromisoformat(str(value).strip())
    except (ValueError, OverflowError, OSError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _said(value: Any) -> bool:
    return value is not None and str(value).strip() != ""


def _plain(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
