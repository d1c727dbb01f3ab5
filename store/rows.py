"""Rows of a result that came as text, made into the classes they are read into."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeVar

from psycopg.postgres import types
from psycopg.pq.abc import PGresult

from store.queries import Query

T = TypeVar("T")
Loader = Callable[[str], Any]
BY_NAME: dict[str, Loader] = {
    **dict.fromkeys(("int2", "int4", "int8"), int),
    **dict.fromkeys(("float4", "float8"), float),
    **dict.fromkeys(("json", "jsonb"), json.loads),
    "bool": "t".__eq__,
    "timestamptz": datetime.fromisoformat,
    "bytea": lambda text: bytes.fromhex(text.removeprefix("\\x")),
}
LOADERS: dict[int, Loader] = {types[name].oid: loader for name, loader in BY_NAME.items()}
"""By type; of all others the text is the value, as it is for ids."""

_columns: dict[Query, list[tuple[str, Loader]]] = {}


def read(query: Query, row: type[T], result: PGresult) -> T | None:
    """The first row, or None."""
    if not result.ntuples:
        return None
    if (columns := _columns.get(query)) is None:
        columns = _columns[query] = [
            ((result.fname(number) or b"").decode(), LOADERS.get(result.ftype(number), str)) for number in range(result.nfields)
        ]
    values: dict[str, Any] = {}
    for number, (name, loader) in enumerate(columns):
        value = result.get_value(0, number)
        values[name] = None if value is None else loader(value.decode())
    return row(**values)
