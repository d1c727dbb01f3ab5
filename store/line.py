"""A connection of its own for a writer that sends the same few statements over and over.

Next to a connection of the pool it costs less than half per exchange: statements are prepared at first sight and planned once, results are
taken from libpq as they arrive, and nothing is built per statement. All parameters and results are text.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import count
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

from store.errors import Unavailable
from store.jsontext import Json, text
from store.queries import Query
from store.translation import CAUGHT, refused_connection, translate

PARAMETER = re.compile(rb"%\((\w+)\)s")
Value = str | bytes | float | datetime | timedelta | Json | list[str] | list[int] | None
Statement = tuple[Query, dict[str, Any]]

# Statements are planned once, whatever the tables hold by then, so the plan must be one for large tables. A backend whose client has
# vanished in the middle of a transaction holds its locks until it notices, for which the default is two hours; one that itself waits for a
# lock does not look at all, unless it is told to.
SETTINGS = b"""SELECT set_config('plan_cache_mode', 'force_generic_plan', false), set_config('enable_seqscan', 'off', false),
    set_config('jit', 'off', false), set_config('tcp_keepalives_idle', '10', false), set_config('tcp_keepalives_interval', '5', false),
    set_config('tcp_keepalives_count', '3', false),
    set_config('client_connection_check_interval', CASE WHEN version() LIKE '%linux%' THEN '1s' ELSE '0' END, false)"""


@dataclass(frozen=True, slots=True)
class Text:
    """A statement as the server takes it, with $1, $2, …, and the names of its parameters in their order."""

    numbered: bytes
    parameters: tuple[str, ...]

    @classmethod
    def of(cls, query: Query) -> Text:
        places = {name: b"$%d" % number for number, name in enumerate(query.parameters, 1)}
        text = PARAMETER.sub(lambda match: places[match[1].decode()], query.text)
        return cls(text.replace(b"%%", b"%"), query.parameters)


class Line:
    """Sends one group of statements at a time; opened at the first one, and anew after it broke. Callers take turns."""

    def __init__(self, url: str, options: dict[str, Any], *, pooled: bool) -> None:
        self._url, self._options, self._pooled = url, options, pooled
        self._texts: dict[Query, Text] = {}
        self._names: dict[Query, bytes] = {}  # of what is prepared on this connection
        self._numbers = count()
        self._turns = asyncio.Lock()
        self._connection: AsyncConnection[Any] | None = None
        self._answer: asyncio.Future[list[PGresult]] | None = None
        self._results: list[PGresult] = []
        self._error: psycopg.Error | None = None
        self._answered = False

    async def send(self, statements: Sequence[Statement]) -> list[PGresult]:
        """Runs statements in one round trip and one transaction; answers each one's result. Raises what `translate` makes of an error.
        Unavailable has `undone` set when nothing of it has happened for sure."""
        async with self._turns:
            if self._connection is None:
                await self._open()
            sent: list[tuple[Query, list[bytes | None]]] = []
            for query, values in statements:
                if (known := self._texts.get(query)) is None:
                    known = self._texts[query] = Text.of(query)
                try:
                    sent.append((query, [_wire(values[name]) for name in known.parameters]))
                except UnicodeEncodeError as error:
                    raise translate(error) from error
            fresh = [] if self._pooled else [query for query in dict(statements) if query not in self._names]
            names = {query: b"weft_%d" % next(self._numbers) for query in fresh}
            answers = await self._exchange(partial(self._queue, names, sent))
            self._names.update(names)
            return answers[len(names) :]

    async def _exchange(self, ask: Callable[[PGconn], None]) -> list[PGresult]:
        connection = self._connection
        assert connection  # noqa: S101 the callers have opened it
        self._results, self._error, self._answered = [], None, False
        self._answer = asyncio.get_running_loop().create_future()
        try:
            ask(connection.pgconn)
            connection.pgconn.pipeline_sync()
            self._flush()
            return await self._answer
        except CAUGHT as error:
            translated = translate(error)
            if not self._answered:
                self.close()
            elif isinstance(translated, Unavailable):
                translated.details["undone"] = True  # the server says so itself
            raise translated from error
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            self._answer = None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection and not connection.closed:
            for remove in (asyncio.get_running_loop().remove_reader, asyncio.get_running_loop().remove_writer):
                remove(connection.pgconn.socket)
            connection.pgconn.finish()

    async def _open(self) -> None:
        try:
            connection = await AsyncConnection.connect(self._url, **self._options, prepare_threshold=None)
        except psycopg.Error as error:
            raise Unavailable(refused_connection(error, self._url).message, undone=True) from error
        connection.pgconn.enter_pipeline_mode()
        asyncio.get_running_loop().add_reader(connection.pgconn.socket, self._take)
        self._connection = connection
        self._names.clear()
        if not self._pooled:
            await self._exchange(lambda pgconn: pgconn.send_query_params(SETTINGS, None))

    def _queue(self, fresh: dict[Query, bytes], sent: Sequence[tuple[Query, list[bytes | None]]], pgconn: PGconn) -> None:
        for query, name in fresh.items():
            pgconn.send_prepare(name, self._texts[query].numbered)
        for query, values in sent:
            if self._pooled:
                pgconn.send_query_params(self._texts[query].numbered, values)
            else:
                pgconn.send_query_prepared(fresh.get(query) or self._names[query], values)

    def _flush(self) -> None:
        """What the socket does not take at once is sent when it does."""
        if (connection := self._connection) is None:
            return
        loop, socket = asyncio.get_running_loop(), connection.pgconn.socket
        try:
            more = connection.pgconn.flush()
        except psycopg.Error as error:
            self._broke(error)
            return
        if more:
            loop.add_writer(socket, self._flush)
        else:
            loop.remove_writer(socket)

    def _take(self) -> None:
        """Whatever the server has sent."""
        if (connection := self._connection) is None:
            return
        pgconn = connection.pgconn
        try:
            pgconn.consume_input()
            while self._answer and not self._answer.done() and not pgconn.is_busy():
                if (result := pgconn.get_result()) is not None:
                    self._took(result)
        except psycopg.Error as error:
            self._broke(error)

    def _took(self, result: PGresult) -> None:
        if result.status == ExecStatus.PIPELINE_SYNC:
            assert self._answer  # noqa: S101 nothing is read when nothing was asked
            self._answered = True
            if self._error:
                self._answer.set_exception(self._error)
            else:
                self._answer.set_result(self._results)
        elif result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
            self._results.append(result)
        elif self._error is None and result.status != ExecStatus.PIPELINE_ABORTED:
            self._error = error_from_result(result)

    def _broke(self, error: psycopg.Error) -> None:
        self.close()
        if self._answer and not self._answer.done():
            self._answer.set_exception(error)


def first_column(result: PGresult) -> list[str]:
    return [(result.get_value(row, 0) or b"").decode() for row in range(result.ntuples)]


def _wire(value: Value) -> bytes | None:
    """A parameter as text. Lists are of ids or numbers, which need no quotes."""
    match value:
        case str():
            return value.encode()
        case None:
            return None
        case list():
            return f"{{{','.join(map(str, value))}}}".encode()
        case Json():
            return text(value.value).encode()
        case bytes():
            return b"\\x" + value.hex().encode()
        case timedelta():
            return f"{value.total_seconds()} s".encode()
        case _:
            return str(value).encode()
