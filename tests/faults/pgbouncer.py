"""A PgBouncer in transaction mode in front of a Postgres of the tests, with few server connections, so that clients really share them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from store.embedded import Embedded

SERVERS = 3  # connections to Postgres, whatever the number of clients
INSTALL_SECONDS = 300
START_SECONDS = 10.0
PROGRAM = "/usr/sbin/pgbouncer"
MISSING = "This test needs PgBouncer: {}. Install it (Debian and Ubuntu: apt-get install pgbouncer) and run the test again."
CONFIG = """
[databases]
* = host={sockets} port=5432
[pgbouncer]
pool_mode = transaction
default_pool_size = {servers}
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
admin_users = weft_app
logfile = {log}
"""


def program() -> str:
    """The path of PgBouncer, installed from the distribution when we may. Says what to do when there is none."""
    if found := shutil.which("pgbouncer") or shutil.which(PROGRAM):
        return found
    assert os.geteuid() == 0, MISSING.format("it is not installed, and only root may install it")
    assert shutil.which("apt-get"), MISSING.format("it is not installed, and there is no apt-get here")
    for command in (("update",), ("install", "-y", "--no-install-recommends", "pgbouncer")):
        done = subprocess.run(
            ("apt-get", "-qq", *command),
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            timeout=INSTALL_SECONDS,
            check=False,
        )
        assert done.returncode == 0, MISSING.format(f"apt-get {command[0]} failed, {done.stderr.strip()[-500:]}")
    found = shutil.which(PROGRAM)
    assert found, MISSING.format("its package has no pgbouncer")
    return found


@dataclass(slots=True, kw_only=True)
class Pooler:
    """A running PgBouncer."""

    postgres: Embedded
    folder: Path
    port: int
    child: asyncio.subprocess.Process = field(init=False)

    def url(self, database: str) -> str:
        """Where weft_app reaches the database through the pooler."""
        return f"postgresql://weft_app:{self.postgres.passwords.app}@127.0.0.1:{self.port}/{database}"

    async def start(self) -> None:
        log = self.folder / "log"
        as_owner = ("-u", self.postgres.sockets.owner()) if os.geteuid() == 0 else ()  # only the owner of the socket may use it
        self.child = await asyncio.create_subprocess_exec(
            await asyncio.to_thread(program), "-q", *as_owner, str(self.folder / "ini"), stderr=asyncio.subprocess.DEVNULL
        )
        async with asyncio.timeout(START_SECONDS):
            while not self._listens():
                assert self.child.returncode is None, f"PgBouncer ended: {log.read_text() if log.exists() else 'no log'}"
                await asyncio.sleep(0.02)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def kill(self) -> None:
        self.child.send_signal(signal.SIGKILL)
        await self.child.wait()

    async def connections(self) -> tuple[int, int]:
        """How many clients there are, and how many connections to Postgres they share."""
        async with await psycopg.AsyncConnection.connect(
            self.url("pgbouncer"), autocommit=True, cursor_factory=psycopg.AsyncClientCursor
        ) as console:
            clients = await (await console.execute("SHOW CLIENTS")).fetchall()
            servers = await (await console.execute("SHOW SERVERS")).fetchall()
        return len(clients) - 1, len(servers)  # without this one


@asynccontextmanager
async def pgbouncer(postgres: Embedded) -> AsyncGenerator[Pooler]:
    with tempfile.TemporaryDirectory(prefix="weft-pgbouncer-") as name, socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        pooler = Pooler(postgres=postgres, folder=Path(name), port=reserved.getsockname()[1])
        reserved.close()
        _configure(pooler)
        await pooler.start()
        try:
            yield pooler
        finally:
            await pooler.kill()


def _configure(pooler: Pooler) -> None:
    users = pooler.folder / "users"
    users.write_text(f'"weft_app" "{pooler.postgres.passwords.app}"\n')
    settings = {"sockets": pooler.postgres.sockets, "servers": SERVERS, "port": pooler.port, "users": users, "log": pooler.folder / "log"}
    (pooler.folder / "ini").write_text(CONFIG.format(**settings))
    if os.geteuid() == 0:
        for path in (pooler.folder, *pooler.folder.iterdir()):
            shutil.chown(path, pooler.postgres.sockets.owner())
