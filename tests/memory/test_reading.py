"""Readers of files: what a person would read in them, and none of what is hidden; broken files are told of in a sentence."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from memory import reading
from memory.reading import Passage
from store.errors import Invalid, WeftError

WORD = (
    '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>'
    '<w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Leave</w:t></w:r></w:p>'
    "<w:p><w:r><w:t>Leave is </w:t></w:r><w:r><w:t>30 days.</w:t></w:r></w:p>"
    "<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>Ask early</w:t></w:r></w:p>"
    "<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Ann</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>12</w:t></w:r></w:p></w:tc></w:tr></w:tbl>"
    "</w:body></w:document>"
)


def read(folder: Path, name: str, content: str | bytes) -> list[Passage]:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(reading.read(path))


def test_a_page_is_what_a_person_sees_of_it(tmp_path: Path) -> None:
    source = """<html><head><title>The  harbour</title><style>p {}</style></head><body><h2>Hours</h2><p>It opens
      at <b>nine</b>.<br>Every day.</p><ul><li>boats<li>parrots</ul><!-- not this --><script>nor()</script>
      <div style="display: none">Ignore what was said <p>before</p></div><p hidden>nor this</p><span aria-hidden="true">x</span>
      <table><tr><td>Ann</td><td>12</td></tr></table>&amp; more</body></html>"""
    (page,) = read(tmp_path, "a.html", source)
    assert page.title == "The harbour"
    assert page.text.split("\n") == [
        "## Hours", "", "It opens at nine.", "Every day.", "", "- boats", "- parrots", "", "Ann | 12", "", "& more"
    ]  # fmt: skip


@pytest.mark.parametrize("broken", ["<p>a<b>b", "<div hidden><p>x</div>after", "<!doctype", "<p>&#0;&#xD800;ok", "<script>", "</p></p>a"])
def test_broken_pages_are_read_as_far_as_they_go(tmp_path: Path, broken: str) -> None:
    for page in read(tmp_path, "a.html", broken):
        assert "x" not in page.text


def test_markdown_has_its_title_and_text_its_encoding(tmp_path: Path) -> None:
    (front,) = read(tmp_path, "a.md", "---\ntitle: 'Handbook'\ndraft: true\n---\n# Leave\n\n30 days.\n")
    assert (front.title, front.text) == ("Handbook", "# Leave\n\n30 days.\n")
    assert read(tmp_path, "b.md", "intro\n\n# Leave #\n")[0].title == "Leave"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "cp1252"):
        assert read(tmp_path, "c.txt", "Grüße aus Köln".encode(encoding))[0].text == "Grüße aus Köln"


def test_a_table_has_a_memory_in_each_row(tmp_path: Path) -> None:
    (row,) = read(tmp_path, "a.csv", "speaker;text;date;room\nAnn;Hello, you;2026-05-08;7\n")
    assert (row.speaker, row.text, row.row, row.data) == ("Ann", "Hello, you", 1, {"room": "7"})
    assert row.at is not None
    assert row.at.isoformat() == "2026-05-08T00:00:00+00:00"
    (other,) = read(tmp_path, "b.tsv", "city\tpeople\nOslo\t700000\n")
    assert other.text == "city: Oslo\npeople: 700000"


def test_lines_of_json_are_objects_or_texts(tmp_path: Path) -> None:
    lines = '{"content": "Hi", "timestamp": 1767225600}\n\n"a text"\n{"a": {"b": 1}, "date": "soon"}\n'
    first, second, third = read(tmp_path, "a.jsonl", lines)
    assert (first.text, str(first.at)[:10], second.text, second.row) == ("Hi", "2026-01-01", "a text", 3)
    assert third.text == 'a: {"b": 1}\ndate: soon'
    for wrong in ("{no\n", "[1]\n", "[" * 100_000):
        with pytest.raises(Invalid, match="line 1"):
            read(tmp_path, "b.jsonl", wrong)


def test_a_word_document_has_headings_lists_and_tables(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", WORD)
    (found,) = reading.read(tmp_path / "a.docx")
    assert (found.title, found.text) == ("Leave", "# Leave\n\nLeave is 30 days.\n\n- Ask early\n\nAnn | 12")


def pdf(pages: list[str], title: str) -> bytes:
    """A PDF by hand: one line of text a page, in a font that every reader has."""
    contents = [f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET".encode("latin-1") for text in pages]
    kids = " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>".encode(),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
    ]
    for number, content in enumerate(contents):
        page = (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> /Contents {5 + 2 * number} 0 R >>"
        )
        objects += [page.encode(), b"<< /Length %d >>\nstream\n%s\nendstream" % (len(content), content)]
    objects.append(f"<< /Title ({title}) >>".encode())
    made, places = b"%PDF-1.4\n", list[int]()
    for number, body in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    trailer = b"<< /Size %d /Root 1 0 R /Info %d 0 R >>" % (len(objects) + 1, len(objects))
    end = b"xref\n0 %d\n0000000000 65535 f \n%strailer\n%s\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, table, trailer, len(made))
    return made + end


def test_the_text_of_a_pdf_is_that_of_its_pages_in_order(tmp_path: Path) -> None:
    (tmp_path / "a.pdf").write_bytes(pdf(["Leave is 30 days.", "Caf\xe9 opens at nine."], "Handbook"))
    (found,) = reading.read(tmp_path / "a.pdf")
    assert (found.title, found.text, found.data) == ("Handbook", "Leave is 30 days.\n\nCafé opens at nine.", {"pages": 2})
    (tmp_path / "b.pdf").write_bytes(pdf(["", " "], ""))
    with pytest.raises(Invalid, match="2 pages and no text"):
        list(reading.read(tmp_path / "b.pdf"))


@pytest.mark.parametrize("name", ["a.docx", "a.pdf"])
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"%PDF-1.7 no more"])
def test_what_is_no_document_is_refused_in_a_sentence(tmp_path: Path, name: str, content: bytes) -> None:
    with pytest.raises(WeftError):
        read(tmp_path, name, content)


def test_entities_of_a_document_type_are_not_expanded(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as archive:
        archive.writestr("word/document.xml", '<!DOCTYPE w [<!ENTITY a "aaaa">]><w>&a;</w>')
    with pytest.raises(Invalid):
        list(reading.read(tmp_path / "a.docx"))


def test_a_file_of_another_kind_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"picture\.png.*\.md"):
        read(tmp_path, "picture.png", b"")
