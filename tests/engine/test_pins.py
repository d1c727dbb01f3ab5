"""The active version is remembered between starts, and yet every start gets the one that is active at that moment."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from graphs import runs
from graphs.pinning import CACHED, Pinned, Pins
from store import workflows
from store.errors import Invalid, NotFound
from store.workflows import Workflow
from tests.engine.conftest import House, flow, put

pytestmark = pytest.mark.anyio


def version(says: str, **more: Any) -> dict[str, Any]:
    return {**flow(put("a", says=says), output={"says": "{{ nodes.a.says }}"}), **more}


async def says(house: House, name: str, input: Any = None) -> str:
    run = await runs.start(house.runtime, house.actor, workflow=name, input=input or {})
    done = await runs.wait(house.runtime, house.actor, run.id, seconds=20)
    assert done.state == "succeeded", done.error
    return done.output["says"]


async def publish(house: House, name: str, definition: dict[str, Any]) -> Workflow:
    """Another version, by somebody of whom this process does not hear."""
    tenant = house.actor.tenant
    known = await workflows.get(tenant, name)
    await workflows.save_draft(tenant, known.id, revision=known.revision, name=definition["name"], description="", definition=definition)
    await workflows.publish(tenant, known.id, user_id=house.actor.user_id)
    return known


async def test_a_version_that_somebody_else_published_or_took_back_is_the_one_that_runs(running: House) -> None:
    name = await running.publish(version("one"))
    assert [await says(running, name) for _ in range(2)] == ["one", "one"]
    known = await publish(running, name, version("two"))
    assert [await says(running, name) for _ in range(2)] == ["two", "two"]
    await workflows.set_active(running.actor.tenant, known.id, 1)
    assert await says(running, name) == "one"


async def test_an_input_is_judged_by_the_version_that_is_active_now(running: House) -> None:
    name = await running.publish(version("one", input={"type": "object", "required": ["old"]}))
    assert await says(running, name, {"old": 1}) == "one"
    await publish(running, name, version("two", input={"type": "object", "required": ["new"]}))
    assert await says(running, name, {"new": 1}) == "two"
    with pytest.raises(Invalid, match="'new' is a required property"):
        await says(running, name, {"old": 1})


async def test_a_name_that_is_gone_or_has_moved_is_not_remembered(running: House) -> None:
    name = await running.publish(version("one"))
    assert await says(running, name) == "one"
    await publish(running, name, {**version("two"), "name": "moved"})
    with pytest.raises(NotFound):
        await says(running, name)
    assert await says(running, "moved") == "two"
    second = await running.publish(version("three"))
    assert await says(running, second) == "three"
    await workflows.delete(running.actor.tenant, (await workflows.get(running.actor.tenant, "moved")).id)
    with pytest.raises(NotFound):
        await says(running, "moved")


async def test_a_start_is_found_again_by_its_key_though_another_version_is_active(running: House) -> None:
    name = await running.publish(version("one"))
    assert await says(running, name) == "one"
    first = await runs.start(running.runtime, running.actor, workflow=name, input={}, idempotency_key="k")
    await publish(running, name, version("two"))
    assert (await runs.start(running.runtime, running.actor, workflow=name, input={}, idempotency_key="k")).id == first.id


def test_only_so_many_are_remembered_and_the_oldest_goes() -> None:
    pins = Pins()
    pin = Pinned(workflow_id="w", name="", version=1, digest=b"", body={})
    for number in range(CACHED):
        pins.keep("acme", replace(pin, name=str(number)))
    assert pins.get("acme", "0")
    pins.keep("acme", replace(pin, name="new"))
    assert (pins.get("acme", "0") is not None, pins.get("acme", "1")) == (True, None)
    assert pins.get("other", "0") is None
