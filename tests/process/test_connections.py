"""`weft connections`: what an operator types; secrets come in by stdin and files and go nowhere, also when a server is killed."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
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
from psycopg.sql import SQL, Identifier

from server.settings import Settings
from tests.process.conftest import ROOT, SECONDS, Installation, Kept, surroundings

SECRET = "tok-5d0c8e1b7f2a4936"
LOCAL = {"WEFT_ALLOW_HOSTS": "127.0.0.1"}


class Echo:
    """Says back the headers it got; holds its first answer back while told to."""

    def __init__(self) -> None:
        self.asked, self.hold = threading.Event(), threading.Event()
        self.hold.set()
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                echo.asked.set()
                echo.hold.wait(SECONDS)
                told = json.dumps({"headers": dict(self.headers)}).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(told)))
                self.end_headers()
                self.wfile.write(told)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture
def echo() -> Generator[Echo]:
    found = Echo()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.hold.set()
    found.server.shutdown()
    found.server.server_close()
    thread.join(SECONDS)


def test_a_connection_is_made_given_its_secret_tested_shown_and_removed(kept: Kept, echo: Echo, tmp_path: Path) -> None:
    weft = kept.installation.weft
    said: list[str] = []

    def ran(*arguments: str, stdin: str = "", code: int = 0) -> str:
        done = weft("connections", *arguments, stdin=stdin, **LOCAL)
        said.append(done.out + done.err)
        assert done.code == code, done.err
        return done.out + done.err

    assert "needs token" in ran("add", "cli-api", "--url", echo.url, "--auth", "bearer", "--description", "of the test")
    assert "Next: weft connections set-secret cli-api token" in said[-1]
    assert "shorter than 8" in ran("set-secret", "cli-api", "token", stdin="short\n", code=2)
    assert "not shown again" in ran("set-secret", "cli-api", "token", stdin=f"{SECRET}\n")
    file = tmp_path / "secret"
    file.write_text(SECRET + "-2\n")
    ran("set-secret", "cli-api", "token", "--from", f"@{file}")
    assert "it answered 200" in ran("test", "cli-api")
    assert "cli-api" in ran("list")
    assert "cli-api" in ran()
    shown = json.loads(ran("show", "cli-api"))
    assert [event["act"] for event in shown["events"]] == ["tested", "secret set", "secret set", "created"]
    assert [secret["field"] for secret in shown["secrets"]] == ["token"]
    assert "is a secret and no setting" in ran("add", "x1", "--settings", json.dumps({"base_url": echo.url, "token": SECRET}), code=2)
    ran("remove", "cli-api")
    assert "There is no connection 'cli-api'" in ran("show", "cli-api", code=1)
    assert SECRET not in "".join(said)


def test_a_secret_on_the_command_line_is_refused_and_what_is_no_setting_too(fresh: Installation) -> None:
    for arguments, words in (
        (("set-secret", "api", "token", "--from", SECRET), "stay in the history"),
        (("set-secret", "api", "token", SECRET), "unexpected extra argument"),
        (("add", "api", "--auth", f"bearer:{SECRET}"), "No secret belongs here"),
        (("add", "api", "--settings", "{"), "not JSON"),
        (("set-secret", "api", "token", "--from", "@/nowhere"), "cannot be read"),
    ):
        done = fresh.weft("connections", *arguments)
        assert words.lower() in done.err.lower()
        assert done.code == 2
    assert not fresh.data_dir.exists()


def test_the_master_key_is_private_replaced_on_demand_and_needed(kept: Kept, echo: Echo) -> None:
    weft, path = kept.installation.weft, kept.installation.data_dir / "keys" / "master.json"
    weft("connections", "add", "rotated", "--url", echo.url, "--auth", "bearer")
    weft("connections", "set-secret", "rotated", "token", stdin=SECRET)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first = json.loads(path.read_text())["keys"][0]
    for _ in range(2):
        assert "secrets are under the new master key" in weft("connections", "rotate-key").out
    keys = json.loads(path.read_text())["keys"]
    assert (len(keys), first in keys) == (2, False)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert weft("connections", "test", "rotated", **LOCAL).code == 0
    text = path.read_text()
    path.chmod(0o644)
    assert "chmod 600" in weft("connections", "test", "rotated", **LOCAL).out
    path.unlink()
    lost = weft("connections", "test", "rotated", **LOCAL)  # a new key is made, and does not open what the old one sealed
    assert (lost.code, "restore master.json" in lost.out) == (1, True)
    path.write_text(text)
    path.chmod(0o600)
    assert weft("connections", "test", "rotated", **LOCAL).code == 0
    assert base64.b64decode(keys[0]["key"]) not in dump(kept)
    weft("connections", "remove", "rotated")


def test_the_key_folder_may_lie_elsewhere_and_never_inside_the_database(tmp_path: Path) -> None:
    assert Settings(data_dir=tmp_path / "data").keys_dir == tmp_path / "data" / "keys"
    assert Settings(data_dir=tmp_path / "data", keys_dir=tmp_path / "keys").keys_dir == tmp_path / "keys"
    with pytest.raises(ValueError, match="inside the database's folder"):
        Settings(data_dir=tmp_path / "data", keys_dir=tmp_path / "data" / "postgres" / "keys")


def dump(kept: Kept) -> bytes:
    """Every row of every table as it is in the database, binary values decoded."""
    found: list[bytes] = []
    with psycopg.connect(kept.postgres.admin_url) as connection:
        tables = connection.execute("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'weft'").fetchall()
        for table, column in tables:
            query = SQL("SELECT {} FROM weft.{}").format(Identifier(column), Identifier(table))
            for (value,) in connection.execute(query):
                found.append(value if isinstance(value, bytes) else str(value).encode())
    return b"\n".join(found)


@contextmanager
def serving(kept: Kept, log: Path) -> Generator[tuple[subprocess.Popen[str], httpx2.Client]]:
    """`weft serve` with all it says in a file, and a client with the owner's key."""
    environment = surroundings(kept.installation.data_dir, WEFT_LOG_LEVEL="debug", **LOCAL)
    with log.open("a") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", "server", "serve", "--port", "0"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=ROOT, env=environment,
        )  # fmt: skip
        assert child.stdout is not None
        try:
            said = next(line for line in iter(child.stdout.readline, "") if " is ready" in line)
            url = said.split(" is ready on ")[1].split(" ")[0]
            with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {kept.installation.key}"}, timeout=60) as client:
                yield child, client
        finally:
            if child.poll() is None:
                child.kill()
            child.wait(timeout=30)
            child.stdout.close()


@pytest.mark.promise("P6")
def test_a_server_killed_in_the_middle_of_a_call_leaves_no_secret_behind(kept: Kept, echo: Echo, tmp_path: Path) -> None:
    weft, log = kept.installation.weft, tmp_path / "log"
    weft("connections", "add", "killed", "--url", echo.url, "--auth", "bearer")
    weft("connections", "set-secret", "killed", "token", stdin=SECRET)
    echo.hold.clear()
    call = {"id": "call", "type": "http", "config": {"url": "/", "connection": "killed"}}
    definition = {"name": "killed", "nodes": [call], "edges": [], "output": {"heard": "{{ nodes.call.body }}"}}
    with serving(kept, log) as (child, client):
        assert client.post("/api/v1/workflows", json={"definition": definition}).is_success
        assert client.post("/api/v1/workflows/killed/publish", json={}).is_success
        run = client.post("/api/v1/runs", json={"workflow": "killed"}).json()["run_id"]
        assert echo.asked.wait(SECONDS)
        os.kill(child.pid, signal.SIGKILL)
        child.wait(30)
    echo.hold.set()
    with serving(kept, log) as (_, client):
        ended: dict[str, Any] = {}
        until = time.monotonic() + SECONDS
        while ended.get("state") != "succeeded" and time.monotonic() < until:
            ended = client.get(f"/api/v1/runs/{run}", params={"wait_seconds": 20}).json()
        answers = [client.get(f"/api/v1/runs/{run}{part}").text for part in ("", "/trace", "/events")]
        assert client.delete("/api/v1/connections/killed", params={"force": "true"}).is_success
    assert ended["state"] == "succeeded", ended
    assert ended["output"]["heard"]["headers"]["authorization"] == "Bearer ***"
    everything = dump(kept) + log.read_bytes() + "".join(answers).encode()
    for spelled in (SECRET, SECRET.encode().hex(), base64.b64encode(f"Bearer {SECRET}".encode()).decode()[12:-4]):
        assert spelled.encode() not in everything
