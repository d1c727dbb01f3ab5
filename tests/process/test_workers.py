"""`weft worker`: several of them share the runs, and what one that was killed or hangs leaves behind the others take up."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from tests.process.conftest import Installation, Process

RECOVERY = 10.0  # seconds
BOUND = 60.0
WAITS = {"id": "w", "type": "wait", "config": {"seconds": 0.3}}
LONG = {
    "name": "long",
    "nodes": [{"id": "each", "type": "foreach", "config": {"items": list(range(40)), "concurrency": 1, "body": {"nodes": [WAITS]}}}],
}


class Door:
    """The REST API of a server that drives nothing itself."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.headers = f"{url}/api/v1", {"Authorization": f"Bearer {key}"}

    def ask(self, method: str, path: str, body: object = None) -> httpx2.Response:
        if body is None:
            return httpx2.request(method, self.url + path, headers=self.headers, timeout=BOUND)
        return httpx2.request(method, self.url + path, headers=self.headers, json=body, timeout=BOUND)

    def get(self, path: str) -> dict[str, Any]:
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object) -> dict[str, Any]:
        answer = self.ask("POST", path, body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def publish(self) -> None:
        self.post("/workflows", {"definition": json.dumps(LONG)})
        self.post("/workflows/long/publish", {})

    def steps(self, run_id: object) -> int:
        return self.get(f"/runs/{run_id}")["steps_done"]

    def workers(self) -> dict[int, dict[str, Any]]:
        return {line["pid"]: line for line in self.get("/workers")["workers"]}


def until(condition: Callable[[], bool], seconds: float = BOUND) -> float:
    """Waits for it; how long that took."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.05)
    return time.monotonic() - began


def driver(door: Door, run_id: object, workers: tuple[Process, Process]) -> tuple[Process, Process]:
    """The worker that drives the only run, and the other one."""
    until(lambda: door.steps(run_id) > 0)
    until(lambda: any(line["driving"] == 1 for line in door.workers().values()))
    found = door.workers()
    first, second = workers
    return (first, second) if found[first.child.pid]["driving"] == 1 else (second, first)


@pytest.mark.long
@pytest.mark.promise("P1")
@pytest.mark.parametrize("ends", [signal.SIGKILL, signal.SIGSTOP])
def test_the_runs_of_a_worker_that_is_killed_or_hangs_go_on_within_ten_seconds(
    fresh: Installation, ends: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        fresh.process("serve", "--port", "0", WEFT_WORKER="false") as server,
        fresh.process("worker") as one,
        fresh.process("worker") as two,
    ):
        door = Door(server.url, fresh.key)
        door.publish()
        run_id = door.post("/runs", {"workflow": "long", "input": {}})["run_id"]
        doomed, heir = driver(door, run_id, (one, two))
        doomed.child.send_signal(ends)
        before = door.steps(run_id)
        seconds = until(lambda: door.workers()[heir.child.pid]["driving"] == 1 and door.steps(run_id) > before)
        shown = fresh.weft("workers").out
        if ends == signal.SIGSTOP:
            doomed.child.send_signal(signal.SIGKILL)
        assert any(str(doomed.child.pid) in line and " lost " in line for line in shown.splitlines()), shown
        assert any(str(heir.child.pid) in line and " serving " in line and "1 of 64" in line for line in shown.splitlines()), shown
        assert heir.end() == 0
        assert heir.child.pid not in door.workers()
    with capsys.disabled():
        print(f"\nAfter {ends.name} of its worker a run went on in {seconds:.1f} s")
    assert seconds <= RECOVERY


def test_workers_are_shown_while_they_serve_and_forgotten_when_they_have_ended(installation: Installation) -> None:
    with installation.process("worker") as worker:
        lines = installation.weft("workers").out.splitlines()
        assert lines[0].split()[:4] == ["host", "pid", "version", "state"]
        assert any(f" {worker.child.pid} " in line and " serving " in line and "0 of 64" in line for line in lines)
        assert worker.end() == 0
    assert f" {worker.child.pid} " not in installation.weft("workers").out


def test_the_limit_of_an_organization_is_set_shown_and_taken_away(installation: Installation) -> None:
    assert installation.weft("org", "limit", "default", "3").out == "default: at most 3 of its runs are driven at once\n"
    assert installation.weft("org", "limit", "default").out == "default: at most 3 of its runs are driven at once\n"
    assert installation.weft("org", "limit", "default", "none").out == "default: no limit\n"
    wrong = installation.weft("org", "limit", "default", "0")
    assert (wrong.code, "from 1 to" in wrong.err) == (2, True)
    assert "no organization 'nobody'" in installation.weft("org", "limit", "nobody").err


def test_owners_see_workers_and_set_the_limit_over_http(installation: Installation) -> None:
    key = installation.weft("key", "create", "ops", "--role", "operator").out.strip()
    with installation.process("serve", "--port", "0") as server:
        door = Door(server.url, installation.key)
        assert door.workers()[server.child.pid]["state"] == "serving"
        changed = door.ask("PATCH", "/organization", {"max_running": 5}).json()
        assert (changed["slug"], changed["max_running"]) == ("default", 5)
        assert door.ask("PATCH", "/organization", {"max_running": None}).json()["max_running"] is None
        assert door.ask("PATCH", "/organization", {"max_running": 0}).status_code == 422
        assert door.get("/organization")["max_running"] is None
        other = Door(server.url, key)
        assert [other.ask("GET", f"/{path}").status_code for path in ("workers", "organization")] == [403, 403]
