"""Importing rows of a list: each is a piece of one document, found by itself, and goes when the document or its source is forgotten."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from memory.chunking import SIZE, chunks
from memory.items import NewMemory, tokens
from memory.kinds import Outcome
from memory.reading import Passage
from memory.writing import Desk

ROOM = 1_000_000_000  # places of a row among those of the list, so that pieces of rows have an order without knowing the rows before
LONG = 2 * SIZE  # tokens: what is longer is cut


async def keep_rows(desk: Desk, collection: str, title: str, rows: Sequence[Passage]) -> Outcome:
    """In one transaction. A row that is there already stays; one with another text is another memory."""
    source = desk.provenance.source
    made = desk.memory(
        "document", f"Document: {title}", title=title, collection=collection, data={"collection": collection, "list": True},
        identity=f"{collection}\x1f{source}\x1flist",
    )  # fmt: skip
    async with desk.sheet() as sheet:
        document = await sheet.keep_one(made)
        kept = await sheet.keep([piece for row in rows for piece in _pieces(desk, collection, title, document.id, row)])
    return Outcome(created=[one.id for one in kept if one.created], known=[one.id for one in kept if not one.created])


def _pieces(desk: Desk, collection: str, title: str, document_id: str, row: Passage) -> Iterator[NewMemory]:
    number = row.row or 0
    spans = [(0, row.text)] if tokens(row.text) <= LONG else [(chunk.start, chunk.body) for chunk in chunks(row.text)]
    for start, text in spans:
        begin = number * ROOM + start
        yield desk.memory(
            "chunk", text, title=row.title or title, speaker=row.speaker, collection=collection, series=document_id, seq=begin,
            occurred_at=row.at, parents=(document_id,), identity=f"{document_id}\x1f{number}\x1f{start}\x1f{text}",
            data={"start": begin, "end": begin + len(text), "row": number, **({"fields": row.data} if row.data else {})},
        )  # fmt: skip
