"""Forgetting when the process that does it is killed: nothing of it has happened, and repeating the call does all of it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import httpx2
import psycopg

from tests.process.conftest import Installation, Kept

FLOW: dict[str, Any] = {
    "name": "keeps-a-canary",
    "input": {"type": "object", "properties": {"said": {"type": "string"}}},
    "nodes": [
        {"id": "keep", "type": "remember", "config": {"text": "{{ input.said }}", "origin": "user"}},
        {"id": "find", "type": "recall", "config": {"query": "Who sings?"}},
    ],
    "edges": [{"from": "keep", "to": "find"}],
    "output": {"text": "{{ nodes.find.text }}"},
}
TABLES = ("memories", "runs", "node_runs", "events", "memory_receipts")


def singing(admin: psycopg.Connection, word: str) -> list[str]:
    """Tables with a row that has the word."""
    found: list[str] = []
    for table in TABLES:
        row = admin.execute(f"SELECT EXISTS (SELECT FROM weft.{table} t WHERE t::text ILIKE %s)".encode(), (f"%{word}%",)).fetchone()
        found += [table] if row and row[0] else []
    return found


def test_a_server_killed_in_the_middle_of_forgetting_has_forgotten_nothing_and_the_next_call_does_all_of_it(
    kept: Kept, installation: Installation, tmp_path: Path
) -> None:
    word = "Krakivelluna"
    flow = tmp_path / "flow.json"
    flow.write_text(json.dumps(FLOW))
    chosen = {"query": word}
    with psycopg.connect(kept.postgres.admin_url, autocommit=True) as admin:
        with installation.process("serve", "--port", "0") as server, httpx2.Client(base_url=server.url, timeout=60) as client:
            client.headers["Authorization"] = f"Bearer {installation.key}"
            assert client.post("/api/v1/workflows", json={"definition": FLOW}).status_code < 300
            assert client.post("/api/v1/workflows/keeps-a-canary/publish", json={}).status_code < 300
            started = client.post("/api/v1/runs", json={"workflow": "keeps-a-canary", "input": {"said": f"{word} sings at dawn."}})
            assert started.status_code < 300, started.text
            run_id = started.json()["run_id"]
            end = time.monotonic() + 30
            while client.get(f"/api/v1/runs/{run_id}").json()["state"] != "succeeded":
                assert time.monotonic() < end
            counted = client.post("/api/v1/memories/forget", json=chosen).json()["count"]
            assert counted
            with psycopg.connect(kept.postgres.admin_url) as holder:
                holder.execute("SELECT FROM weft.node_runs n WHERE n.run_id = %s AND n.position = 'find' FOR UPDATE", (run_id,))
                asking = threading.Thread(target=forget, args=(server.url, installation.key, {**chosen, "expect": counted}))
                asking.start()
                waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query ILIKE '%%node_runs%%'"
                while not (row := admin.execute(waiting).fetchone()) or not row[0]:
                    assert time.monotonic() < end
                server.child.kill()
                asking.join(timeout=30)
        assert singing(admin, word) == ["memories", "runs", "node_runs"]
        with installation.process("serve", "--port", "0") as server:
            done = forget(server.url, installation.key, {**chosen, "expect": counted})
        assert done["receipt_id"]
        assert done["redacted"]["node_runs"] == 2
        assert singing(admin, word) == []
    assert word not in installation.weft("memory", "export").out
    assert word not in installation.weft("memory", "list", "-n", "200").out
    assert word not in installation.weft("runs", "show", run_id).out


def forget(url: str, key: str, chosen: dict[str, Any]) -> dict[str, Any]:
    """The answer; empty when the server did not live to give one."""
    try:
        answer = httpx2.post(f"{url}/api/v1/memories/forget", json=chosen, headers={"Authorization": f"Bearer {key}"}, timeout=60)
    except httpx2.HTTPError:
        return {}
    assert answer.status_code == 200, answer.text
    return answer.json()
