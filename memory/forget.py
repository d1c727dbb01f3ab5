"""Forgetting: a memory goes with everything that was made of it, its vectors and names, and leaves a receipt without a word of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from memory import names, policies, words
from memory.redaction import Wanted
from store import entities, forgetting, lineage, redaction
from store.errors import Invalid, Unavailable
from store.forgetting import Receipt
from store.ids import is_id
from store.memories import Scope
from store.postgres import Session, Tenant, Transaction

By = Literal["id", "query", "source", "subject"]
ROUNDS = 100
BATCH = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is to be forgotten, in exactly one way. `query`: what holds all of these words, or this text; `source`: what came from there or
    from below it; `subject`: whatever is about, by or with this person or thing, under all its names."""

    ids: Sequence[str] = ()
    query: str | None = None
    source: str | None = None
    subject: str | None = None

    @property
    def by(self) -> By:
        ways: list[By] = ["query", "source", "subject"]
        given: list[By] = [way for way in ways if (getattr(self, way) or "").strip()]
        if self.ids:
            given.append("id")
        if len(given) != 1:
            raise Invalid("Say what to forget in exactly one way: ids, query, source or subject.")
        return given[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """`runs`: those whose records had the words, or may have them when it was only asked what would go (`receipt` None)."""

    ids: Sequence[str]
    counts: dict[str, int]
    runs: Sequence[str]
    receipt: Receipt | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who asks for something to be forgotten. `everywhere`: the words also leave runs that others started and that have nothing to do with
    the memories. `run_id`: the run that asks; `key`: of its step, so that asking once more changes nothing."""

    by: str | None = None
    everywhere: bool = True
    run_id: str | None = None
    key: str | None = None


NOBODY = Asking()


async def forget(
    tenant: Tenant, scopes: Sequence[Scope], choice: Choice, *, reason: str, asking: Asking = NOBODY, dry_run: bool = False
) -> Forgotten:
    """Forgets in these scopes, which the caller may write to, in one transaction. What was derived from it elsewhere goes as well, and the
    words leave the records of runs. Raises Invalid, and Unavailable while a run is in a call that must not be cut off."""
    async with tenant.transaction() as transaction:
        if asking.key and (before := await forgetting.by_key(transaction, asking.key)):
            return Forgotten(ids=(), counts=before.forgotten, runs=(), receipt=before)
        ids = await lineage.falling(transaction, await chosen(transaction, scopes, choice))
        if emptied := await forgetting.emptied(transaction, ids):
            ids = await lineage.falling(transaction, [*ids, *emptied])
        counts = await forgetting.count(transaction, ids)
        if dry_run:
            return Forgotten(ids=ids, counts=counts, runs=await redaction.tied(transaction, ids), receipt=None)
        await redaction.hold(transaction, ids)
        told, spoken = await redaction.told(transaction, ids), await _spoken(transaction, scopes, choice)
        wanted = await asyncio.to_thread(Wanted, told, spoken)  # of a long document it takes seconds
        runs, redacted = await _redact(transaction, ids, wanted, asking)
        said = "" if wanted.wide.within(reason) or wanted.narrow(set()).within(reason) else reason
        receipt = await forgetting.erase(
            transaction, ids, reason=said or "asked for", selector=choice.by, by=asking.by, redacted=redacted, key=asking.key
        )
        await redaction.drop_scopes(transaction, [scope.id for scope in scopes], wanted.narrow(set()).within)
    return Forgotten(ids=ids, counts=counts, runs=runs, receipt=receipt)


async def _redact(transaction: Transaction, ids: Sequence[str], wanted: Wanted, asking: Asking) -> tuple[list[str], dict[str, int]]:
    """Redacts what runs hold: the runs that changed, and how many rows of which table. Who drives one of them loses it, and the next driver
    goes on with what is left."""
    counts: dict[str, int] = {}
    wide, narrow = wanted.wide, wanted.narrow(await redaction.surviving(transaction, ids, wanted.lexemes))
    others = set(await redaction.holding(transaction, wanted.patterns, None if asking.everywhere else asking.by))
    own = [asking.run_id] if asking.run_id else []
    changed: set[str] = set()
    done: set[str] = set()
    for over in (True, False):  # those that are under way last: nothing of theirs moves, nor do the leases beside them, until we are done
        tied = set(await redaction.tied(transaction, ids, own))
        while locked := await redaction.lock(transaction, sorted((tied | others) - done), over=over):
            near, far = [one for one in locked if one in tied], [one for one in locked if one not in tied]
            changed |= await redaction.redact(transaction, near, narrow.redact, counts)
            changed |= await redaction.redact(transaction, far, wide.redact, counts)
            done.update(locked)
            tied = set(await redaction.tied(transaction, ids, own))  # a run may have been told of it until we had its lock
    if asking.everywhere:
        await redaction.redact_received(transaction, wanted.patterns, wide.redact, counts)
    down = sorted({*changed, *await redaction.tied(transaction, ids)})
    if busy := await redaction.in_a_call(transaction, down):
        raise Unavailable(f"run {busy[0]} is in the middle of a call that must not be cut off; nothing was forgotten, try again", runs=busy)
    if dropped := await redaction.drop_checkpoints(transaction, down):
        counts["checkpoints"] = dropped
    await redaction.put_down(transaction, down)
    await redaction.tell(transaction, sorted(changed))
    return sorted(changed), counts


async def _spoken(session: Session, scopes: Sequence[Scope], choice: Choice) -> list[str]:
    """The words by which memories were chosen: the query, the source, or all names of the subject."""
    match choice.by:
        case "id":
            return []
        case "source":
            return [choice.source or ""]
        case "query":
            return [choice.query or ""]
        case "subject":
            called = await entities.called(session, [scope.id for scope in scopes], [names.compared(choice.subject or "")])
            found = await entities.read(session, [one.id for one in called])
            return [choice.subject or "", *(name for entity in found for name in entity.names)]


async def sweep(tenant: Tenant, scope: Scope, *, now: datetime | None = None) -> list[Receipt]:
    """Forgets what the scope's policy no longer keeps, in batches of one transaction and one receipt each. What was made of it stays for as
    long as its own kind is kept, but for pieces of documents, and what was made of a memory whose own time is up."""
    receipts: list[Receipt] = []
    for _ in range(ROUNDS):
        async with tenant.transaction() as transaction:
            policy = await policies.of_scope(transaction, scope.id)
            due = await policies.due(transaction, scope.id, policy, now=now, limit=BATCH)
            if not due:
                break
            old = [one.id for one in due if not one.expired]
            ids = await lineage.falling(transaction, [one.id for one in due if one.expired])
            ids = list(dict.fromkeys((*ids, *old, *await lineage.pieces(transaction, old))))
            receipts.append(await forgetting.erase(transaction, ids, reason="no longer kept", selector="expiry", by=None))
    return receipts


async def chosen(session: Session, scopes: Sequence[Scope], choice: Choice) -> list[str]:
    """Ids of the memories of these scopes that were chosen."""
    scope_ids = [scope.id for scope in scopes]
    match choice.by:
        case "id":
            return await forgetting.by_id(session, scope_ids, [one for one in choice.ids if is_id(one)])
        case "source":
            return await forgetting.by_source(session, scope_ids, choice.source or "")
        case "query":
            return await _worded(session, scope_ids, choice.query or "")
        case "subject":
            return await about(session, scope_ids, choice.subject or "")


async def about(session: Session, scope_ids: Sequence[int], subject: str) -> list[str]:
    """Ids of all memories about, by or with somebody or something, under all its names."""
    called = await entities.called(session, scope_ids, [names.compared(subject)])
    found = await entities.read(session, [one.id for one in called])
    ids = [one for entity in found for one in (entity.id, *entity.merged)]
    alike = {names.compared(subject), *(name for entity in found for name in entity.names)}
    said = {subject.strip().lower(), *alike, *((entity.name or "").lower() for entity in found)}
    chosen = dict.fromkeys(
        await forgetting.about(session, scope_ids, entity_ids=ids, names=sorted(alike), speakers=sorted(one for one in said if one))
    )
    for name in sorted(alike):
        chosen |= dict.fromkeys(await _worded(session, scope_ids, name, whole=True))
    return list(chosen)


async def _worded(session: Session, scope_ids: Sequence[int], text: str, *, whole: bool = False) -> list[str]:
    """What holds all of the words; `whole`: only what holds them next to each other, as a name."""
    needle = text.strip()
    escaped = json.dumps(needle)[1:-1]
    found: list[str] = []
    for scope_id in scope_ids:
        terms = " & ".join(words.quoted(words.key(scope_id, term)) for term in dict.fromkeys(words.terms(needle)))
        for row in await forgetting.by_words(session, scope_id, terms, needle, escaped):
            if not whole or _names(
                needle, "\n".join((row.speaker or "", row.title or "", row.body, json.dumps(row.data, ensure_ascii=False)))
            ):
                found.append(row.id)
    return found


def _names(name: str, text: str) -> bool:
    wanted = " ".join(names.PUNCTUATION.sub(" ", name).split())
    told = f" {' '.join(names.PUNCTUATION.sub(' ', words.plain(text).replace('’', chr(39))).split())} "
    return bool(wanted) and (f" {wanted} " in told or f" {wanted}'s " in told or (not wanted.isascii() and wanted in told))
