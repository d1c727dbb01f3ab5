"""Kinds of memory, one file each, found by folder: what a kind takes, how it is kept and shown, and which rows it is made of."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Protocol, cast

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from memory.writing import Desk
from store.errors import Invalid, NotFound
from store.memories import Memory

Text = Annotated[str, Field(min_length=1, max_length=100_000)]
Short = Annotated[str, Field(min_length=1, max_length=500)]
Share = Annotated[float, Field(ge=0, le=1)]
Moment = AwareDatetime


class Given(BaseModel):
    """What every kind takes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    importance: Share = 0.5
    labels: tuple[Short, ...] = ()
    pinned: bool = False
    expires_at: Moment | None = None

    def common(self) -> dict[str, Any]:
        """The fields of a NewMemory that every kind fills alike."""
        return {"importance": self.importance, "labels": self.labels, "pinned": self.pinned, "expires_at": self.expires_at}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of something remembered: ids that are new, that were known, that it superseded, and that it contests."""

    created: list[str] = field(default_factory=list[str])
    known: list[str] = field(default_factory=list[str])
    superseded: list[str] = field(default_factory=list[str])
    contested: list[str] = field(default_factory=list[str])

    def add(self, other: Outcome) -> None:
        for name in ("created", "known", "superseded", "contested"):
            mine, theirs = getattr(self, name), getattr(other, name)
            mine += [one for one in theirs if one not in mine]

    @property
    def id(self) -> str:
        """The first memory it is."""
        return (self.created or self.known)[0]


class Kind(Protocol):
    """A module of this folder. `ROWS`: the kinds of rows it is made of, the first of which stands for the whole."""

    ROWS: tuple[str, ...]
    Item: type[Given]

    async def keep(self, desk: Desk, item: Any) -> Outcome: ...

    def show(self, memory: Memory) -> dict[str, Any]: ...


@cache
def names() -> tuple[str, ...]:
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def named(name: str) -> Kind:
    if name not in names():
        raise NotFound(f"There is no kind of memory named {name!r}; there are {', '.join(names())}.")
    return cast("Kind", importlib.import_module(f"{__name__}.{name}"))


@cache
def of_row(kind: str) -> Kind:
    """The kind that a row of `memories.kind` belongs to."""
    return next(found for name in names() if kind in (found := named(name)).ROWS)


def rows(*kinds: str) -> list[str]:
    """The kinds of rows that kinds are made of: what a caller names as kinds, as a query needs it."""
    return [row for name in kinds for row in named(name).ROWS]


async def keep(desk: Desk, kind: str, item: Mapping[str, Any]) -> Outcome:
    """Checks what comes from outside and keeps it. Raises Invalid with all that is wrong."""
    return await named(kind).keep(desk, given(kind, item))


def given(kind: str, item: Mapping[str, Any]) -> Any:
    """What comes from outside as an Item of the kind. Raises Invalid with all that is wrong."""
    try:
        return named(kind).Item.model_validate(item)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc'])) or kind}: {one['msg']}" for one in error.errors())
        raise Invalid(f"This {kind} is not valid: {wrong}.", kind=kind) from None


def show(memory: Memory) -> dict[str, Any]:
    """A memory as its kind shows it, with where it is from."""
    about: dict[str, Any] = {
        "id": memory.id, "kind": memory.kind, **of_row(memory.kind).show(memory), "importance": memory.importance, "origin": memory.origin,
        "source": memory.source, "author": memory.author, "trust": memory.trust, "labels": memory.labels,
        "recorded_at": _iso(memory.recorded_at), "retracted_at": _iso(memory.retracted_at),
    }  # fmt: skip
    return {name: value for name, value in about.items() if value not in (None, [], {})}


def data_of(memory: Memory) -> dict[str, Any]:
    """What only this kind has; empty when it has nothing."""
    return cast("dict[str, Any]", memory.data or {})


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
