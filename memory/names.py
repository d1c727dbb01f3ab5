"""Names of entities: how they are compared, and which entity somebody means by one.

A ladder: the same name or alias; then, of names that were only found in text, one that shares most trigrams and has the same type; where
two share about as many, the one whose vector lies nearer, if it is clear which. Names that a caller gave as such are never matched by
likeness (two people may be called almost the same).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence

from memory.embedding import Embedder, EmbeddingFailed
from memory.words import plain
from store import entities
from store.entities import Called, Similar
from store.postgres import Session

LIKE = 0.7
CLEAR = 0.1  # by how much the best must lead the second, or it is a guess
NEAR, NEARER = 0.6, 0.1  # cosine that a tie is broken from, and by how much it must lead
SHORTEST = 5  # characters of a name that may be matched by likeness
TITLES = re.compile(r"^(?:mr|mrs|ms|miss|dr|prof|sir)\.? +")
PUNCTUATION = re.compile(r"[^\w\s'-]+")

Choose = Callable[[str, Sequence[Similar]], Awaitable[str | None]]
"""Asked which of several likely entities a name means: the id, or None for a new one."""


def nearest(embedder: Embedder) -> Choose:
    """Breaks a tie by the vectors of the names: nobody, unless one lies clearly nearer than all others."""

    async def choose(name: str, likely: Sequence[Similar]) -> str | None:
        by_id = {one.id: one for one in likely}
        try:
            mine, *theirs = await embedder.embed([name, *(one.title or one.name for one in by_id.values())])
        except EmbeddingFailed:
            return None
        cosines = {one: sum(a * b for a, b in zip(mine, vector, strict=True)) for one, vector in zip(by_id, theirs, strict=True)}
        first, *others = sorted(cosines, key=cosines.__getitem__, reverse=True)
        clear = not others or cosines[first] - cosines[others[0]] >= NEARER
        return first if clear and cosines[first] >= NEAR else None

    return choose


def compared(name: str) -> str:
    """A name as it is compared: casefolded, without accents, titles, possessive and punctuation."""
    text = " ".join(PUNCTUATION.sub(" ", plain(name).replace("’", "'")).split())
    return TITLES.sub("", text.removesuffix("'s")) or text


def trigrams(name: str) -> list[str]:
    """Those of each word, padded as pg_trgm does; of names as they are compared."""
    padded = [f"  {word} " for word in name.replace("|", " ").split()]
    return sorted({word[at : at + 3] for word in padded for at in range(len(word) - 2)})


async def meant(
    session: Session, scope_id: int, name: str, type: str | None, *, literal: bool, choose: Choose | None = None
) -> Called | Similar | None:
    """The entity of this scope that a name means, or None when it is a new one."""
    wanted = compared(name)
    exact = [found for found in await entities.called(session, [scope_id], [wanted]) if fits(found.type, type)]
    if exact:
        return next((found for found in exact if found.type == type), exact[0])
    if literal or not by_likeness(wanted):
        return None
    found = [like for like in await entities.like(session, scope_id, trigrams(wanted), LIKE) if fits(like.type, type)]
    if not found:
        return None
    others = [like for like in found[1:] if like.id != found[0].id]
    if not others or found[0].score - others[0].score >= CLEAR:
        return found[0]
    if choose is None:
        return None
    chosen = await choose(name, found)
    return next((like for like in found if like.id == chosen), None)


def by_likeness(name: str) -> bool:
    """Whether a name, as it is compared, may mean one that is only like it: "invoice 1041" is not "invoice 1042"."""
    return len(name) >= SHORTEST and not any(character.isdigit() for character in name)


def alike(one: str, other: str) -> bool:
    """Whether two names, as they are compared, share most of their trigrams."""
    mine, theirs = set(trigrams(one)), set(trigrams(other))
    return by_likeness(one) and by_likeness(other) and len(mine & theirs) >= LIKE * len(mine | theirs)


def fits(known: str | None, wanted: str | None) -> bool:
    return known is None or wanted is None or known == wanted
