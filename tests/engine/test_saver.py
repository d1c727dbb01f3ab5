"""The checkpoint saver: LangGraph's own conformance suite, tenant isolation, and what a planted row cannot do."""

from __future__ import annotations

import base64
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import ormsgpack
import psycopg
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.report import ProgressCallbacks

from graphs.saver import PostgresSaver
from graphs.sealing import read_keys
from store.errors import Misconfigured
from store.postgres import Tenant

pytestmark = pytest.mark.anyio
CONFIG: RunnableConfig = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))
SECRET = "the number of the patient is 4711"


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


async def put_secret(saver: PostgresSaver) -> RunnableConfig:
    checkpoint = {**empty_checkpoint(), "channel_values": {"note": SECRET}, "channel_versions": {"note": 1}}
    config = await saver.aput(CONFIG, checkpoint, {"source": "loop", "step": 1}, {})  # pyright: ignore[reportArgumentType]
    await saver.aput_writes(config, [("note", SECRET)], "task")
    return config


async def note(saver: PostgresSaver, thread: str = "t") -> tuple[str, str]:
    found = await saver.aget_tuple({"configurable": {"thread_id": thread, "checkpoint_ns": ""}})
    assert found is not None
    assert found.pending_writes
    return found.checkpoint["channel_values"]["note"], found.pending_writes[0][2]


def bodies(admin_url: str) -> bytes:
    with psycopg.connect(admin_url) as admin:
        rows = admin.execute("SELECT body FROM weft.checkpoints UNION ALL SELECT body FROM weft.checkpoint_writes").fetchall()
    assert len(rows) >= 2
    return b" ".join(row[0] for row in rows)


async def test_under_a_key_no_value_is_in_the_table_and_all_come_back(tenant: Tenant, admin_url: str) -> None:
    sealed = PostgresSaver(lambda: tenant, keys=[KEY])
    await put_secret(sealed)
    assert SECRET.encode() not in bodies(admin_url)
    assert await note(sealed) == (SECRET, SECRET)
    await sealed.acopy_thread("t", "copy")
    assert SECRET.encode() not in bodies(admin_url)
    assert await note(sealed, "copy") == (SECRET, SECRET)


async def test_without_a_key_the_same_values_are_in_the_table(tenant: Tenant, admin_url: str) -> None:
    await put_secret(PostgresSaver(lambda: tenant))
    assert bodies(admin_url).count(SECRET.encode()) == 2


async def test_rows_written_before_there_was_a_key_and_under_an_older_key_stay_readable(tenant: Tenant) -> None:
    await put_secret(PostgresSaver(lambda: tenant))
    assert await note(PostgresSaver(lambda: tenant, keys=[KEY])) == (SECRET, SECRET)
    await put_secret(PostgresSaver(lambda: tenant, keys=[KEY]))
    assert await note(PostgresSaver(lambda: tenant, keys=[OTHER_KEY, KEY])) == (SECRET, SECRET)


@pytest.mark.parametrize(("keys", "words"), [((OTHER_KEY,), "no key in the file of WEFT_CHECKPOINT_KEY_FILE fits"), ((), "is encrypted")])
async def test_the_wrong_key_or_none_says_what_to_set(tenant: Tenant, keys: tuple[bytes, ...], words: str) -> None:
    await put_secret(PostgresSaver(lambda: tenant, keys=[KEY]))
    with pytest.raises(Misconfigured, match=words):
        await PostgresSaver(lambda: tenant, keys=keys).aget_tuple(CONFIG)


async def test_a_row_moved_to_another_thread_does_not_open(tenant: Tenant, admin_url: str) -> None:
    sealed = PostgresSaver(lambda: tenant, keys=[KEY])
    await put_secret(sealed)
    with psycopg.connect(admin_url) as admin:
        admin.execute("UPDATE weft.checkpoints SET thread_id = 'u'")
    with pytest.raises(Misconfigured, match="cannot be decrypted"):
        await sealed.aget_tuple({"configurable": {"thread_id": "u", "checkpoint_ns": ""}})


async def test_the_conformance_suite_passes_under_a_key_too(tenant: Tenant) -> None:
    @checkpointer_test(name="weft, sealed")
    async def factory() -> AsyncGenerator[PostgresSaver]:
        yield PostgresSaver(lambda: tenant, keys=[KEY])

    report = await validate(factory, progress=ProgressCallbacks.quiet())
    assert report.passed_all(), report.to_dict()


def test_a_key_file_that_others_can_read_or_that_holds_no_key_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(base64.b64encode(KEY).decode() + "\n" + base64.b64encode(OTHER_KEY).decode() + "\n")
    path.chmod(0o644)
    with pytest.raises(Misconfigured, match="chmod 600"):
        read_keys(path)
    path.chmod(0o600)
    assert read_keys(path) == (KEY, OTHER_KEY)
    path.write_text(base64.b64encode(KEY).decode() + "\nshort\n")
    with pytest.raises(Misconfigured, match=r"line 2 of .* is not a key"):
        read_keys(path)
    path.write_text("\n")
    with pytest.raises(Misconfigured, match=r"line 1 of .* is not a key"):
        read_keys(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_keys(tmp_path / "nowhere")
