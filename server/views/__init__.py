"""How things look from outside, a file per noun: plain JSON, the same at every door. Here is what all of them are written with."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

View = dict[str, Any]
LINE = 160  # characters of a description in a list


def stamp(moment: datetime | None) -> str | None:
    """Milliseconds are enough for people and models."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None


def filled(view: View) -> View:
    return {key: value for key, value in view.items() if value is not None}
