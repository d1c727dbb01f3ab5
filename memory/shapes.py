"""What the kinds read in `data` of their rows: held against a file that says it is an export, which anybody may have written."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from memory.kinds import rule

LARGEST = 10_000_000  # characters of a document


class _Shape(BaseModel):
    """More than a kind reads may be there: users bring data of their own."""

    model_config = ConfigDict(extra="allow", frozen=True)


class Summary(_Shape):
    level: int = Field(ge=1, le=9)
    text: str
    key_points: tuple[str, ...] = ()
    from_seq: int | None = Field(default=None, ge=1)
    to_seq: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def in_order(self) -> Summary:
        if (self.from_seq is None) != (self.to_seq is None) or (self.from_seq or 0) > (self.to_seq or 0):
            raise ValueError("from_seq and to_seq come together, in this order")
        return self


class Named(_Shape):
    type: str | None = None
    aliases: tuple[str, ...] = ()
    description: str | None = None
    attributes: dict[str, Any] = Field(default_factory=dict)


class Piece(_Shape):
    start: int = Field(ge=0)
    end: int = Field(ge=0)


class Kept(_Shape):
    """A document."""

    characters: int | None = Field(default=None, ge=0, le=LARGEST)


class Told(_Shape):
    """A fact."""

    predicate: str
    object: str | int | float | bool
    contests: tuple[str, ...] = ()


DATA: Mapping[str, TypeAdapter[Any]] = MappingProxyType(
    {
        "turn": TypeAdapter(dict[str, Any] | None),
        "summary": TypeAdapter(Summary),
        "entity": TypeAdapter(Named | None),
        "node": TypeAdapter(Named | None),
        "edge": TypeAdapter(dict[str, Any] | None),
        "episode": TypeAdapter(dict[str, Any] | None),
        "fact": TypeAdapter(Told),
        "rule": TypeAdapter(rule.Item),
        "document": TypeAdapter(Kept | None),
        "chunk": TypeAdapter(Piece),
    }
)
SERIES = TypeAdapter(UUID)


def wrong(kind: str, data: Any, series: str | None) -> str | None:
    """What keeps a row of this kind from having such data, or belonging to such a series; None when nothing does."""
    try:
        if kind in DATA:
            DATA[kind].validate_python(data)
        if kind == "chunk":
            SERIES.validate_python(series)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return f"data.{place}: {first['msg']}" if place else f"{'series' if error.title == 'uuid' else 'data'}: {first['msg']}"
    return None
