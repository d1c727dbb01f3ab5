"""Real files that go with a message: what is in them reaches the model as data, and what cannot be read is refused in a sentence."""

from __future__ import annotations

import base64
import io
import zipfile
from typing import Any

import httpx2
import pypdf
import pytest

from graphs import attachments, runs
from store.errors import Invalid
from tests.chat.talking import say
from tests.memory.test_reading import WORD, pdf
from tests.server.conftest import House, http

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
PAGE = "<html><head><title>Hours</title><script>alert(1)</script></head><body><h1>Hours</h1><p>Open at nine.</p></body></html>"


def docx(xml: bytes | str = WORD) -> bytes:
    """A Word document with this text."""
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", xml)
    return kept.getvalue()


def locked() -> bytes:
    """A PDF that opens with a password only."""
    writer = pypdf.PdfWriter(clone_from=io.BytesIO(pdf(["Secret"], "Plan")))
    writer.encrypt("a password", algorithm="RC4-128")
    kept = io.BytesIO()
    writer.write(kept)
    return kept.getvalue()


def file(name: str, raw: bytes) -> dict[str, Any]:
    return {"name": name, "data": base64.b64encode(raw).decode()}


async def test_pdf_word_and_html_are_read_and_the_model_gets_their_words(house: House, url: str) -> None:
    attached = [file("leave.pdf", pdf(["Leave is 30 days."], "Handbook")), file("leave.docx", docx()), file("hours.html", PAGE.encode())]
    async with http(url, house.keys["viewer"]) as client:
        heard = await say(client, "What do these say?", attachments=attached, model="scripted")
        chat = (await client.get(f"/api/v1/chats/{heard.one('chat')['chat']}")).json()
    asked = (await runs.node(house.runtime, house.actor("viewer"), heard.one("chat")["run_id"], "asked")).output["prompt"]
    for words in ("> Leave is 30 days.", "> # Leave", "> - Ask early", "> Open at nine."):
        assert words in asked, asked
    assert "alert" not in asked
    assert [one["name"] for one in chat["messages"][0]["attachments"]] == ["leave.pdf", "leave.docx", "hours.html"]


REFUSED: list[tuple[str, bytes, str]] = [
    ("broken.pdf", b"%PDF-1.7 no more", "broken.pdf cannot be read as PDF"),
    ("scan.pdf", pdf(["", " "], ""), "scan.pdf has 2 pages and no text"),
    ("locked.pdf", locked(), "locked.pdf cannot be read as PDF"),
    ("letter.pdf", docx(), "letter.pdf cannot be read as PDF"),
    ("broken.docx", b"PK\x03\x04 no zip", "broken.docx is not a Word document"),
    ("bomb.docx", docx(b"<w>" + b"<p/>" * 6_000_000 + b"</w>"), "bomb.docx has 24,000,007 bytes once it is unpacked"),
    ("program.exe", b"MZ\0\0\0", "program.exe is of no kind that can be read"),
]


async def test_what_cannot_be_read_is_refused_with_its_name_and_nothing_is_kept(house: House, url: str) -> None:
    async with http(url, house.keys["viewer"]) as client:
        for name, raw, words in REFUSED:
            refused = await _sent(client, file(name, raw))
            assert (refused.status_code, words in refused.text) == (422, True), (name, refused.text)
        for wrong, words in (({"name": "a.txt", "data": "%%%"}, "is not base64"), ({"name": "a.txt", "data": ""}, "is empty")):
            refused = await _sent(client, wrong)
            assert (refused.status_code, words in refused.text) == (422, True), refused.text
        many = await client.post("/api/v1/chat", json={"message": "x", "attachments": [file("a.txt", b"x")] * 11})
        assert many.status_code == 422
        large = await _sent(client, file("large.txt", b"x" * 6_000_000))
        assert (large.status_code, "1,000,000 bytes" in large.text) == (413, True), large.text
        assert (await client.get("/api/v1/chats")).json()["chats"] == []


async def test_a_file_of_six_megabytes_is_refused_in_this_process_too() -> None:
    with pytest.raises(Invalid, match="6,000,000 bytes; an attachment may have 5,000,000"):
        await attachments.parts([file("large.txt", b"x" * 6_000_000)])


async def _sent(client: httpx2.AsyncClient, one: dict[str, Any]) -> httpx2.Response:
    return await client.post("/api/v1/chat", json={"message": "Read this", "attachments": [one]})
