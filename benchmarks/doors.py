"""Runs through the doors of `weft serve`: a process of its own with its embedded Postgres, clients in this one.

Prints, for a 10-step run and a 100-way foreach through HTTP and a 1-step run through MCP, CPU of the server and of its Postgres per run,
runs per second, and the median time of a client, beside their budgets. The budgets were set on a faster machine: how much faster, a run of
ten steps on LangGraph's own saver tells, whose CPU is known from there and is measured here between the rounds.

    python -m benchmarks.doors [--seconds 4] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import uvloop
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from benchmarks.cpu import Meter
from benchmarks.engine import measure as chains
from benchmarks.peers import stock
from server import keys
from store.embedded import embedded

READY = 60.0  # seconds
YARDSTICK = 15.0  # ms of CPU of a 10-step run on LangGraph's own saver where the budgets were set
Call = Callable[[], Awaitable[None]]


def step(number: int) -> dict[str, Any]:
    return {
        "id": f"s{number}",
        "type": "set",
        "config": {"values": {"n": f"{{{{ nodes.s{number - 1}.n }}}}" if number else "{{ input.n }}"}},
    }


def chain(name: str, steps: int) -> dict[str, Any]:
    edges = [{"from": f"s{n - 1}", "to": f"s{n}"} for n in range(1, steps)]
    return {"name": name, "nodes": [step(n) for n in range(steps)], "edges": edges}


def fan(name: str, ways: int) -> dict[str, Any]:
    body = {"nodes": [{"id": "i", "type": "set", "config": {"values": {"n": "{{ item }}"}}}], "edges": []}
    config = {"items": list(range(ways)), "as": "item", "concurrency": ways, "body": body}
    join = {"id": "j", "type": "set", "config": {"values": {"n": "{{ nodes.f.count }}"}}}
    return {"name": name, "nodes": [{"id": "f", "type": "foreach", "config": config}, join], "edges": [{"from": "f", "to": "j"}]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A server under test."""

    port: int
    key: str
    pid: int
    postmaster: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def served(folder: Path) -> Generator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "WEFT_DATA_DIR": str(folder), "WEFT_LOG_LEVEL": "warning"}
    command = (str(Path(sys.executable).with_name("weft")), "serve", "--port", str(port))
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        try:
            _until_ready(f"http://127.0.0.1:{port}/readyz", process)
            (pid_file,) = folder.rglob("postmaster.pid")
            (key_file,) = folder.rglob(keys.OWNER_KEY)
            postmaster = int(pid_file.read_text().split()[0])
            yield Served(port=port, key=key_file.read_text().strip(), pid=process.pid, postmaster=postmaster)
        finally:
            process.terminate()


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(url).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("weft serve did not become ready")


async def publish(server: Served, definition: dict[str, Any]) -> None:
    async with httpx2.AsyncClient(base_url=server.url, headers={"Authorization": f"Bearer {server.key}"}) as http:
        made = await http.post("/api/v1/workflows", json={"definition": definition})
        made.raise_for_status()
        (await http.post(f"/api/v1/workflows/{definition['name']}/publish", json={})).raise_for_status()


@asynccontextmanager
async def over_http(server: Served, workflow: str) -> AsyncGenerator[Call]:
    """Starts a run and has its output in the same answer, on a connection that stays open. Plain sockets: the client costs little."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    body = json.dumps({"workflow": workflow, "input": {"n": 1}, "wait_seconds": 20}).encode()
    head = f"POST /api/v1/runs HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nAuthorization: Bearer {server.key}\r\n"
    request = f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    async def call() -> None:
        writer.write(request)
        headers = (await reader.readuntil(b"\r\n\r\n")).lower()
        answer = await reader.readexactly(int(headers.partition(b"content-length:")[2].split(b"\r\n")[0]))
        assert b'"succeeded"' in answer, answer

    try:
        yield call
    finally:
        writer.close()


@asynccontextmanager
async def over_mcp(server: Served, workflow: str) -> AsyncGenerator[Call]:
    """The SDK's own client over streamable HTTP."""
    async with (
        httpx2.AsyncClient(headers={"Authorization": f"Bearer {server.key}"}, timeout=60) as http,
        Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
    ):

        async def call() -> None:
            answer = await client.call_tool("start_run", {"workflow": workflow, "input": {"n": 1}, "wait_seconds": 20})
            assert answer.structured_content, answer
            assert answer.structured_content["state"] == "succeeded", answer

        yield call


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    cpu: float
    per_second: float
    p50: float


async def measure(server: Served, calls: list[Call], seconds: float) -> Figure:
    times: list[float] = []
    end = time.perf_counter() + seconds

    async def work(call: Call) -> None:
        while (began := time.perf_counter()) < end:
            await call()
            times.append(time.perf_counter() - began)

    with Meter(server.postmaster, pid=server.pid) as used:
        await asyncio.gather(*(work(call) for call in calls))
    count = len(times)
    return Figure(cpu=(used.ours + used.postgres) / count * 1000, per_second=count / used.wall, p50=statistics.median(times) * 1000)


Door = Callable[[Served, str], Any]
CASES: tuple[tuple[str, Door, str, int, str], ...] = (
    ("10 steps, HTTP, 16 clients", over_http, "ten", 16, "CPU ≤ 5 ms, ≥ 250 runs/s"),
    ("10 steps, HTTP, alone", over_http, "ten", 1, "p50 ≤ 10 ms"),
    ("1 step, MCP, alone", over_mcp, "one", 1, "p50 ≤ 10 ms"),
    ("100-way foreach + join, HTTP, alone", over_http, "fan", 1, "p50 ≤ 20 ms, CPU ≤ 32 ms"),
)


async def one_round(server: Served, door: Door, workflow: str, clients: int, seconds: float) -> Figure:
    opened = [door(server, workflow) for _ in range(clients)]
    calls = [await each.__aenter__() for each in opened]
    try:
        await asyncio.gather(*(call() for call in calls))
        return await measure(server, calls, seconds)
    finally:
        for each in reversed(opened):
            await each.__aexit__(None, None, None)


async def yardstick(folder: Path, seconds: float) -> float:
    """CPU ms of a 10-step run on LangGraph's own saver, 8 at once, on a Postgres of its own."""
    async with embedded(folder / "yardstick" / "pg", folder / "yardstick" / "keys" / "postgres.json") as server:
        (pid_file,) = (folder / "yardstick").rglob("postmaster.pid")
        async with stock(server.url("postgres", server.passwords.admin, "postgres")) as run:
            await chains(run, 8, 1.0, int(pid_file.read_text().split()[0]))
            return (await chains(run, 8, seconds, int(pid_file.read_text().split()[0]))).cpu


async def main(seconds: float, rounds: int) -> None:
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as folder, served(Path(folder) / "weft") as server:
        for definition in (chain("ten", 10), chain("one", 1), fan("fan", 100)):
            await publish(server, definition)
        figures: dict[str, list[Figure]] = {}
        lengths: list[float] = []
        for _ in range(rounds):
            lengths.append(await yardstick(Path(folder), seconds))
            for label, door, workflow, clients, _budget in CASES:
                figures.setdefault(label, []).append(await one_round(server, door, workflow, clients, seconds))
    slower = statistics.median(lengths) / YARDSTICK
    print(f"through the doors of `weft serve`; medians; in brackets as on a machine {slower:.1f}× as fast, like the one of the budgets")
    print(f"{'':38}{'CPU ms (server + Postgres)':>28}{'runs/s':>14}{'p50 ms':>16}   budget")
    for label, _, _, _, budget in CASES:
        cpu, rate, p50 = (statistics.median(getattr(figure, name) for figure in figures[label]) for name in ("cpu", "per_second", "p50"))
        shown = (f"{cpu:.1f} ({cpu / slower:.1f})", f"{rate:.0f} ({rate * slower:.0f})", f"{p50:.1f} ({p50 / slower:.1f})")
        print(f"{label:38}{shown[0]:>28}{shown[1]:>14}{shown[2]:>16}   {budget}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    uvloop.run(main(given.seconds, given.rounds))
