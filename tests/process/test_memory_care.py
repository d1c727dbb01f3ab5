"""`weft memory reembed` and `consolidate`: ordinary runs that a terminal follows, and that outlive it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from server.keys import POSTGRES
from store.embedded import embedded
from tests.process.conftest import ROOT, SECONDS, Installation, Kept, surroundings

ROWS = 400
SAID = [
    "I moved to Kyoto in May 2023.",
    "The flat in Osaka was sold for 30 million yen.",
    "My sister Mia visits Kyoto in July.",
    "We agreed to meet at the Gion festival in Kyoto.",
]


class Embeddings:
    """A server of embeddings. From the request with the number `stops_at` on it answers nothing until `go` is set."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1"
        self.batches: list[list[str]] = []
        self.stops_at = 1_000_000
        self.reached, self.go = threading.Event(), threading.Event()

    def take(self, texts: list[str]) -> bytes:
        if len(self.batches) >= self.stops_at:
            self.reached.set()
            self.go.wait(SECONDS)
        self.batches.append(texts)
        rows = [{"index": place, "embedding": [float(len(text) % 7), 1.0, 0.5]} for place, text in enumerate(texts)]
        return json.dumps({"data": rows, "usage": {"total_tokens": len(texts)}}).encode()

    @property
    def texts(self) -> list[str]:
        return [text for batch in self.batches for text in batch if text != "dimension"]


@contextmanager
def embeddings() -> Generator[Embeddings]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            content = made.take(body["input"])
            try:
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:  # whoever asked was killed
                pass

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        made = Embeddings(listening.server_port)
        thread = threading.Thread(target=listening.serve_forever, args=(0.02,))
        thread.start()
        yield made
        made.go.set()
        listening.shutdown()
        thread.join()


@pytest.fixture
def own() -> Generator[Kept]:
    """An installation of this test's own, its Postgres held up here: what is killed leaves nothing behind."""
    folder = Path(tempfile.mkdtemp(prefix="weft-process-"))
    data_dir = folder / "data"
    (data_dir / "keys").mkdir(parents=True, mode=0o700)
    with asyncio.Runner() as runner:
        context = embedded(data_dir / "postgres", data_dir / "keys" / POSTGRES)
        postgres = runner.run(context.__aenter__())
        try:
            yield Kept(installation=Installation(data_dir=data_dir), postgres=postgres)
        finally:
            runner.run(context.__aexit__(None, None, None))
            shutil.rmtree(folder, ignore_errors=True)


def active(own: Kept) -> list[str]:
    with psycopg.connect(own.postgres.admin_url) as connection:
        return [model for (model,) in connection.execute("SELECT model FROM weft.memory_spaces WHERE state = 'active'")]


def test_re_embedding_that_was_killed_goes_on_where_it_was_and_recall_has_the_old_until_then(own: Kept, tmp_path: Path) -> None:
    weft = own.installation
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"text": f"Row number {number} sings."}) + "\n" for number in range(ROWS)))
    assert weft.weft("memory", "import", str(file)).code == 0
    assert active(own) == ["static-minilm-256"]
    with embeddings() as server:
        chosen = {"WEFT_EMBEDDER": "nomic", "WEFT_OPENAI_BASE_URL": server.url}
        server.stops_at = 3  # the probe and two batches
        with subprocess.Popen(
            [sys.executable, "-m", "server", "memory", "reembed"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=surroundings(weft.data_dir, **chosen),
        ) as child:
            assert server.reached.wait(SECONDS)
            child.kill()
        assert active(own) == ["static-minilm-256"]
        before = set(server.texts)
        assert len(before) >= 2
        server.stops_at = 1_000_000
        server.go.set()
        done = weft.weft("memory", "reembed", **chosen)
        assert done.code == 0, done.err
        number = int(done.out.split()[0].replace(",", ""))
        assert done.out == f"{number:,} of {number:,} memories have vectors of this embedder\n"
        assert number > ROWS
        assert active(own) == ["nomic"]
        again = [text for text in server.texts if server.texts.count(text) > 1]
        assert len(set(again)) <= 128, "nothing but the batch that was under way is made twice"
        assert "memory-reembedding" in weft.weft("runs", "list").out
        with psycopg.connect(own.postgres.admin_url) as connection:
            rows = connection.execute("SELECT state FROM weft.runs WHERE name = 'memory-reembedding'").fetchall()
        assert rows == [("succeeded",)], "the command took up the run that was there"
        assert weft.weft("memory", "reembed", **chosen).out == done.out
    refused = weft.weft("memory", "reembed", WEFT_EMBEDDER="none")
    assert refused.code != 0
    assert "WEFT_EMBEDDER" in refused.err


def test_memories_are_consolidated_by_hand_and_the_run_is_an_ordinary_one(own: Kept, tmp_path: Path) -> None:
    weft = own.installation
    messages = [{"text": text, "speaker": "Ann", "id": text} for text in SAID]
    config = {"kind": "conversation", "item": {"messages": messages}, "origin": "user"}
    file = tmp_path / "say.json"
    file.write_text(json.dumps({"name": "say", "nodes": [{"id": "keep", "type": "remember", "config": config}]}))
    assert weft.weft("run", str(file)).code == 0
    done = weft.weft("memory", "consolidate")
    assert (done.code, done.out) == (0, "1 summaries made, 0 entities merged, 0 duplicates linked, 0 memories forgotten\n"), done.err
    listed = weft.weft("memory", "list", "--kind", "summary").out
    assert "Kyoto" in listed
    assert weft.weft("memory", "consolidate").out.startswith("0 summaries made")
    assert weft.weft("memory", "list", "--kind", "summary").out == listed
    assert "memory-consolidation" in weft.weft("runs", "list").out


def test_a_server_consolidates_when_it_is_due_by_itself(own: Kept) -> None:
    weft = own.installation
    with weft.process("serve", "--port", "0", WEFT_MEMORY_CONSOLIDATION="1s") as served:
        headers = {"authorization": f"Bearer {weft.key}"}
        with httpx2.Client(base_url=served.url, headers=headers, trust_env=False, timeout=30) as client:
            for text in SAID:
                assert client.post("/api/v1/memories", json={"text": text, "speaker": "Ann"}).status_code == 200
            end = time.monotonic() + SECONDS
            found: list[dict[str, Any]] = []
            while not found and time.monotonic() < end:
                found = client.get("/api/v1/memories", params={"kind": "summary"}).json()["memories"]
            assert [one["session"] for one in found] == ["main"]
            assert found[0]["origin"] == "inference"
            listed = client.get("/api/v1/runs", params={"workflow": "memory-consolidation"}).json()["runs"]
            assert listed


def test_a_setting_that_cannot_be_is_a_sentence(installation: Installation) -> None:
    for name, value in (("WEFT_MEMORY_MODEL", "gpt"), ("WEFT_MEMORY_CONSOLIDATION", "weekly")):
        refused = installation.weft("memory", "list", **{name: value})
        assert refused.code == 2
        assert f"{name}: '{value}' is no" in refused.err
    assert installation.weft("memory", "list", WEFT_MEMORY_CONSOLIDATION="off", WEFT_MEMORY_MODEL="auto").code == 0
