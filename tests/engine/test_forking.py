"""Forks and re-runs: what stays, what runs anew, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from graphs import authoring, forking, runs, steering
from graphs.forking import Changes
from store import runs as run_rows
from store import workflows
from store.errors import Conflict, Invalid, NotFound
from store.runs import Run
from tests.engine.conftest import House, flow, put
from tests.engine.test_waiting import APPROVAL, answer, until

pytestmark = pytest.mark.anyio
COUNT = {"id": "note", "type": "set", "config": {"values": {"n": "{{ nodes.a.n }}"}, "vars": {"seen": "{{ vars.seen + 1 }}"}}}


def script(id: str, code: str) -> dict[str, Any]:
    return {"id": id, "type": "script", "config": {"code": code}}


async def forked(house: House, run_id: str, node: str | None = None, *, version: Any = None, input: Any = None, **changes: Any) -> Run:
    """The fork, once it is finished or needs somebody."""
    wanted = Changes(edits=changes.get("edits", {}), vars=changes.get("vars", {}), input=input)
    made = await forking.fork(house.runtime, house.actor, run_id, node=node, changes=wanted, version=version)
    return await runs.wait(house.runtime, house.actor, made.id, seconds=20)


async def attempts(house: House, run_id: str) -> dict[str, str]:
    return {step.position: step.state for step in await runs.trace(house.runtime, house.actor, run_id)}


async def begun(house: House, run_id: str) -> set[str]:
    """Steps that this run itself has settled, and not taken over."""
    events = await runs.events(house.runtime, house.actor, run_id)
    return {event.position for event in events if event.type in ("step.succeeded", "step.failed") and event.position}


CHAIN = flow(put("a", n=1), put("b", n="{{ nodes.a.n + 1 }}"), put("c", n="{{ nodes.b.n + 1 }}"), edges=[("a", "b"), ("b", "c")])


async def test_a_fork_repeats_the_step_and_what_follows_and_keeps_what_came_before(running: House) -> None:
    run = await running.run(CHAIN)
    fork = await forked(running, run.id, "b")
    assert (fork.state, fork.output, fork.forked_from, fork.forked_at) == ("succeeded", {"n": 3}, run.id, "b")
    assert await begun(running, fork.id) == {"b", "c"}
    assert await attempts(running, fork.id) == {"a": "succeeded", "b": "succeeded", "c": "succeeded"}
    for run_id, other in ((run.id, fork.id), (fork.id, run.id)):
        told = [event for event in await runs.events(running.runtime, running.actor, run_id) if event.type == "run.forked"]
        assert [event.data for event in told] == [{"run_id": other}]


async def test_an_edited_output_is_what_the_following_steps_see(running: House) -> None:
    run = await running.run(CHAIN)
    fork = await forked(running, run.id, edits={"a": {"n": 10}})
    assert fork.output == {"n": 12}
    assert await begun(running, fork.id) == {"b", "c"}
    assert (await runs.node(running.runtime, running.actor, run.id, "a")).output == {"n": 1}


async def test_a_fork_parts_from_a_failed_run_with_what_was_missing(running: House) -> None:
    bad = put("b", n="{{ nodes.a.list[5] }}")
    run = await running.run(flow(put("a", list=[1]), bad, put("c", n="{{ nodes.b.n }}"), edges=[("a", "b"), ("b", "c")]))
    assert run.state == "failed"
    fork = await forked(running, run.id, edits={"b": {"n": 7}})
    assert (fork.state, fork.output) == ("succeeded", {"n": 7})


async def test_edges_are_decided_again_behind_an_edited_step(running: House) -> None:
    definition = flow(
        put("a", go=True),
        put("yes"),
        put("no"),
        edges=[("a", "yes", {"when": "nodes.a.go"}), ("a", "no", {"when": "not nodes.a.go"})],
    )
    run = await running.run(definition)
    assert run.output == {"yes": {"at": "yes"}}
    fork = await forked(running, run.id, edits={"a": {"go": False}})
    assert fork.output == {"no": {"at": "no"}}
    assert await attempts(running, fork.id) == {"a": "succeeded", "yes": "skipped", "no": "succeeded"}


async def test_branches_beside_the_step_stay(running: House) -> None:
    definition = flow(put("a"), put("b"), put("c"), put("d"), edges=[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    run = await running.run(definition)
    fork = await forked(running, run.id, "b")
    assert await begun(running, fork.id) == {"b", "d"}


EACH = {
    "id": "each",
    "type": "foreach",
    "config": {
        "items": "{{ input.items }}",
        "body": {"nodes": [put("one", v="{{ item }}"), put("two", v="{{ nodes.one.v * 2 }}")], "edges": [{"from": "one", "to": "two"}]},
    },
}


async def test_inside_a_foreach_only_its_iteration_and_what_follows_the_group_runs_anew(running: House) -> None:
    run = await running.run(flow(EACH, put("sum", v="{{ nodes.each.items }}"), edges=[("each", "sum")]), {"items": [1, 2, 3]})
    fork = await forked(running, run.id, "each[1]/two")
    assert fork.output == {"v": [{"v": 2}, {"v": 4}, {"v": 6}]}
    assert await begun(running, fork.id) == {"each[1]/two", "each", "sum"}
    edited = await forked(running, run.id, edits={"each[1]/one": {"v": 50}})
    assert edited.output == {"v": [{"v": 2}, {"v": 100}, {"v": 6}]}
    assert await begun(running, edited.id) == {"each[1]/two", "each", "sum"}


async def test_passes_of_a_while_after_the_step_run_anew(running: House) -> None:
    body = {"nodes": [put("tick", n="{{ index }}")]}
    loop = {"id": "loop", "type": "while", "config": {"condition": "last == None or last.n < 3", "body": body}}
    run = await running.run(flow(loop))
    assert run.output == {"last": {"n": 3}, "iterations": 4}
    fork = await forked(running, run.id, "loop[2]/tick")
    assert fork.output == run.output
    assert await begun(running, fork.id) == {"loop[2]/tick", "loop[3]/tick", "loop"}
    ended = await forked(running, run.id, edits={"loop[1]/tick": {"n": 9}})
    assert ended.output == {"last": {"n": 9}, "iterations": 2}


async def test_what_a_try_caught_is_forgotten_when_its_body_is_repeated_and_holds_in_its_catch(running: House) -> None:
    block = {
        "id": "safe",
        "type": "try",
        "config": {
            "body": {
                "nodes": [script("first", "return {'list': []}"), put("risky", v="{{ nodes.first.list[0] }}")],
                "edges": [{"from": "first", "to": "risky"}],
            },
            "catch": {"nodes": [put("note", why="{{ error.code }}"), put("after")], "edges": [{"from": "note", "to": "after"}]},
            "finally": {"nodes": [put("tidy")]},
        },
    }
    run = await running.run(flow(block))
    assert (run.state, run.output) == ("succeeded", {"at": "after"})
    mended = await forked(running, run.id, edits={"safe/first": {"list": [5]}})
    assert (mended.state, mended.output) == ("succeeded", {"v": 5})
    assert await begun(running, mended.id) == {"safe/risky", "safe/tidy", "safe"}
    again = await forked(running, run.id, "safe/after")
    assert (again.state, again.output) == ("succeeded", {"at": "after"})
    assert await begun(running, again.id) == {"safe/after", "safe/tidy", "safe"}


async def test_a_race_is_run_again_when_a_step_in_it_is(running: House) -> None:
    race = {
        "id": "race",
        "type": "race",
        "config": {
            "branches": {"quick": {"nodes": [put("quick")]}, "slow": {"nodes": [{"id": "w", "type": "wait", "config": {"seconds": 60}}]}}
        },
    }
    run = await running.run(flow(race))
    fork = await forked(running, run.id, edits={"quick": {"at": "another"}})
    assert fork.output == {"winner": "quick", "output": {"at": "another"}}


LOOP = flow(
    put("draft", text="x"),
    script("review", "return {'visits': (nodes['review'] or {'visits': 0})['visits'] + 1}"),
    put("publish", n="{{ nodes.review.visits }}"),
    edges=[
        ("draft", "review"),
        ("review", "draft", {"when": "nodes.review.visits < 3", "max_loops": 5}),
        ("review", "publish", {"when": "nodes.review.visits >= 3"}),
    ],
)


async def test_later_passes_of_a_loop_of_edges_run_anew_and_earlier_ones_stay(running: House) -> None:
    run = await running.run(LOOP)
    assert run.output == {"n": 3}
    fork = await forked(running, run.id, "review:2")
    assert fork.output == {"n": 3}
    assert await begun(running, fork.id) == {"review:2", "draft:3", "review:3", "publish"}
    cut_short = await forked(running, run.id, edits={"review": {"visits": 8}})
    assert cut_short.output == {"n": 8}
    assert await begun(running, cut_short.id) == {"publish"}


async def test_run_variables_keep_their_values_and_can_be_changed(running: House) -> None:
    definition = flow(put("a", n=1), COUNT, put("end", seen="{{ vars.seen }}"), edges=[("a", "note"), ("note", "end")], vars={"seen": 0})
    run = await running.run(definition)
    assert run.output == {"seen": 1}
    assert (await forked(running, run.id, "end")).output == {"seen": 1}
    changed = await forked(running, run.id, "end", vars={"seen": 40})
    assert changed.output == {"seen": 40}
    assert (await forked(running, changed.id, "end")).output == {"seen": 40}
    assert (await forked(running, run.id, "a", vars={"seen": 40})).output == {"seen": 41}
    with pytest.raises(Invalid, match="Did you mean seen"):
        await forked(running, run.id, "end", vars={"sen": 1})


async def test_a_fork_of_a_waiting_run_leaves_it_waiting(running: House) -> None:
    run = await running.run(
        flow(put("a"), APPROVAL, put("ship", ok="{{ nodes.ok.approved }}"), edges=[("a", "ok"), ("ok", "ship")]), {"what": "x"}
    )
    fork = await forked(running, run.id, edits={"ok": {"approved": True}})
    assert fork.output == {"ok": True}
    asked = await forked(running, run.id, "ok")
    assert asked.state == "waiting"
    await answer(running, asked.id, {"approved": False})
    assert (await until(running, asked.id, "succeeded")).output == {"ok": False}
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "waiting"


async def published(house: House, *definitions: dict[str, Any]) -> str:
    name = await house.publish(definitions[0])
    for definition in definitions[1:]:
        flow_now = await workflows.get(house.actor.tenant, name)
        await workflows.save_draft(
            house.actor.tenant, flow_now.id, revision=flow_now.revision, name=name, description="", definition=definition
        )
        await workflows.publish(house.actor.tenant, flow_now.id, user_id=house.actor.user_id)
    return name


async def started(house: House, name: str, **more: Any) -> Run:
    run = await runs.start(house.runtime, house.actor, workflow=name, input=more.pop("input", {}), **more)
    return await runs.wait(house.runtime, house.actor, run.id, seconds=20)


async def test_a_failed_run_goes_on_in_the_corrected_version(running: House) -> None:
    broken = flow(put("a", n=1), put("b", n="{{ nodes.a.n[0] }}"), edges=[("a", "b")])
    mended = flow(put("a", n=2), put("b", n="{{ nodes.a.n }}"), put("c", n="{{ nodes.b.n }}"), edges=[("a", "b"), ("b", "c")])
    run = await started(running, await published(running, broken, mended), version=1)
    assert run.state == "failed"
    fork = await forked(running, run.id, version=2)
    assert (fork.state, fork.version, fork.output) == ("succeeded", 2, {"n": 1}), "what a gave stays"
    assert await begun(running, fork.id) == {"b", "c"}
    assert (await forked(running, run.id, version="active")).version == 2
    assert (await forked(running, run.id, "a", version=2)).output == {"n": 2}
    with pytest.raises(NotFound, match="there are: 2, 1"):
        await forked(running, run.id, version=7)


async def test_steps_that_another_version_lacks_or_has_changed_run_anew_there(running: House) -> None:
    before = flow(put("a", n=1), put("gone"), put("kind"), edges=[("a", "gone"), ("gone", "kind")])
    after = flow(put("a", n=1), script("kind", "return 5"), put("z", v="{{ nodes.kind }}"), edges=[("a", "kind"), ("kind", "z")])
    run = await started(running, await published(running, before, after), version=1)
    fork = await forked(running, run.id, version=2)
    assert fork.output == {"v": 5}
    assert await attempts(running, fork.id) == {"a": "succeeded", "kind": "succeeded", "z": "succeeded"}
    with pytest.raises(Invalid, match="cannot part at gone: it is not in that version"):
        await forked(running, run.id, "gone", version=2)


async def test_a_failure_that_led_on_leads_on_in_another_version_too(running: House) -> None:
    bad = {"id": "bad", "type": "set", "on_error": "route", "config": {"values": {"x": "{{ [1][5] }}"}}}
    edges = [("bad", "good"), ("bad", "handler", {"branch": "error"})]
    before = flow(bad, put("good"), put("handler"), edges=edges)
    after = flow(put("new"), bad, put("good"), put("handler", v=2), edges=list(reversed(edges)))
    run = await started(running, await published(running, before, after), version=1)
    fork = await forked(running, run.id, "handler", version=2)
    assert (fork.state, await begun(running, fork.id)) == ("succeeded", {"new", "handler"})


async def test_run_variables_outlive_the_deciding_again_of_edges(running: House) -> None:
    definition = flow(
        put("a", n=1), COUNT, APPROVAL, put("end", seen="{{ vars.seen }}"), edges=[("a", "note"), ("note", "ok"), ("ok", "end")]
    )
    definition["vars"] = {"seen": 0}
    run = await started(
        running, await published(running, definition, {**definition, "description": "another"}), version=1, input={"what": "x"}
    )
    fork = await forked(running, run.id, version=2)
    assert fork.state == "waiting"
    await answer(running, fork.id, {"approved": True})
    assert (await until(running, fork.id, "succeeded")).output == {"seen": 1}


async def test_a_draft_can_be_tried_on_a_run_that_failed(running: House) -> None:
    name = await published(running, flow(put("a", n=1), put("b", n="{{ nodes.a.n[0] }}"), edges=[("a", "b")]))
    run = await started(running, name)
    patch = [{"op": "replace", "path": "/nodes/1/config/values/n", "value": "{{ nodes.a.n }}"}]
    await authoring.edit(running.runtime, running.actor, name, patch, 1)
    fork = await forked(running, run.id, version="draft")
    assert (fork.version, fork.output) == (None, {"n": 1})
    assert await begun(running, fork.id) == {"b"}


async def test_another_input_is_checked_and_used(running: House) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    run = await running.run(flow(put("a", n="{{ input.n }}"), put("b", n="{{ input.n }}"), edges=[("a", "b")], input=schema), {"n": 1})
    fork = await forked(running, run.id, "b", input={"n": 2})
    assert (fork.input, fork.output) == ({"n": 2}, {"n": 2})
    with pytest.raises(Invalid, match="the input does not fit"):
        await forked(running, run.id, "b", input={"n": "two"})


async def test_a_fork_of_a_test_run_is_one_with_its_mocks(running: House) -> None:
    definition = flow(APPROVAL, put("ship", ok="{{ nodes.ok.approved }}"), edges=[("ok", "ship")])
    run = await running.run(definition, {"what": "x"}, mode="test", mocks={"ok": {"approved": False}})
    fork = await forked(running, run.id, "ok")
    assert (fork.mode, fork.output) == ("test", {"ok": False})


@pytest.mark.parametrize(
    ("node", "changes", "kind", "said"),
    [
        (None, {}, Invalid, "say where the new run parts"),
        ("d", {}, NotFound, "no step 'd' in this run"),
        ("bb", {}, NotFound, "no step 'bb' in this run"),
        (None, {"edits": {"x": 1}}, NotFound, "no step 'x' in this run"),
        ("a", {"edits": {"c": 1}}, Invalid, "the edit of c would be lost"),
        ("a", {"edits": {"a": 1}}, Invalid, "cannot both run anew and keep"),
        (None, {"edits": {"a": 1, "b": 2}}, Invalid, "the edit of b would be lost"),
        (None, {"edits": {"a": "x" * 1_000_001}}, Invalid, "at most 1,000,000"),
        (None, {"version": 2}, Invalid, "not saved as a workflow"),
    ],
)
async def test_what_cannot_be_is_refused_with_a_reason(running: House, node: Any, changes: Any, kind: Any, said: str) -> None:
    run = await running.run(CHAIN)
    with pytest.raises(kind, match=said):
        await forked(running, run.id, node, **changes)
    assert (await runs.page(running.runtime, running.actor)).total == 1


async def test_a_rerun_is_the_same_from_the_start(running: House) -> None:
    run = await running.run(CHAIN)
    again = await forking.rerun(running.runtime, running.actor, run.id)
    again = await runs.wait(running.runtime, running.actor, again.id, seconds=20)
    assert (again.output, again.forked_from, again.forked_at) == (run.output, run.id, None)
    assert await begun(running, again.id) == {"a", "b", "c"}


async def test_a_rerun_may_take_another_version(running: House) -> None:
    run = await started(running, await published(running, flow(put("a", n=1)), flow(put("a", n=2))), version=1)
    assert (
        await runs.wait(running.runtime, running.actor, (await forking.rerun(running.runtime, running.actor, run.id)).id, seconds=20)
    ).output == {"n": 1}
    newer = await forking.rerun(running.runtime, running.actor, run.id, version="active")
    assert (await runs.wait(running.runtime, running.actor, newer.id, seconds=20)).output == {"n": 2}


async def test_large_values_are_taken_over_by_their_digest(running: House) -> None:
    items = ["x" * 100] * 1_000
    body = {"nodes": [put("one", v="{{ index }}")]}
    each = {"id": "each", "type": "foreach", "config": {"items": "{{ input.items }}", "body": body}}
    run = await running.run(flow(each), {"items": items})
    assert run.state == "succeeded"
    fork = await forked(running, run.id, "each[7]/one")
    assert (fork.state, fork.output) == ("succeeded", run.output)
    big = await forked(running, run.id, edits={"each[7]/one": {"v": "y" * 100_000}})
    assert big.output["items"][7] == {"v": "y" * 100_000}


async def test_a_run_that_has_too_many_steps_is_not_forked(running: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await running.run(CHAIN)
    monkeypatch.setattr(forking, "MAX_STEPS", 2)
    with pytest.raises(Conflict, match="more than 2 steps"):
        await forked(running, run.id, "b")


async def test_a_skipped_step_of_a_fork_is_the_forks_alone(running: House) -> None:
    run = await running.run(flow(put("a"), put("bad", x="{{ [1][5] }}"), edges=[("a", "bad")]))
    fork = await forked(running, run.id, "a")
    assert fork.state == "failed"
    await steering.skip(running.runtime, running.actor, fork.id, "bad", {"x": 1})
    assert (await until(running, fork.id, "succeeded")).output == {"x": 1}
    assert (await runs.get(running.runtime, running.actor, run.id)).state == "failed"
    assert await run_rows.load_run(running.actor.tenant, run.id) is not None


UNDONE = {"type": "set", "config": {"values": {"undone": True}}}


def undoable(id: str, **values: Any) -> dict[str, Any]:
    return {**put(id, **values), "compensate": UNDONE}


async def test_a_fork_of_a_compensated_run_does_again_what_was_undone_and_what_followed_from_it(running: House) -> None:
    definition = flow(
        put("a"),
        undoable("b", n="{{ run.id }}"),
        put("c", n="{{ nodes.b.n }}"),
        put("bad", x="{{ [1][5] }}"),
        edges=[("a", "b"), ("b", "c"), ("c", "bad")],
        settings={"compensate": ["failure"]},
    )
    run = await running.run(definition)
    assert (await attempts(running, run.id))["b"] == "compensated"
    fork = await forked(running, run.id, "bad")
    assert fork.state == "failed"
    assert {"b", "c", "bad"} <= await begun(running, fork.id)
    assert "a" not in await begun(running, fork.id)
    again = await runs.node(running.runtime, running.actor, fork.id, "c")
    assert again.output == {"n": fork.id}


async def test_what_a_group_undid_by_itself_is_not_done_again_by_a_fork_behind_it(running: House) -> None:
    block = {
        "id": "safe",
        "type": "try",
        "config": {
            "compensate": True,
            "body": {"nodes": [undoable("b"), put("bad", x="{{ [1][5] }}")], "edges": [{"from": "b", "to": "bad"}]},
            "catch": {"nodes": [put("note")]},
        },
    }
    run = await running.run(flow(block, put("end"), edges=[("safe", "end")]))
    assert (run.state, (await attempts(running, run.id))["safe/b"]) == ("succeeded", "compensated")
    fork = await forked(running, run.id, "end")
    assert (fork.state, await begun(running, fork.id)) == ("succeeded", {"end"})


async def test_a_fork_never_undoes_what_another_run_has_done(running: House) -> None:
    definition = flow(undoable("b"), put("bad", x="{{ input.x[0] }}"), edges=[("b", "bad")], settings={"compensate": ["failure"]})
    run = await running.run(definition, {"x": [1]})
    assert run.state == "succeeded"
    fork = await forked(running, run.id, "bad", input={"x": []})
    assert (fork.state, (await attempts(running, fork.id))["b"]) == ("failed", "succeeded")
