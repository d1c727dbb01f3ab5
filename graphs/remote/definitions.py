"""Definitions of tools as another server gives them: bounded, read with suspicion, and told apart by a digest of every byte."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from graphs.definition import Json, Schema
from graphs.documents import is_array, is_object
from graphs.nodetype import Effect
from store.remote_tools import Offered

MAX_TOOLS = 200  # of one connection
MAX_LOOKED_AT, MAX_REFUSED = 400, 100  # of what a server offers; how many of those not taken are named
MAX_DEFINITION = 65_536  # characters of a definition as JSON
MAX_DEPTH = 40
MAX_TEXT = 8_000  # characters of a description
SHOWN_TEXT = 1_000  # of a description that goes to a model
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:/-]{0,127}")
PLAIN = {"\n", "\t", "\r"}
HIDDEN = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}  # control, format (zero width, bidi, tags), private use, surrogates, odd line ends


def canonical(value: Json) -> str:
    """The same text for the same JSON value. Raises ValueError for what JSON cannot say."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def digest(definition: Mapping[str, Json]) -> str:
    """SHA-256 over all of a definition, as hexadecimal digits."""
    return hashlib.sha256(canonical(definition).encode()).hexdigest()


def shown(text: str, limit: int = MAX_TEXT) -> str:
    """Text of a stranger for a person or a model to read: what would be invisible or turn the rest around stands as \\u escapes."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        char if char in PLAIN or unicodedata.category(char) not in HIDDEN else char.encode("unicode_escape").decode() for char in cut
    )


def shown_schema(schema: Json) -> Json:
    """A schema with every text in it as `shown`, and without examples and defaults nobody asked for hidden characters in."""
    if is_object(schema):
        return {shown(key, 200): shown_schema(value) for key, value in schema.items()}
    if is_array(schema):
        return [shown_schema(value) for value in schema]
    return shown(schema, SHOWN_TEXT) if isinstance(schema, str) else schema


def usable(schema: Schema) -> Schema:
    """The schema to check values with: patterns that `re` cannot read or that could take for ever are left to the server."""
    if schema.get("$schema"):
        schema = {key: value for key, value in schema.items() if key not in ("$schema", "$id")}
    found: Schema = _without_patterns(schema)
    return found


def _without_patterns(schema: Json) -> Json:
    from graphs.checks.patterns import slow_pattern  # the checks look at remote tools too

    if is_array(schema):
        return [_without_patterns(value) for value in schema]
    if not is_object(schema):
        return schema
    kept: dict[str, Json] = {}
    for key, value in schema.items():
        if key == "pattern" and isinstance(value, str) and slow_pattern(value):
            continue
        if key == "patternProperties" and is_object(value) and any(slow_pattern(name) for name in value):
            continue
        kept[key] = _without_patterns(value)
    return kept


def normal(name: str) -> str:
    """What names must differ in: models and people take get-user, get_user and GetUser for one."""
    return re.sub(r"[^a-z0-9]", "", unicodedata.normalize("NFKC", name).casefold())


def gathered(definitions: Iterable[Mapping[str, Any]]) -> tuple[list[Offered], list[dict[str, str]]]:
    """What may be offered to a person, and [{name, reason}] of what is refused outright."""
    found: list[Offered] = []
    refused: list[dict[str, str]] = []
    for number, definition in enumerate(definitions):
        name = str(definition["name"])
        full = len(found) == MAX_TOOLS or number >= MAX_LOOKED_AT
        reason = f"only {MAX_TOOLS} tools of a connection are taken" if full else unfit(definition)
        if reason is None:
            found.append(Offered(name=name, definition=definition, digest=digest(definition)))
        else:
            refused.append({"name": shown(name, 128), "reason": reason})
    kept = _distinct(found, refused)
    if len(refused) > MAX_REFUSED:
        refused[MAX_REFUSED:] = [{"name": "…", "reason": f"and {len(refused) - MAX_REFUSED} more"}]
    return kept, refused


def _distinct(found: list[Offered], refused: list[dict[str, str]]) -> list[Offered]:
    """Two tools whose names one could mistake for each other: neither is taken, for who is meant?"""
    called: dict[str, list[str]] = {}
    for tool in found:
        called.setdefault(normal(tool.name), []).append(tool.name)
    for names in called.values():
        if len(names) > 1:
            reason = f"its name could be mistaken for another tool's ({', '.join(names)})"
            refused += [{"name": name, "reason": reason} for name in names]
    return [tool for tool in found if len(called[normal(tool.name)]) == 1]


def unfit(definition: Mapping[str, Any]) -> str | None:
    """Why a tool is not even shown for approval; None when it may be."""
    if not NAME.fullmatch(str(definition["name"])) or not normal(str(definition["name"])):
        return "its name has other characters than letters, digits and _ . : / -, or more than 128"
    try:
        size = len(canonical(definition))
    except (ValueError, RecursionError):
        return "its definition is not JSON"
    if size > MAX_DEFINITION:
        return f"its definition has {size:,} characters; {MAX_DEFINITION:,} are allowed"
    if _deep(definition) > MAX_DEPTH:
        return f"its definition is nested deeper than {MAX_DEPTH}"
    if len(definition.get("description") or "") > MAX_TEXT:
        return f"its description has more than {MAX_TEXT:,} characters"
    for part in ("input_schema", "output_schema"):
        schema = definition.get(part)
        if schema is not None and (problem := _misshapen(schema)):
            return f"its {part.replace('_', ' ')} is no JSON Schema that Weft can check with: {problem}"
    return None


def _misshapen(schema: Json) -> str | None:
    from graphs.checks.schemas import check_schema

    if not is_object(schema):
        return "it is not an object"
    for name in _names(schema):
        if name != shown(name, 1000):
            return f"a property is called {shown(name, 100)!r}, with characters that cannot be seen"
    found = (problem for problem in check_schema(usable(schema), "") if problem.severity == "error")
    first = next(found, None)
    return f"{first.pointer}: {first.message}"[:300] if first else None


def _names(schema: Json) -> Iterable[str]:
    if is_object(schema):
        for key, value in schema.items():
            yield key
            yield from _names(value)
    elif is_array(schema):
        for value in schema:
            yield from _names(value)


def _deep(value: Any, level: int = 0) -> int:
    if level > MAX_DEPTH:
        return level
    inside: Any = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    return max((_deep(one, level + 1) for one in inside), default=level)


def hinted(definition: Mapping[str, Any]) -> Effect:
    """The effect that the definition claims: what a person is offered to confirm, and nothing is built on before."""
    annotations: Mapping[str, Any] = definition.get("annotations") or {}
    if annotations.get("readOnlyHint") is True:
        return Effect.READ
    sent = cautious(definition)
    return Effect.WRITE_IDEMPOTENT if sent is Effect.WRITE_ONCE and annotations.get("idempotentHint") is True else sent


def cautious(definition: Mapping[str, Any]) -> Effect:
    """The effect without a person's word on it. The method of an HTTP call is what is sent, not a claim; an annotation is only a claim."""
    return Effect(definition["effect"]) if definition.get("effect") else Effect.WRITE_ONCE
