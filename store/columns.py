"""Rows on their way into the journal's statements: JSON values as text, nothing that Postgres cannot hold, large values beside the row."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from store.jsontext import text

JSON = frozenset({"input", "output", "error", "taken", "vars", "undo", "data", "form", "metadata", "ending"})
BULKY = frozenset({"input", "output"})  # columns with a digest column beside them, for values that are kept in weft.payloads
INLINE = 65_536  # characters of JSON that stay in the row
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no text column of Postgres can hold

Row = dict[str, Any]
Payloads = dict[str, str]
"""Hexadecimal SHA-256 -> JSON text."""


def storable(row: Row, payloads: Payloads) -> Row:
    """JSON values as their text, and no character in a text that Postgres cannot hold. Values too large for a row go to `payloads`; what is
    None is left out."""
    made: Row = {}
    for name, value in row.items():
        if value is None:
            continue
        if name in JSON:
            made[name] = body = text(value)
            if len(body) > INLINE and name in BULKY:
                del made[name]
                made[f"{name}_digest"] = digest = hashlib.sha256(body.encode()).hexdigest()
                payloads[digest] = body
        elif name == "assign_to":  # is looked into by queries
            made[name] = text({key: _clean(part) for key, part in value.items()})
        else:
            made[name] = value if type(value) is not str or (value.isascii() and "\0" not in value) else _clean(value)
    return made


def _clean(value: str) -> str:
    return UNSTORABLE.sub("\ufffd", value)


def merged(rows: list[Row]) -> list[Row]:
    """Start and end of a fast step meet in one batch: one row, since one statement cannot upsert a row twice."""
    found: dict[tuple[str, str, int], Row] = {}
    for row in rows:
        key = (row["run_id"], row["position"], row["attempt"])
        found[key] = {**found.get(key, {}), **row}
    return list(found.values())
