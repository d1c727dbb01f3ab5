"""A shop with an OpenAPI document, on loopback. It notes what it is asked."""

from __future__ import annotations

import copy
import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import Receive, Scope, Send

from tests.outbound.loopback import Asked
from tests.remote.toolserver import served

ORDER_ID = {"name": "order_id", "in": "path", "required": True, "schema": {"type": "string"}}
ORDER = {"$ref": "#/components/schemas/Order"}
JSON_ORDER = {"description": "An order", "content": {"application/json": {"schema": ORDER}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "info": {"title": "Shop", "version": "7"},
    "servers": [{"url": "https://shop.example/v1"}],
    "components": {
        "securitySchemes": {"key": {"type": "apiKey", "in": "header", "name": "X-Key"}},
        "schemas": {
            "Order": {
                "type": "object",
                "properties": {"id": {"type": "string", "readOnly": True}, "n": {"type": "integer"}, "parent": ORDER},
                "required": ["id"],
            }
        },
    },
    "paths": {
        "/orders/{order_id}": {
            "parameters": [ORDER_ID],
            "get": {
                "operationId": "getOrder",
                "summary": "One order",
                "parameters": [
                    {"name": "fields", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "string"}}}
                ],
                "responses": {"200": JSON_ORDER},
            },
            "put": {
                "operationId": "putOrder",
                "requestBody": {"required": True, "content": {"application/json": {"schema": ORDER}}},
                "responses": {"200": JSON_ORDER},
            },
        },
        "/orders": {
            "get": {
                "operationId": "findOrders",
                "tags": ["search"],
                "parameters": [
                    {"name": "filter", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
                    {"name": "tag", "in": "query", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"name": "X-Trace", "in": "header", "schema": {"type": "string"}},
                    {"name": "seen", "in": "cookie", "schema": {"type": "boolean"}},
                ],
                "responses": {"200": {"description": "Orders", "content": {"application/json": {"schema": {"type": "array"}}}}},
            }
        },
        "/refunds": {
            "post": {
                "operationId": "createRefund",
                "requestBody": {
                    "required": True,
                    "content": {"application/x-www-form-urlencoded": {"schema": {"type": "object"}}, "application/json": {"schema": {}}},
                },
                "responses": {"201": {"description": "Done"}},
            }
        },
        "/notes": {
            "post": {
                "operationId": "addNote",
                "x-idempotent": True,
                "requestBody": {"content": {"text/plain": {"schema": {"type": "string"}}}},
                "responses": {"204": {"description": "Done"}},
            }
        },
    },
}


@dataclass(slots=True)
class Api:
    """`cut`: so many answers break off before they begin. `said`: what the next answers say instead of the order that is asked for."""

    port: int = 0
    asked: list[Asked] = field(default_factory=list[Asked])
    cut: int = 0
    said: tuple[int, bytes, str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def document(self) -> dict[str, Any]:
        return copy.deepcopy(DOCUMENT)

    def text(self, document: dict[str, Any] | None = None) -> str:
        return json.dumps(document or DOCUMENT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        raw: bytes = scope["raw_path"]
        target = raw.decode() + (f"?{scope['query_string'].decode()}" if scope["query_string"] else "")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.asked.append(Asked(method=scope["method"], target=target, headers=headers, body=body))
        if self.cut:
            self.cut -= 1
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": False})
            return
        last = unquote(raw.decode().rsplit("/", 1)[1])
        status, said, media = self.said or (200, json.dumps({"id": last}).encode(), "application/json")
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", media.encode())]})
        await send({"type": "http.response.body", "body": said})


@contextmanager
def api_server() -> Generator[Api]:
    api = Api()
    with served(api) as port:
        api.port = port
        yield api
