"""Workflows: drafts under optimistic concurrency, versions that never change."""

from __future__ import annotations

import anyio
import pytest

from store import workflows
from store.errors import Conflict, Invalid, NotFound
from store.postgres import Tenant
from store.workflows import Workflow

pytestmark = pytest.mark.anyio

V1 = {"name": "a", "nodes": [{"id": "one"}]}
V2 = {"name": "a", "nodes": [{"id": "two"}]}


@pytest.fixture
async def workflow(tenant: Tenant, owner: str) -> Workflow:
    return await workflows.create(tenant, name="a", description="first", definition=V1, user_id=owner)


async def test_a_workflow_is_found_by_name_and_by_id(tenant: Tenant, workflow: Workflow) -> None:
    assert workflow == await workflows.get(tenant, "a") == await workflows.get(tenant, workflow.id)
    assert (workflow.revision, workflow.active_version, workflow.draft) == (1, None, V1)
    with pytest.raises(NotFound, match="'b'"):
        await workflows.get(tenant, "b")


async def test_an_id_wins_over_a_name_that_looks_like_it(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    await workflows.create(tenant, name=workflow.id, description="", definition=V2, user_id=owner)
    assert (await workflows.get(tenant, workflow.id)).name == "a"


async def test_a_name_is_taken_until_its_workflow_is_deleted(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    with pytest.raises(Conflict, match="workflow of this name"):
        await workflows.create(tenant, name="a", description="", definition=V1, user_id=owner)
    await workflows.delete(tenant, workflow.id)
    assert await workflows.find(tenant, "a") is None
    with pytest.raises(NotFound):
        await workflows.delete(tenant, workflow.id)
    again = await workflows.create(tenant, name="a", description="", definition=V1, user_id=owner)
    assert again.id != workflow.id


async def test_an_edit_names_the_revision_it_is_based_on(tenant: Tenant, workflow: Workflow) -> None:
    saved = await workflows.save_draft(tenant, workflow.id, revision=1, name="b", description="second", definition=V2)
    assert (saved.revision, saved.name, saved.description, saved.draft) == (2, "b", "second", V2)
    with pytest.raises(Conflict, match="revision 2 by now, not 1") as caught:
        await workflows.save_draft(tenant, workflow.id, revision=1, name="b", description="", definition=V1)
    assert caught.value.details["revision"] == 2
    with pytest.raises(NotFound):
        await workflows.save_draft(tenant, workflow.id[:-6] + "000000", revision=1, name="b", description="", definition=V1)


async def test_of_many_edits_at_once_one_wins(tenant: Tenant, workflow: Workflow) -> None:
    outcomes: list[str] = []

    async def edit(number: int) -> None:
        try:
            await workflows.save_draft(tenant, workflow.id, revision=1, name="a", description="", definition={"n": number})
            outcomes.append("saved")
        except Conflict:
            outcomes.append("conflict")

    async with anyio.create_task_group() as group:
        for number in range(8):
            group.start_soon(edit, number)
    assert sorted(outcomes) == ["conflict"] * 7 + ["saved"]


async def test_publishing_makes_the_next_version_and_leaves_the_earlier_ones(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    first = await workflows.publish(tenant, workflow.id, user_id=owner, note="go")
    await workflows.save_draft(tenant, workflow.id, revision=1, name="a", description="", definition=V2)
    second = await workflows.publish(tenant, workflow.id, user_id=owner, revision=2)
    assert [(v.number, v.definition, v.note) for v in (first, second)] == [(1, V1, "go"), (2, V2, "")]
    assert await workflows.get_version(tenant, workflow.id, 1) == first
    assert [version.number for version in await workflows.list_versions(tenant, workflow.id)] == [2, 1]
    assert (await workflows.get(tenant, "a")).active_version == 2
    with pytest.raises(NotFound):
        await workflows.get_version(tenant, workflow.id, 3)


async def test_publishing_another_revision_than_the_one_that_was_read_is_refused(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    with pytest.raises(Conflict):
        await workflows.publish(tenant, workflow.id, user_id=owner, revision=7)
    assert await workflows.list_versions(tenant, workflow.id) == []


async def test_publishing_at_once_gives_every_version_a_number_of_its_own(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    numbers: list[int] = []

    async def publish() -> None:
        numbers.append((await workflows.publish(tenant, workflow.id, user_id=owner)).number)

    async with anyio.create_task_group() as group:
        for _ in range(8):
            group.start_soon(publish)
    assert sorted(numbers) == list(range(1, 9))


async def test_an_earlier_version_can_be_made_active_again(tenant: Tenant, owner: str, workflow: Workflow) -> None:
    assert await workflows.published(tenant) == []
    await workflows.publish(tenant, workflow.id, user_id=owner)
    await workflows.save_draft(tenant, workflow.id, revision=1, name="a", description="", definition=V2)
    await workflows.publish(tenant, workflow.id, user_id=owner)
    await workflows.set_active(tenant, workflow.id, 1)
    [published] = await workflows.published(tenant)
    assert (published.name, published.version, published.definition) == ("a", 1, V1)
    assert await workflows.find_published(tenant, "a") == published
    assert await workflows.find_published(tenant, "b") is None
    with pytest.raises(NotFound):
        await workflows.set_active(tenant, workflow.id, 3)


async def test_a_definition_is_kept_once(tenant: Tenant, workflow: Workflow) -> None:
    address = await workflows.store_definition(tenant, V1)
    assert address == workflow.draft_digest
    assert await workflows.definition(tenant, address) == V1
    with pytest.raises(NotFound):
        await workflows.definition(tenant, bytes(32))


async def test_a_list_is_walked_page_by_page_with_its_total(tenant: Tenant, other_tenant: Tenant, owner: str) -> None:
    for number in range(7):
        await workflows.create(tenant, name=f"w{number}", description="Ünï" * number, definition=V1, user_id=owner)
    names: list[str] = []
    cursor = None
    while True:
        page = await workflows.list_page(tenant, limit=3, cursor=cursor)
        names += [item.name for item in page.items]
        assert page.total == 7
        if (cursor := page.next_cursor) is None:
            break
    assert names == [f"w{number}" for number in range(7)] == await workflows.names(tenant)
    assert (await workflows.list_page(other_tenant)).total == 0


async def test_a_search_looks_in_names_and_descriptions_and_takes_no_wildcards(tenant: Tenant, owner: str) -> None:
    await workflows.create(tenant, name="refund", description="Gives MONEY back", definition=V1, user_id=owner)
    await workflows.create(tenant, name="report", description="100% of it", definition=V1, user_id=owner)
    for search, expected in (
        ("money", ["refund"]),
        ("RE", ["refund", "report"]),
        ("0%", ["report"]),
        ("_", []),
        ("", ["refund", "report"]),
    ):
        page = await workflows.list_page(tenant, search=search, limit=1)
        assert (page.total, [item.name for item in page.items]) == (len(expected), expected[:1])


@pytest.mark.parametrize("cursor", ["", "x", "é", "W10", "eyJhIjoxfQ", "WzFd", "WyJhIiwiYiJd"])
async def test_a_cursor_from_elsewhere_is_refused(tenant: Tenant, cursor: str) -> None:
    with pytest.raises(Invalid, match="cursor"):
        await workflows.list_page(tenant, cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_page_has_bounds(tenant: Tenant, limit: int) -> None:
    with pytest.raises(Invalid, match="limit"):
        await workflows.list_page(tenant, limit=limit)
