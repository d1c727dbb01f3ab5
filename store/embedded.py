"""The embedded Postgres, shared by every Weft process on one data folder: the first starts it, the last to leave stops it.

Two files carry the protocol. `users` is held shared (flock) by every process that uses the server, so the kernel itself forgets a process
that was killed; who leaves and can take it exclusively was the last. `lock` is held while starting and stopping.
"""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import logging
import os
import secrets
import stat
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg

from store.cluster import START_SECONDS, Cluster
from store.errors import Misconfigured

DATABASE = "weft"
WATCH_SECONDS = 2.0

log = logging.getLogger("weft.embedded")


@dataclass(frozen=True, slots=True, kw_only=True)
class Passwords:
    """Of the superuser `postgres` and of `weft_app`; random, kept in the key file."""

    admin: str
    app: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running server. `admin_url` is the superuser's and for migrations only; `app_url` is what everything else uses."""

    data: Path
    sockets: Path
    passwords: Passwords

    @property
    def admin_url(self) -> str:
        return self.url("postgres", self.passwords.admin)

    @property
    def app_url(self) -> str:
        return self.url("weft_app", self.passwords.app)

    @property
    def app_password(self) -> str:
        return self.passwords.app

    def url(self, user: str, password: str, database: str = DATABASE) -> str:
        return f"postgresql://{user}:{password}@/{quote(database, safe='')}?host={quote(str(self.sockets), safe='')}&port=5432"


@asynccontextmanager
async def embedded(
    data: Path, key_file: Path, *, settings: Mapping[str, str] | None = None, watch: bool = False
) -> AsyncGenerator[Embedded]:
    """Starts or joins the Postgres in the folder `data` (made 0700), with an empty database `weft` at first; leaves it at the end.

    `key_file` keeps the passwords (0600); keep it outside `data` and its backups. `settings` go into postgresql.conf if this process is
    the one that starts the server. With `watch`, a server that dies meanwhile is started again. Raises Misconfigured, saying what to do,
    when the folder or the machine cannot carry it.
    """
    cluster = Cluster(data=_absolute(data))
    users, server = await asyncio.to_thread(_join, cluster, _absolute(key_file), settings or {})
    watcher = asyncio.create_task(_watch(cluster, server, settings or {})) if watch else None
    try:
        yield server
    finally:
        if watcher:
            watcher.cancel()
            await asyncio.wait([watcher])
        await asyncio.shield(asyncio.to_thread(_leave, cluster, users))


async def _watch(cluster: Cluster, server: Embedded, settings: Mapping[str, str]) -> None:
    """Nobody else looks after the embedded server: when it is gone, it is started again."""
    while True:
        await asyncio.sleep(WATCH_SECONDS)
        if not await asyncio.to_thread(lambda: cluster.listening):
            log.warning("the embedded Postgres is gone; starting it again")
            try:
                await asyncio.to_thread(_restart, cluster, server, settings)
            except Misconfigured as error:
                log.error("the embedded Postgres does not start: %s", error.message)


def _restart(cluster: Cluster, server: Embedded, settings: Mapping[str, str]) -> None:
    with _sentences(cluster.data), _locked(cluster.data / "lock"):
        _run(cluster, server, settings)


def _join(cluster: Cluster, key_file: Path, settings: Mapping[str, str]) -> tuple[int, Embedded]:
    with _sentences(cluster.data):
        cluster.secure()
        with _locked(cluster.data / "lock"):
            passwords = _passwords(key_file, cluster)
            if not cluster.made:
                cluster.make(passwords.admin)
            server = Embedded(data=cluster.data, sockets=cluster.sockets, passwords=passwords)
            _run(cluster, server, settings)
            users = _open(cluster.data / "users")
            fcntl.flock(users, fcntl.LOCK_SH)
            return users, server


def _leave(cluster: Cluster, users: int) -> None:
    with _locked(cluster.data / "lock"):
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # somebody else still uses it
        else:
            cluster.stop()
        finally:
            os.close(users)


def _run(cluster: Cluster, server: Embedded, settings: Mapping[str, str]) -> None:
    """Returns when the server takes our password and has our database, whatever state it was in: down, starting or stopping."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        if not cluster.listening:
            cluster.start(settings)
        try:
            return _ensure_database(server)
        except psycopg.OperationalError as error:
            if "password authentication failed" in str(error):
                raise Misconfigured(
                    f"The key file does not fit the database in {cluster.home}; put the key file back that belongs to it."
                ) from error
            if time.monotonic() > deadline:
                raise Misconfigured(f"The embedded Postgres does not answer: {error}. Its log is {cluster.log}.") from error
        time.sleep(0.05)


def _ensure_database(server: Embedded) -> None:
    """Joins the database `weft`; makes it when it is missing. (Under the lock, so nobody else makes it meanwhile.)"""
    url = server.url("postgres", server.passwords.admin, "postgres")
    with psycopg.connect(url, autocommit=True, connect_timeout=10) as connection:
        if connection.execute("SELECT FROM pg_database WHERE datname = 'weft'").fetchone() is None:
            connection.execute("CREATE DATABASE weft")


def _passwords(key_file: Path, cluster: Cluster) -> Passwords:
    """Reads the key file, or writes it before there is a cluster: a cluster whose password nobody knows cannot come to be."""
    if key_file.exists():
        mode = stat.S_IMODE(key_file.stat().st_mode)
        if mode & 0o077:
            raise Misconfigured(f"The key file {key_file} is open to others (mode {mode:o}); run: chmod 600 {key_file}")
        try:
            return Passwords(**json.loads(key_file.read_text()))
        except (ValueError, TypeError) as error:
            raise Misconfigured(f"The key file {key_file} is damaged; restore it from a backup.") from error
    if cluster.made:
        raise Misconfigured(
            f"There is a database in {cluster.home} but not its key file {key_file}; restore the key file, "
            "or move the folder away to start with an empty database."
        )
    passwords = Passwords(admin=secrets.token_urlsafe(32), app=secrets.token_urlsafe(32))
    key_file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = key_file.with_name(f".{key_file.name}.{os.getpid()}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        json.dump({"admin": passwords.admin, "app": passwords.app}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(key_file)
    return passwords


def _absolute(path: Path) -> Path:
    return path.expanduser().absolute()


def _open(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Exclusive among all processes and threads, with a bound: a start in another process may take as long as a start may take."""
    file = _open(path)
    deadline = time.monotonic() + 2 * START_SECONDS
    try:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise Misconfigured(f"Another Weft process holds {path} for minutes; end it and start again.") from None
                time.sleep(0.02)
        yield
    finally:
        os.close(file)


@contextmanager
def _sentences(data: Path) -> Generator[None]:
    """Turns what the file system refuses into something a person can act on."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise Misconfigured(f"The disk of {data} is full; make room and start again.") from error
        raise Misconfigured(
            f"Weft cannot use the data folder {data}: {error.strerror} ({error.filename}). "
            "Make it writable for this user, or choose another folder."
        ) from error
