"""What a person attaches to a message: files become text, images stay images. Nothing is fetched, run or looked up on the way."""

from __future__ import annotations

import asyncio
import base64
import binascii
import io
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from graphs.definition import Json
from graphs.redaction import blotted
from memory import reading
from store.errors import Invalid

MAX_ATTACHMENTS = 10
MAX_FILE = 5_000_000  # bytes of one
MAX_UNPACKED = 20_000_000  # bytes of a Word document: its tree is many times as large in memory
MAX_TEXT = 200_000  # characters that are kept of one
PLAIN = frozenset({".txt", ".md", ".markdown", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".log", ".py", ".sql", ".xml"})
READ = frozenset({".pdf", ".docx", ".html", ".htm"})
IMAGES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
)

Part = dict[str, Json]


async def parts(attachments: Sequence[Mapping[str, Any]]) -> list[Part]:
    """Each as a part of a message. They are given as {name, text} or {name, data: base64}. Raises Invalid."""
    if len(attachments) > MAX_ATTACHMENTS:
        raise Invalid(f"{len(attachments)} attachments are too many; a message may have {MAX_ATTACHMENTS}.")
    return [await asyncio.to_thread(_part, one) for one in attachments]


def _part(one: Mapping[str, Any]) -> Part:
    name = PurePosixPath(str(one["name"]).replace("\\", "/")).name[:200] or "file"
    if (text := one.get("text")) is not None:
        return _text(name, str(text))
    raw = _bytes(name, str(one.get("data") or ""))
    if media := _image(raw):
        return {"type": "image", "name": name, "media_type": media, "data": base64.b64encode(raw).decode()}
    ending = Path(name).suffix.lower()
    if ending in READ:
        return _text(name, _read(name, ending, raw))
    if ending in PLAIN or b"\0" not in raw[:4096]:
        return _text(name, reading.decoded(raw))
    raise Invalid(f"{name} is of no kind that can be read; attach text, Markdown, CSV, JSON, YAML, PDF, DOCX, HTML or an image.")


def _bytes(name: str, data: str) -> bytes:
    try:
        raw = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(f"{name}: `data` is not base64.") from None
    if not raw:
        raise Invalid(f"{name} is empty; give `text`, or `data` as base64.")
    if len(raw) > MAX_FILE:
        raise Invalid(f"{name} has {len(raw):,} bytes; an attachment may have {MAX_FILE:,}.")
    return raw


def _image(raw: bytes) -> str | None:
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    return next((media for start, media in IMAGES if raw.startswith(start)), None)


def _read(name: str, ending: str, raw: bytes) -> str:
    if ending == ".docx" and (size := _unpacked(raw)) > MAX_UNPACKED:
        raise Invalid(f"{name} has {size:,} bytes once it is unpacked; an attachment may have {MAX_UNPACKED:,}.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"attached{ending}"
        path.write_bytes(raw)
        try:
            return "\n\n".join(passage.text for passage in reading.read(path))
        except Invalid as wrong:
            raise Invalid(wrong.message.replace(path.name, name)) from None


def _unpacked(raw: bytes) -> int:
    """What a reader would unpack; 0 where it is no archive, which the reader says better."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw)) as archive:
            return sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return 0


def _text(name: str, text: str) -> Part:
    whole = plain(text)
    looked_at = whole[: 2 * MAX_TEXT]  # more than is kept: a key at the end of that is blotted out too
    clean = blotted(looked_at)
    part: Part = {"type": "file", "name": name, "text": clean[:MAX_TEXT]}
    left_out = max(0, len(clean) - MAX_TEXT) + len(whole) - len(looked_at)
    return {**part, "left_out": left_out} if left_out else part


def plain(text: str) -> str:
    """Text as a database takes it."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()
