"""A Postgres of its own that a test may kill, with fsync on as in a real house, and a disk that may fill up."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

import migrations.apply
from store.cluster import Cluster
from store.embedded import Embedded, embedded

SECONDS = 30.0
DISK = 24  # megabytes
SMALL = "small"  # the tablespace on the small disk
FULL_BY_HAND = """
CREATE FUNCTION public.disk_full() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END $$;
CREATE TRIGGER disk_full BEFORE INSERT ON weft.node_runs EXECUTE FUNCTION public.disk_full()"""
ROOM_BY_HAND = "DROP TRIGGER disk_full ON weft.node_runs; DROP FUNCTION public.disk_full()"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mortal:
    """`database` is migrated and empty. Everything here but `kill` waits until it is done."""

    postgres: Embedded
    cluster: Cluster
    database: str = "weft"

    @property
    def app_url(self) -> str:
        return self.postgres.url("weft_app", self.postgres.passwords.app, self.database)

    @property
    def admin_url(self) -> str:
        return self.postgres.url("postgres", self.postgres.passwords.admin, self.database)

    def through(self, port: int) -> str:
        """Where weft_app reaches the database through a proxy."""
        return f"postgresql://weft_app:{self.postgres.passwords.app}@127.0.0.1:{port}/{self.database}"

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """SIGQUIT is what `pg_ctl -m immediate` sends. SIGKILL goes to every process of the server at once: nobody can tidy up."""
        kill_server(self.cluster, number)

    async def start(self) -> None:
        """Starts it again, through its crash recovery."""
        async with asyncio.timeout(SECONDS):
            while self.cluster.listening:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(self.cluster.start, {})

    async def restart(self) -> float:
        """`-m immediate` and up again; the seconds it was away."""
        began = time.monotonic()
        self.kill(signal.SIGQUIT)
        await self.start()
        return time.monotonic() - began


def kill_server(cluster: Cluster, number: signal.Signals) -> None:
    postmaster = int((cluster.home / "postmaster.pid").read_text().split()[0])
    family = [postmaster]
    if number is signal.SIGKILL:
        os.kill(postmaster, signal.SIGSTOP)  # so that it starts no child that we miss
        family += _children(postmaster)
    for pid in family:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _children(pid: int) -> list[int]:
    listed = subprocess.run(("ps", "-A", "-o", "pid=,ppid="), capture_output=True, text=True, check=True).stdout
    pairs = (line.split() for line in listed.splitlines())
    return [int(child) for child, parent in pairs if int(parent) == pid]


@asynccontextmanager
async def mortal() -> AsyncGenerator[Mortal]:
    folder = Path(tempfile.mkdtemp(prefix="weft-mortal-"))
    try:
        async with embedded(folder / "postgres", folder / "keys.json") as postgres:
            made = Mortal(postgres=postgres, cluster=Cluster(data=postgres.data))
            await migrations.apply.apply(made.admin_url, app_password=postgres.passwords.app)
            yield made
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def small_disk(server: Mortal) -> Generator[Path | None]:
    """A file system of a few megabytes in memory that holds the tables a run writes most; None where we may not mount one."""
    folder = server.cluster.data / "disk"
    folder.mkdir(mode=0o700)
    mounted = subprocess.run(
        ("mount", "-t", "tmpfs", "-o", f"size={DISK}m,mode=0700", "tmpfs", str(folder)), capture_output=True, check=False
    )
    if mounted.returncode != 0:
        folder.rmdir()
        yield None
        return
    try:
        status = server.cluster.home.stat()
        os.chown(folder, status.st_uid, status.st_gid)
        _on_it(server, folder)
        yield folder
    finally:
        _off_it(server)
        subprocess.run(("umount", "-l", str(folder)), capture_output=True, check=False)
        folder.rmdir()


def _on_it(server: Mortal, folder: Path) -> None:
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE TABLESPACE small LOCATION {}").format(sql.Literal(str(folder))))
        _move(admin, SMALL)


def _off_it(server: Mortal) -> None:
    with psycopg.connect(server.admin_url, autocommit=True) as admin:
        _move(admin, "pg_default")
        admin.execute("DROP TABLESPACE small")


def _move(admin: psycopg.Connection, space: str) -> None:
    admin.execute("TRUNCATE weft.node_runs, weft.events")  # or there is room left in pages they have already
    for table in ("node_runs", "events"):
        admin.execute(sql.SQL("ALTER TABLE weft.{} SET TABLESPACE {}").format(sql.Identifier(table), sql.Identifier(space)))


@contextmanager
def full(server: Mortal, disk: Path | None) -> Generator[None]:
    """The disk has no byte left during the block. Without a disk of ours, Postgres is made to say so by a trigger."""
    if disk is None:
        with psycopg.connect(server.admin_url, autocommit=True) as admin:
            admin.execute(FULL_BY_HAND)
            yield
            admin.execute(ROOM_BY_HAND)
        return
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(b"x" * 4096):
                pass
        except OSError:
            pass
    yield
    ballast.unlink()
