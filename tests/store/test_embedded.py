"""The embedded Postgres: locked down from its first moment, shared by processes, and there again after any of them was killed."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from store.cluster import Cluster
from store.embedded import Embedded, embedded
from store.errors import Misconfigured
from tests.conftest import FAST

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
USER = """
import asyncio, sys
from pathlib import Path
from store.embedded import embedded
async def main():
    async with embedded(Path(sys.argv[1]), Path(sys.argv[2])) as server:
        print(server.admin_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
asyncio.run(main())
"""


class Home:
    """A data folder and a key file of one test."""

    def __init__(self, path: Path) -> None:
        self.data = path / "data"
        self.key_file = path / "keys" / "postgres.json"
        self.cluster = Cluster(data=self.data)

    def open(self) -> Any:
        return embedded(self.data, self.key_file, settings=FAST)

    @contextmanager
    def process(self) -> Generator[subprocess.Popen[str]]:
        """Another process that uses the server until its input ends."""
        command = [sys.executable, "-c", USER, str(self.data), str(self.key_file)]
        process = subprocess.Popen(command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with process:
            try:
                yield process
            finally:
                process.kill()


@pytest.fixture
def folder() -> Generator[Path]:
    """Not pytest's own: every pytest that starts closes the folders above those of all others to other users, Postgres's among them."""
    with tempfile.TemporaryDirectory(prefix="weft-embedded-") as path:
        yield Path(path)


@pytest.fixture
def new(folder: Path) -> Generator[Home]:
    """A folder in which nothing was made yet."""
    home = Home(folder)
    yield home
    if home.cluster.made:
        home.cluster.stop()


@pytest.fixture(scope="module")
async def made() -> AsyncGenerator[Home]:
    """A home that was used before and is at rest."""
    with tempfile.TemporaryDirectory(prefix="weft-embedded-") as path:
        home = Home(Path(path))
        async with home.open():
            pass
        yield home


@pytest.fixture
def home(new: Home, made: Home) -> Home:
    """A copy of one that was used before: making one takes a second."""
    for source, target in ((made.data, new.data), (made.key_file.parent, new.key_file.parent)):
        subprocess.run(["cp", "-a", str(source), str(target)], check=True)
    return new


def ask(url: str, query: str = "SELECT 1") -> Any:
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchone() if cursor.description else None


async def test_nobody_gets_in_without_a_password(new: Home) -> None:
    async with new.open() as server:
        for user in ("postgres", "weft_app", "weft_owner", "nobody"):
            for database in ("postgres", "weft", "template1"):
                for password in ("", "postgres", server.passwords.app[::-1]):
                    with pytest.raises(psycopg.OperationalError, match=r"authentication failed|no password supplied"):
                        ask(server.url(user, password, database))
        assert ask(server.admin_url, "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method <> 'scram-sha-256'") == (0,)
        assert ask(server.admin_url, "SELECT left(rolpassword, 13) FROM pg_authid WHERE rolname = 'postgres'") == ("SCRAM-SHA-256",)
        assert ask(server.admin_url, "SHOW listen_addresses") == ("",)
        assert "trust" not in (new.cluster.home / "pg_hba.conf").read_text()


async def test_its_folder_and_its_key_file_are_private_and_apart(new: Home) -> None:
    async with new.open():
        assert stat.S_IMODE(new.data.stat().st_mode) == 0o700
        assert stat.S_IMODE(new.key_file.stat().st_mode) == 0o600
        assert stat.S_IMODE(new.key_file.parent.stat().st_mode) == 0o700
        socket = new.cluster.sockets / ".s.PGSQL.5432"
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
        secrets = {password.encode() for password in (new.key_file.read_text().split('"')[3::4])}
        files = [path for path in new.data.rglob("*") if path.is_file() and path.stat().st_size < 1_000_000]
        assert secrets
        assert not [path for path in files if any(secret in path.read_bytes() for secret in secrets)]


async def test_it_is_durable_as_started_for_users(home: Home) -> None:
    async with embedded(home.data, home.key_file) as server:
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            assert ask(server.admin_url, f"SHOW {setting}") == ("on",)


async def test_what_was_written_is_there_after_a_restart(home: Home) -> None:
    async with home.open() as server:
        ask(server.admin_url, "CREATE TABLE kept AS SELECT 42 AS x")
    assert not home.cluster.listening
    async with home.open() as server:
        assert ask(server.admin_url, "SELECT x FROM kept") == (42,)


async def test_processes_share_one_server_and_the_last_to_leave_stops_it(home: Home) -> None:
    with home.process() as first, home.process() as second:
        urls = {process.stdout.readline() for process in (first, second) if process.stdout}
        assert len(urls) == 1
        async with home.open() as server:
            assert ask(server.admin_url) == (1,)
            for process in (first, second):
                process.communicate()
                assert ask(server.admin_url) == (1,)
        assert not home.cluster.listening


async def test_of_processes_that_start_at_once_one_makes_the_server_and_all_use_it(new: Home) -> None:
    with new.process() as first, new.process() as second, new.process() as third:
        urls = {process.stdout.readline() for process in (first, second, third) if process.stdout}
        assert len(urls) == 1
        assert ask(urls.pop().strip()) == (1,)
        for process in (first, second, third):
            process.communicate()
    assert not new.cluster.listening


async def test_a_killed_user_is_forgotten(home: Home) -> None:
    with home.process() as other:
        assert other.stdout
        assert other.stdout.readline()
        async with home.open() as server:
            other.send_signal(signal.SIGKILL)
            other.wait()
            assert ask(server.admin_url) == (1,)
        assert not home.cluster.listening


async def test_after_a_kill_of_its_only_user_the_server_is_joined_again(home: Home) -> None:
    with home.process() as owner:
        assert owner.stdout
        assert owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    async with home.open() as server:
        assert ask(server.admin_url) == (1,)
    assert not home.cluster.listening


async def test_after_a_kill_of_everything_nothing_committed_is_lost(home: Home) -> None:
    with home.process() as owner:
        assert owner.stdout
        url = owner.stdout.readline().strip()
        ask(url, "CREATE TABLE kept AS SELECT 42 AS x")
        owner.send_signal(signal.SIGKILL)
        os.kill(postmaster(home), signal.SIGKILL)
        owner.wait()
    async with home.open() as server:
        assert ask(server.admin_url, "SELECT x FROM kept") == (42,)


async def test_a_pid_file_whose_number_is_another_programs_by_now_does_not_stop_it(home: Home) -> None:
    async with home.open():
        text = (home.cluster.home / "postmaster.pid").read_text()
    (home.cluster.home / "postmaster.pid").write_text(text.replace(text.split()[0], str(os.getpid()), 1))
    async with home.open() as server:
        assert ask(server.admin_url) == (1,)


async def test_a_making_that_was_killed_is_begun_again(new: Home) -> None:
    (new.data / "pg18.new").mkdir(parents=True)
    (new.data / "pg18.new" / "PG_VERSION").write_text("18\n")
    (new.data / "initdb.password").write_text("x")
    async with new.open() as server:
        assert ask(server.admin_url) == (1,)
    assert not (new.data / "initdb.password").exists()


@pytest.mark.parametrize("name", ["with space, comma", "quote'\"ü", "deep/" * 30 + "data"])
async def test_any_path_will_do(folder: Path, name: str) -> None:
    home = Home(folder / name)
    async with home.open() as server:
        assert ask(server.app_url.replace("weft_app", "postgres").replace(server.passwords.app, server.passwords.admin)) == (1,)
    assert not home.cluster.listening


async def test_a_folder_that_cannot_be_written_is_a_sentence(folder: Path) -> None:
    (folder / "file").write_text("")
    for data in (folder / "file", folder / "file" / "data", Path("/proc/weft")):
        with pytest.raises(Misconfigured, match="cannot use the data folder"):
            await start(data, folder / "key")


async def test_a_read_only_folder_is_a_sentence(new: Home) -> None:
    new.data.mkdir()
    new.data.parent.chmod(0o500)
    new.data.chmod(0o500)
    data = Path("/sys/weft") if os.geteuid() == 0 else new.data  # root may write everywhere but there
    try:
        with pytest.raises(Misconfigured, match="Make it writable"):
            await start(data, new.key_file)
    finally:
        new.data.parent.chmod(0o700)


async def test_a_full_disk_is_a_sentence(new: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Cluster, "secure", full)
    with pytest.raises(Misconfigured, match=r"disk .* is full; make room"):
        await start(new.data, new.key_file)


@pytest.mark.parametrize("damage", ["version", "control", "gone"])
async def test_a_damaged_folder_is_a_sentence(home: Home, damage: str) -> None:
    async with home.open():
        pass
    match damage:
        case "version":
            (home.cluster.home / "PG_VERSION").write_text("9.6\n")
        case "control":
            (home.cluster.home / "global" / "pg_control").write_bytes(b"\0" * 8192)
        case _:
            (home.cluster.home / "PG_VERSION").unlink()
    with pytest.raises(Misconfigured, match=r"[Rr]estore .* from a backup,? or move it away"):
        await start(home.data, home.key_file)


async def test_a_key_file_that_is_gone_open_damaged_or_anothers_is_a_sentence(home: Home, folder: Path) -> None:
    async with home.open():
        pass
    key_file = home.key_file
    text = key_file.read_text()
    key_file.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        await start(home.data, key_file)
    key_file.chmod(0o600)
    for broken in ("", "[]", "{", '{"admin": "x"}'):
        key_file.write_text(broken)
        with pytest.raises(Misconfigured, match="damaged"):
            await start(home.data, key_file)
    key_file.write_text('{"admin": "x", "app": "y"}')
    with pytest.raises(Misconfigured, match="does not fit"):
        await start(home.data, key_file)
    home.cluster.stop()
    key_file.unlink()
    with pytest.raises(Misconfigured, match="restore the key file"):
        await start(home.data, key_file)
    key_file.write_text(text)
    key_file.chmod(0o600)
    async with home.open() as server:
        assert ask(server.admin_url) == (1,)


async def start(data: Path, key_file: Path) -> Embedded:
    async with embedded(data, key_file, settings=FAST) as server:
        return server


def postmaster(home: Home) -> int:
    return int((home.cluster.home / "postmaster.pid").read_text().split()[0])


async def test_a_server_that_dies_is_started_again(new: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.embedded.WATCH_SECONDS", 0.05)
    async with embedded(new.data, new.key_file, watch=True) as server:
        pid = int((new.cluster.home / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while True:
                try:
                    assert ask(server.admin_url) == (1,)
                    if int((new.cluster.home / "postmaster.pid").read_text().split()[0]) != pid:
                        break
                except (psycopg.OperationalError, FileNotFoundError, IndexError):
                    pass
                await asyncio.sleep(0.05)
