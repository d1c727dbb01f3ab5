"""The OpenAI-compatible embedder against a server on this machine: batches, retries, dimension, cost, and what it does not tell."""

from __future__ import annotations

import json
import math
import struct
import threading
from base64 import b64encode
from collections.abc import AsyncGenerator, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from httpx2 import AsyncClient

from memory import embedding
from memory.embedding import EmbeddingFailed
from memory.embedding.openai import OpenAIEmbedder

pytestmark = pytest.mark.anyio


class Server:
    """`answers`: (status, headers, body) to give before the right one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.size = 3
        self.base64 = self.backwards = False

    def answer(self, body: dict[str, Any]) -> bytes:
        rows: list[dict[str, Any]] = []
        for index, text in enumerate(body["input"]):
            vector = [float(len(text)), 1.0, *[0.0] * (body.get("dimensions", self.size) - 2)]
            written = b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode() if self.base64 else vector
            rows.append({"object": "embedding", "index": index, "embedding": written})
        return json.dumps({"data": rows[::-1] if self.backwards else rows, "usage": {"total_tokens": 10 * len(rows)}}).encode()


@pytest.fixture
def server() -> Generator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            made.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers, content = made.answers.pop(0) if made.answers else (200, dict[str, str](), made.answer(body))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        made = Server(f"http://127.0.0.1:{listening.server_port}/v1")
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield made
        listening.shutdown()
        thread.join()


@pytest.fixture
async def client(anyio_backend: str) -> AsyncGenerator[AsyncClient]:
    async with AsyncClient(trust_env=False) as opened:
        yield opened


async def opened(server: Server, client: AsyncClient, **options: Any) -> tuple[OpenAIEmbedder, list[float]]:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    embedder = await embedding.open_embedder("openai", client=client, base_url=server.url, model="nomic", sleep=sleep, **options)
    assert isinstance(embedder, OpenAIEmbedder)
    return embedder, pauses


async def test_the_dimension_is_asked_for_with_one_call(server: Server, client: AsyncClient) -> None:
    server.size = 192
    embedder, _ = await opened(server, client, api_key="sk-secret")
    assert (embedder.dimensions, len(server.requests)) == (192, 1)
    path, headers, body = server.requests[0]
    assert (path, headers["authorization"], body["model"]) == ("/v1/embeddings", "Bearer sk-secret", "nomic")
    assert "dimensions" not in body


async def test_a_shorter_vector_is_asked_for_and_refused_when_the_server_does_not_mind(server: Server, client: AsyncClient) -> None:
    embedder, _ = await opened(server, client, dimensions=5)
    assert embedder.dimensions == 5
    server.answers = [(200, {}, server.answer({"input": ["x"]}))]
    with pytest.raises(EmbeddingFailed, match="3 dimensions and not the 7"):
        await opened(server, client, dimensions=7)


async def test_many_texts_go_in_batches_and_come_back_in_order_with_unit_length(server: Server, client: AsyncClient) -> None:
    embedder, _ = await opened(server, client)
    server.backwards = True
    texts = ["x" * (1 + number % 40) for number in range(300)]
    vectors, tokens = await embedder.count(texts)
    assert [len(body["input"]) for _, _, body in server.requests[1:]] == [128, 128, 44]
    assert [round(vector[0] / vector[1]) for vector in vectors] == [len(text) for text in texts]
    assert all(math.isclose(math.hypot(*vector), 1) for vector in vectors)
    assert tokens == 3000


async def test_base64_is_read_too(server: Server, client: AsyncClient) -> None:
    server.base64 = True
    embedder, _ = await opened(server, client)
    ((first, second, _),) = await embedder.embed(["four"])
    assert first / second == pytest.approx(4)


@pytest.mark.parametrize("tokens", ["1e999", "-1e999", "NaN", '"many"', "[1]"])
async def test_a_count_of_tokens_that_is_none_is_a_failure_of_the_server(server: Server, client: AsyncClient, tokens: str) -> None:
    embedder, _ = await opened(server, client)
    row = server.answer({"input": ["a"]}).replace(b'"total_tokens": 10', b'"total_tokens": ' + tokens.encode())
    server.answers = [(200, {}, row)]
    with pytest.raises(EmbeddingFailed, match="not one of OpenAI's form"):
        await embedder.embed(["a"])


async def test_questions_and_texts_have_their_prefix(server: Server, client: AsyncClient) -> None:
    embedder, _ = await opened(server, client, query_prefix="search_query: ", text_prefix="search_document: ")
    await embedder.embed(["a"], query=True)
    await embedder.embed(["b"])
    assert [body["input"] for _, _, body in server.requests[1:]] == [["search_query: a"], ["search_document: b"]]


async def test_what_may_pass_is_tried_again_and_the_servers_wish_is_kept(server: Server, client: AsyncClient) -> None:
    embedder, pauses = await opened(server, client)
    server.answers = [(429, {"retry-after": "7"}, b"{}"), (503, {}, b"busy"), (500, {}, b"")]
    assert len(await embedder.embed(["a"])) == 1
    assert pauses[0] == 7
    assert 0.75 <= pauses[1] <= 1.25 <= 1.5 <= pauses[2] <= 2.5


async def test_it_gives_up_after_five_attempts_and_at_once_where_nothing_will_change(server: Server, client: AsyncClient) -> None:
    embedder, pauses = await opened(server, client, api_key="sk-secret")
    server.answers = [(503, {}, b"")] * 5
    with pytest.raises(EmbeddingFailed) as failed:
        await embedder.embed(["private words"])
    assert (failed.value.transient, len(pauses)) == (True, 4)
    server.answers = [(401, {}, b'{"error": {"code": "invalid_api_key", "message": "sk-secret: private words"}}')]
    with pytest.raises(EmbeddingFailed) as failed:
        await embedder.embed(["private words"])
    assert (failed.value.transient, len(pauses)) == (False, 4)
    assert str(failed.value) == "The embedding server answers 401 (invalid_api_key)."


async def test_a_server_that_is_not_there_is_transient_and_says_no_more(client: AsyncClient, server: Server) -> None:
    embedder, _ = await opened(server, client)
    embedder._url = "http://127.0.0.1:9/v1/embeddings"  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(EmbeddingFailed, match="does not answer") as failed:
        await embedder.embed(["a"])
    assert failed.value.transient


@pytest.mark.parametrize(
    "content",
    [
        b"<html>",
        b"[]",
        b'{"data": null}',
        b'{"data": []}',
        b'{"data": [{"index": 0, "embedding": [0, 0, 0]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2]}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, "x"]}]}',
        b'{"data": [{"index": 0, "embedding": "AAA"}]}',
        b'{"data": [{"index": 0, "embedding": [1, 2, 1e999]}]}',
    ],
)
async def test_an_answer_that_is_none_is_refused(server: Server, client: AsyncClient, content: bytes) -> None:
    embedder, _ = await opened(server, client)
    server.answers = [(200, {}, content)]
    with pytest.raises(EmbeddingFailed) as failed:
        await embedder.embed(["a"])
    assert not failed.value.transient
