"""Time travel, differences and effects: what a run says of its past."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from graphs import forking, history, runs, steering
from graphs.forking import Changes
from graphs.patches import patch, patch_of, same
from store.errors import Conflict, Invalid, NotFound
from store.ids import new_id
from tests.engine.conftest import House, flow, put
from tests.engine.test_forking import COUNT
from tests.engine.test_waiting import APPROVAL
from tests.faults.ledger import ledger

leaves = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=4)
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=3), inner, max_size=4), max_leaves=20
)


@given(before=values, after=values)
@example(before=[1, True], after=[True, 1])
@example(before={"": {"~/": 1}}, after={"": {"~/": 1.0}})
@example(before={"a": [0, 0, 1]}, after={"a": [0, 1]})
@example(before=None, after={"-": []})
def test_a_patch_makes_the_second_value_of_the_first(before: Any, after: Any) -> None:
    kept = copy.deepcopy(before)
    found = json.loads(json.dumps(patch(before, after)))
    assert same(before, kept), "what is compared stays as it is"
    assert same(jsonpatch.apply_patch(copy.deepcopy(before), found), after)
    assert (found == []) == same(before, after)


@pytest.mark.anyio
async def test_large_values_are_compared_in_a_thread_with_the_same_result() -> None:
    before, after = {"n": list(range(20_000))}, {"n": [*range(19_999), -1]}
    assert await patch_of(before, after) == [{"op": "replace", "path": "/n/19999", "value": -1}]


CHAIN = flow(
    put("a", n=1),
    COUNT,
    put("b", n="{{ vars.seen + 10 }}"),
    edges=[("a", "note"), ("note", "b")],
    vars={"seen": "{{ input.start }}"},
)


@pytest.mark.anyio
async def test_the_state_is_what_a_step_saw_when_it_began_and_left_when_it_ended(running: House) -> None:
    run = await running.run(CHAIN, {"start": 5})
    at = (running.runtime, running.actor, run.id)
    before = await history.state(*at, "note")
    assert before.state == {"input": {"start": 5}, "vars": {"seen": 5}, "nodes": {"a": {"n": 1}}, "errors": {}}
    after = await history.state(*at, "note@1", "after")
    assert (after.state["vars"], list(after.state["nodes"])) == ({"seen": 6}, ["a", "note"])
    now = await history.state(*at)
    assert now.state["nodes"] == {"a": {"n": 1}, "note": {"n": 1}, "b": {"n": 16}}
    assert now.at.as_json() == {"run_id": run.id}


@pytest.mark.anyio
async def test_a_state_shows_the_attempt_that_counted_then(running: House) -> None:
    run = await running.run(flow(put("a"), put("bad", x="{{ [1][5] }}", on="x"), edges=[("a", "bad")]))
    await steering.control(running.runtime, running.actor, run.id, "retry")
    run = await runs.wait(running.runtime, running.actor, run.id, seconds=20)
    assert run.state == "failed"
    at = (running.runtime, running.actor, run.id)
    assert (await history.state(*at, "bad@1")).state["errors"] == {}
    assert list((await history.state(*at, "bad@2")).state["errors"]) == ["bad"]
    assert (await history.state(*at, "bad@1", "after")).state["errors"]["bad"]["code"] == "expression"
    assert (await history.diff(*at, "bad@1", "bad@2")).patch[0]["path"] == "/errors/bad"


@pytest.mark.anyio
async def test_iterations_are_seen_by_their_positions(running: House) -> None:
    body = {"nodes": [put("one", v="{{ item }}"), put("two", v="{{ nodes.one.v }}")], "edges": [{"from": "one", "to": "two"}]}
    run = await running.run(flow({"id": "each", "type": "foreach", "config": {"items": [7, 8], "concurrency": 1, "body": body}}))
    seen = await history.state(running.runtime, running.actor, run.id, "each[1]/two")
    assert seen.state["nodes"] == {"each[0]/one": {"v": 7}, "each[0]/two": {"v": 7}, "each[1]/one": {"v": 8}}


@pytest.mark.anyio
async def test_two_moments_and_two_runs_are_compared_as_a_patch_that_applies(running: House) -> None:
    run = await running.run(CHAIN, {"start": 5})
    at = (running.runtime, running.actor, run.id)
    found = await history.diff(*at, "a", "b")
    first, second = await history.state(*at, "a"), await history.state(*at, "b")
    assert same(jsonpatch.apply_patch(copy.deepcopy(first.state), found.patch), second.state)
    fork = await forking.fork(*at, changes=Changes(edits={"a": {"n": 2}}, vars={}))
    fork = await runs.wait(running.runtime, running.actor, fork.id, seconds=20)
    assert (await history.diff(*at, "note", fork.id)).patch == [{"op": "replace", "path": "/nodes/a/n", "value": 2}]
    assert (await history.diff(*at, "note", f"{fork.id}@note")).second.run_id == fork.id
    whole = await history.diff(*at, other=fork.id)
    assert {operation["path"] for operation in whole.patch} == {"/nodes/a/n", "/nodes/note/n"}
    assert (await history.diff(*at, "b", "b")).patch == []


@pytest.mark.anyio
async def test_moments_that_cannot_be_are_refused_with_a_reason(running: House) -> None:
    run = await running.run(flow(put("first"), APPROVAL, edges=[("first", "ok")]), {"what": "x"})
    at = (running.runtime, running.actor, run.id)
    with pytest.raises(NotFound, match="Did you mean first"):
        await history.state(*at, "firs")
    with pytest.raises(NotFound, match="no step 'first@9'"):
        await history.state(*at, "first@9")
    with pytest.raises(Conflict, match="ok has not ended: it is waiting"):
        await history.state(*at, "ok", "after")
    with pytest.raises(Invalid, match="say what to compare"):
        await history.diff(*at)
    with pytest.raises(NotFound, match="no run"):
        await history.diff(*at, "first", new_id())


@pytest.mark.anyio
async def test_a_state_that_nobody_could_read_is_refused_and_large_values_stand_by_their_digest(
    running: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await running.run(flow(put("big", v="{{ input.v }}"), put("end"), edges=[("big", "end")]), {"v": "x" * 100_000})
    at = (running.runtime, running.actor, run.id)
    shown = (await history.state(*at, "end")).state["nodes"]["big"]
    assert (shown["size"], shown["preview"][:8]) == (100_008, '{"v":"xx')
    text = ""
    while len(text) < shown["size"]:
        part = await history.payload(*at, shown["digest"], offset=len(text), limit=30_000)
        text += part.text
    assert json.loads(text) == {"v": "x" * 100_000}
    for unknown in ("0" * 64, "nothing"):
        with pytest.raises(NotFound, match="no value with the digest"):
            await history.payload(*at, unknown)
    monkeypatch.setattr(history, "MAX_STATE", 10)
    with pytest.raises(Invalid, match="at most 10 are read at once"):
        await history.state(*at)


@pytest.mark.anyio
async def test_effects_tell_receipts_and_what_was_undone(running: House) -> None:
    async with ledger() as book:
        url = f"http://127.0.0.1:{book.port}/pay"
        pay: dict[str, Any] = {"id": "pay", "type": "http", "config": {"method": "POST", "url": url, "json": {}}}
        pay["compensate"] = {"type": "http", "config": {"method": "POST", "url": url, "json": {}}}
        definition = flow(
            put("a"), pay, put("bad", x="{{ [1][5] }}"), edges=[("a", "pay"), ("pay", "bad")], settings={"compensate": ["failure"]}
        )
        run = await running.run(definition)
        found = await history.effects(running.runtime, running.actor, run.id)
        assert [(item.position, history.in_words(item)) for item in found] == [
            ("pay", "compensated: done, and undone"),
            ("pay~undo", "receipt: done"),
        ]
        assert (found[0].effect, found[0].effect_key) == ("write-once", f"{run.id}/pay")
        assert found[0].undone_at is not None
        assert [item.position for item in await history.effects(running.runtime, running.actor, run.id, after=found[0].seq)] == ["pay~undo"]
