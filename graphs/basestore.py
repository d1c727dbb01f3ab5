"""LangGraph's BaseStore over Weft's memories: what an agent puts is a memory of one scope, found by Weft's recall, and forgotten with it.

What is read in a batch is what was there before it; of several puts of a key the last one counts. A value that has expired, is quarantined
or was forgotten is not there. `search` with a query ranks by words, meaning, trust and time, and goes on with what is left, the newest
first and without a score, so that whoever asks for ten of at least ten gets ten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar, cast

from langgraph.store.base import (
    NOT_PROVIDED,
    GetOp,
    InvalidNamespaceError,
    Item,
    ListNamespacesOp,
    MatchCondition,
    NamespacePath,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    get_text_at_path,
    validate_op_namespace,
)
from langgraph.store.base.batch import AsyncBatchedBaseStore

from graphs import memories
from graphs.memories import Access, Remembrance, Wanted
from memory import conditions, entries
from memory.entries import NewEntry
from memory.recall import MOST, MOST_QUESTION
from store import entries as rows
from store.entries import Entry
from store.errors import Invalid, Unavailable, WeftError

T = TypeVar("T")
Answer = Result | WeftError
Enter = Callable[[Literal["read", "write"]], Awaitable[Access]]
"""Asked before every batch on whose behalf it is; raises Unauthenticated or Denied when they may not come in any more."""

WHOLE = "$"
LOOKED_AT = 1_000  # hits of recall at most that are held against a filter, before what else passes it follows unranked
MOST_ANSWERED = 10_000
MOST_SKIPPED = 1_000_000
SWEEP_MINUTES = 5.0


class WeftStore(AsyncBatchedBaseStore):
    """A store in one scope: "agent:helper", "user", "private:conversation:trip"… It is made in a running event loop and stays in it; its
    methods may be called from other loops and threads, the synchronous ones from anywhere but its own loop.

    `fields`: paths of what values are found by unless a put says otherwise; None: all they say. Of `ttl` counts `default_ttl`,
    `refresh_on_read` and how often what has expired is cleared away (`sweep_interval_minutes`), when something with a time to live is put.
    """

    __slots__ = ("_about", "_closed", "_enter", "_fields", "_scope", "_swept_at", "ttl_config")
    supports_ttl = True

    def __init__(
        self, enter: Enter, *, scope: str, origin: str = "agent", source: str | None = None, fields: Sequence[str] | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:  # fmt: skip
        self._task = None  # for __del__, when what follows raises
        memories.parse_scope(scope)
        super().__init__()
        self._closed = False
        self._enter = enter
        self._scope = scope
        self._about = Remembrance(scope=scope, origin=origin, source=source)
        self._fields = [WHOLE] if fields is None else list(fields)
        self._swept_at = time.monotonic()
        self.ttl_config = ttl

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Answers in the order of the operations; reads see what was there before. What is wrong with one of them is found before any is
        done. Calls of the single methods that come at the same time are a batch as well, and each gets its own error."""
        results = await self._at_home(self._answer(list(ops)))
        if asyncio.current_task() is not self._running():
            for result in results:
                _given(result)
        return cast("list[Result]", results)

    async def aget(self, namespace: tuple[str, ...], key: str, *, refresh_ttl: bool | None = None) -> Item | None:
        return _given(await self._at_home(super().aget(namespace, str(key), refresh_ttl=refresh_ttl)))

    async def asearch(
        self, namespace_prefix: tuple[str, ...], /, *, query: str | None = None, filter: dict[str, Any] | None = None, limit: int = 10,
        offset: int = 0, refresh_ttl: bool | None = None,
    ) -> list[SearchItem]:  # fmt: skip
        """The best first, with a score, when there is a query; then, and without one, the newest first. Raises Invalid."""
        validate_op_namespace(asked := SearchOp(namespace_prefix, filter, limit, offset, query))
        _check(asked)
        return _given(
            await self._at_home(
                super().asearch(namespace_prefix, query=query, filter=filter, limit=limit, offset=offset, refresh_ttl=refresh_ttl)
            )
        )

    async def aput(
        self, namespace: tuple[str, ...], key: str, value: Mapping[str, Any] | None, index: Literal[False] | list[str] | None = None, *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:  # fmt: skip
        """Raises Invalid for what cannot be kept, Denied where the role may not write."""
        validate_op_namespace(asked := PutOp(namespace, str(key), value, index, None if isinstance(ttl, NotProvided) else ttl))
        if namespace:
            self._made(asked)
        _given(await self._at_home(super().aput(namespace, str(key), cast("dict[str, Any]", value), index, ttl=ttl)))

    async def adelete(self, namespace: tuple[str, ...], key: str) -> None:
        _given(await self._at_home(super().adelete(namespace, str(key))))

    async def alist_namespaces(
        self, *, prefix: NamespacePath | None = None, suffix: NamespacePath | None = None, max_depth: int | None = None, limit: int = 100,
        offset: int = 0,
    ) -> list[tuple[str, ...]]:  # fmt: skip
        """In order. Raises Invalid."""
        first = (MatchCondition("prefix", prefix),) if prefix else ()
        last = (MatchCondition("suffix", suffix),) if suffix else ()
        validate_op_namespace(asked := ListNamespacesOp((*first, *last), max_depth, limit, offset))
        _check(asked)
        return _given(
            await self._at_home(super().alist_namespaces(prefix=prefix, suffix=suffix, max_depth=max_depth, limit=limit, offset=offset))
        )

    async def sweep_ttl(self) -> int:
        """Clears away what has expired; how many values. Nobody sees them anyway."""
        return await self._at_home(self._sweep())

    async def aclose(self) -> None:
        """Ends what is under way; later calls raise Unavailable."""
        self._closed = True
        if (task := self._running()) is not None:
            task.cancel()
            await asyncio.wait([task])

    def _running(self) -> asyncio.Task[None] | None:
        return cast("asyncio.Task[None] | None", self._task)  # pyright: ignore[reportUnknownMemberType]

    async def _at_home(self, call: Coroutine[Any, Any, T]) -> T:
        if asyncio.get_running_loop() is self._loop:
            return await call
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(call, self._loop))

    async def _answer(self, ops: Sequence[Op]) -> list[Answer]:
        """For each operation its result, or the error of the house that it met."""
        if self._closed:
            raise Unavailable("This store is closed; open it again with open_store.")
        for op in ops:
            validate_op_namespace(op)
            _check(op)
        puts = {(op.namespace, op.key): op for op in ops if isinstance(op, PutOp)}
        new = [made for op in puts.values() if (made := self._made(op)) is not None]
        gone = [place for place, op in puts.items() if op.value is None]
        results: list[Answer] = [None] * len(ops)
        reads = [number for number, op in enumerate(ops) if not isinstance(op, PutOp)]
        if reads:
            try:
                await self._read(await self._enter("read"), ops, results)
            except WeftError as error:
                results = [error if number in reads else None for number in range(len(ops))]
        if puts:
            try:
                await self._write(await self._enter("write"), new, gone)
            except WeftError as error:
                results = [error if isinstance(op, PutOp) else result for op, result in zip(ops, results, strict=True)]
        return results

    async def _read(self, access: Access, ops: Sequence[Op], results: list[Answer]) -> None:
        within = [scope.id for scope in await memories.readable(access, self._scope)]
        gets = {entries.digest(op.namespace, op.key) for op in ops if isinstance(op, GetOp)}
        there = {entry.digest: entry for entry in await rows.get(access.tenant, within, sorted(gets))} if gets else {}
        used: set[str] = set()
        for number, op in enumerate(ops):
            found: list[Entry] = []
            if isinstance(op, GetOp):
                found = [entry] if (entry := there.get(entries.digest(op.namespace, op.key))) else []
                results[number] = _item(found[0]) if found else None
            elif isinstance(op, SearchOp):
                scored = await self._search(access, within, op)
                found = [entry for entry, _ in scored]
                results[number] = [_search_item(entry, score) for entry, score in scored]
            elif isinstance(op, ListNamespacesOp):
                wanted = [{"path": list(one.path), "at_end": one.match_type == "suffix"} for one in op.match_conditions or ()]
                results[number] = await rows.namespaces(access.tenant, within, wanted, depth=op.max_depth, limit=op.limit, skip=op.offset)
            if isinstance(op, (GetOp, SearchOp)) and op.refresh_ttl:
                used |= {entry.memory_id for entry in found if entry.ttl_minutes is not None}
        if used:
            await rows.refresh(access.tenant, sorted(used))

    async def _search(self, access: Access, within: Sequence[int], op: SearchOp) -> list[tuple[Entry, float | None]]:
        tests = conditions.read(op.filter)
        end = op.offset + op.limit
        if not (op.query and op.query.strip()):
            found = await rows.page(access.tenant, within, op.namespace_prefix, tests=tests, limit=op.limit, skip=op.offset)
            return [(entry, None) for entry in found]
        ranked = await self._ranked(access, within, op, tests)
        if len(ranked) < end:
            seen = [entry.memory_id for entry, _ in ranked]
            rest = await rows.page(access.tenant, within, op.namespace_prefix, tests=tests, without=seen, limit=end - len(ranked))
            ranked += [(entry, None) for entry in rest]
        return ranked[op.offset : end]

    async def _ranked(
        self, access: Access, within: Sequence[int], op: SearchOp, tests: Sequence[conditions.Test]
    ) -> list[tuple[Entry, float | None]]:
        """What recall finds, the best first, as far as it passes the filter: as many as are asked for, or all there are."""
        end, enough = op.offset + op.limit, op.offset + op.limit
        if tests:  # few that pass are known at once; when all of them are found there is nothing to look for
            passing = await rows.page(access.tenant, within, op.namespace_prefix, tests=tests, limit=MOST)
            enough = min(end, sum(entry.indexed for entry in passing)) if len(passing) < MOST else end
        ranked: list[tuple[Entry, float | None]] = []
        seen: set[str] = set()
        cursor: str | None = None
        looked_at = 0
        while len(ranked) < enough and looked_at < max(LOOKED_AT, 2 * end):
            wanted = Wanted(
                query=(op.query or "")[:MOST_QUESTION], scope=self._scope, kinds=("document",), cursor=cursor,
                labels=(entries.label(tuple(op.namespace_prefix)),), k=MOST if tests else min(MOST, 2 * end + 10),
            )  # fmt: skip
            page = (await memories.recall(access, wanted)).recalled
            looked_at += len(page.hits)
            scores: dict[str, float] = {}
            for hit in page.hits:  # of several pieces of a value, the best
                scores.setdefault((hit.memory.series if hit.memory.kind == "chunk" else None) or hit.memory.id, hit.score)
            ids = [memory_id for memory_id in scores if memory_id not in seen]
            seen.update(ids)
            passing = await rows.page(access.tenant, within, op.namespace_prefix, tests=tests, ids=ids, limit=len(ids))
            known = {entry.memory_id: entry for entry in passing if entry.indexed}
            ranked += [(known[memory_id], scores[memory_id]) for memory_id in ids if memory_id in known]
            cursor = page.next_cursor
            if cursor is None:
                break
        return ranked

    async def _write(self, access: Access, new: Sequence[NewEntry], gone: Sequence[tuple[tuple[str, ...], str]]) -> None:
        desk = await memories.open_desk(access, self._about)
        await entries.change(desk, new, gone)
        minutes = (self.ttl_config or {}).get("sweep_interval_minutes") or SWEEP_MINUTES
        if any(entry.ttl_minutes is not None for entry in new) and time.monotonic() - self._swept_at > minutes * 60:
            self._swept_at = time.monotonic()
            await entries.sweep(desk)

    async def _sweep(self) -> int:
        return await entries.sweep(await memories.open_desk(await self._enter("write"), self._about))

    def _made(self, op: PutOp) -> NewEntry | None:
        """None: the key is to be free. Raises Invalid."""
        if not op.namespace:
            raise InvalidNamespaceError("Namespace cannot be empty.")
        entries.check_name(op.namespace, op.key)
        if op.value is None:
            return None
        if op.ttl is not None and not 0 < op.ttl <= entries.MOST_MINUTES:
            raise Invalid(f"The time to live is {op.ttl}; it is a number of minutes above 0 up to 100 years, or None for no end.")
        value = entries.checked(op.value)
        return NewEntry(namespace=tuple(op.namespace), key=op.key, value=value, texts=self._texts(op, value), ttl_minutes=op.ttl)

    def _texts(self, op: PutOp, value: dict[str, Any]) -> list[str]:
        paths = [] if op.index is False else self._fields if op.index is None else op.index
        texts = [text for path in paths for text in ([entries.said(value)] if path in (WHOLE, "") else get_text_at_path(value, path))]
        return list(dict.fromkeys(text for text in texts if text.strip()))


def _given(result: T | WeftError) -> T:
    if isinstance(result, WeftError):
        raise result
    return result


def _check(op: Op) -> None:
    """Raises Invalid for what cannot be looked for."""
    if isinstance(op, SearchOp):
        conditions.read(op.filter)
        entries.check_name(tuple(op.namespace_prefix), "")
    elif isinstance(op, ListNamespacesOp):
        for condition in op.match_conditions or ():
            entries.check_name(tuple(condition.path), "")
            if condition.match_type not in ("prefix", "suffix"):
                raise Invalid(f"A namespace is matched by prefix or suffix, not by {condition.match_type!r}.")
        if op.max_depth is not None and op.max_depth < 0:
            raise Invalid(f"max_depth is 0 or more, not {op.max_depth}.")
    elif not isinstance(op, (GetOp, PutOp)):  # pyright: ignore[reportUnnecessaryIsInstance]  # agents hand in anything
        raise Invalid(f"A store knows no operation {type(op).__name__}; there are GetOp, PutOp, SearchOp and ListNamespacesOp.")
    if isinstance(op, (SearchOp, ListNamespacesOp)) and not (0 <= op.limit <= MOST_ANSWERED and 0 <= op.offset <= MOST_SKIPPED):
        raise Invalid(f"limit is from 0 to {MOST_ANSWERED:,} and offset from 0 to {MOST_SKIPPED:,}, not {op.limit} and {op.offset}.")


def _item(entry: Entry) -> Item:
    return Item(
        value=entry.value, key=entry.key, namespace=tuple(entry.namespace), created_at=entry.created_at, updated_at=entry.updated_at
    )


def _search_item(entry: Entry, score: float | None) -> SearchItem:
    return SearchItem(tuple(entry.namespace), entry.key, entry.value, entry.created_at, entry.updated_at, score)
