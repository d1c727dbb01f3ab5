"""Summaries: of turns, of other summaries (a level higher), or of anything, with key points; a newer one of the same stretch takes the
place of the older, which stays in the history."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from memory.kinds import Given, Outcome, Short, Text
from memory.writing import Desk
from store import conversations, facts, summaries
from store.memories import Memory
from store.postgres import Session

ROWS = ("summary",)


class Item(Given):
    """`of`: ids of what it sums up, which it is trusted no more than; `level`: 1 of turns, 2 of summaries of level 1, and so on."""

    text: Text
    session: Short = "main"
    title: Short | None = None
    level: int = Field(default=1, ge=1, le=9)
    key_points: tuple[Short, ...] = Field(default=(), max_length=50)
    from_seq: int | None = Field(default=None, ge=1)
    to_seq: int | None = Field(default=None, ge=1)
    of: tuple[Short, ...] = Field(default=(), max_length=10_000)

    @model_validator(mode="after")
    def in_order(self) -> Item:
        if (self.from_seq is None) != (self.to_seq is None) or (self.from_seq or 0) > (self.to_seq or 0):
            raise ValueError("from_seq and to_seq come together, in this order")
        return self


async def keep(desk: Desk, item: Item) -> Outcome:
    body = item.text if not item.key_points else item.text + "\n" + "\n".join(f"- {point}" for point in item.key_points)
    data = {"level": item.level, "text": item.text, "key_points": list(item.key_points), "from_seq": item.from_seq, "to_seq": item.to_seq}
    identity = f"{item.session}\x1f{item.level}\x1f{item.from_seq}\x1f{item.to_seq}\x1f{body}"
    made = desk.memory(
        "summary",
        body,
        series=item.session,
        seq=item.to_seq,
        title=item.title,
        data=data,
        parents=item.of,
        identity=identity,
        **item.common(),
    )
    async with desk.sheet() as sheet:
        await conversations.lock(sheet.transaction, desk.scope.id)
        row = await sheet.keep_one(made)
        if not row.created:
            return Outcome(known=[row.id])
        older = []
        if item.from_seq is not None:
            older = await summaries.covered(
                sheet.transaction, desk.scope.id, item.session, item.level, item.from_seq, item.to_seq or 0, row.id,
                max_trust=await desk.trust(sheet.transaction),
            )  # fmt: skip
            await facts.retract(sheet.transaction, older, f"summed up anew by {row.id}")
    return Outcome(created=[row.id], superseded=older)


async def to_sum_up(session: Session, scope_id: int, name: str, limit: int = 200) -> list[Memory]:
    """The turns that no summary of level 1 covers yet, oldest first: the next `limit` of them."""
    after = await summaries.reach(session, scope_id, name)
    return await summaries.turns_after(session, scope_id, name, after, limit)


def show(memory: Memory) -> dict[str, Any]:
    return {"session": memory.series, "title": memory.title, **(memory.data or {"text": memory.body})}
