"""Workflows as data: saved only when they can run, changed only by whoever knows the latest revision, published once and for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import yaml

from graphs import authoring
from graphs.definition import Definition
from graphs.diagrams import mermaid
from graphs.nodetype import Effect
from graphs.pinning import pinned
from store.errors import Conflict, Invalid, NotFound
from tests.server.conftest import House
from tests.server.samples import ASK, HELLO

pytestmark = pytest.mark.anyio
WRONG = {**HELLO, "nodes": [{"id": "greet", "type": "sett", "config": {"values": {"text": "Hello"}}}]}


@pytest.mark.promise("P4")
async def test_what_has_errors_is_not_saved_and_every_problem_comes_back(house: House) -> None:
    workflow, report = await authoring.create(house.runtime, house.actor(), WRONG)
    assert workflow is None
    assert not report.ok
    assert (await authoring.list(house.runtime, house.actor())).total == 0


async def test_the_patch_a_diagnostic_offers_makes_the_definition_valid(house: House) -> None:
    report = await authoring.check(house.runtime, house.actor(), WRONG)
    [problem] = [item for item in report.diagnostics if item.severity == "error"]
    assert problem.pointer == "/nodes/0/type"
    repaired = authoring.patched(WRONG, [*problem.patch])
    assert (await authoring.check(house.runtime, house.actor(), repaired)).ok


async def test_yaml_and_json_text_are_the_same_workflow(house: House) -> None:
    workflow, _ = await authoring.create(house.runtime, house.actor(), yaml.safe_dump(HELLO, sort_keys=False))
    assert workflow is not None
    assert workflow.draft == HELLO


async def test_an_edit_is_atomic_and_based_on_the_latest_revision(house: House) -> None:
    name = await house.create(HELLO)
    runtime, actor = house.runtime, house.actor()
    good: dict[str, Any] = {"op": "replace", "path": "/description", "value": "new"}
    with pytest.raises(Invalid, match="Operation 1"):
        await authoring.edit(runtime, actor, name, [good, {"op": "remove", "path": "/nodes/7"}], 1)
    kept, report = await authoring.edit(runtime, actor, name, [good, {"op": "replace", "path": "/nodes/0/type", "value": "sett"}], 1)
    assert not report.ok
    assert kept.revision == 1
    edited, report = await authoring.edit(runtime, actor, name, [good], 1)
    assert report.ok
    assert (edited.revision, edited.description, edited.draft["description"]) == (2, "new", "new")
    with pytest.raises(Conflict, match="revision 2"):
        await authoring.edit(runtime, actor, name, [good], 1)


async def test_of_two_edits_of_one_revision_one_wins(house: House) -> None:
    name = await house.create(HELLO)
    edits = [
        authoring.edit(house.runtime, house.actor(), name, [{"op": "replace", "path": "/description", "value": str(n)}], 1)
        for n in range(5)
    ]
    done = await asyncio.gather(*edits, return_exceptions=True)
    assert sum(isinstance(item, tuple) for item in done) == 1
    assert all(isinstance(item, Conflict) for item in done if not isinstance(item, tuple))


@pytest.mark.parametrize(
    "operation",
    [
        {},
        {"op": "add"},
        {"op": "nope", "path": "/a"},
        {"op": "replace", "path": "/nodes/0/nope/deeper", "value": 1},
        {"op": "remove", "path": "nodes"},
        {"op": "move", "from": "/nodes", "path": "/nodes/0"},
        {"op": "test", "path": "/name", "value": "other"},
        {"op": "add", "path": "/nodes/x", "value": 1},
        {"op": "add", "path": 7, "value": 1},
        {"op": ["add"], "path": "/a", "value": 1},
        {"op": "copy", "from": "/nowhere", "path": "/a"},
    ],
)
def test_a_patch_that_does_not_apply_says_which_operation(operation: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="Operation 0"):
        authoring.patched(HELLO, [operation])


@pytest.mark.promise("P8")
def test_a_patch_of_copies_cannot_fill_the_memory() -> None:
    bomb: list[dict[str, Any]] = [{"op": "add", "path": "/vars", "value": {"a": "x" * 1000}}]
    bomb += [{"op": "copy", "from": "/vars", "path": f"/vars/{n}"} for n in range(40)]
    with pytest.raises(Invalid, match="longer than"):
        authoring.patched(HELLO, bomb)


@pytest.mark.promise("P5")
async def test_a_version_never_changes_and_runs_keep_theirs(house: House) -> None:
    name = await house.publish(HELLO)
    runtime, actor = house.runtime, house.actor()
    before = await pinned(actor.tenant, name, None)
    patch = [{"op": "replace", "path": "/nodes/0/config/values/text", "value": "Bye"}]
    await authoring.edit(runtime, actor, name, patch, 1)
    assert (await authoring.publish(runtime, actor, name, "second")).number == 2
    assert (await pinned(actor.tenant, name, 1)).body == before.body == HELLO
    assert (await pinned(actor.tenant, name, None)).version == 2
    workflow = await authoring.get(runtime, actor, name)
    first, second = [await authoring.document(runtime, actor, workflow, number) for number in (1, 2)]
    assert authoring.patched(first, authoring.diff(first, second)) == second
    with pytest.raises(NotFound, match="no version 3"):
        await pinned(actor.tenant, name, 3)


async def test_unknown_names_come_with_the_nearest(house: House) -> None:
    await house.create(HELLO)
    with pytest.raises(NotFound, match="Did you mean hello-world"):
        await authoring.get(house.runtime, house.actor(), "helo-world")
    with pytest.raises(Conflict, match="publish_workflow"):
        await pinned(house.tenant, "hello-world", None)
    with pytest.raises(Conflict, match="name"):
        await authoring.create(house.runtime, house.actor(), HELLO)


async def test_what_a_workflow_may_do_is_read_from_its_steps(house: House) -> None:
    await house.publish(HELLO)
    [item] = await authoring.published(house.runtime, house.actor())
    assert (item.name, item.version, item.effects) == ("hello-world", 1, {Effect.PURE})
    inside = {"id": "call", "type": "http", "config": {"method": "POST", "url": "https://example.com"}}
    each = {"id": "each", "type": "foreach", "config": {"items": [1], "body": {"nodes": [inside]}}}
    assert authoring.effects({"name": "a", "nodes": [each]}) - {Effect.PURE}
    child = {"id": "child", "type": "subflow", "config": {"workflow": "hello-world"}}
    assert Effect.WRITE_ONCE in authoring.effects({"name": "a", "nodes": [child]}), "who knows what it will be by then"
    assert authoring.effects({"name": "a", "nodes": [{"id": "x", "type": "gone"}]}) == {Effect.WRITE_ONCE}


def test_a_diagram_shows_groups_conditions_and_error_ways_and_lets_no_label_out() -> None:
    evil: dict[str, Any] = {"id": "evil", "type": "set", "name": 'x"] --> y["<script>`;%%', "config": {}}
    body: dict[str, Any] = {"nodes": [{"id": "one", "type": "set"}, {"id": "two", "type": "set"}], "edges": [{"from": "one", "to": "two"}]}
    definition: dict[str, Any] = {
        **ASK,
        "nodes": [*ASK["nodes"], evil, {"id": "each", "type": "foreach", "config": {"items": [1], "body": body}}],
        "edges": [*ASK["edges"], {"from": "done", "to": "each", "branch": "error"}],
    }
    lines = mermaid(Definition.model_validate(definition)).splitlines()
    assert '  ok(["ok (approval)"])' in lines
    assert '  ok -->|"nodes.ok.approved"| done' in lines
    assert '  subgraph each["each (foreach)"]' in lines
    assert "    each__one --> each__two" in lines
    assert '  done -.->|"error"| each' in lines
    [label] = [line for line in lines if line.startswith("  evil")]
    assert label.count('"') == 2
    assert not set("<>`;%&") & set(label.replace("#", "").split('"')[1]) - {";"}


@pytest.mark.promise("P5")
async def test_the_name_of_a_published_workflow_stays(house: House) -> None:
    name = await house.create(HELLO)
    runtime, actor = house.runtime, house.actor()
    rename: list[dict[str, Any]] = [{"op": "replace", "path": "/name", "value": "other"}]
    edited, _ = await authoring.edit(runtime, actor, name, rename, 1)
    await authoring.publish(runtime, actor, edited.name, "")
    with pytest.raises(Invalid, match="is published"):
        await authoring.edit(runtime, actor, "other", [{**rename[0], "value": "third"}], edited.revision)
