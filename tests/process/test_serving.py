"""The long-running commands: how they start, what they cost, how they end, and that several of them share one data folder."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import httpx2
import pytest
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from store.cluster import Cluster
from tests.process.conftest import ROOT, Installation, surroundings

IDLE_MB = 200
BOUND = 20.0  # seconds for anything that should take a moment


def resident_mb(pid: int) -> float:
    """Resident memory of a process, from /proc."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def test_serve_answers_with_health_and_ends_in_order_on_sigterm(installation: Installation) -> None:
    with installation.process("serve", "--port", "0") as server:
        assert httpx2.get(f"{server.url}/healthz").status_code == 200
        assert httpx2.get(f"{server.url}/readyz").status_code == 200
        assert httpx2.get(f"{server.url}/api/v1/runs").status_code == 401
        began = time.monotonic()
        assert server.end() == 0
        assert time.monotonic() - began < BOUND


def test_an_idle_server_is_small(installation: Installation) -> None:
    with installation.process("serve", "--port", "0") as server:
        httpx2.get(f"{server.url}/healthz")
        assert resident_mb(server.child.pid) <= IDLE_MB


def test_the_first_start_shows_the_key_and_later_ones_only_where_it_is(fresh: Installation) -> None:
    with fresh.process("serve", "--port", "0") as server:
        assert server.child.stdout is not None
        assert fresh.key in server.child.stdout.readline()
        server.end()
    assert not Cluster(data=fresh.data_dir / "postgres").listening
    with fresh.process("serve", "--port", "0") as server:
        assert server.child.stdout is not None
        second = server.child.stdout.readline()
        assert fresh.key not in second
        assert str(fresh.data_dir) in second


@pytest.mark.anyio
async def test_the_owner_key_opens_the_mcp_door_and_a_wrong_one_does_not(installation: Installation) -> None:
    with installation.process("serve", "--port", "0") as server:
        headers = {"Authorization": f"Bearer {installation.key}"}
        async with (
            httpx2.AsyncClient(headers=headers) as http,
            Client(streamable_http_client(f"{server.url}/mcp", http_client=http)) as client,
        ):
            assert "start_run" in {tool.name for tool in (await client.list_tools()).tools}
        wrong = httpx2.post(f"{server.url}/mcp", headers={"Authorization": "Bearer weft_live_nonsense"}, json={})
        assert wrong.status_code == 401


def test_a_second_signal_ends_it_on_the_spot(installation: Installation) -> None:
    with installation.process("serve", "--port", "0") as server:
        with httpx2.stream("GET", f"{server.url}/healthz"):
            server.child.send_signal(signal.SIGTERM)
            server.child.send_signal(signal.SIGTERM)
        assert server.child.wait(timeout=BOUND) in (0, 130)


def test_servers_on_one_data_folder_share_its_postgres_and_the_last_one_stops_it(fresh: Installation) -> None:
    postgres = Cluster(data=fresh.data_dir / "postgres")
    with fresh.process("serve", "--port", "0") as first, fresh.process("worker") as second:
        assert first.end() == 0
        assert postgres.listening
        assert second.end(signal.SIGINT) == 0
        assert not postgres.listening


def test_after_kill_9_it_starts_again_with_the_same_key(fresh: Installation) -> None:
    with fresh.process("serve", "--port", "0") as server:
        key = fresh.key
        assert server.end(signal.SIGKILL) == -signal.SIGKILL
    with fresh.process("serve", "--port", "0") as server:
        assert fresh.key == key
        assert server.end() == 0
    assert not Cluster(data=fresh.data_dir / "postgres").listening


def test_a_server_whose_port_was_taken_leaves_no_postgres_behind(fresh: Installation) -> None:
    with fresh.process("serve", "--port", "0") as server:
        port = server.url.rsplit(":", 1)[1]
        done = fresh.weft("serve", "--port", port)
        assert (done.code, f"Port {port} is in use" in done.err) == (2, True)
        assert server.end() == 0
    assert not Cluster(data=fresh.data_dir / "postgres").listening


@pytest.mark.anyio
@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_mcp_on_stdio_speaks_both_eras_and_ends_with_its_client(installation: Installation, era: str) -> None:
    import sys

    command = StdioServerParameters(
        command=sys.executable, args=["-m", "server", "mcp"], env=surroundings(installation.data_dir), cwd=str(ROOT)
    )
    async with Client(command, mode=era, read_timeout_seconds=60) as client:  # pyright: ignore[reportArgumentType]
        assert "validate_workflow" in {tool.name for tool in (await client.list_tools()).tools}
        answer = await client.call_tool("list_workflows", {})
        assert not answer.is_error
        modern = client.protocol_version >= "2026"
        assert modern == (era == "auto")


def test_stdio_says_what_is_wrong_on_stderr_and_nothing_on_stdout(fresh: Installation) -> None:
    fresh.data_dir.write_text("not a folder")
    done = fresh.weft("mcp")
    assert (done.code, done.out) == (2, "")
    assert "WEFT_DATA_DIR" in done.err


def test_stdio_ends_when_its_input_ends(installation: Installation) -> None:
    done = installation.weft("mcp", stdin="")
    assert (done.code, done.out) == (0, "")
    assert os.path.isdir(installation.data_dir)
