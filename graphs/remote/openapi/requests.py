"""The HTTP request for an operation and its arguments: parameters by style and explode, bodies as JSON, form or text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.nodetype import Failure

RESERVED = ":/?#[]@!$&'()*+,;="
DELIMITERS = {"spaceDelimited": "%20", "pipeDelimited": "|"}


@dataclass(slots=True)
class Request:
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict[str, str])
    content: bytes | None = None


def build(request: Mapping[str, Any], base_url: str, arguments: Mapping[str, Json]) -> Request:
    """`arguments` fit the operation's schema. Raises Failure("bad_arguments") for what cannot be put where it belongs."""
    path, query, cookies = str(request["path"]), list[str](), list[str]()
    headers: dict[str, str] = {}
    for parameter in request["parameters"]:
        if parameter["argument"] not in arguments:
            continue
        value = arguments[parameter["argument"]]
        match parameter["in"]:
            case "path":
                path = path.replace("{" + parameter["name"] + "}", _path(parameter, value))
            case "query":
                query += _query(parameter, value)
            case "header":
                headers[parameter["name"]] = _line(parameter, _plain(parameter, value))
            case _:
                cookies += _query(parameter, value)
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    content = _content(request["body"], arguments, headers)
    url = base_url.rstrip("/") + path + ("?" + "&".join(query) if query else "")
    return Request(request["method"], url, headers, content)


def _content(body: Mapping[str, Any] | None, arguments: Mapping[str, Json], headers: dict[str, str]) -> bytes | None:
    if body is None or body["argument"] not in arguments:
        return None
    value = arguments[body["argument"]]
    headers["Content-Type"] = "application/json" if body["media"] == "*/*" else body["media"]
    if body["as"] == "json":
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8", "surrogatepass")
    if body["as"] == "text":
        return (value if isinstance(value, str) else json.dumps(value)).encode("utf-8", "replace")
    if not is_object(value):
        raise Failure("bad_arguments", f"`{body['argument']}` is sent as a form, so it must be an object")
    pairs = [(name, _text(one)) for name, inner in value.items() for one in (inner if is_array(inner) else [inner])]
    return urlencode(pairs).encode()


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, separators=(",", ":"))


def _encoded(value: Json, *, reserved: bool = False) -> str:
    return quote(_text(value), safe=RESERVED if reserved else "", errors="replace")


def _path(parameter: Mapping[str, Any], value: Json) -> str:
    made = _encoded(value) if parameter.get("json") else _styled(parameter, value)
    if made in ("", ".", ".."):  # the path would be another one
        raise Failure("bad_arguments", f"`{parameter['argument']}` stands in the path and cannot be {made!r}")
    return made


def _styled(parameter: Mapping[str, Any], value: Json) -> str:
    name, explode = quote(parameter["name"], safe=""), parameter["explode"]
    prefix = {"label": ".", "matrix": ";"}.get(parameter["style"], "")
    matrix = parameter["style"] == "matrix"
    between = prefix if prefix and explode else ","
    if is_array(value):
        parts = [_encoded(one) for one in value]
        if matrix and explode:
            return "".join(f";{name}={part}" for part in parts)
        return (f";{name}=" if matrix else prefix) + between.join(parts)
    if is_object(value):
        pairs = [(quote(key, safe=""), _encoded(one)) for key, one in value.items()]
        if explode:
            return prefix + between.join(f"{key}={one}" for key, one in pairs)
        return (f";{name}=" if matrix else prefix) + ",".join(f"{key},{one}" for key, one in pairs)
    return (f";{name}=" if matrix else prefix) + _encoded(value)


def _query(parameter: Mapping[str, Any], value: Json) -> list[str]:
    """name=value pairs, encoded."""
    name, reserved = quote(parameter["name"], safe=""), bool(parameter.get("reserved"))
    if parameter.get("json"):
        return [f"{name}={quote(json.dumps(value, separators=(',', ':')), safe='')}"]
    if parameter["style"] == "deepObject" and is_object(value):
        return [f"{name}%5B{quote(key, safe='')}%5D={_encoded(one, reserved=reserved)}" for key, one in value.items()]
    if is_array(value):
        parts = [_encoded(one, reserved=reserved) for one in value]
        if parameter["explode"]:
            return [f"{name}={part}" for part in parts]
        return [f"{name}={DELIMITERS.get(parameter['style'], ',').join(parts)}"]
    if is_object(value):
        pairs = [(quote(key, safe=""), _encoded(one, reserved=reserved)) for key, one in value.items()]
        if parameter["explode"]:
            return [f"{key}={one}" for key, one in pairs]
        return [f"{name}={DELIMITERS.get(parameter['style'], ',').join(part for pair in pairs for part in pair)}"]
    return [f"{name}={_encoded(value, reserved=reserved)}"]


def _plain(parameter: Mapping[str, Any], value: Json) -> str:
    """As a header carries it: not encoded."""
    if parameter.get("json"):
        return json.dumps(value, separators=(",", ":"))
    if is_array(value):
        return ",".join(map(_text, value))
    if is_object(value):
        return ",".join(f"{key}={_text(one)}" if parameter["explode"] else f"{key},{_text(one)}" for key, one in value.items())
    return _text(value)


def _line(parameter: Mapping[str, Any], text: str) -> str:
    if not text.isascii() or any(ord(char) < 32 or ord(char) == 127 for char in text) or len(text) > 8_000:
        raise Failure("bad_arguments", f"`{parameter['argument']}` is sent as a header: plain characters of one line, 8,000 at most")
    return text
