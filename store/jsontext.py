"""JSON as text on its way into Postgres: what a workflow says survives exactly, with lone surrogates and NUL, and NaN is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Dumper
from psycopg.postgres import types

from store.errors import Invalid


def _compact() -> Callable[[Any], str]:
    """The standard library's encoder; where it is written in C, one for all values: making one costs more than most values do."""
    encoder = json.JSONEncoder(ensure_ascii=True, check_circular=False, separators=(",", ":"), allow_nan=False)
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return encoder.encode
    parts = make(None, encoder.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
    return lambda value: "".join(parts(value, 0))


_encode = _compact()


@dataclass(frozen=True, slots=True)
class Json:
    """Marks a parameter as a `json` value: `tenant.execute(SQL.finish, output=Json(output))`. Json(None) is JSON null; None is SQL NULL."""

    value: Any


def text(value: Any) -> str:
    """Compact JSON in ASCII, keys in the order given. Raises Invalid for what JSON cannot say (NaN, infinities, too deep)."""
    try:
        return _encode(value)
    except ValueError as error:
        raise Invalid(f"This value is not JSON: {error}.") from error
    except RecursionError as error:
        raise Invalid("This JSON value is nested too deeply.") from error


def digest(value: Any) -> bytes:
    """SHA-256 of `text(value)`, 32 bytes: the address of a definition."""
    return hashlib.sha256(text(value).encode()).digest()


class JsonDumper(Dumper):
    """`json`, not `jsonb`: jsonb refuses NUL and lone surrogates and loses the order of keys."""

    oid = types["json"].oid

    def dump(self, obj: Json) -> Buffer | None:
        return text(obj.value).encode()


def register(context: AdaptContext) -> None:
    context.adapters.register_dumper(Json, JsonDumper)
