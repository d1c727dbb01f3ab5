"""Documents: in collections, kept as pieces that overlap and know their headings; the same source with other text takes the place of the
older one. The document itself says what it is; its text is in its pieces, and nowhere twice."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from memory.chunking import OVERLAP, SIZE, Chunk, chunks
from memory.items import NewMemory
from memory.kinds import Given, Moment, Outcome, Short, data_of
from memory.writing import Desk, Sheet
from store import conversations, documents, facts, importing
from store.errors import NotFound
from store.memories import Memory
from store.postgres import Session

ROWS = ("document", "chunk")
LARGEST = 10_000_000  # characters


class Item(Given):
    text: Annotated[str, Field(min_length=1, max_length=LARGEST)]
    title: Short | None = None
    collection: Short = "documents"
    source: Short | None = None
    at: Moment | None = None
    chunk_tokens: int = Field(default=SIZE, ge=20, le=4000)
    overlap_tokens: int = Field(default=OVERLAP, ge=0, le=2000)
    data: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What an item is kept as: the document itself, and its pieces."""

    item: Item
    document: NewMemory
    pieces: Sequence[Chunk]

    def memories(self, desk: Desk, document_id: str, start: int = 0, stop: int | None = None) -> list[NewMemory]:
        """The pieces from `start` to `stop`."""
        return [
            desk.memory(
                "chunk", piece.body, title=" › ".join(dict.fromkeys((self.document.title or "", *piece.headings))),
                collection=self.item.collection, series=document_id, seq=number, occurred_at=self.item.at, source=self.document.source,
                parents=(document_id,), identity=f"{document_id}\x1f{number}",
                data={"start": piece.start, "end": piece.end, "headings": list(piece.headings)}, **self.item.common(),
            )
            for number, piece in enumerate(self.pieces[start:stop], start + 1)
        ]  # fmt: skip


def plan(desk: Desk, item: Item) -> Written:
    pieces = chunks(item.text, size=item.chunk_tokens, overlap=item.overlap_tokens)
    source = item.source or desk.provenance.source
    title = item.title or next((piece.headings[0] for piece in pieces if piece.headings), None) or source or item.text.strip()[:80]
    digest = hashlib.sha256(item.text.encode("utf-8", "surrogatepass")).hexdigest()
    data = {**(item.data or {}), "sha256": digest, "characters": len(item.text), "chunks": len(pieces), "collection": item.collection}
    made = desk.memory(
        "document", f"Document: {title}", title=title, collection=item.collection, occurred_at=item.at, data=data, source=source,
        identity="\x1f".join(map(str, (item.collection, source, item.title, digest, item.chunk_tokens, item.overlap_tokens))),
        **item.common(),
    )  # fmt: skip
    return Written(item=item, document=made, pieces=pieces)


async def keep(desk: Desk, item: Item) -> Outcome:
    """The first id is the document's, then its pieces in order."""
    written = plan(desk, item)
    async with desk.sheet() as sheet:
        await conversations.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(written.document)
        if not row.created and await importing.pieces(sheet.transaction, desk.scope.id, row.id) == len(written.pieces):
            sheet.known.update(await documents.piece_ids(sheet.transaction, desk.scope.id, row.id))  # their vectors came later, or not
            return Outcome(known=[row.id])  # else an import was cut off there
        kept = await sheet.keep(written.memories(desk, row.id))
        older = await replace(desk, sheet, item, row.id)
    rows = [row, *kept]
    return Outcome(created=[one.id for one in rows if one.created], known=[one.id for one in rows if not one.created], superseded=older)


async def replace(desk: Desk, sheet: Sheet, item: Item, document_id: str) -> list[str]:
    """Retracts older documents of the same source, with their pieces."""
    source = item.source or desk.provenance.source
    if source is None:
        return []
    trust = await desk.trust(sheet.transaction)
    older = await documents.older(sheet.transaction, desk.scope.id, item.collection, source, document_id, max_trust=trust)
    await facts.retract(sheet.transaction, older, f"replaced by {document_id}")
    return older


async def text(session: Session, document_id: str) -> str:
    """The whole text again, put together from its pieces; white space between pieces may be less than it was. Raises NotFound."""
    pieces = await documents.pieces(session, document_id)
    if not pieces:
        raise NotFound("There is no such document.", id=document_id)
    made, reached = "", 0
    for piece in pieces:
        start, end = piece.data["start"], piece.data["end"]
        gap = "" if start <= reached else "\n\n" if start - reached > 1 else " "
        made += (gap if made else "") + piece.body[max(reached - start, 0) :]
        reached = max(reached, end)
    return made


def show(memory: Memory) -> dict[str, Any]:
    data = data_of(memory)
    if memory.kind == "chunk":
        return {"document": memory.series, "title": memory.title, "seq": memory.seq, "text": memory.body, "collection": memory.collection}
    return {**data, "title": memory.title, "at": memory.occurred_at.isoformat() if memory.occurred_at else None}
