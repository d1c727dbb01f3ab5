"""What the check knows of loops of edges, while, try and race, boundaries, compensation and settings, one thing at a time."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import jsonpatch
import pytest

from graphs.checks import Diagnostic, check
from graphs.expressions import Evaluator
from tests.checks.test_check import edges, foreach, found, step, workflow

pytestmark = pytest.mark.anyio


def back(pair: str, when: str | None = "vars.again", **more: Any) -> dict[str, Any]:
    """An edge that leads back."""
    return {**edges(pair)[0], "max_loops": 3, **({"when": when} if when else {}), **more}


def looping(*nodes: dict[str, Any], links: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return workflow(*nodes, links=links, vars={"again": True}, **more)


def post(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "type": "http", "config": {"method": "POST", "url": "https://a.example"}, **more}


GONE = {"method": "DELETE", "url": "https://a.example"}
UNDO: dict[str, Any] = {"type": "http", "config": GONE}


def warnings(document: dict[str, Any], diagnostics: tuple[Diagnostic, ...]) -> list[str]:
    assert {one.severity for one in diagnostics} <= {"warning"}, diagnostics
    return [one.pointer for one in diagnostics]


# -- loops ---------------------------------------------------------------------------------------------------------------------------


async def test_in_a_loop_every_node_reads_every_other_and_itself(evaluator: Evaluator) -> None:
    nodes = [step("a", v="{{ nodes.c.v }}"), step("b", v="{{ nodes.b.v }}"), step("c", v="{{ nodes.a.v }}")]
    assert (await check(looping(*nodes, links=[*edges("a>b", "b>c"), back("c>a")]), evaluator)).diagnostics == ()


async def test_after_a_loop_all_its_nodes_can_be_read_and_before_it_none(evaluator: Evaluator) -> None:
    nodes = [step("first", v=1), step("a"), step("b", v=1), step("c", v=1), step("end", v="{{ nodes.c.v }}")]
    links = [*edges("first>a", "a>b", "b>end", "b>c"), back("c>a")]
    assert (await check(looping(*nodes, links=links), evaluator)).diagnostics == ()
    nodes[0] = step("first", v="{{ nodes.b.v }}")
    assert found(await check(looping(*nodes, links=links), evaluator)) == [("not_upstream", "/nodes/0/config/values/v")]


async def test_a_side_branch_of_a_loop_is_not_part_of_it(evaluator: Evaluator) -> None:
    nodes = [step("a", v="{{ nodes.side.v }}"), step("b"), step("side", v=1)]
    report = await check(looping(*nodes, links=[*edges("a>b", "a>side"), back("b>a")]), evaluator)
    assert found(report) == [("not_upstream", "/nodes/0/config/values/v")]


async def test_loops_may_lie_in_one_another_and_follow_one_another(evaluator: Evaluator) -> None:
    links = [*edges("a>b", "b>c", "c>d", "d>e"), back("b>a"), back("c>a"), back("e>d"), back("e>a"), back("c>c")]
    assert (await check(looping(*(step(id) for id in "abcde"), links=links), evaluator)).diagnostics == ()


async def test_a_body_of_a_group_may_have_loops(evaluator: Evaluator) -> None:
    inside = foreach("each", step("x", v="{{ nodes.y.v }}"), step("y", v="{{ item }}"), links=[*edges("x>y"), back("y>x", "index > 1")])
    assert (await check(workflow(inside), evaluator)).diagnostics == ()


async def test_an_edge_back_needs_no_condition_where_another_decides(evaluator: Evaluator) -> None:
    decide = {"id": "q", "type": "if", "config": {"condition": "input.x"}}
    links: list[dict[str, Any]] = [*edges("a>q"), {"from": "q", "to": "fix", "branch": "false"}, back("fix>a", None)]
    assert (await check(workflow(step("a"), decide, step("fix"), links=links), evaluator)).diagnostics == ()


@pytest.mark.parametrize(
    ("out", "condition"),
    [({"when": "input.ok"}, {"when": "not (input.ok)"}), ({"branch": "true"}, {"branch": "false"})],
)
async def test_a_loop_that_never_ends_is_given_the_contrary_of_the_way_out(
    evaluator: Evaluator, out: dict[str, str], condition: dict[str, str]
) -> None:
    source = {"id": "q", "type": "if", "config": {"condition": "input.x"}} if "branch" in out else step("q")
    for bound in ({"max_loops": 4}, {}):
        links: list[dict[str, Any]] = [*edges("a>q"), {"from": "q", "to": "end", **out}, {"from": "q", "to": "a", **bound}]
        document = workflow(step("a"), source, step("end"), links=links)
        report = await check(document, evaluator)
        assert found(report) == [("bad_loop" if bound else "cycle", "/edges/2")]
        repaired = jsonpatch.apply_patch(document, list(report.diagnostics[0].patch))
        assert repaired["edges"][2] == {"from": "q", "to": "a", "max_loops": 10, **bound, **condition}
        assert (await check(repaired, evaluator)).diagnostics == ()


async def test_a_cycle_that_could_be_no_sound_loop_is_cut(evaluator: Evaluator) -> None:
    links: list[dict[str, Any]] = [*edges("a>b", "b>c", "other>b", "other>a"), {"from": "c", "to": "a", "when": "input.x"}]
    report = await check(workflow(*(step(id) for id in ("a", "b", "c", "other")), links=links), evaluator)
    (cycle,) = [one for one in report.diagnostics if one.code == "cycle"]
    assert "`while`" in cycle.message
    assert cycle.patch == ({"op": "remove", "path": cycle.pointer},)


async def test_a_way_into_an_inner_and_an_outer_loop_is_led_to_the_outer_one(evaluator: Evaluator) -> None:
    links = [*edges("a>b", "b>c", "c>d", "s>c", "s>a"), back("c>b"), back("d>a")]
    report = await check(looping(*(step(id) for id in "abcds"), links=links), evaluator)
    assert found(report) == [("loop_entry", "/edges/3")]
    assert report.diagnostics[0].suggestions == ("a",)
    assert report.diagnostics[0].patch == ({"op": "remove", "path": "/edges/3"},)


async def test_a_join_inside_a_loop_may_start_early_but_not_where_the_loop_begins(evaluator: Evaluator) -> None:
    join = {"id": "j", "type": "join", "config": {"mode": "any"}}
    links = [*edges("a>b", "a>c", "b>j", "c>j"), back("j>a")]
    assert (await check(looping(step("a"), step("b"), step("c"), join, links=links), evaluator)).ok
    links = [*edges("a>j", "b>j", "j>c"), back("c>j")]
    report = await check(looping(step("a"), step("b"), join, step("c"), links=links), evaluator)
    assert ("loop_join", "/nodes/2/config/mode") in found(report)


async def test_two_edges_that_only_together_go_round_are_no_loop_until_one_has_no_bound(evaluator: Evaluator) -> None:
    document = looping(step("a"), step("b"), links=[back("a>b"), back("b>a")])
    report = await check(document, evaluator)
    assert found(report) == [("bad_loop", "/edges/0/max_loops"), ("bad_loop", "/edges/1/max_loops")]
    assert (await check(jsonpatch.apply_patch(document, list(report.diagnostics[0].patch)), evaluator)).ok


async def test_a_boundary_out_of_a_loop_is_not_followed_at_once_and_the_check_says_so(evaluator: Evaluator) -> None:
    late = [{"name": "late", "timer": "1d", "interrupting": False}]
    nodes = [step("a"), {"id": "ask", "type": "approval", "config": {"title": "?"}, "boundary": late}, step("remind"), step("z")]
    links: list[dict[str, Any]] = [*edges("a>ask", "ask>z"), {"from": "ask", "to": "remind", "branch": "late"}, back("z>a")]
    document = looping(*nodes, links=links)
    report = await check(document, evaluator)
    assert warnings(document, report.diagnostics) == ["/edges/2"]
    repaired = jsonpatch.apply_patch(document, list(report.diagnostics[0].patch))
    assert repaired["edges"][-1] == {"from": "remind", "to": "z"}
    assert (await check(repaired, evaluator)).diagnostics == ()


# -- while, try, race ----------------------------------------------------------------------------------------------------------------


def repeat(condition: str, *nodes: dict[str, Any]) -> dict[str, Any]:
    return {"id": "again", "type": "while", "config": {"condition": condition, "body": {"nodes": list(nodes)}}}


async def test_the_condition_of_a_while_sees_the_last_output_and_the_number_of_the_pass(evaluator: Evaluator) -> None:
    good = workflow(repeat("last is None or index < last.v", step("x", v="{{ index }} {{ last.v }}")))
    assert (await check(good, evaluator)).diagnostics == ()
    outside = workflow(repeat("index < 3", step("x")), step("y", v="{{ last }}"), links=edges("again>y"))
    assert found(await check(outside, evaluator)) == [("unknown_name", "/nodes/1/config/values/v")]


async def test_only_a_catch_sees_the_error(evaluator: Evaluator) -> None:
    inside = {"body": {"nodes": [step("a")]}, "catch": {"nodes": [step("b", v="{{ error.code }} {{ error.details.status }}")]}}
    document = workflow({"id": "t", "type": "try", "config": inside})
    assert (await check(document, evaluator)).diagnostics == ()
    inside["finally"] = {"nodes": [step("c", v="{{ error.code }}")]}
    assert found(await check(document, evaluator)) == [("unknown_name", "/nodes/0/config/finally/nodes/0/config/values/v")]


@pytest.mark.parametrize(
    ("type", "config", "meant"),
    [
        ("loop", {"items": [1]}, "foreach"),
        ("loop", {"condition": "index < 3"}, "while"),
        ("loop", {"until": "index == 3"}, "while"),
        ("for_loop", {"times": 3}, "while"),
        ("loop", {}, "foreach"),
    ],
)
async def test_what_others_call_a_loop_is_told_by_its_config(evaluator: Evaluator, type: str, config: Any, meant: str) -> None:
    document = workflow({"id": "l", "type": type, "config": {**config, "body": {"nodes": [step("x")]}}})
    report = await check(document, evaluator)
    assert report.diagnostics[0].suggestions[0] == meant
    if config:
        assert (await check(jsonpatch.apply_patch(document, list(report.diagnostics[0].patch)), evaluator)).ok


# -- boundaries ----------------------------------------------------------------------------------------------------------------------


async def test_a_correlation_sees_what_the_config_of_its_node_sees(evaluator: Evaluator) -> None:
    def waiting(correlation: str) -> dict[str, Any]:
        boundary = [{"name": "gone", "event": "gone", "correlation": correlation}]
        node = {"id": "w", "type": "wait", "config": {"seconds": 5}, "boundary": boundary}
        return workflow(step("a", v=1), node, step("b"), links=[*edges("a>w"), {"from": "w", "to": "b", "branch": "gone"}])

    assert (await check(waiting("{{ nodes.a.v }}"), evaluator)).diagnostics == ()
    for bad, code in (("{{ nodes.w.waited }}", "not_upstream"), ("{{ nodes.b.v }}", "not_upstream"), ("{{ inptu.x }}", "unknown_name")):
        assert found(await check(waiting(bad), evaluator)) == [(code, "/nodes/1/boundary/0/correlation")]


async def test_a_stop_has_no_boundary(evaluator: Evaluator) -> None:
    node = {"id": "s", "type": "stop", "boundary": [{"name": "late", "timer": "1h"}]}
    report = await check(workflow(node, step("b"), links=[{"from": "s", "to": "b", "branch": "late"}]), evaluator)
    assert ("bad_boundary", "/nodes/0/boundary") in found(report)


async def test_a_boundary_may_not_take_the_name_of_a_branch(evaluator: Evaluator) -> None:
    decide = {"id": "q", "type": "if", "config": {"condition": "input.x"}, "boundary": [{"name": "true", "timer": "1h"}]}
    report = await check(workflow(decide, step("b"), links=[{"from": "q", "to": "b", "branch": "true"}]), evaluator)
    assert ("bad_boundary", "/nodes/0/boundary/0/name") in found(report)


async def test_a_boundary_nobody_follows_is_led_to_the_node_nothing_leads_to_or_dropped(evaluator: Evaluator) -> None:
    node = {"id": "w", "type": "wait", "config": {"seconds": 5}, "boundary": [{"name": "late", "timer": "1h"}]}
    report = await check(workflow(node, step("b"), step("c"), links=edges("w>b")), evaluator)
    patches = {one.pointer: one.patch for one in report.diagnostics}
    assert patches["/nodes/0/boundary/0"] == ({"op": "add", "path": "/edges/-", "value": {"from": "w", "to": "c", "branch": "late"}},)
    report = await check(workflow(node, step("b"), links=edges("w>b")), evaluator)
    assert report.diagnostics[0].patch == ({"op": "remove", "path": "/nodes/0/boundary/0"},)


# -- compensation --------------------------------------------------------------------------------------------------------------------


def undone(id: str, **config: Any) -> dict[str, Any]:
    return post(id, compensate={"type": "http", "config": {**GONE, **config}})


def attempt(*nodes: dict[str, Any], **config: Any) -> dict[str, Any]:
    links = [{"from": a["id"], "to": b["id"]} for a, b in pairwise(nodes)]
    return {"id": "t", "type": "try", "config": {"compensate": True, "body": {"nodes": list(nodes), "edges": links}, **config}}


async def test_a_compensation_sees_its_node_and_what_came_before_and_nothing_later(evaluator: Evaluator) -> None:
    good = attempt(post("a"), undone("b", url="https://x.example/{{ nodes.b.body.id }}/{{ nodes.a.status }}"), post("c"))
    assert (await check(workflow(good), evaluator)).diagnostics == ()
    bad = attempt(undone("b", url="https://x.example/{{ nodes.c.status }}"), post("c"))
    pointer = "/nodes/0/config/body/nodes/0/compensate/config/url"
    assert found(await check(workflow(bad), evaluator)) == [("not_upstream", pointer)]


async def test_a_compensation_in_a_foreach_sees_its_item(evaluator: Evaluator) -> None:
    inside = foreach("each", undone("ship", url="https://x.example/{{ item.id }}"))
    assert (await check(workflow(attempt(inside)), evaluator)).diagnostics == ()


async def test_a_script_that_compensates_has_its_own_values(evaluator: Evaluator) -> None:
    undo = {"type": "script", "config": {"code": "return total + nodes.a.status", "values": {"total": 1}}}
    assert (await check(workflow(attempt(post("a", compensate=undo))), evaluator)).diagnostics == ()
    undo["config"] = {"code": "return totl", "values": {"total": 1}}
    pointer = "/nodes/0/config/body/nodes/0/compensate/config/code"
    assert found(await check(workflow(attempt(post("a", compensate=undo))), evaluator)) == [("unknown_name", pointer)]


@pytest.mark.parametrize("type", ["stop", "wait", "approval", "subflow", "foreach", "try", "if", "join"])
async def test_what_ends_waits_or_holds_steps_cannot_compensate(evaluator: Evaluator, type: str) -> None:
    report = await check(workflow(attempt(post("a", compensate={"type": type}))), evaluator)
    assert ("bad_compensate", "/nodes/0/config/body/nodes/0/compensate/type") in found(report)


async def test_the_config_of_a_compensation_must_fit_its_type(evaluator: Evaluator) -> None:
    undo: dict[str, Any] = {"type": "http", "config": {"url": "https://a.example", "method": "delete", "jsn": {}}, "timeout": 5}
    report = await check(workflow(attempt(post("a", compensate=undo))), evaluator)
    place = "/nodes/0/config/body/nodes/0/compensate"
    assert {pointer for _, pointer in found(report)} == {f"{place}/timeout", f"{place}/config/method", f"{place}/config/jsn"}
    repaired = workflow(attempt(post("a", compensate=undo)))
    for one in report.diagnostics:
        repaired = jsonpatch.apply_patch(repaired, list(one.patch))
    assert (await check(repaired, evaluator)).ok


async def test_a_compensation_nothing_asks_for_is_pointed_out(evaluator: Evaluator) -> None:
    alone = workflow(undone("a"))
    report = await check(alone, evaluator)
    assert warnings(alone, report.diagnostics) == ["/nodes/0/compensate"]
    assert "cancel" in report.diagnostics[0].message
    for asking in (
        workflow(undone("a"), settings={"compensate": ["failure"]}),
        workflow({"id": "r", "type": "race", "config": {"branches": {"x": {"nodes": [undone("a")]}, "y": {"nodes": [step("b")]}}}}),
        workflow(attempt(foreach("each", undone("a")))),
    ):
        assert (await check(asking, evaluator)).diagnostics == ()
    caught = attempt(post("b", compensate=UNDO), catch={"nodes": [undone("a")]})
    document = workflow(caught)
    assert warnings(document, (await check(document, evaluator)).diagnostics) == ["/nodes/0/config/catch/nodes/0/compensate"]


async def test_asking_for_compensation_where_there_is_none_is_pointed_out(evaluator: Evaluator) -> None:
    for document, pointer in (
        (workflow(attempt(post("a"))), "/nodes/0/config/compensate"),
        (workflow(post("a"), settings={"compensate": ["cancel"]}), "/settings/compensate"),
    ):
        report = await check(document, evaluator)
        assert warnings(document, report.diagnostics) == [pointer]
        assert (await check(jsonpatch.apply_patch(document, list(report.diagnostics[0].patch)), evaluator)).diagnostics == ()


async def test_a_step_named_as_the_compensation_of_another_is_taken_in(evaluator: Evaluator) -> None:
    document = workflow(attempt(post("pay", compensate="refund")), post("refund"), settings={"compensate": ["cancel"]})
    report = await check(document, evaluator)
    (wrong,) = [one for one in report.diagnostics if one.severity == "error"]
    assert wrong.patch[0]["value"] == {"type": "http", "config": document["nodes"][1]["config"]}


# -- milestones and settings ---------------------------------------------------------------------------------------------------------


async def test_a_milestone_sees_the_output_of_its_node(evaluator: Evaluator) -> None:
    assert (await check(workflow({**step("a", v=1), "milestone": "got {{ nodes.a.v }}"}), evaluator)).diagnostics == ()
    report = await check(workflow({**step("a", v=1), "milestone": "got {{ nodes.a.w }}"}), evaluator)
    assert found(report) == [("unknown_field", "/nodes/0/milestone")]


@pytest.mark.parametrize("name", ["nodes.a.v", "run.id", "vars.x", "errors.a.code"])
async def test_a_key_and_a_deadline_see_only_the_input_and_the_environment(evaluator: Evaluator, name: str) -> None:
    def settings(hole: str) -> dict[str, Any]:
        given = {"concurrency": {"key": f"{{{{ {hole} }}}}"}, "deadline": f"{{{{ {hole} }}}}"}
        return workflow(step("a", v=1), vars={"x": 1}, settings=given)

    assert (await check(settings("input.x or env.X"), evaluator)).diagnostics == ()
    assert found(await check(settings(name), evaluator)) == [
        ("not_upstream", "/settings/concurrency/key"),
        ("not_upstream", "/settings/deadline"),
    ]


@pytest.mark.parametrize(
    ("deadline", "fixed"),
    [
        ("2027-01-31T09:00:00Z", None),
        ("2027-01-31T09:00:00+01:00", None),
        ("2027-01-31", {"deadline": "2027-01-31T00:00:00Z"}),
        ("2 days", {"timeout": "2d"}),
        ("soon", {}),
    ],
)
async def test_a_deadline_is_an_instant(evaluator: Evaluator, deadline: str, fixed: dict[str, str] | None) -> None:
    document = workflow(step("a"), settings={"deadline": deadline})
    report = await check(document, evaluator)
    if fixed is None:
        assert report.diagnostics == ()
        return
    assert found(report) == [("bad_value", "/settings/deadline")]
    assert jsonpatch.apply_patch(document, list(report.diagnostics[0].patch))["settings"] == fixed


async def test_on_ambiguous_is_for_calls_that_must_not_be_repeated(evaluator: Evaluator) -> None:
    assert (await check(workflow({**post("a"), "on_ambiguous": "fail"}), evaluator)).diagnostics == ()
    document = workflow({**step("a"), "on_ambiguous": "fail"})
    report = await check(document, evaluator)
    assert warnings(document, report.diagnostics) == ["/nodes/0/on_ambiguous"]
