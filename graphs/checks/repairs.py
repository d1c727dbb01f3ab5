"""What an author probably meant: a value of the wrong kind, a misspelt word, a duration in words, an id with capitals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from graphs.definition import Json, seconds
from graphs.documents import is_array, is_object
from graphs.expressions import ExpressionError, parse
from graphs.expressions.paths import nearest

ROOTS = ("input", "nodes", "errors", "vars", "run", "env")
NOTHING: Final = object()  # no repair is known

# What other tools call the same thing. Applied where the name given is unknown and the name meant is known and free.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "inputs": ("input",),
    "input_schema": ("input",),
    "schema": ("output_schema", "form", "input"),
    "variables": ("vars",),
    "outputs": ("output",),
    "result": ("output",),
    "steps": ("nodes",),
    "tasks": ("nodes",),
    "connections": ("edges",),
    "links": ("edges",),
    "transitions": ("edges",),
    "source": ("from",),
    "src": ("from",),
    "start": ("from",),
    "target": ("to",),
    "dest": ("to",),
    "end": ("to",),
    "condition": ("when", "condition", "value"),
    "if": ("when", "condition"),
    "expression": ("condition", "value", "when"),
    "case": ("branch", "name"),
    "handle": ("branch",),
    "parameters": ("config",),
    "params": ("config", "query"),
    "args": ("config",),
    "with": ("config",),
    "settings": ("config",),
    "options": ("config",),
    "kind": ("type",),
    "key": ("id",),
    "node_id": ("id",),
    "retries": ("retry",),
    "retry_policy": ("retry",),
    "max_retries": ("max_attempts",),
    "max_iterations": ("max_loops",),
    "max_loops": ("max_iterations",),
    "loops": ("max_loops", "max_iterations"),
    "max": ("max_loops", "max_iterations"),
    "limit": ("max_loops", "max_iterations"),
    "boundaries": ("boundary",),
    "boundary_events": ("boundary",),
    "events": ("boundary",),
    "undo": ("compensate",),
    "rollback": ("compensate",),
    "compensation": ("compensate",),
    "on_rollback": ("compensate",),
    "progress": ("milestone",),
    "after": ("timer",),
    "duration": ("timer",),
    "signal": ("event",),
    "codes": ("error",),
    "errors": ("error", "catch"),
    "interrupt": ("interrupting",),
    "cancel": ("interrupting",),
    "except": ("catch",),
    "rescue": ("catch",),
    "handler": ("catch",),
    "always": ("finally",),
    "ensure": ("finally",),
    "try": ("body",),
    "while": ("condition",),
    "paths": ("branches",),
    "bodies": ("branches",),
    "due": ("deadline",),
    "ignore": ("continue",),
    "skip": ("continue",),
    "fail": ("stop",),
    "fallback": ("route",),
    "attempts": ("max_attempts",),
    "comment": ("notes",),
    "note": ("notes",),
    "list": ("items",),
    "array": ("items",),
    "collection": ("items",),
    "item": ("as",),
    "item_name": ("as",),
    "parallelism": ("concurrency",),
    "max_concurrency": ("concurrency",),
    "do": ("body",),
    "steps_body": ("body",),
    "true": ("then",),
    "false": ("else",),
    "otherwise": ("else",),
    "delay": ("duration", "start_delay", "timer"),
    "event_name": ("event",),
    "uri": ("url",),
    "endpoint": ("url",),
    "verb": ("method",),
    "payload": ("json", "body", "input"),
    "data": ("json", "body", "input"),
    "body": ("json",),
    "text": ("prompt", "message", "title"),
    "message": ("title", "prompt"),
    "instructions": ("prompt", "description"),
    "question": ("title",),
    "assignee": ("assign_to",),
    "fields": ("form", "values"),
    "script": ("code",),
    "source_code": ("code",),
}
TYPES = {
    **dict.fromkeys(("str", "text"), "string"),
    **dict.fromkeys(("int", "long"), "integer"),
    **dict.fromkeys(("float", "double", "decimal"), "number"),
    **dict.fromkeys(("bool", "flag"), "boolean"),
    **dict.fromkeys(("dict", "map", "json", "record"), "object"),
    **dict.fromkeys(("list", "tuple", "set"), "array"),
    **dict.fromkeys(("none", "nil"), "null"),
}
UNITS = {
    **dict.fromkeys(("ms", "millisecond"), "ms"),
    **dict.fromkeys(("s", "sec", "second"), "s"),
    **dict.fromkeys(("m", "min", "minute"), "m"),
    **dict.fromkeys(("h", "hr", "hour"), "h"),
    **dict.fromkeys(("d", "day"), "d"),
    **dict.fromkeys(("w", "week"), "w"),
}


def meant(name: str, known: Iterable[str], taken: Iterable[str] = ()) -> list[str]:
    """The known names that a wrong one may stand for, best first; none that are already given."""
    free = [other for other in known if other not in taken]
    simple = {re.sub(r"[^a-z0-9]", "", other.lower()): other for other in free}
    same = simple.get(re.sub(r"[^a-z0-9]", "", name.lower()))
    close = [same] if same else nearest(name, free)
    return close or [other for other in SYNONYMS.get(name.lower(), ()) if other in free]


def translated(name: str, value: Json, known: Iterable[str]) -> tuple[str, Json] | None:
    """A field of other tools' loops as a field of ours, and its value: `until` is the contrary of `while`, `times` counts passes."""
    if not {"condition", "max_iterations"} <= set(known):
        return None
    if name.lower() in ("until", "stop_when", "break_when", "exit_condition") and isinstance(value, str):
        return "condition", f"not ({value})"
    if name.lower() in ("times", "count", "repeat", "iterations") and isinstance(value, int) and not isinstance(value, bool):
        return "condition", f"index < {value}"
    return None


def converted(kind: str, value: Json, *, duration: bool = False, body: bool = False, expression: bool = False) -> Any:
    """The value as a pydantic error type says it should have been; NOTHING where that cannot be told."""
    if kind == "string_type" and duration and isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}s"
    if kind in ("int_type", "int_from_float", "float_type"):
        return _number(value, whole=kind != "float_type")
    if kind == "bool_type":
        words = {"true": True, "yes": True, "1": True, "on": True, "false": False, "no": False, "0": False, "off": False}
        return words.get(str(value).strip().lower(), NOTHING) if isinstance(value, (str, int)) else NOTHING
    if kind == "string_type":
        written = repr if expression else json.dumps
        return written(value) if isinstance(value, (bool, int, float)) else NOTHING
    if kind in ("list_type", "tuple_type"):
        return _list(value)
    if kind in ("dict_type", "model_type", "model_attributes_type"):
        return {"nodes": value} if body and is_array(value) else _object(value)
    return NOTHING


def _number(value: Json, *, whole: bool) -> Any:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if not isinstance(value, str):
        return NOTHING
    text = value.strip().replace(",", "").replace("_", "")
    if re.fullmatch(r"[-+]?\d{1,300}", text):
        return int(text)
    if re.fullmatch(r"[-+]?\d{1,300}\.\d{1,300}", text):
        return int(float(text)) if whole else float(text)
    try:
        found = seconds(value)
    except ValueError:
        return NOTHING
    return int(found) if found.is_integer() else NOTHING if whole else found


def _list(value: Json) -> Any:
    if isinstance(value, str):
        if path_like(value):
            return "{{ " + value.strip() + " }}"
        found = _json(value)
        return found if is_array(found) else NOTHING
    return NOTHING if value is None else [value]


def _object(value: Json) -> Any:
    if isinstance(value, str):
        if path_like(value):
            return "{{ " + value.strip() + " }}"
        found = _json(value)
        return found if is_object(found) else NOTHING
    return value[0] if is_array(value) and len(value) == 1 and is_object(value[0]) else NOTHING


def _json(text: str) -> Json:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def path_like(text: str) -> bool:
    """Whether a text is a bare path such as `input.orders`, with its braces forgotten."""
    if len(text) > 300 or not re.match(r"\s*(input|nodes|errors|vars|run|env)\s*[.\[]", text):
        return False
    try:
        return parse(text).path is not None
    except ExpressionError:
        return False


def duration(value: Json) -> str | None:
    """A duration in the accepted form: "30 seconds", "PT5M", 30 and "1 day 2 hours" are understood."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return f"{value:g}s"
    if not isinstance(value, str) or len(value) > 60:
        return None
    text = value.strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return f"{text}s"
    iso = re.fullmatch(r"p(?:(\d+)w)?(?:(\d+)d)?(?:t(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?)?", text)
    if iso and any(iso.groups()):
        return "".join(f"{number}{unit}" for number, unit in zip(iso.groups(), "wdhms", strict=True) if number)
    pieces = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+?)s?\b", text.replace("and", " "))
    if pieces and all(unit in UNITS or f"{unit}s" in UNITS for _, unit in pieces):
        return "".join(number + UNITS.get(unit, UNITS.get(f"{unit}s", "s")) for number, unit in pieces)
    return None


def slug(text: str, *, separator: str = "_", limit: int = 48) -> str:
    """The text as an id: small letters, digits and separators, a letter first."""
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", separator, text)
    text = re.sub(r"[^a-z0-9]+", separator, text.lower()).strip(separator)
    if not text or (separator == "_" and not text[0].isalpha()):
        text = f"n{separator}{text}" if text else "node"
    return text[:limit].rstrip(separator)


def unused(id: str, taken: Iterable[str]) -> str:
    """The id, or the id with the first free number behind it."""
    known = set(taken)
    if id not in known:
        return id
    return next(name for number in range(2, len(known) + 3) if (name := f"{id[:44]}_{number}") not in known)
