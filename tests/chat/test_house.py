"""Weft's own tools inside a run: the same answers as over MCP, with the rights the user has at that moment, and no run that starts itself
without end."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from graphs import authoring, forking, lending, runs, tasks
from graphs.definition import Json
from graphs.nodetype import Effect
from graphs.runs import MAX_HANDED_ON
from graphs.runtime import Actor
from server import lent
from server.auth import scopes_of
from server.chat_tools import chat_tool_files
from server.tools import tool_files
from store.errors import Invalid
from store.runs import Run
from tests.server.conftest import House, connected, told
from tests.server.samples import ASK, HELLO, ROLES

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
NOBODY = "01999999-0000-7000-8000-000000000000"


def using(*calls: tuple[str, dict[str, Any]], name: str = "uses-tools") -> dict[str, Any]:
    """A definition whose steps t0, t1, … call tools, one after the other."""
    nodes = [{"id": f"t{at}", "type": "house_tool", "config": {"tool": tool, "arguments": given}} for at, (tool, given) in enumerate(calls)]
    edges = [{"from": f"t{at}", "to": f"t{at + 1}"} for at in range(len(calls) - 1)]
    return {"name": name, "nodes": nodes, "edges": edges, "output": {f"t{at}": f"{{{{ nodes.t{at} }}}}" for at in range(len(calls))}}


async def used(house: House, role: str, *calls: tuple[str, dict[str, Any]]) -> Run:
    actor = house.actor(role)
    started = await runs.start_definition(
        house.runtime, actor, definition=using(*calls), input={"hello": HELLO}, mode="production", mocks=None, name="uses-tools"
    )
    return await runs.wait(house.runtime, actor, started.id, seconds=20)


def failure(run: Run) -> tuple[str, str]:
    assert run.state == "failed", run.output
    return run.error["code"], run.error["message"]


def test_every_tool_is_lent_and_its_effect_is_not_less_than_its_hints_say() -> None:
    assert set(lending.EFFECTS) == set(tool_files()) | set(chat_tool_files())
    for name, file in lent.files().items():
        effect = lending.EFFECTS[name]
        assert (effect is Effect.READ) == bool(file.annotations.read_only_hint), name
        assert effect is not Effect.PURE
    assert {name for name, effect in lending.EFFECTS.items() if effect is Effect.WRITE_IDEMPOTENT} >= lending.KEYED
    assert {name for name, effect in lending.EFFECTS.items() if effect is not Effect.READ} >= lending.ASKED


@pytest.mark.parametrize("role", ROLES)
def test_the_catalogue_of_a_role_is_what_its_scopes_allow(role: str) -> None:
    names = [spec.name for spec in lent.specs(role)]
    assert names == sorted(name for name, file in lent.files().items() if file.scope in scopes_of(role))
    assert all(spec.schema["type"] == "object" and spec.description for spec in lent.specs(role))


async def test_a_step_gets_what_a_model_gets_over_mcp(house: House, url: str) -> None:
    await house.publish(HELLO)
    run = await used(house, "owner", ("get_workflow", {"workflow": "hello-world"}), ("get_guide", {"section": "start"}))
    async with connected(url, house.keys["owner"]) as client:
        over_mcp = told(await client.call_tool("get_workflow", {"workflow": "hello-world"}))
    assert run.output["t0"] == over_mcp
    assert "workflow" in run.output["t1"]


async def test_a_workflow_is_made_published_and_started_by_steps_as_their_user(house: House) -> None:
    run = await used(
        house,
        "builder",
        ("create_workflow", {"definition": "{{ input.hello }}"}),
        ("test_workflow", {"workflow": "hello-world", "input": {"name": "Ada"}}),
        ("publish_workflow", {"workflow": "hello-world", "note": "first"}),
        ("start_run", {"workflow": "hello-world", "input": {"name": "Bob"}, "wait_seconds": 20}),
    )
    assert run.state == "succeeded", run.error
    assert run.output["t3"]["output"] == {"text": "Hello Bob"}
    inner = await runs.get(house.runtime, house.actor("viewer"), run.output["t3"]["run_id"])
    assert inner.state == "succeeded"


async def test_the_words_of_an_error_are_those_of_the_tool(house: House) -> None:
    assert failure(await used(house, "owner", ("get_run", {"run_id": NOBODY})))[0] == "not_found"
    code, message = failure(await used(house, "owner", ("get_run", {"runid": "x"})))
    assert code == "bad_arguments"
    assert "Did you mean run_id?" in message
    assert failure(await used(house, "owner", ("answer_task", {"task_id": NOBODY, "answer": {}})))[0] == "not_found"


async def test_a_role_that_may_not_is_refused_and_one_lost_meanwhile_too(house: House, admin_url: str) -> None:
    code, message = failure(await used(house, "viewer", ("create_workflow", {"definition": "{{ input.hello }}"})))
    assert code == "denied"
    assert "viewer" in message
    ask = {"id": "ok", "type": "approval", "config": {"title": "Go on?"}}
    create = {"id": "make", "type": "house_tool", "config": {"tool": "create_workflow", "arguments": {"definition": "{{ input.hello }}"}}}
    definition: Json = {"name": "later", "nodes": [ask, create], "edges": [{"from": "ok", "to": "make"}]}
    actor = house.actor("builder")
    started = await runs.start_definition(
        house.runtime, actor, definition=definition, input={"hello": HELLO}, mode="production", mocks=None, name="later"
    )
    waiting = await runs.wait(house.runtime, actor, started.id, seconds=20)
    with psycopg.connect(admin_url) as admin:
        admin.execute("UPDATE weft.users SET role = 'viewer' WHERE id = %s", (house.users["builder"],))
    await tasks.answer(house.runtime, house.actor("owner"), waiting.waiting_for[0]["task_id"], {"approved": True})
    run = await runs.wait(house.runtime, actor, started.id, seconds=20)
    assert failure(run)[0] == "denied"


async def test_a_start_under_the_key_of_its_step_happens_once_however_often_it_is_repeated(house: House) -> None:
    await house.publish(ASK)
    call = {"workflow": "ask-first", "input": {"what": "it"}}
    actor = house.actor()
    own = house.runtime.engine.house
    assert own is not None
    first, second, other = [
        await own.call(actor.tenant, actor.user_id, "r", "start_run", dict(call), key=key) for key in ("r/a", "r/a", "r/b")
    ]
    assert first["run_id"] == second["run_id"] != other["run_id"]


async def test_the_same_deep_step_of_two_runs_starts_two_runs(house: House) -> None:
    await house.publish(ASK)
    actor, deep, own = house.actor(), "/a_long_name_of_a_step" * 10, house.runtime.engine.house
    assert own is not None
    call = {"workflow": "ask-first", "input": {"what": "it"}}
    started = [await own.call(actor.tenant, actor.user_id, "r", "start_run", dict(call), key=run + deep) for run in ("one", "two", "two")]
    assert started[0]["run_id"] != started[1]["run_id"] == started[2]["run_id"]


@pytest.mark.parametrize(
    "event", [{"name": "weft.call_ended"}, {"name": "paid", "idempotency_key": "step:r/a"}, {"name": "paid", "idempotency_key": "voice:c"}]
)
async def test_nobody_takes_the_names_and_keys_of_wefts_own_events(house: House, url: str, event: dict[str, str]) -> None:
    code, message = failure(await used(house, "owner", ("send_event", event)))
    assert (code, "Weft" in message) == ("invalid", True)
    async with connected(url, house.keys["owner"]) as client:
        assert (await client.call_tool("send_event", event)).is_error


async def test_a_workflow_that_starts_itself_comes_to_an_end(house: House) -> None:
    definition = using(("start_run", {"workflow": "again", "wait_seconds": 0}), name="again")
    await house.publish(definition)
    run = await house.run("again")
    depth = 0
    while run.state == "succeeded":
        depth += 1
        run = await runs.wait(house.runtime, house.actor(), run.output["t0"]["run_id"], seconds=20)
    assert depth == MAX_HANDED_ON
    assert failure(run) == ("invalid", f"runs have started one another {MAX_HANDED_ON} deep, and go no deeper; does 'again' start itself?")


async def test_a_fork_by_a_run_is_as_deep_as_a_start(house: House) -> None:
    name = await house.publish(HELLO)
    source = await house.run(name, {"name": "Ada"})
    deep = Actor(tenant=house.tenant, user_id=house.users["owner"], user_name="Olga", role="owner", via="chat", depth=MAX_HANDED_ON + 1)
    with pytest.raises(Invalid, match="go no deeper"):
        await forking.fork(house.runtime, deep, source.id, node="greet", changes=forking.Changes(edits={}, vars={}))


async def test_a_process_without_a_house_says_so(house: House) -> None:
    house.runtime.engine.house = None
    assert failure(await used(house, "owner", ("list_runs", {})))[0] == "no_house"


async def test_a_tool_that_is_not_there_is_refused_when_it_is_written(house: House) -> None:
    report = await authoring.check(house.runtime, house.actor(), using(("list_run", {})))
    [problem] = [item for item in report.diagnostics if item.severity == "error"]
    assert "did you mean 'list_runs'?" in problem.message
