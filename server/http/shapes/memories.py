"""What HTTP operations on memories answer."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from server.http.shapes import Shape


class Remembered(Shape):
    """Ids: of what was said itself (created, or known already), and of what was concluded from it."""

    scope: str
    created: list[str]
    known: list[str] = Field(default=[])
    concluded: list[str] = Field(default=[])
    superseded: list[str] = Field(default=[])
    contested: list[str] = Field(default=[])
    concluded_by: str | None = Field(default=None, description="rules, or model vendor:name")
    usage: dict[str, int] | None = Field(default=None, description="tokens of the model that was asked")


Trust = Literal["quarantined", "from outside", "from an agent", "said by a person"]


class MemoryHit(Shape):
    """A memory that was found: quoted data, with where it is from and why it is here."""

    memory_id: str
    kind: str
    quote: str
    title: str | None = None
    speaker: str | None = None
    at: str | None = None
    valid_from: str | None = None
    valid_to: str | None = None
    source: str | None = None
    author: str | None = None
    trust: Trust
    labels: list[str] = Field(default=[])
    scope: str
    score: float
    why: dict[str, float] = Field(default={}, description="what the score is made of")
    highlights: list[list[int]] = Field(default=[], description="[start, end] of words of the query in the quote, in characters")


class Recalled(Shape):
    memories: list[MemoryHit]
    found_by: str
    tokens: int
    left_out: int = Field(description="hits that the token budget had no room for")
    next_cursor: str | None = None


class MemoryDetail(BaseModel):
    """What every kind has; the fields of its own kind stand beside it."""

    model_config = ConfigDict(extra="allow")

    id: str
    kind: str
    importance: float
    origin: str
    source: str | None = None
    author: str | None = None
    trust: Trust
    labels: list[str] = Field(default=[])
    recorded_at: str
    retracted_at: str | None = None


class MemoryPage(Shape):
    memories: list[MemoryDetail]
    total: int
    next_cursor: str | None = None


class MemoryExport(BaseModel):
    """A line of an export: the first names the scopes, the last says how many memories there were, and between are those."""

    model_config = ConfigDict(extra="allow")

    weft: str | None = Field(default=None, description="of the first line: memories; of the last: end")
    id: str | None = None
    kind: str | None = None
    body: str | None = None


class Forgotten(Shape):
    """What is gone with all that was derived from it; without a receipt it was only counted."""

    count: int
    kinds: dict[str, int]
    runs: list[str] = Field(description="up to 50 runs whose records had the words; only counted: runs that wrote or read the memories")
    run_count: int
    redacted: dict[str, int] | None = Field(default=None, description="rows of runs in which words are [forgotten] now, by table")
    receipt_id: str | None = None
