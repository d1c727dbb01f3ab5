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
from collections.abc import AsyncIterator, Awaitable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from graphs.embedders import open_embedder
from graphs.models import ModelSettings
from graphs.outbound import Outbound
from memory.embedding import Embedder

PLAY = "PLAY "
KEY = "sk-loopback-0123456789abcdef"


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One answer. `text` is what the model says, and `calls` the tools it calls, each (name, arguments) where text stands for itself;
    `body` replaces the whole answer; `cut` breaks it off in the middle, of a stream after `said` pieces, and `stopped` ends a stream there
    as if it were whole; `broken` sends an error into the stream; `silent` never answers; `ending` is the vendor's finish or stop reason;
    `thoughts` are Claude's blocks, or one object of fields of the message: where it calls tools, the server wants them back as they are."""

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
    calls: tuple[tuple[str, dict[str, Any] | str], ...] = ()
    cached: int = 0
    written: int = 0
    used: tuple[int, int] | None = None
    said: int = 2
    stopped: bool = False
    broken: str = ""
    thoughts: tuple[dict[str, Any], ...] = ()
    held: threading.Event | None = None  # a stream waits for it before its last `rest` pieces
    rest: int = 1
    pause: float = 0.0  # seconds before each piece
    mark: str = ""  # in the ids of its calls
    size: int = 4  # characters of a piece of arguments


@dataclass(slots=True, kw_only=True)
class ModelServer:
    """`turns` are answered in order, then "ok" for ever; `asked` holds the bodies of the requests, `headers` their headers."""

    port: int
    turns: deque[Turn] = field(default_factory=deque[Turn])
    asked: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    thought: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict[str, tuple[dict[str, Any], ...]])  # by call

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def openai(self, *, key: str = KEY, model: str | None = "openai:tiny") -> ModelSettings:
        return ModelSettings(default=model, openai_api_key=SecretStr(key), openai_base_url=self.url + "/v1")

    def anthropic(self, *, key: str = KEY, model: str | None = "anthropic:claude-tiny") -> ModelSettings:
        return ModelSettings(default=model, anthropic_api_key=SecretStr(key), anthropic_base_url=self.url)

    def embedder(self, outbound: Outbound) -> Awaitable[Embedder | None]:
        """One behind this server, whose model is openai:vectors."""
        return open_embedder("openai:vectors", self.openai(), outbound)

    async def take(self, request: Request) -> tuple[Turn, dict[str, Any]]:
        asked = await request.json()
        self.asked.append(asked)
        self.headers.append(dict(request.headers))
        given = (
            request.headers.get("x-api-key")
            or request.headers.get("api-key")
            or request.headers.get("authorization", "").removeprefix("Bearer ")
        )
        if given != KEY:
            return Turn(status=401, message=f"Incorrect API key provided: {given}.", code="invalid_api_key"), asked
        turn = played(asked) or (self.turns.popleft() if self.turns else Turn())
        if wrong := self.forgotten(asked):
            return Turn(status=400, message=wrong), asked
        if turn.thoughts and turn.calls:
            turn = replace(turn, mark=f"{len(self.asked)}_")
            self.thought |= dict.fromkeys(_ids(turn), turn.thoughts)
        if turn.silent:
            await asyncio.Event().wait()
        return turn, asked

    def forgotten(self, asked: dict[str, Any]) -> str:
        """What is wrong with the thoughts in a conversation."""
        for place, said in enumerate(asked.get("messages", ())):
            content: list[dict[str, Any]] = said["content"] if isinstance(said.get("content"), list) else []
            ids = [call["id"] for call in said.get("tool_calls") or ()] + [part["id"] for part in content if part["type"] == "tool_use"]
            for id in ids:
                wanted = self.thought.get(id, ())
                blocks = tuple(part for part in content if "thinking" in part["type"])
                fields = tuple({key: said.get(key) for key in part} for part in wanted)
                if wanted not in (blocks, fields):
                    return f"messages.{place}: the thoughts with which {id} was called must come back unchanged"
        return ""


def _ids(turn: Turn) -> list[str]:
    return [f"{vendor}_{turn.mark}{number}" for vendor in ("call", "toolu") for number in range(1, len(turn.calls) + 1)]


def played(asked: dict[str, Any]) -> Turn | None:
    """The turn that a prompt itself asks for, in which place of the conversation it may be: PLAY [[[name, arguments], …], …]. For tests in
    which nobody knows how often a model is asked."""
    said = next((message["content"] for message in asked.get("messages", ()) if message["role"] == "user"), None)
    if not isinstance(said, str) or not said.startswith(PLAY):
        return None
    script, number = json.loads(said.removeprefix(PLAY)), sum(message["role"] == "assistant" for message in asked["messages"])
    return Turn(text="", calls=tuple((name, given) for name, given in script[number])) if number < len(script) else Turn(text="done")


def _openai(turn: Turn, asked: dict[str, Any]) -> dict[str, Any]:
    if turn.status != 200:
        return {"error": {"message": turn.message, "type": "error", "param": None, "code": turn.code or None}}
    message: dict[str, Any] = {"role": "assistant", "content": None if turn.refusal else turn.text, "refusal": turn.refusal}
    for part in turn.thoughts:
        message |= part
    if turn.calls:
        message["tool_calls"] = _functions(turn)
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": asked["model"],
        "choices": [{"index": 0, "message": message, "finish_reason": _finish(turn), "logprobs": None}],
        "usage": _openai_usage(turn),
    }


def _functions(turn: Turn) -> list[dict[str, Any]]:
    return [
        {"id": f"call_{turn.mark}{number}", "type": "function", "function": {"name": name, "arguments": _written(arguments)}}
        for number, (name, arguments) in enumerate(turn.calls, 1)
    ]


def _written(arguments: dict[str, Any] | str) -> str:
    return arguments if isinstance(arguments, str) else json.dumps(arguments)


def _finish(turn: Turn) -> str:
    return turn.ending or ("tool_calls" if turn.calls else "stop")


def _openai_usage(turn: Turn) -> dict[str, Any]:
    read, written = turn.used or (11, 7)
    usage: dict[str, Any] = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
    return usage | ({"prompt_tokens_details": {"cached_tokens": turn.cached}} if turn.cached else {})


def _openai_pieces(turn: Turn, asked: dict[str, Any]) -> list[str]:
    """The events of a stream."""

    def event(delta: dict[str, Any], finish: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
        return _openai_event({"model": asked["model"], "choices": [choice]})

    said = [event({"role": "assistant", "content": ""})]
    for part in turn.thoughts:
        for key, value in part.items():
            said += [event({key: piece}) for piece in (_pieces(value) if isinstance(value, str) else [[one] for one in value])]
    said += [event({"refusal": turn.refusal})] if turn.refusal else [event({"content": piece}) for piece in _pieces(turn.text)]
    for index, call in enumerate(_functions(turn)):
        whole = call["function"]["arguments"]
        said.append(event({"tool_calls": [{**call, "index": index, "function": {"name": call["function"]["name"], "arguments": ""}}]}))
        said += [event({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in _portions(whole, turn.size)]
    said.append(event({}, _finish(turn)))
    if asked.get("stream_options", {}).get("include_usage"):
        said.append(_openai_event({"model": asked["model"], "choices": [], "usage": _openai_usage(turn)}))
    return [*said, "data: [DONE]\n\n"]


def _openai_event(part: dict[str, Any]) -> str:
    return "data: " + json.dumps({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, **part}) + "\n\n"


def _pieces(text: str, size: int = 4) -> list[str]:
    return [text[start : start + size] for start in range(0, len(text), size)]


def _portions(arguments: str, size: int) -> list[str]:
    """64 at most: the SDKs take a tenth of a millisecond for each, and longer for long ones."""
    return _pieces(arguments, max(size, len(arguments) // 64))


def _anthropic(turn: Turn, asked: dict[str, Any]) -> dict[str, Any]:
    if turn.status != 200:
        return {"type": "error", "error": {"type": turn.code or "error", "message": turn.message}}
    content = _content(turn, asked)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": asked["model"],
        "content": content,
        "stop_reason": _stop(turn, content),
        "stop_sequence": None,
        "usage": _anthropic_usage(turn),
    }


def _content(turn: Turn, asked: dict[str, Any]) -> list[dict[str, Any]]:
    if "tools" in asked and turn.text.startswith("{"):
        return [{"type": "tool_use", "id": "toolu_1", "name": asked["tools"][-1]["name"], "input": json.loads(turn.text)}]
    texts = [{"type": "text", "text": turn.text}] if turn.text or not turn.calls else []
    used = [
        {"type": "tool_use", "id": f"toolu_{turn.mark}{number}", "name": name, "input": arguments}
        for number, (name, arguments) in enumerate(turn.calls, 1)
    ]
    return [*turn.thoughts[:1], *texts, *turn.thoughts[1:], *used]


def _stop(turn: Turn, content: list[dict[str, Any]]) -> str:
    return turn.ending or ("tool_use" if content and content[-1]["type"] == "tool_use" else "end_turn")


def _anthropic_usage(turn: Turn) -> dict[str, Any]:
    read, written = turn.used or (13, 5)
    usage: dict[str, Any] = {"input_tokens": read - turn.cached - turn.written, "output_tokens": written}
    if turn.cached or turn.written:
        usage |= {"cache_read_input_tokens": turn.cached, "cache_creation_input_tokens": turn.written}
    return usage


def _anthropic_pieces(turn: Turn, asked: dict[str, Any]) -> list[str]:
    """The events of a stream."""
    content = _content(turn, asked)
    begun: dict[str, Any] = _anthropic(turn, asked) | {
        "content": [],
        "stop_reason": None,
        "usage": _anthropic_usage(turn) | {"output_tokens": 1},
    }
    said = [_anthropic_event("message_start", message=begun)]
    for index, block in enumerate(content):
        if "thinking" in block["type"]:
            said += _thought_pieces(index, block)
            continue
        text = block["type"] == "text"
        empty: dict[str, Any] = {**block, "text": ""} if text else {**block, "input": {}}
        said.append(_anthropic_event("content_block_start", index=index, content_block=empty))
        for piece in _pieces(block["text"]) if text else _portions(_written(block["input"]), turn.size):
            delta = {"type": "text_delta", "text": piece} if text else {"type": "input_json_delta", "partial_json": piece}
            said.append(_anthropic_event("content_block_delta", index=index, delta=delta))
        said.append(_anthropic_event("content_block_stop", index=index))
    ended = {"stop_reason": _stop(turn, content), "stop_sequence": None}
    said.append(_anthropic_event("message_delta", delta=ended, usage=_anthropic_usage(turn)))
    return [*said, _anthropic_event("message_stop")]


def _thought_pieces(index: int, block: dict[str, Any]) -> list[str]:
    begun = {"type": "thinking", "thinking": "", "signature": ""} if block["type"] == "thinking" else block
    deltas = [{"type": "thinking_delta", "thinking": piece} for piece in _pieces(block.get("thinking", ""))]
    deltas += [{"type": "signature_delta", "signature": block["signature"]}] if "signature" in block else []
    return [
        _anthropic_event("content_block_start", index=index, content_block=begun),
        *(_anthropic_event("content_block_delta", index=index, delta=delta) for delta in deltas),
        _anthropic_event("content_block_stop", index=index),
    ]


def _anthropic_event(kind: str, **part: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **part})}\n\n"


def _stream(turn: Turn, pieces: list[str], error: str) -> Response:
    async def told() -> AsyncIterator[bytes]:
        for number, piece in enumerate(pieces):
            await asyncio.sleep(turn.pause)
            if turn.held and number == len(pieces) - turn.rest:
                await asyncio.to_thread(turn.held.wait, 20)
            if number == turn.said and turn.cut:
                raise ConnectionResetError
            if number == turn.said and turn.stopped:
                return
            if number == turn.said and turn.broken:
                yield error.encode()
                return
            yield piece.encode()

    return StreamingResponse(told(), media_type="text/event-stream", headers=turn.headers)


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
        turn, asked = await server.take(request)
        if asked.get("stream") and turn.status == 200 and turn.body is None:
            error = _openai_event({"error": {"message": turn.broken, "type": "error", "code": turn.code or None}})
            return _stream(turn, _openai_pieces(turn, asked), error)
        return _respond(turn, _openai(turn, asked))

    async def messages(request: Request) -> Response:
        turn, asked = await server.take(request)
        if asked.get("stream") and turn.status == 200 and turn.body is None:
            error = _anthropic_event("error", error={"type": turn.code or "overloaded_error", "message": turn.broken})
            return _stream(turn, _anthropic_pieces(turn, asked), error)
        return _respond(turn, _anthropic(turn, asked))

    async def embeddings(request: Request) -> Response:
        """Vectors of two numbers: how often each text has an e, and its length. Ten tokens a text."""
        turn, asked = await server.take(request)
        rows = [
            {"object": "embedding", "index": index, "embedding": [1.0 + text.count("e"), float(len(text))]}
            for index, text in enumerate(asked["input"])
        ]
        whole = {"object": "list", "data": rows, "usage": {"prompt_tokens": 10 * len(rows), "total_tokens": 10 * len(rows)}}
        return _respond(turn, whole if turn.status == 200 else _openai(turn, asked))

    return Starlette(
        routes=[
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/openai/deployments/{name}/chat/completions", completions, methods=["POST"]),
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
