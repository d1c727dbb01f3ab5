"""The OpenAPI 3.1 document, made from the operations."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from server.http.operations import JSON_TYPE, Operation
from server.http.shapes import Problem

Schema = dict[str, Any]
ABOUT = "Durable AI workflows. Every request needs an API key; its role decides what it may do. Errors all have one form."
REFUSALS = {
    "401": "no valid API key",
    "403": "the role may not do this",
    "404": "no such thing here",
    "409": "changed meanwhile",
    "422": "not valid",
}


def document(operations: Iterable[Operation], version: str) -> Schema:
    """Deterministic for the same operations."""
    listed = tuple(operations)
    models: list[type[BaseModel]] = [Problem]
    for operation in listed:
        models += [model for model in (operation.answer, operation.body) if model is not None and model not in models]
    names, components = models_json_schema([(model, "validation") for model in models], ref_template="#/components/schemas/{model}")
    paths: dict[str, Schema] = {}
    for operation in listed:
        path = re.sub(r"{(\w+):\w+}", r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, {key[0]: value for key, value in names.items()})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weft", "version": version, "description": ABOUT},
        "security": [{"apiKey": []}],
        "paths": paths,
        "components": {
            "schemas": components.get("$defs", {}),
            "securitySchemes": {"apiKey": {"type": "http", "scheme": "bearer", "description": "`weft key create` makes a key"}},
        },
    }


def _operation(operation: Operation, names: dict[Any, Schema]) -> Schema:
    content: Schema = {operation.media: {"schema": names[operation.answer]}}
    if operation.streams:
        content["text/event-stream"] = {"schema": {"type": "string"}}
    found: Schema = {
        "operationId": operation.name,
        "summary": operation.summary,
        "description": f"Needs the scope `{operation.scope.value}`.",
        "parameters": [*_path_parameters(operation), *_query_parameters(operation), *_header_parameters(operation)],
        "responses": {
            str(operation.status): {"description": "done", "content": content},
            **{status: {"description": text, "content": {JSON_TYPE: {"schema": names[Problem]}}} for status, text in REFUSALS.items()},
        },
    }
    if operation.body is not None:
        found["requestBody"] = {"required": True, "content": {JSON_TYPE: {"schema": names[operation.body]}}}
    return found


def _path_parameters(operation: Operation) -> list[Schema]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)(?::\w+)?}", operation.path)
    ]


def _query_parameters(operation: Operation) -> list[Schema]:
    schema = operation.query.model_json_schema()
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": field} for name, field in schema.get("properties", {}).items()
    ]


def _header_parameters(operation: Operation) -> list[Schema]:
    return [
        {"name": name, "in": "header", "required": False, "description": about, "schema": {"type": "string"}}
        for name, about in operation.headers
    ]
