"""Local servers: from the operator's file only, with the environment it says, started when needed and never left behind."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from graphs.nodetype import Failure
from graphs.outbound import Outbound
from graphs.remote import Remote
from graphs.remote.servers import Server, read_servers
from store import remote_tools as rows
from store.errors import Misconfigured
from store.postgres import Tenant
from tests.remote.conftest import FakeConnections

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]


def server(tmp_path: Path, **more: Any) -> Server:
    given: dict[str, Any] = {
        "command": sys.executable,
        "args": ["-m", "tests.remote.toolserver", str(tmp_path / "ledger")],
        "env": {"TOKEN": "t0ken-of-files", "PYTHONPATH": str(ROOT)},
        "cwd": str(ROOT),
        **more,
    }
    return Server(name="files", **given)


async def pinned(remote: Remote, tenant: Tenant, user: str) -> None:
    await rows.keep(tenant, "files", await remote.listing(tenant, "files"))
    for pin in await rows.tools(tenant, "files"):
        assert await rows.approve(tenant, "files", pin.name, digest=pin.offered_digest or "", effect="write-once", user_id=user)


def calls(tmp_path: Path) -> list[str]:
    ledger = tmp_path / "ledger"
    return ledger.read_text().split() if ledger.exists() else []


def alive(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, 0)
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return False


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(15):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_local_server_is_called_and_ends_with_us(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, owner: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "graphs.remote.stdio")
    async with Remote(connections, outbound, servers={"files": server(tmp_path)}) as remote:
        await pinned(remote, tenant, owner)
        answered = await remote.call(tenant, "files", "echo", {"text": "t0ken-of-files is here"})
        pid = int((tmp_path / "ledger.pid").read_text())
        assert alive(pid)
    assert answered["data"] == {"text": "*** is here"}
    assert not alive(pid)
    [line] = [record.getMessage() for record in caplog.records if "started with" in record.getMessage()]
    assert "['LC_CTYPE', 'PYTHONPATH', 'TOKEN']" in line or "['PYTHONPATH', 'TOKEN']" in line  # nothing of ours
    assert "t0ken" not in caplog.text


async def test_a_changed_tool_of_a_local_server_is_not_called(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, owner: str, tmp_path: Path
) -> None:
    async with Remote(connections, outbound, servers={"files": server(tmp_path)}) as remote:
        await pinned(remote, tenant, owner)
        await remote.call(tenant, "files", "echo", {"text": "hi"})
        (tmp_path / "ledger.changed").touch()
        with pytest.raises(Failure) as caught:
            await remote.call(tenant, "files", "echo", {"text": "hi"})
        assert caught.value.code == "tool_changed"
    assert calls(tmp_path) == ["echo"]


async def test_a_server_that_dies_in_a_call_leaves_doubt_and_is_started_again(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, owner: str, tmp_path: Path
) -> None:
    async with Remote(connections, outbound, servers={"files": server(tmp_path)}) as remote:
        await pinned(remote, tenant, owner)
        with pytest.raises(Failure) as caught:
            await remote.call(tenant, "files", "mail", {"text": "hi"})
        assert caught.value.code == "in_doubt"
        assert (await remote.call(tenant, "files", "echo", {"text": "hi"}))["data"] == {"text": "hi"}
    assert calls(tmp_path) == ["mail", "echo"]


async def test_an_idle_server_is_stopped(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, owner: str, tmp_path: Path
) -> None:
    async with Remote(connections, outbound, servers={"files": server(tmp_path)}, idle=0.1) as remote:
        await remote.listing(tenant, "files")
        pid = int((tmp_path / "ledger.pid").read_text())
        await until(lambda: not alive(pid))


async def test_a_server_that_cannot_start_is_left_alone_for_longer_each_time(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, tmp_path: Path
) -> None:
    broken = server(tmp_path, command="/no/such/command")
    async with Remote(connections, outbound, servers={"files": broken}) as remote:
        with pytest.raises(Failure) as caught:
            await remote.listing(tenant, "files")
        assert caught.value.code == "remote_start"
        with pytest.raises(Failure) as caught:
            await remote.listing(tenant, "files")
        assert caught.value.code == "remote_start"
        assert caught.value.retry_after


async def test_it_is_open_to_the_organizations_that_the_file_names(
    connections: FakeConnections, outbound: Outbound, tenant: Tenant, other_tenant: Tenant, owner: str, tmp_path: Path
) -> None:
    limited = server(tmp_path, organizations=["acme"])
    async with Remote(connections, outbound, servers={"files": limited}) as remote:
        await pinned(remote, tenant, owner)
        with pytest.raises(Failure) as caught:
            await remote.listing(other_tenant, "files")
        assert caught.value.code == "connection_missing"
        assert await remote.local(other_tenant) == []


async def test_a_killed_process_leaves_no_server_behind(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\nfrom graphs.remote.servers import Server\nfrom graphs.remote.stdio import stdio\n"
        "async def main():\n"
        "    server = Server(name='files', command='/bin/sleep', args=('1000',))\n"
        "    async with stdio(server):\n"
        "        print('up', flush=True)\n        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    assert process.stdout
    async with asyncio.timeout(30):
        assert await process.stdout.readline() == b"up\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) == 1
    process.send_signal(signal.SIGKILL)
    await process.wait()
    await until(lambda: not alive(int(children[0])))


# -- the file --------------------------------------------------------------------------------------------------------------------


def written(tmp_path: Path, servers: Any, mode: int = 0o600) -> Path:
    path = tmp_path / "servers.json"
    path.write_text(servers if isinstance(servers, str) else json.dumps({"mcpServers": servers}))
    path.chmod(mode)
    return path


def test_the_file_has_the_usual_form(tmp_path: Path) -> None:
    read = read_servers(written(tmp_path, {"files": {"command": "mcp-files", "args": ["/srv"], "env": {"KEY": "v4lue-of-key"}}}))
    assert read["files"].args == ("/srv",)
    assert read["files"].open_to("anybody")
    assert "v4lue" not in repr(read)
    yaml = "mcpServers:\n  files:\n    command: mcp-files\n"
    assert read_servers(written(tmp_path, yaml))["files"].command == "mcp-files"


WRONG: list[tuple[Any, int, str]] = [
    ({"files": {"command": "x"}}, 0o620, "writable by nobody else"),
    ({"files": {"command": "x"}}, 0o602, "writable by nobody else"),
    ({"files": {"url": "https://x.example"}}, 0o600, "weft connections"),
    ({"files": {"command": "x", "timeout": 3}}, 0o600, "timeout"),
    ({"files": {"command": ""}}, 0o600, "command"),
    ({"files": {"command": "x", "env": {"A=B": "s3cret-value"}}}, 0o600, "not a variable"),
    ({"Fi les": {"command": "x"}}, 0o600, "no name"),
    ({f"a{n}": {"command": "x"} for n in range(51)}, 0o600, "50 are allowed"),
    ("{}", 0o600, "mcpServers"),
    ("{", 0o600, "not valid"),
]


@pytest.mark.parametrize(("servers", "mode", "said"), WRONG)
def test_a_file_that_could_be_anybodys_or_says_odd_things_is_refused(tmp_path: Path, servers: Any, mode: int, said: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        read_servers(written(tmp_path, servers, mode))
    assert said in caught.value.message
    assert "s3cret" not in caught.value.message


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_servers(tmp_path / "none.json")
