"""An OpenAPI document as definitions of tools: one per operation, with the shape of its request inside what is pinned."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from graphs.definition import Json, Schema
from graphs.documents import is_array, is_object, parse
from graphs.nodetype import Effect
from graphs.remote.definitions import MAX_DEFINITION, MAX_TEXT, canonical, shown
from graphs.remote.openapi.schemas import Converter, Unreadable, resolve
from store.errors import Invalid

METHODS = ("get", "head", "options", "put", "delete", "post", "patch")
EFFECTS = {
    **dict.fromkeys(("get", "head", "options"), Effect.READ),
    **dict.fromkeys(("put", "delete"), Effect.WRITE_IDEMPOTENT),
    **dict.fromkeys(("post", "patch"), Effect.WRITE_ONCE),
}
STYLES = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
IGNORED = frozenset({"accept", "content-type", "authorization"})  # header parameters that the specification leaves to others
OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "expect", "cookie"})
MEDIA = re.compile(r"[ -~]{1,200}")  # of one line: it is sent as a header
HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
IDEMPOTENCY = "idempotency-key"
FORM = "application/x-www-form-urlencoded"
MAX_PATHS = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What was read. `refused`: [{name, reason}] of operations that cannot become tools."""

    title: str
    version: str
    servers: tuple[str, ...]
    schemes: tuple[dict[str, str], ...]
    definitions: list[dict[str, Any]]
    refused: list[dict[str, str]]


def read(text: str, include: tuple[str, ...] = ()) -> Document:
    """Reads JSON or YAML; with `include` only operations with one of these tags or names. Takes a while for long texts: call it in a
    thread. Raises Invalid."""
    document = parse(text)
    if not is_object(document):
        raise Invalid("an OpenAPI document is an object with `openapi`, `info` and `paths`")
    version = str(document.get("openapi", ""))
    if not re.fullmatch(r"3\.[01]\.\d+", version):
        said = f"Swagger {document['swagger']}" if "swagger" in document else f"openapi {version[:20]!r}"
        raise Invalid(f"the document says {said}; Weft reads OpenAPI 3.0 and 3.1")
    paths: Json = document.get("paths", {})
    if not is_object(paths) or len(paths) > MAX_PATHS:
        raise Invalid(f"`paths` must be an object of at most {MAX_PATHS:,} paths")
    info = document.get("info")
    definitions: list[dict[str, Any]] = []
    refused: list[dict[str, str]] = []
    for method, path, item, operation in _operations(document, paths):
        name = named(method, path, operation)
        if include and name not in include and not _tags(operation) & {*include}:
            continue
        try:
            definitions.append(_fitted(_definition(document, version.startswith("3.0"), name, method, path, item, operation)))
        except Unreadable as why:
            refused.append({"name": shown(name, 128), "reason": shown(str(why), 500)})
        except (TypeError, ValueError, AttributeError, KeyError) as wrong:  # of a shape that nobody thought of: the others are still good
            where = shown(f"{method.upper()} {path}", 200)
            refused.append({"name": shown(name, 128), "reason": f"{where} is not as OpenAPI has it: {shown(str(wrong), 200)}"})
        except RecursionError:
            refused.append({"name": shown(name, 128), "reason": "its schemas lead from one to the next too deeply"})
    return Document(
        title=shown(str(info.get("title", "")), 200) if is_object(info) else "",
        version=version,
        servers=tuple(_servers(document)),
        schemes=tuple(_schemes(document)),
        definitions=definitions,
        refused=refused,
    )


def named(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """operationId, or the method with the path, in characters that a tool's name may have."""
    given = operation.get("operationId") or f"{method} {path}"
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", str(given)).strip("_.-")[:128] or method


def _tags(operation: Mapping[str, Any]) -> set[str]:
    tags = operation.get("tags")
    return {*map(str, tags)} if is_array(tags) else set()


def _operations(document: dict[str, Any], paths: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    for path, raw in paths.items():
        if not path.startswith("/"):
            continue
        item = resolve_or_none(document, raw)
        for method in METHODS:
            operation = item.get(method) if is_object(item) else None
            if is_object(item) and is_object(operation):
                yield method, path, item, operation


def resolve_or_none(document: dict[str, Any], value: Any) -> Any:
    try:
        return resolve(document, value)
    except Unreadable:
        return None


def _servers(document: dict[str, Any]) -> Iterator[str]:
    servers = document.get("servers")
    for server in servers if is_array(servers) else []:
        if is_object(server) and isinstance(server.get("url"), str):
            yield shown(server["url"], 500)


def _schemes(document: dict[str, Any]) -> Iterator[dict[str, str]]:
    components = document.get("components")
    schemes = components.get("securitySchemes") if is_object(components) else None
    for name, raw in schemes.items() if is_object(schemes) else ():
        scheme = resolve_or_none(document, raw)
        if is_object(scheme):
            fields = {field: shown(str(scheme[field]), 200) for field in ("type", "scheme", "in", "name") if field in scheme}
            yield {**fields, "called": shown(name, 100)}


# -- one operation ---------------------------------------------------------------------------------------------------------------


def _definition(
    document: dict[str, Any], old: bool, name: str, method: str, path: str, item: dict[str, Any], operation: dict[str, Any]
) -> dict[str, Any]:
    if operation.get("servers") or item.get("servers"):
        raise Unreadable("it has a server of its own; all calls of a connection go to its base URL")
    sent, received = Converter(document, old=old, sent=True), Converter(document, old=old, sent=False)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    parameters = list(_parameters(document, item, operation, sent, properties, required))
    body = _body(document, operation, sent, properties, required)
    _check_path(path, parameters)
    keyed = any(one["in"] == "header" and one["name"].lower() == IDEMPOTENCY for one in parameters)
    schema: Schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {
        "name": name,
        "title": operation.get("summary") if isinstance(operation.get("summary"), str) else None,
        "description": str(operation.get("description") or operation.get("summary") or "")[:MAX_TEXT],
        "input_schema": {**schema, **({"$defs": sent.definitions} if sent.definitions else {})},
        "output_schema": _answer(document, operation, received),
        "annotations": {"idempotentHint": True} if keyed or operation.get("x-idempotent") is True else {},
        "effect": str(EFFECTS[method]),
        "request": {"method": method.upper(), "path": path, "parameters": parameters, "body": body},
    }


def _parameters(
    document: dict[str, Any],
    item: dict[str, Any],
    operation: dict[str, Any],
    converter: Converter,
    properties: dict[str, Schema],
    required: list[str],
) -> Iterator[dict[str, Any]]:
    """Those of the operation win over those of its path; each becomes an argument of its name."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for raw in (*_listed(item), *_listed(operation)):
        parameter = resolve(document, raw)
        place = parameter.get("in") if is_object(parameter) else None
        if not is_object(parameter) or not isinstance(place, str) or place not in STYLES or not isinstance(parameter.get("name"), str):
            raise Unreadable("one of its parameters has no name or place")
        found[place, parameter["name"]] = parameter
    for (place, name), parameter in found.items():
        if place == "header" and name.lower() in IGNORED:
            continue
        if place in ("header", "cookie") and (not HEADER.fullmatch(name) or name.lower() in OURS):
            raise Unreadable(f"its {place} parameter {shown(name, 100)!r} cannot be sent")
        argument = name if name not in properties else f"{name}_{place}"
        shape = _shape(place, parameter)
        properties[argument] = _described(converter.schema(shape.pop("schema")), parameter)
        if parameter.get("required") is True or place == "path":
            required.append(argument)
        yield {"name": name, "in": place, "argument": argument, **shape}


def _listed(owner: dict[str, Any]) -> list[Any]:
    parameters = owner.get("parameters")
    if parameters is not None and not is_array(parameters):
        raise Unreadable("its `parameters` are no list")
    return parameters or []


def _shape(place: str, parameter: dict[str, Any]) -> dict[str, Any]:
    content = parameter.get("content")
    if is_object(content) and content:
        media, inner = next(iter(content.items()))
        if not _is_json(media):
            raise Unreadable(f"its parameter {shown(str(parameter['name']), 100)!r} is {shown(media, 100)}; only JSON can be sent there")
        return {"json": True, "schema": (inner.get("schema") if is_object(inner) else None) or {}}
    style = parameter.get("style") or STYLES[place][0]
    if not isinstance(style, str) or style not in STYLES[place]:
        raise Unreadable(f"its parameter {shown(str(parameter['name']), 100)!r} has the style {shown(str(style), 50)!r}")
    explode = parameter.get("explode")
    whole: dict[str, Any] = {
        "style": style,
        "explode": explode if isinstance(explode, bool) else style == "form",
        "schema": parameter.get("schema") or {},
    }
    return {**whole, "reserved": True} if parameter.get("allowReserved") is True else whole


def _body(
    document: dict[str, Any], operation: dict[str, Any], converter: Converter, properties: dict[str, Schema], required: list[str]
) -> dict[str, Any] | None:
    body = resolve(document, operation.get("requestBody"))
    content = body.get("content") if is_object(body) else None
    if not is_object(body) or not is_object(content) or not content:
        return None
    media = next((kind for rule in (_is_json, _is_form, _is_text) for kind in content if rule(kind)), None)
    if media is None:
        if body.get("required") is not True:
            return None
        raise Unreadable(f"its body is {shown(', '.join(content), 200)}; JSON, form and text bodies can be sent")
    if not MEDIA.fullmatch(media):
        raise Unreadable(f"its body is {shown(media, 200)!r}, which is no media type")
    argument = "body" if "body" not in properties else "request_body"
    inner = content[media]
    schema = converter.schema((inner.get("schema") if is_object(inner) else None) or {})
    properties[argument] = _described(schema or ({"type": "string"} if _is_text(media) else {}), body)
    if body.get("required") is True:
        required.append(argument)
    return {"argument": argument, "media": media, "as": "json" if _is_json(media) else "form" if _is_form(media) else "text"}


def _answer(document: dict[str, Any], operation: dict[str, Any], converter: Converter) -> Schema | None:
    """The schema of the first 2xx answer that is JSON. One that cannot be read is no reason to do without the operation."""
    responses = operation.get("responses")
    for status, raw in responses.items() if is_object(responses) else ():
        if not re.fullmatch(r"2(\d\d|XX)", str(status)):
            continue
        try:
            content: Any = resolve(document, raw).get("content", {})
            found = next((inner["schema"] for media, inner in content.items() if _is_json(media) and inner.get("schema")), None)
            if found is not None:
                schema = converter.schema(found)
                return {**schema, **({"$defs": converter.definitions} if converter.definitions else {})}
        except (Unreadable, AttributeError):
            return None
    return None


def _described(schema: Schema, owner: dict[str, Any]) -> Schema:
    description = owner.get("description")
    return {**schema, "description": description[:1_000]} if isinstance(description, str) and "description" not in schema else schema


def _check_path(path: str, parameters: list[dict[str, Any]]) -> None:
    if _leads_away(path) or re.search(r"[?#\\\s\x00-\x1f]", re.sub(r"\{[^{}]*\}", "", path)):
        raise Unreadable("its path has . or .. as a part, or a ?, #, \\ or space: calls would go elsewhere than it says")
    holes = set(re.findall(r"\{([^{}]*)\}", path))
    given = {one["name"] for one in parameters if one["in"] == "path"}
    if holes != given:
        odd = ", ".join(sorted(holes ^ given))
        raise Unreadable(f"the path and its parameters differ in {shown(odd, 200)}")


def _leads_away(path: str) -> bool:
    """Whether a part of it is one that clients and servers take for the folder itself, or the one above."""
    return any(part.replace("%2e", ".").replace("%2E", ".") in (".", "..") for part in path.split("/"))


def _fitted(definition: dict[str, Any]) -> dict[str, Any]:
    """What is too large does without the schema of its answer, and then without descriptions inside."""
    if len(canonical(definition)) > MAX_DEFINITION:
        definition["output_schema"] = None
    if len(canonical(definition)) > MAX_DEFINITION:
        definition["input_schema"] = _bare(definition["input_schema"])
    return definition


def _bare(schema: Json) -> Json:
    if is_array(schema):
        return [_bare(one) for one in schema]
    if not is_object(schema):
        return schema
    return {key: _bare(value) for key, value in schema.items() if not (key in ("description", "title") and isinstance(value, str))}


def _is_json(media: str) -> bool:
    kind = media.partition(";")[0].strip().lower()
    return kind in ("application/json", "*/*") or kind.endswith("+json")


def _is_form(media: str) -> bool:
    return media.partition(";")[0].strip().lower() == FORM


def _is_text(media: str) -> bool:
    return media.partition(";")[0].strip().lower().startswith("text/")
