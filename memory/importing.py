"""Importing files: what a file says now is what counts. It can be cut off anywhere; the next import of the same file goes on from there.

A list is one document whose pieces are its rows. A row is known again by all that it says, wherever it stands; of rows that say the same
each counts. What is there and not in the file any more is retracted when the file has been read to its end, and stays in the history.
A text is a document in pieces (memory/kinds/document.py); a long one comes in batches, and takes the place of the older one with the last.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncGenerator, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from memory import items
from memory.chunking import SIZE, chunks
from memory.items import NewMemory, tokens
from memory.kinds import Outcome, document
from memory.kinds.document import Item
from memory.reading import Passage
from memory.writing import Desk, Sheet
from store import conversations, facts, importing
from store.memories import Kept

ROOM = 1_000_000_000  # places of a row among those of the list, so that pieces of rows have an order without knowing the rows before
LONG = 2 * SIZE  # tokens: what is longer is cut
BATCH = 200  # pieces of a document, or of rows that are retracted, in a transaction


@dataclass(slots=True, kw_only=True)
class Rows:
    """The rows of one list, in batches and in order; `end` when there are no more. Holds some 200 bytes per row."""

    desk: Desk
    collection: str
    title: str
    document_id: str | None = None
    _said: Counter[bytes] = field(default_factory=Counter[bytes])
    _there: set[int] = field(default_factory=set[int])

    async def keep(self, rows: Sequence[Passage]) -> Outcome:
        """In one transaction. A row that is there already stays as it is."""
        source = self.desk.provenance.source
        async with self.desk.sheet() as sheet:
            if self.document_id is None:
                made = self.desk.memory(
                    "document", f"Document: {self.title}", title=self.title, collection=self.collection,
                    data={"collection": self.collection, "list": True}, identity=f"{self.collection}\x1f{source}\x1flist",
                )  # fmt: skip
                self.document_id = (await sheet.keep_one(made)).id
            kept = await _keep_new(self.desk, sheet, [piece for row in rows for piece in self._pieces(self.document_id, row)])
        self._there.update(UUID(one.id).int for one in kept)
        return Outcome(created=[one.id for one in kept if one.created], known=[one.id for one in kept if not one.created])

    async def end(self) -> Outcome:
        """Retracts rows of the list that it no longer has."""
        outcome = Outcome()
        if self.document_id is None:
            return outcome
        tenant, scope_id, trust = self.desk.tenant, self.desk.scope.id, await self.desk.trust(self.desk.tenant)
        after: str | None = None
        while page := await importing.standing(tenant, scope_id, self.document_id, max_trust=trust, after=after, limit=10 * BATCH):
            gone = [one for one in page if UUID(one).int not in self._there]
            for start in range(0, len(gone), BATCH):
                outcome.superseded.extend(await facts.retract(tenant, gone[start : start + BATCH], "no longer in the file"))
            after = page[-1]
        return outcome

    def _pieces(self, document_id: str, row: Passage) -> Iterator[NewMemory]:
        number = row.row or 0
        said = json.dumps([row.text, row.title, row.speaker, row.at.isoformat() if row.at else None, row.data], default=str)
        digest = hashlib.sha256(said.encode()).digest()[:16]
        self._said[digest] += 1
        spans = [(0, row.text)] if tokens(row.text) <= LONG else [(chunk.start, chunk.body) for chunk in chunks(row.text)]
        same = f"{document_id}\x1f{digest.hex()}\x1f{self._said[digest]}"
        for start, text in spans:
            begin = number * ROOM + start
            yield self.desk.memory(
                "chunk", text, title=row.title or self.title, speaker=row.speaker, collection=self.collection, series=document_id,
                seq=begin, occurred_at=row.at, parents=(document_id,), identity=f"{same}\x1f{start}",
                data={"start": begin, "end": begin + len(text), "row": number, **({"fields": row.data} if row.data else {})},
            )  # fmt: skip


async def keep_document(desk: Desk, item: Item) -> AsyncGenerator[tuple[int, int, Outcome]]:
    """Keeps a text in batches: how many of its pieces are there, of how many, and what became of this batch. One that is there whole is
    known; one that was cut off is gone on with."""
    written = document.plan(desk, item)
    total = len(written.pieces)
    async with desk.sheet() as sheet:
        await conversations.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(written.document)
        whole = not row.created and await importing.pieces(sheet.transaction, desk.scope.id, row.id) == total
    yield 0, total, Outcome(created=[row.id] if row.created else [], known=[] if row.created else [row.id])
    if whole:
        yield total, total, Outcome()
        return
    for start in range(0, total, BATCH):
        async with desk.sheet() as sheet:
            kept = await _keep_new(desk, sheet, written.memories(desk, row.id, start, start + BATCH))
            outcome = Outcome(created=[one.id for one in kept if one.created], known=[one.id for one in kept if not one.created])
            if start + BATCH >= total:
                outcome.superseded.extend(await document.replace(desk, sheet, item, row.id))
        yield min(start + BATCH, total), total, outcome


async def _keep_new(desk: Desk, sheet: Sheet, made: Sequence[NewMemory]) -> list[Kept]:
    """Like sheet.keep, for pieces of which most may be there: only what is new is taken apart into its words."""
    digests = [items.digest(one) for one in made]
    there = await importing.known(sheet.transaction, desk.scope.id, "chunk", digests)
    sheet.known.update(there.values())
    new = iter(await sheet.keep([one for one, digest in zip(made, digests, strict=True) if digest not in there]))
    return [Kept(id=there[digest], created=False) if digest in there else next(new) for digest in digests]
