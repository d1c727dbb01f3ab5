"""LangGraph's checkpoints in our Postgres: tenant-scoped, strictly decoded, and for driven runs in the journal's commits."""

from __future__ import annotations

import base64
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import ContextVar
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from graphs.sealing import Sealed
from store import checkpoints
from store.checkpoints import Saved
from store.postgres import Tenant

Row = dict[str, Any]
BEFORE = 0  # LangGraph's number of the last step before the first segment
recorder: ContextVar[Callable[[Row], None] | None] = ContextVar("recorder", default=None)
"""Set while the engine drives a run: takes checkpoint rows for the run's next journal entry, which keeps them in order with its steps
and fences them. Task writes need no rows then: what a step did is in the journal, and it is looked up there when a segment starts again.
Neither do the checkpoints before the first segment, where a run begins anyhow, nor does the one of the end, where it does not go on."""

fresh: ContextVar[bool] = ContextVar("fresh", default=False)
"""Set for a run that has never been driven: there is no checkpoint to look for."""


class PostgresSaver(BaseCheckpointSaver[int]):
    """A checkpoint saver for one organization. Callables and unknown classes in a row are never revived (strict msgpack)."""

    def __init__(self, tenant: Callable[[], Tenant], *, keys: Sequence[bytes] = ()) -> None:
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=None))
        self._tenant = tenant
        self._keys = keys

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        place = _place(config)
        record = recorder.get()
        if record and (metadata.get("step", 1) <= BEFORE or "done" in checkpoint["channel_values"]):
            return _config(place["thread_id"], place.get("checkpoint_ns", ""), checkpoint["id"])
        kind, body = self._serializer(place["thread_id"]).dumps_typed(checkpoint)
        row: Row = {
            "thread_id": place["thread_id"],
            "ns": place.get("checkpoint_ns", ""),
            "id": checkpoint["id"],
            "parent_id": place.get("checkpoint_id"),
            "kind": kind,
            "metadata": get_serializable_checkpoint_metadata(config, metadata),
        }
        if record:
            record({**row, "body": base64.b64encode(body).decode()})
        else:
            await checkpoints.save(self._tenant(), **row, body=body)
        return _config(row["thread_id"], row["ns"], row["id"])

    async def aput_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        if recorder.get():
            return
        place = _place(config)
        rows: list[Row] = []
        serializer = self._serializer(place["thread_id"])
        for number, (channel, value) in enumerate(writes):
            kind, body = serializer.dumps_typed(value)
            rows.append(
                {
                    "thread_id": place["thread_id"],
                    "ns": place.get("checkpoint_ns", ""),
                    "checkpoint_id": place["checkpoint_id"],
                    "task_id": task_id,
                    "task_path": task_path,
                    "idx": WRITES_IDX_MAP.get(channel, number),
                    "channel": channel,
                    "kind": kind,
                    "body": body,
                }
            )
        async with self._tenant().transaction() as transaction:
            await checkpoints.save_writes(transaction, rows)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        if fresh.get():
            return None
        place = _place(config)
        saved = await checkpoints.find(self._tenant(), place["thread_id"], place.get("checkpoint_ns", ""), get_checkpoint_id(config))
        return self._read(saved) if saved else None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        place = _place(config) if config else {}
        for saved in await checkpoints.page(
            self._tenant(),
            thread_id=place.get("thread_id"),
            ns=place.get("checkpoint_ns"),
            id=get_checkpoint_id(config) if config else None,
            before=get_checkpoint_id(before) if before else None,
            filter=filter,
            limit=limit,
        ):
            yield self._read(saved)

    async def adelete_thread(self, thread_id: str) -> None:
        await checkpoints.delete_threads(self._tenant(), [thread_id])

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        await checkpoints.delete_for_runs(self._tenant(), run_ids)

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Under a key every row is sealed for its new place."""
        if not self._keys:
            await checkpoints.copy_thread(self._tenant(), source_thread_id, target_thread_id)
            return
        source, target = self._serializer(source_thread_id), self._serializer(target_thread_id)

        def moved(row: Row) -> Row:
            kind, body = target.dumps_typed(source.loads_typed((row["kind"], row["body"])))
            return {**row, "thread_id": target_thread_id, "kind": kind, "body": body}

        async with self._tenant().transaction() as transaction:
            saved, writes = await checkpoints.of_thread(transaction, source_thread_id)
            for row in saved:
                await checkpoints.save(transaction, **moved(row))
            await checkpoints.save_writes(transaction, [moved(row) for row in writes])

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        act = checkpoints.keep_latest if strategy == "keep_latest" else checkpoints.delete_threads
        await act(self._tenant(), thread_ids)

    def _serializer(self, thread_id: str) -> Serializer:
        return Serializer(self._keys, f"{self._tenant().org_id}/{thread_id}", self.serde)

    def _read(self, saved: Saved) -> CheckpointTuple:
        serializer = self._serializer(saved.thread_id)
        return CheckpointTuple(
            config=_config(saved.thread_id, saved.ns, saved.id),
            checkpoint=serializer.loads_typed((saved.kind, saved.body)),
            metadata=cast(CheckpointMetadata, saved.metadata),
            parent_config=_config(saved.thread_id, saved.ns, saved.parent_id) if saved.parent_id else None,
            pending_writes=[
                (task_id, channel, serializer.loads_typed((kind, base64.b64decode(body)))) for task_id, channel, kind, body in saved.writes
            ],
        )


class Serializer(EncryptedSerializer):
    """Writes encrypted where there is a key, reads both."""

    def __init__(self, keys: Sequence[bytes], place: str, plain: SerializerProtocol) -> None:
        super().__init__(Sealed(keys, place), plain)
        self._seals = bool(keys)

    def dumps_typed(self, obj: Any) -> tuple[str, bytes]:
        return super().dumps_typed(obj) if self._seals else self.serde.dumps_typed(obj)


def _place(config: RunnableConfig) -> dict[str, Any]:
    return config.get("configurable", {})


def _config(thread_id: str, ns: str, id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ns, "checkpoint_id": id}}


PostgresSaver.aput_writes.__signature__ = inspect.signature(PostgresSaver.aput_writes)  # pyright: ignore[reportFunctionMemberAccess]
"""LangGraph asks for it once per run, and finding it out took 0.3 ms of each."""
