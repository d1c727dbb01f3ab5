"""How long an answer asks us to wait."""

from __future__ import annotations

import email.utils
from collections.abc import Mapping
from datetime import UTC, datetime

LONGEST = 86_400.0


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds by Retry-After (RFC 9110 §10.2.3, as a number or an instant); at most a day; None when it does not say.

    An instant is counted from the answer's own Date, so that two clocks need not agree."""
    said = headers.get("retry-after", "").strip()
    if said.isascii() and said.isdigit():
        return min(float(said), LONGEST)
    until = _instant(said)
    if until is None:
        return None
    since = _instant(headers.get("date", "")) or datetime.now(UTC)
    return min(max((until - since).total_seconds(), 0.0), LONGEST)


def _instant(text: str) -> datetime | None:
    try:
        found = email.utils.parsedate_to_datetime(text)
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
