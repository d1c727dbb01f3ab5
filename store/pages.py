"""Pages of a list: what every list answers with, and the opaque cursor that asks for the next one."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from store.errors import Invalid

T = TypeVar("T")
MAX_LIMIT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """`total` counts every match, not only this page; `next_cursor` is None on the last page."""

    items: Sequence[T]
    next_cursor: str | None
    total: int


def cursor(*place: str | int) -> str:
    """The place of the last item of a page in the order of its list."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def place(text: str | None, *kinds: type) -> tuple[str | int | None, ...]:
    """What `cursor` was made from; all None for no cursor. Raises Invalid for a text that no list has given out."""
    if text is None:
        return (None,) * len(kinds)
    values: Any
    try:
        values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        values = None
    if not isinstance(values, list) or [type(value) for value in cast("list[Any]", values)] != list(kinds):
        raise Invalid("This cursor is not one that a list has given out; leave it away to start at the first page.")
    return tuple(cast("list[str | int]", values))


def limited(limit: int) -> int:
    if not 1 <= limit <= MAX_LIMIT:
        raise Invalid(f"limit must be between 1 and {MAX_LIMIT}, not {limit}.")
    return limit
