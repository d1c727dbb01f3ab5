"""A model server on loopback that speaks OpenAI chat completions and Anthropic messages, and answers what a test scripts.

with model_server() as server:
    server.turns.extend([Turn(status=429, headers={"retry-after": "2"}), Turn(text="Hello")])
    settings = server.openai()            # or server.anthropic()
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graphs.models import ModelSettings

KEY = "sk-loopback-0123456789abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer. `text` is what the model says; `body` replaces the whole answer; `cut` breaks it off in the middle;
    `silent` never answers; `ending` is the vendor's finish or stop reason."""

    text: str = "ok"
    status: int = 200
    message: str = "something is wrong"
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes | None = None
    cut: bool = False
    silent: bool = False
    ending: str = ""
    refusal: str | None = None


@dataclass(slots=True, kw_only=True)
class ModelServer:
    """`turns` are answered in order, then "ok" for ever; `asked` holds the bodies of the requests, `headers` their headers."""

    port: int
    turns: deque[Turn] = field(default_factory=deque[Turn])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self, *, key: str = KEY, model: str | None = "openai:tiny") -> ModelSettings:
        return ModelSettings(default=model, openai_api_key=SecretStr(key), openai_base_url=self.url + "/v1")

    def anthropic(self, *, key: str = KEY, model: str | None = "anthropic:claude-tiny") -> ModelSettings:
        return ModelSettings(default=model, anthropic_api_key=SecretStr(key), anthropic_base_url=self.url)

    async def take(self, request: Request) -> Turn:
        self.asked.append(await request.json())
        self.headers.append(dict(request.headers))
        given = request.headers.get("x-api-key") or request.headers.get("authorization", "").removeprefix("Bearer ")
        if given != KEY:
            return Turn(status=401, message=f"Incorrect API key provided: {given}.", code="invalid_api_key")
        turn = self.turns.popleft() if self.turns else Turn()
        if turn.silent:
            await asyncio.Event().wait()
        return turn


def _openai(turn: Turn, asked: dict[str, Any]) -> dict[str, Any]:
    if turn.status != 200:
        return {"error": {"message": turn.message, "type": "error", "param": None, "code": turn.code or None}}
    message = {"role": "assistant", "content": None if turn.refusal else turn.text, "refusal": turn.refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": turn.ending or "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def _anthropic(turn: Turn, asked: dict[str, Any]) -> dict[str, Any]:
    if turn.status != 200:
        return {"type": "error", "error": {"type": turn.code or "error", "message": turn.message}}
    content: list[dict[str, Any]] = [{"type": "text", "text": turn.text}]
    if "tools" in asked and turn.text.startswith("{"):
        content = [{"type": "tool_use", "id": "toolu_1", "name": asked["tools"][0]["name"], "input": json.loads(turn.text)}]
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": turn.ending or ("tool_use" if content[0]["type"] == "tool_use" else "end_turn"),
        "stop_sequence": None,
        "usage": {"input_tokens": 13, "output_tokens": 5},
    }


def _respond(turn: Turn, said: dict[str, Any]) -> Response:
    body = turn.body if turn.body is not None else json.dumps(said).encode()
    if turn.cut:

        async def half() -> AsyncIterator[bytes]:
            yield body[: len(body) // 2]
            raise ConnectionResetError

        return StreamingResponse(half(), media_type="application/json", headers={"content-length": str(len(body))})
    return Response(body, status_code=turn.status, media_type="application/json", headers=turn.headers)


def _app(server: ModelServer) -> Starlette:
    async def completions(request: Request) -> Response:
        turn = await server.take(request)
        return _respond(turn, _openai(turn, server.asked[-1]))

    async def messages(request: Request) -> Response:
        turn = await server.take(request)
        return _respond(turn, _anthropic(turn, server.asked[-1]))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/messages", messages, methods=["POST"]),
        ]
    )


@contextmanager
def model_server() -> Generator[ModelServer]:
    """Serves in a thread of its own, so that a test's event loop may be as busy as it likes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = ModelServer(port=listening.getsockname()[1])
        running = uvicorn.Server(uvicorn.Config(_app(server), log_level="critical", lifespan="off", ws="none", timeout_graceful_shutdown=0))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            running.should_exit = running.force_exit = True
            thread.join(10)
