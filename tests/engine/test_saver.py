"""The checkpoint saver: LangGraph's own conformance suite, tenant isolation, and what a planted row cannot do."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator
from pathlib import Path

import ormsgpack
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.report import ProgressCallbacks

from graphs.saver import PostgresSaver
from store.postgres import Tenant

pytestmark = pytest.mark.anyio
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}


async def test_it_passes_langgraphs_conformance_suite(tenant: Tenant) -> None:
    @checkpointer_test(name="weft")
    async def factory() -> AsyncGenerator[PostgresSaver]:
        yield PostgresSaver(lambda: tenant)

    report = await validate(factory, progress=ProgressCallbacks.quiet())
    assert report.passed_all(), report.to_dict()


async def test_another_organization_sees_and_deletes_nothing(tenant: Tenant, other_tenant: Tenant) -> None:
    ours, theirs = PostgresSaver(lambda: tenant), PostgresSaver(lambda: other_tenant)
    await ours.aput(CONFIG, empty_checkpoint(), {"source": "loop", "step": 1}, {})
    assert await theirs.aget_tuple(CONFIG) is None
    assert [item async for item in theirs.alist(None)] == []
    await theirs.adelete_thread("t")
    assert await ours.aget_tuple(CONFIG) is not None


async def test_a_callable_planted_in_a_row_is_not_called(tenant: Tenant, tmp_path: Path) -> None:
    saver = PostgresSaver(lambda: tenant)
    place = tmp_path / "made-by-a-checkpoint"
    planted = ormsgpack.Ext(0, ormsgpack.packb(("os", "mkdir", str(place))))
    checkpoint = {**empty_checkpoint(), "channel_values": {"v": 1}}
    body = ormsgpack.packb({**checkpoint, "channel_values": {"v": planted}})
    from store import checkpoints

    await checkpoints.save(tenant, thread_id="t", ns="", id=str(checkpoint["id"]), parent_id=None, kind="msgpack", body=body, metadata={})
    await saver.aget_tuple(CONFIG)
    assert not os.path.exists(place)
