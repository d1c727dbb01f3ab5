"""Importing an export: kinds, scopes, dates, provenance, trust, validity, history and relations are as they were; ids are new.

An id here follows from the scope and the id in the file, so that a file read again, or from where it was cut off, writes nothing twice.
Nothing is trusted more than the file says, than its origin is, or than whoever imports may claim. Vectors are made anew.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Literal, cast
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from memory import items, names, shapes, words
from memory.export import VERSION
from memory.items import TRUST, NewMemory, clean
from memory.kinds import Outcome
from memory.writing import TRUSTED
from store import restoring
from store.errors import Invalid
from store.memories import Scope
from store.postgres import Tenant, Transaction

BATCH = 200
ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
LEFT_OUT = "vector"  # a kind whose vectors the users have and an export has not


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Edge(Closed):
    source: UUID = Field(alias="from")
    to: UUID
    type: str
    weight: float = Field(allow_inf_nan=False)


class Merge(Closed):
    into: UUID
    root: UUID
    method: Literal["person", "similar", "vector", "model"]
    score: float = Field(allow_inf_nan=False)


class Fact(Closed):
    subject: str
    predicate: str
    object: str
    single: bool
    vouched: bool
    live: bool
    retraction: str | None = None
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None


class Record(Closed):
    """A line of an export (memory/export.py)."""

    id: UUID
    scope_id: int
    kind: Literal["turn", "summary", "entity", "episode", "fact", "rule", "node", "edge", "document", "chunk", "vector"]
    body: str = Field(min_length=1, max_length=items.MAX_BODY)
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    collection: str | None = None
    series: str | None = None
    seq: int | None = Field(default=None, ge=0, le=10**15)
    speaker: str | None = None
    role: Literal["user", "assistant", "system", "tool", "developer"] | None = None
    title: str | None = None
    data: Any = None
    language: str = "english"
    occurred_at: AwareDatetime | None = None
    valid_from: AwareDatetime | None = None
    valid_to: AwareDatetime | None = None
    recorded_at: AwareDatetime
    retracted_at: AwareDatetime | None = None
    used_at: AwareDatetime | None = None
    expires_at: AwareDatetime | None = None
    importance: float = Field(ge=0, le=1)
    confidence: float | None = Field(default=None, ge=0, le=1)
    pinned: bool = False
    uses: int = 0
    origin: Literal["user", "operator", "agent", "tool", "web", "document", "inference"]
    source: str | None = None
    author: str | None = None
    trust: int = Field(ge=0, le=3)
    labels: tuple[str, ...] = ()
    run_id: str | None = None
    created_by: str | None = None
    parents: tuple[UUID, ...] = ()
    names: tuple[str, ...] = ()
    mentions: tuple[UUID, ...] = ()
    merge: Merge | None = None
    edge: Edge | None = None
    fact: Fact | None = None

    @model_validator(mode="after")
    def of_its_kind(self) -> Record:
        if told := shapes.wrong(self.kind, self.data, self.series):
            raise ValueError(told)
        return self


DATES = ("occurred_at", "valid_from", "valid_to", "recorded_at", "retracted_at", "used_at", "expires_at")
COPIED = (
    "kind", "collection", "seq", "speaker", "role", "title", "body", "data", "language", "importance", "confidence", "pinned", "uses",
    "origin", "source", "author", "digest",
)  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Restore:
    """One import of an export. `scopes`: those of the file, by their number there; `most`: how far its words may be believed at most.
    Holds some 300 bytes per memory."""

    tenant: Tenant
    scopes: Mapping[int, Scope]
    most: int
    user_id: str | None
    left_out: int = 0
    _ids: dict[str, str] = field(default_factory=dict[str, str])

    async def rows(self, lines: Iterable[tuple[int, Any]]) -> AsyncGenerator[tuple[int, Outcome]]:
        """Writes the memories: so many lines are read, and what became of them."""
        async for number, records in _batches(lines):
            yield number, await self._write([one for one in records if self._wanted(one)])

    async def relations(self, lines: Iterable[tuple[int, Any]]) -> AsyncGenerator[int]:
        """Writes, when all memories are there, what lies between them."""
        async for number, records in _batches(lines):
            await self._relate([one for one in records if str(one.id) in self._ids])
            yield number

    def _wanted(self, record: Record) -> bool:
        if record.scope_id not in self.scopes:
            raise Invalid(f"Memory {record.id} is of the scope {record.scope_id}, of which the first line of the export says nothing.")
        wanted = record.kind != LEFT_OUT and (record.kind != "rule" or self._trust(record) == max(TRUST.values()))
        self.left_out += not wanted
        return wanted

    def _trust(self, record: Record) -> int:
        return min(record.trust, TRUST[record.origin], self.most)

    async def _write(self, records: Sequence[Record]) -> Outcome:
        if not records:
            return Outcome()
        derived = {str(one.id): _derived(self.scopes[one.scope_id], one.id) for one in records}
        asked = [
            {"id": str(one.id), "derived": derived[str(one.id)], "scope_id": self.scopes[one.scope_id].id, "kind": one.kind,
             "digest": one.digest, "live": one.retracted_at is None}
            for one in records
        ]  # fmt: skip
        async with self.tenant.transaction() as transaction:
            known = await restoring.matching(transaction, asked)
            self._ids.update({**derived, **known})
            new = [self._row(one) for one in records if str(one.id) not in known]
            await self._place(transaction, new)
            written = await restoring.insert(transaction, new, user_id=self.user_id)
        if len(written) < len(new):  # the same words twice in the file, or said by somebody else at this moment
            self._ids.update(await restoring.matching(self.tenant, asked))
        return Outcome(created=[row["id"] for row in new if row["id"] in written], known=list(known.values()))

    def _row(self, record: Record) -> dict[str, Any]:
        scope = self.scopes[record.scope_id]
        row: dict[str, Any] = {name: clean(getattr(record, name)) for name in COPIED}
        row |= {name: value.isoformat() if (value := getattr(record, name)) else None for name in DATES}
        found = items.found_by(NewMemory(kind=record.kind, body=record.body, title=record.title, speaker=record.speaker))
        return {
            **row,
            "id": self._ids[str(record.id)],
            "scope_id": scope.id,
            "series": self._ids.get(record.series or "", record.series),
            "terms": words.vector(scope.id, found),
            "length": len(found),
            "tokens": items.tokens(record.body),
            "trust": self._trust(record),
            "labels": [clean(label) for label in record.labels],
        }

    async def _place(self, transaction: Transaction, rows: list[dict[str, Any]]) -> None:
        """Turns keep their places where those are free, and else follow the ones that are there."""
        turns: dict[int, list[dict[str, Any]]] = {}
        for row in rows:
            if row["kind"] == "turn" and row["seq"] is not None:
                turns.setdefault(row["scope_id"], []).append(row)
        for scope_id, placed in sorted(turns.items()):
            following = await restoring.places(transaction, scope_id)
            taken = await restoring.taken(transaction, scope_id, [row["seq"] for row in placed])
            for row in sorted(placed, key=lambda row: row["seq"]):
                if row["seq"] in taken:
                    row["seq"] = following
                following = max(following, row["seq"] + 1)
                taken.add(row["seq"])
            await restoring.move_places(transaction, scope_id, following)

    async def _relate(self, records: Sequence[Record]) -> None:
        here = self._ids
        lists: dict[str, list[dict[str, Any]]] = {name: [] for name in ("parents", "names", "mentions", "edges", "merges")}
        facts: list[dict[str, Any]] = []
        for one in records:
            own, scope = here[str(one.id)], self.scopes[one.scope_id]
            lists["parents"] += [{"child": own, "parent": here[str(parent)]} for parent in one.parents if str(parent) in here]
            lists["names"] += [
                {"scope_id": scope.id, "name": clean(name), "entity_id": own, "trigrams": names.trigrams(clean(name))} for name in one.names
            ]
            lists["mentions"] += [{"entity_id": here[str(entity)], "memory_id": own} for entity in one.mentions if str(entity) in here]
            if (edge := one.edge) and str(edge.source) in here and str(edge.to) in here:
                ends = {"from_id": here[str(edge.source)], "to_id": here[str(edge.to)]}
                lists["edges"].append({"memory_id": own, **ends, "type": clean(edge.type), "weight": edge.weight})
            if (merge := one.merge) and str(merge.into) in here and str(merge.root) in here and merge.root != one.id:
                into = {"into_id": here[str(merge.into)], "root_id": here[str(merge.root)]}
                lists["merges"].append({"from_id": own, **into, "method": merge.method, "score": merge.score})
            if one.fact:
                told = clean(one.fact.model_dump(mode="json"))
                if told["retraction"]:  # which may say by what it was superseded
                    told["retraction"] = ID.sub(lambda match: here.get(match[0], match[0]), told["retraction"])
                facts.append({**told, "memory_id": own, "scope_id": scope.id, "vouched": self._trust(one) >= TRUSTED})
        async with self.tenant.transaction() as transaction:
            await restoring.relate(transaction, lists, user_id=self.user_id)
            if facts:
                await restoring.state(transaction, facts)
            await restoring.distrust(transaction, [here[str(one.id)] for one in records])


def header(line: Any) -> dict[int, dict[str, Any]] | None:
    """The scopes of an export by their number, if this is the first line of one. Raises Invalid for one of another version."""
    found: dict[str, Any] = cast("dict[str, Any]", line) if isinstance(line, dict) else {}
    if found.get("weft") != "memories":
        return None
    if found.get("version") != VERSION:
        raise Invalid(f"This export has the form {found.get('version')!r}; this version of Weft reads the form {VERSION}.")
    try:
        return {int(scope["id"]): scope for scope in found["scopes"]}
    except (KeyError, TypeError, ValueError):
        raise Invalid("The first line of this export does not say which scopes there are.") from None


def _derived(scope: Scope, old: UUID) -> str:
    """An RFC 9562 version 8 id."""
    raw = bytearray(hashlib.sha256(f"{scope.id}\x1f{old}".encode()).digest()[:16])
    raw[:6] = old.bytes[:6]  # in the order in which they were made
    raw[6] = (raw[6] & 0x0F) | 0x80
    raw[8] = (raw[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(raw)))


async def _batches(lines: Iterable[tuple[int, Any]]) -> AsyncGenerator[tuple[int, list[Record]]]:
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        yield batch[-1][0], [_record(number, line) for number, line in batch if not (isinstance(line, dict) and "weft" in line)]


def _record(number: int, line: Any) -> Record:
    try:
        return Record.model_validate(line)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        told = f"{place}: {first['msg']}" if place else first["msg"].removeprefix("Value error, ")
        raise Invalid(f"Line {number} is no memory as an export writes it: {told}.") from None


def read(path: Path) -> Iterator[tuple[int, Any]]:
    """The lines of a file of JSON with their numbers. Raises Invalid."""
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except (ValueError, RecursionError) as wrong:
                    raise Invalid(f"{path.name}, line {number} is not JSON: {str(wrong)[:200]}.") from None


def is_export(path: Path) -> bool:
    """Whether a file begins as an export does."""
    try:
        with path.open("rb") as file:
            return header(json.loads(file.readline(1_000_000))) is not None
    except (OSError, ValueError, RecursionError):
        return False
