"""Weft and its Postgres killed in the same moment, as when the power fails: what had been acknowledged is there afterwards."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from store.cluster import Cluster
from tests.faults.load import told
from tests.faults.mortal import kill_server
from tests.faults.scenarios import event, node
from tests.process.conftest import Installation, Process, fresh

__all__ = ["fresh"]
pytestmark = [pytest.mark.anyio, pytest.mark.long, pytest.mark.timeout(300), pytest.mark.promise("P1")]
SECONDS = 90.0
CLIENTS = 6
ENOUGH = 40  # finished rounds of all clients before the power fails
DEFINITION: dict[str, Any] = {
    "name": "orders",
    "input": {"type": "object", "properties": {"tag": {"type": "string"}}, "required": ["tag"]},
    "nodes": [node("ok", "approval", title="Go on?"), event("paid", "paid"), node("end", "set", values={"tag": "{{ input.tag }}"})],
    "edges": [{"from": "ok", "to": "paid"}, {"from": "paid", "to": "end"}],
    "output": {"tag": "{{ input.tag }}", "comment": "{{ nodes.ok.comment }}", "sum": "{{ nodes.paid.payload.sum }}"},
}


@dataclass(slots=True, kw_only=True)
class Acknowledged:
    """What Weft has said yes to, by the tag of the run."""

    definitions: list[str] = field(default_factory=list[str])
    starts: dict[str, str] = field(default_factory=dict[str, str])  # to the id of the run
    answers: dict[str, str] = field(default_factory=dict[str, str])  # to the id of the task
    events: set[str] = field(default_factory=set[str])

    @property
    def line(self) -> str:
        counts = (len(self.definitions), len(self.starts), len(self.answers), len(self.events))
        return "{} definitions, {} starts, {} answers, {} events".format(*counts)


class Client:
    """A program that goes on until nobody answers any more. What it has no answer to, it does not count."""

    def __init__(self, url: str, key: str, said: Acknowledged) -> None:
        self.http = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)
        self.said = said

    async def told(self, method: str, path: str, **more: Any) -> Any:
        answer = await self.http.request(method, f"/api/v1{path}", **more)
        assert answer.is_success, (method, path, answer.status_code, answer.text)
        return answer.json()

    async def for_ever(self, name: str) -> None:
        with suppress(httpx2.TransportError):
            async with self.http:
                for number in range(10_000):
                    await self.round(f"{name}-{number}")

    async def round(self, tag: str) -> None:
        await self.publish({**DEFINITION, "name": f"orders-{tag}"})
        run = await self.told("POST", "/runs", json={"workflow": f"orders-{tag}", "input": {"tag": tag}})
        self.said.starts[tag] = run["run_id"]
        task_id = await self.task(run["run_id"])
        await self.told("POST", f"/tasks/{task_id}/answer", json={"answer": {"approved": True}, "comment": tag})
        self.said.answers[tag] = task_id
        await self.told("POST", "/events", json={"name": "paid", "correlation": tag, "payload": {"sum": 5}})
        self.said.events.add(tag)

    async def publish(self, definition: dict[str, Any]) -> None:
        await self.told("POST", "/workflows", json={"definition": definition})
        await self.told("POST", f"/workflows/{definition['name']}/publish", json={})
        self.said.definitions.append(definition["name"])

    async def task(self, run_id: str) -> str:
        while True:
            run = await self.told("GET", f"/runs/{run_id}", params={"wait_seconds": 5})
            for wait in run["waiting_for"]:
                if wait.get("task_id"):
                    return str(wait["task_id"])

    async def found(self) -> dict[str, Any]:
        """Looks after everything that was acknowledged; the runs at their ends, by tag."""
        for name in self.said.definitions:
            assert (await self.told("GET", f"/workflows/{name}"))["active_version"] == 1
        for tag, id in self.said.answers.items():
            task = await self.told("GET", f"/tasks/{id}")
            assert (task["state"], task["comment"]) == ("answered", tag)
        return {tag: await self.finished(tag) for tag in self.said.starts}

    async def finished(self, tag: str) -> Any:
        """The run at its end; what had not been acknowledged before the power failed is done again."""
        path = f"/runs/{self.said.starts[tag]}"
        async with asyncio.timeout(SECONDS):
            while (run := await self.told("GET", path, params={"wait_seconds": 5}))["state"] not in ("succeeded", "failed", "cancelled"):
                waits = {wait["kind"]: wait for wait in run["waiting_for"]}
                if "task" in waits:
                    assert tag not in self.said.answers, f"the answer of {tag} is gone"
                    await self.told(
                        "POST", f"/tasks/{waits['task']['task_id']}/answer", json={"answer": {"approved": True}, "comment": tag}
                    )
                elif "event" in waits:
                    assert tag not in self.said.events, f"the event of {tag} is gone"
                    await self.told("POST", "/events", json={"name": "paid", "correlation": tag, "payload": {"sum": 5}})
        return run


@contextmanager
def serving(installation: Installation) -> Generator[Process]:
    with installation.process("serve", "--port", "0") as process:
        yield process


async def fail_power(installation: Installation, process: Process) -> None:
    process.child.send_signal(signal.SIGSTOP)  # in the same moment: neither sees the other die
    kill_server(Cluster(data=installation.data_dir / "postgres"), signal.SIGKILL)
    process.child.kill()
    await asyncio.to_thread(process.child.wait)


async def busy_until_dark(installation: Installation, said: Acknowledged, enough: int) -> None:
    with serving(installation) as process:
        clients = [Client(process.url, installation.key, said) for _ in range(CLIENTS)]
        rounds = len(said.events)
        tasks = [asyncio.create_task(client.for_ever(f"a{rounds}-{number}")) for number, client in enumerate(clients)]
        async with asyncio.timeout(SECONDS):
            while len(said.events) < rounds + enough and not any(task.done() for task in tasks):
                await asyncio.sleep(0.01)
        await fail_power(installation, process)
        await asyncio.gather(*tasks)


async def test_what_was_acknowledged_before_the_power_failed_is_there_after_it(
    fresh: Installation, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Acknowledged()
    for _ in range(2):
        await busy_until_dark(fresh, said, ENOUGH)
    began = time.monotonic()
    with serving(fresh) as process:
        up = time.monotonic() - began
        client = Client(process.url, fresh.key, said)
        async with client.http:
            done = await client.found()
    assert {run["state"] for run in done.values()} == {"succeeded"}
    assert all(run["output"] == {"tag": tag, "comment": tag, "sum": 5} for tag, run in done.items())
    told(capsys, f"power failed twice: {said.line}: lost 0, all {len(done)} runs succeeded; up again in {up:.1f} s, recovery included")
