"""The head of a request is bounded before anybody has shown a key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
import uvicorn

from server.http import wire
from server.http.wire import BoundedProtocol

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P8")]


async def hello(scope: object, receive: object, send: object) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})  # type: ignore[operator]
    await send({"type": "http.response.body", "body": b"ok"})  # type: ignore[operator]


@pytest.fixture
async def port() -> AsyncGenerator[int]:
    server = uvicorn.Server(uvicorn.Config(hello, port=0, http=BoundedProtocol, log_config=None, lifespan="off"))  # type: ignore[arg-type]
    serving = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving


async def said(port: int, *parts: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(10):
            return await reader.read(2000)
    except ConnectionResetError:
        return b"reset"
    finally:
        writer.close()


async def test_an_ordinary_request_is_answered(port: int) -> None:
    assert b"200 OK" in await said(port, b"GET / HTTP/1.1\r\nhost: x\r\n", b"a: b\r\n\r\n")


async def test_a_head_without_end_is_cut_off(port: int) -> None:
    endless = [b"GET / HTTP/1.1\r\nhost: x\r\nx: ", *([b"y" * 16_384] * 8)]
    answer = await said(port, *endless)
    assert b"431" in answer or answer == b"reset"


async def test_a_body_may_be_longer_than_a_head(port: int) -> None:
    body = b"z" * 200_000
    assert b"200 OK" in await said(port, b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 200000\r\n\r\n", body)


async def test_a_head_that_never_comes_is_not_waited_for(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HEAD_SECONDS", 0.1)
    assert await said(port, b"GET / HT") == b""
