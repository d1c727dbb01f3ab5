"""The pool and the tenant scope: every statement of an organization runs in a transaction that is bound to it, in one round trip.

A one-shot call is one pipeline of set_config('weft.org', …, true) and the statement. Until the pipeline's Sync both are one implicit
transaction, which ends the setting and undoes everything on an error: what BEGIN and COMMIT around them would give for two statements
more (300 µs against 420 µs of CPU per call measured). Nothing is kept in a session, so a pooler in transaction mode may sit between; it is
noticed when the database is opened, and statements are not prepared then (PgBouncer does not know prepared ones before 1.21).
"""

from __future__ import annotations

import asyncio
import secrets
import select
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Protocol, TypeVar, cast

import psycopg
from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline
from psycopg.abc import PQGen
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGconn
from psycopg.rows import AsyncRowFactory, class_row, dict_row, scalar_row
from psycopg.types.string import TextLoader
from psycopg.waiting import Ready, Wait
from psycopg_pool import AsyncConnectionPool

from store import jsontext
from store.line import Line, first_column
from store.queries import Query
from store.rows import read
from store.together import Together
from store.translation import CAUGHT, refused_connection, translate

T = TypeVar("T")
Connection = AsyncConnection[Any]
POOL_SECONDS = 10.0  # longest wait for a connection, and with it for a database that is gone
SCALARS = (int, str, bool, float, bytes, datetime)
SET_ORGANIZATION = b"SELECT set_config('weft.org', %s, true)"
SET_ORGANIZATION_AND_PLAN = b"SELECT set_config('weft.org', %s, true), set_config('plan_cache_mode', 'force_generic_plan', true)"
BEGIN = Query(
    "begin",
    b"SELECT set_config('weft.org', %(org_id)s, true), pg_advisory_xact_lock(hashtext('weft batch'), %(number)s::int)",
)
"""Also waits for an earlier batch of the same process: when its connection broke, it may still be under way."""
CONNECT: dict[str, Any] = {
    "autocommit": True,
    "application_name": "weft",
    "connect_timeout": 5,
    "keepalives_idle": 30,  # a peer that vanished without a word is noticed in 45 s when idle,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # and in 15 s (here in ms) when it owes us an answer
}


class Session(Protocol):
    """Where an organization's statements run: a Tenant (each call for itself) or a Transaction (all or nothing)."""

    @property
    def org_id(self) -> str: ...

    async def all(self, query: Query, row: type[T], /, **params: Any) -> list[T]: ...

    async def one(self, query: Query, row: type[T], /, **params: Any) -> T | None: ...

    async def quick(self, query: Query, row: type[T], /, **params: Any) -> T | None:
        """Like `one`, for a statement that is short, frequent, and waits for nobody: a Tenant sends those of all callers together."""
        ...

    async def execute(self, query: Query, /, **params: Any) -> int: ...


class Database:
    """One per process: the pool of connections that log in as weft_app. `pooled`: they reach Postgres through a pooler."""

    def __init__(self, pool: AsyncConnectionPool[Connection], url: str, *, pooled: bool = False) -> None:
        self.pool = pool
        self.pooled = pooled
        self._line = Line(url, CONNECT, pooled=pooled)
        self.together = Together(Line(url, CONNECT, pooled=pooled))
        self._number = secrets.randbits(31)

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str, *, max_connections: int = 10, prepare: bool = True) -> AsyncGenerator[Database]:
        """Raises Unavailable or Misconfigured with the reason when the database does not take the login.

        `prepare=False` keeps statements from being prepared; behind a pooler they never are.
        """
        try:
            async with await AsyncConnection.connect(url, **CONNECT, prepare_threshold=None) as connection:
                pooled = await _is_pooled(connection)
        except psycopg.Error as error:
            raise refused_connection(error, url) from error
        options: dict[str, Any] = {**CONNECT, "prepare_threshold": 3 if prepare and not pooled else None}
        pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            url,
            kwargs=options,
            min_size=1,
            max_size=max_connections,
            timeout=POOL_SECONDS,
            open=False,
            configure=_configure,
            check=_check,
            name="weft",
        )
        async with pool:
            database = cls(pool, url, pooled=pooled)
            try:
                yield database
            finally:
                await database.together.close()
                database._line.close()

    def tenant(self, org_id: str) -> Tenant:
        return Tenant(self, org_id)

    async def system(self, query: Query, row: type[T], /, **params: Any) -> list[T]:
        """Calls one of the SECURITY DEFINER functions that cross organizations; in tables it sees no row."""
        async with self.connection() as connection:
            cursor = connection.cursor(row_factory=_factory(row))
            await cursor.execute(query.text, params)
            return await cursor.fetchall()

    async def batch(self, statements: Sequence[tuple[str, Query, dict[str, Any]]]) -> list[list[str]]:
        """Statements of several organizations, each (org_id, query, parameters), in one round trip and one transaction, on a connection of
        their own: until the pipeline's Sync they are one implicit transaction. Answers the first column of each one's rows.

        Parameters are text, numbers, or lists of ids and numbers. Batches happen one after the other, also when the connection breaks under
        one of them and nobody can tell yet what has become of it.
        """
        sent: list[tuple[Query, dict[str, Any]]] = []
        begun: list[bool] = []
        current: str | None = None
        for org_id, query, params in statements:
            if org_id != current:
                sent.append((BEGIN, {"org_id": org_id, "number": self._number}))
                begun.append(True)
                current = org_id
            sent.append((query, {"org_id": org_id, **params}))
            begun.append(False)
        answers = await self._line.send(sent)
        return [first_column(answer) for answer, begins in zip(answers, begun, strict=True) if not begins]

    @asynccontextmanager
    async def connection(self) -> AsyncGenerator[Connection]:
        """A connection for the block, errors translated. The pool rolls back or replaces one that comes back unclean."""
        try:
            connection = await _taken(self.pool)
            try:
                yield connection
            finally:
                await self.pool.putconn(connection)
        except CAUGHT as error:
            raise _translated(error) from error


class Tenant:
    """An organization's view of the database. Each call is a transaction of its own in one round trip. Cheap to make."""

    __slots__ = ("_database", "org_id")

    def __init__(self, database: Database, org_id: str) -> None:
        self._database = database
        self.org_id = org_id

    async def all(self, query: Query, row: type[T], /, **params: Any) -> list[T]:
        return await (await self._call(query, params, _factory(row))).fetchall()

    async def one(self, query: Query, row: type[T], /, **params: Any) -> T | None:
        """The first row or None."""
        return await (await self._call(query, params, _factory(row))).fetchone()

    async def execute(self, query: Query, /, **params: Any) -> int:
        """The number of rows changed (or read)."""
        return (await self._call(query, params, dict_row)).rowcount

    async def quick(self, query: Query, row: type[T], /, **params: Any) -> T | None:
        """The first row or None, asked together with what others ask at the moment."""
        return read(query, row, await self._database.together.ask(self.org_id, query, params))

    async def _call(self, query: Query, params: dict[str, Any], factory: AsyncRowFactory[T]) -> AsyncCursor[T]:
        pool = self._database.pool
        try:
            connection = await _taken(pool)
            try:
                async with connection.pipeline():
                    await connection.execute(SET_ORGANIZATION_AND_PLAN if query.planned_once else SET_ORGANIZATION, (self.org_id,))
                    cursor = connection.cursor(row_factory=factory)
                    await cursor.execute(query.text, {"org_id": self.org_id, **params}, prepare=query.planned_once or None)
                    if connection.pgconn.flush():
                        await connection.wait(_sending(connection.pgconn))
            finally:
                await pool.putconn(connection)
        except CAUGHT as error:
            raise _translated(error) from error
        return cursor  # its rows are in memory by now

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Several statements that happen together or not at all. BEGIN travels with the first of them, and COMMIT with what is queued."""
        return self._transaction()

    @asynccontextmanager
    async def _transaction(self) -> AsyncGenerator[Transaction]:
        async with self._database.connection() as connection, _begun(connection) as pipeline:
            await connection.execute(SET_ORGANIZATION, (self.org_id,))
            transaction = Transaction(connection, pipeline, self.org_id)
            yield transaction
            if transaction.failure is not None:  # swallowed by the block; COMMIT would quietly roll back
                raise transaction.failure


class Transaction:
    """An open transaction of one organization. Not for concurrent use. After an error it is over, even if the error is caught."""

    __slots__ = ("_connection", "_pipeline", "failure", "org_id")

    def __init__(self, connection: Connection, pipeline: AsyncPipeline, org_id: str) -> None:
        self._connection = connection
        self._pipeline = pipeline
        self.org_id = org_id
        self.failure: Exception | None = None

    async def all(self, query: Query, row: type[T], /, **params: Any) -> list[T]:
        return await (await self._call(query, params, _factory(row), wait=True)).fetchall()

    async def one(self, query: Query, row: type[T], /, **params: Any) -> T | None:
        """The first row or None."""
        return await (await self._call(query, params, _factory(row), wait=True)).fetchone()

    async def execute(self, query: Query, /, **params: Any) -> int:
        """The number of rows changed (or read)."""
        return (await self._call(query, params, dict_row, wait=True)).rowcount

    async def quick(self, query: Query, row: type[T], /, **params: Any) -> T | None:
        return await self.one(query, row, **params)

    async def several(self, *asked: tuple[Query, type[Any], dict[str, Any]]) -> list[list[Any]]:
        """Rows of several statements, in order, for one round trip: (query, row, parameters) each."""
        cursors = [await self._call(query, params, _factory(row), wait=False) for query, row, params in asked]
        await self.settled()
        return [await cursor.fetchall() for cursor in cursors]

    async def promised(self, query: Query, row: type[T], /, **params: Any) -> Callable[[], Awaitable[list[T]]]:
        """Asks without waiting; the rows are there after the next wait or the commit."""
        return (await self._call(query, params, _factory(row), wait=False)).fetchall

    async def settled(self) -> None:
        """Waits for what is queued; its error shows here."""
        try:
            await self._pipeline.sync()
        except CAUGHT as error:
            self.failure = _translated(error)
            raise self.failure from error

    async def queue(self, query: Query, /, **params: Any) -> None:
        """Sends a statement without waiting for its end: it costs no round trip, and its error shows at the next wait or at the commit."""
        await self._call(query, params, dict_row, wait=False)

    async def _call(self, query: Query, params: dict[str, Any], factory: AsyncRowFactory[T], *, wait: bool) -> AsyncCursor[T]:
        try:
            cursor = self._connection.cursor(row_factory=factory)
            await cursor.execute(query.text, {"org_id": self.org_id, **params})
            if self._connection.pgconn.flush():
                await self._connection.wait(_sending(self._connection.pgconn))
            if wait:
                await self._pipeline.sync()
        except CAUGHT as error:
            self.failure = _translated(error)
            with suppress(*CAUGHT):  # takes in the echoes of the same error from what was queued behind it
                await self._pipeline.sync()
            raise self.failure from error
        return cursor


def _sending(pgconn: PGconn) -> PQGen[None]:
    """Sends what the socket did not take at once. In a pipeline psycopg goes on to wait for the answer to a long statement (megabytes)
    with the rest of it still unsent, for ever."""
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()


@asynccontextmanager
async def _begun(connection: Connection) -> AsyncGenerator[AsyncPipeline]:
    """A pipeline between BEGIN and COMMIT; any error rolls back, also one of ours halfway, after which a pipeline alone would commit."""
    try:
        async with connection.pipeline() as pipeline:
            await connection.execute(b"BEGIN")
            yield pipeline
            await connection.execute(b"COMMIT")
    finally:
        if connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            await connection.rollback()


async def _taken(pool: AsyncConnectionPool[Connection]) -> Connection:
    """A connection from the pool. A cancellation that arrives together with it would be lost (asyncio.wait_for in Python 3.11)."""
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    connection = await pool.getconn()
    if task and task.cancelling() > before:
        await pool.putconn(connection)
        raise asyncio.CancelledError
    return connection


def _factory(row: type[T]) -> AsyncRowFactory[T]:
    if row is dict:
        return cast("AsyncRowFactory[T]", dict_row)
    return cast("AsyncRowFactory[T]", scalar_row) if row in SCALARS else class_row(row)


def _translated(error: Exception) -> Exception:
    return translate(error) if isinstance(error, CAUGHT) else error


async def _is_pooled(connection: Connection) -> bool:
    """Whether somebody sits in between: Postgres greets with its process id, and a pooler with a number of its own, to route cancels by."""
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    return row != (connection.info.backend_pid,)


async def _configure(connection: Connection) -> None:
    """Ids are text everywhere in Weft, and Json(…) parameters are JSON."""
    connection.adapters.register_loader("uuid", TextLoader)
    jsontext.register(connection)


async def _check(connection: Connection) -> None:
    """Run at every check-out. A connection the server has closed has something to read (its farewell, or end of file): a system call
    tells, where asking the server would cost a round trip per statement."""
    poll = getattr(select, "poll", None)
    if poll is not None:
        ready = poll()
        ready.register(connection.fileno(), select.POLLIN)
        if not ready.poll(0):
            return
    await AsyncConnectionPool.check_connection(connection)
