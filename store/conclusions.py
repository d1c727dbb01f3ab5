"""What a text says meets what is known, in as few round trips as there are things that must be known before others can be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from store import conversations, entities, facts, lineage, memories
from store.entities import Called
from store.facts import Standing
from store.lineage import Concluded
from store.memories import Space
from store.postgres import Transaction
from store.queries import Query, load

SQL = load(__file__)
Key = tuple[str, str]
"""Subject and predicate of a fact, as they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """`id` None: it was not said before, and `at` is now."""

    id: str | None
    trust: int | None
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The message, if it was said before; the number of the next one; where vectors go; and how far its words are believed if they came
    from outside before."""

    turn: Turn
    number: int
    space: Space | None
    heard: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """`called`: entities by name; `alike`: names that nobody has and that are like one somebody has; `standing`: what is held by key;
    `concluded`: facts by what they say, also those that were retracted since."""

    called: Mapping[str, Sequence[Called]]
    alike: frozenset[str]
    standing: Mapping[Key, Sequence[Standing]]
    concluded: Mapping[tuple[str, str, str], str]
    now: datetime


ROWS = {"turn": Turn, "like": str}


async def begin(
    transaction: Transaction, scope_id: int, digest: str, space: Mapping[str, Any], texts: Sequence[str], user_id: str | None
) -> Begun:
    """With the locks of entities and of the conversation, in this order. `space`: what the embedder's is known by; `texts`: see `heard`."""
    await entities.lock(transaction, scope_id)
    (number,), (turn,), found, (heard,) = await transaction.several(
        (conversations.SQL.lock, int, {"scope_id": scope_id}),
        (SQL.turn, Turn, {"scope_id": scope_id, "digest": digest}),
        (memories.SQL.active_space, Space, dict(space)),
        (memories.SQL.heard, int, {"texts": list(texts), "user_id": user_id}),
    )
    return Begun(turn=turn, number=number, space=found[0] if found else None, heard=heard)


async def advance(transaction: Transaction, scope_id: int) -> None:
    """The conversation has one more message."""
    await transaction.queue(conversations.SQL.advance, scope_id=scope_id, number=1)


async def known(
    transaction: Transaction,
    scope_id: int,
    names: Sequence[str],
    trigrams: Mapping[str, Sequence[str]],
    *,
    least: float,
    keys: Sequence[Key],
    of: str | None,
) -> Known:
    """What is known of these names and of these subjects and predicates, and what was concluded from the memory `of` before. Nobody else
    writes about them until the transaction ends. `trigrams`: of the names that may be matched by likeness."""
    for subject, predicate in sorted(keys):
        await transaction.queue(facts.SQL.lock, scope_id=scope_id, subject=subject, predicate=predicate)
    asked: list[tuple[Query, type[Any], dict[str, Any]]] = [
        (facts.SQL.clock, datetime, {}),
        (entities.SQL.called, Called, {"scope_ids": [scope_id], "names": list(names)}),
        *(
            (facts.SQL.standing, Standing, {"scope_id": scope_id, "subject": subject, "predicate": predicate})
            for subject, predicate in keys
        ),
        *((SQL.like, str, {"scope_id": scope_id, "name": name, "trigrams": list(made), "least": least}) for name, made in trigrams.items()),
    ]
    if of is not None:
        asked.append((lineage.SQL.concluded, Concluded, {"id": of}))
    (now,), called, *rest = await transaction.several(*asked)
    standing, rest = rest[: len(keys)], rest[len(keys) :]
    before: list[Concluded] = rest.pop() if of is not None else []
    return Known(
        called={name: [one for one in called if one.name == name] for name in names},
        alike=frozenset(name for name, found in zip(trigrams, rest, strict=True) if found),
        standing=dict(zip(keys, standing, strict=True)),
        concluded={(one.subject, one.predicate, one.object): one.id for one in before},
        now=now,
    )
