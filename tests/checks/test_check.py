"""What the check knows, one thing at a time."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.catalogue import node_types
from graphs.checks import Known, Report, check
from graphs.checks.models import parts
from graphs.expressions import Evaluator
from tests.checks.samples import SLIPS, ten_nodes

pytestmark = pytest.mark.anyio


def step(id: str, **values: Any) -> dict[str, Any]:
    return {"id": id, "type": "set", "config": {"values": values}}


def edges(*pairs: str) -> list[dict[str, str]]:
    return [{"from": pair.split(">")[0], "to": pair.split(">")[1]} for pair in pairs]


def workflow(*nodes: dict[str, Any], links: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "w", "nodes": list(nodes), "edges": links or [], **more}


def foreach(id: str, *nodes: dict[str, Any], links: list[dict[str, Any]] | None = None, name: str = "item") -> dict[str, Any]:
    return {"id": id, "type": "foreach", "config": {"items": [1], "body": {"nodes": list(nodes), "edges": links or []}, "as": name}}


def found(report: Report) -> list[tuple[str, str]]:
    return [(one.code, one.pointer) for one in report.diagnostics]


@pytest.mark.parametrize("name", list(node_types()))
async def test_bodies_in_examples_are_found_where_the_node_type_says(name: str) -> None:
    kind = node_types()[name]
    for example in kind.examples:
        seen = {part.pointer for part in parts(kind.config, example) if part.kind == "body"}
        assert seen == set(kind.bodies(kind.config.model_validate(example)))


async def test_everything_is_reported_at_once(evaluator: Evaluator) -> None:
    document = ten_nodes()
    chosen = [
        slip
        for slip in SLIPS
        if slip.name
        in ("number as text", "duration in words", "edge to a misspelt node", "JavaScript operators", "misspelt input", "shorthand schema")
    ]
    for slip in chosen[:-1]:
        slip.break_it(document)
    report = await check(document, evaluator)
    for slip in chosen[:-1]:
        assert (slip.code, slip.pointer) in found(report)


async def test_errors_come_before_warnings(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a"), step("b"), step("c", x="{{ nope }}"), links=edges("a>b")), evaluator)
    assert [one.severity for one in report.diagnostics] == ["error", "warning"]


# -- scope ---------------------------------------------------------------------------------------------------------------------------


async def test_names_of_a_group_exist_only_inside(evaluator: Evaluator) -> None:
    inside = foreach("each", step("x", v="{{ order.total + index }}"), name="order")
    assert (await check(workflow(inside), evaluator)).ok
    report = await check(workflow(inside, step("y", v="{{ order.total }}"), links=edges("each>y")), evaluator)
    assert found(report) == [("unknown_name", "/nodes/1/config/values/v")]
    assert "only inside the body of node 'each'" in report.diagnostics[0].message


async def test_outer_nodes_are_seen_inside_and_inner_ones_not_outside(evaluator: Evaluator) -> None:
    inside = foreach("each", step("x", v="{{ nodes.a.n }}"), step("y", v="{{ nodes.x.v }}"), links=edges("x>y"))
    good = workflow(step("a", n=1), inside, links=edges("a>each"))
    assert (await check(good, evaluator)).diagnostics == ()
    bad = workflow(step("a", n="{{ nodes.x.v }}"), inside, links=edges("each>a"))
    report = await check(bad, evaluator)
    assert ("not_visible", "/nodes/0/config/values/n") in found(report)
    assert "nodes.each.items" in report.diagnostics[0].message


async def test_a_group_has_no_output_inside_itself(evaluator: Evaluator) -> None:
    report = await check(workflow(foreach("each", step("x", v="{{ nodes.each.count }}"))), evaluator)
    assert found(report) == [("not_upstream", "/nodes/0/config/body/nodes/0/config/values/v")]


async def test_a_node_does_not_read_itself(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a", n="{{ nodes.a.n }}")), evaluator)
    assert found(report) == [("not_upstream", "/nodes/0/config/values/n")]


async def test_the_condition_of_an_edge_sees_its_source(evaluator: Evaluator) -> None:
    links = [{"from": "a", "to": "b", "when": "nodes.a.n > 1 and errors.a is None"}]
    assert (await check(workflow(step("a", n=1), step("b"), links=links), evaluator)).ok
    links[0]["when"] = "nodes.b.n > 1"
    assert not (await check(workflow(step("a", n=1), step("b", n=1), links=links), evaluator)).ok


async def test_first_values_of_variables_see_no_nodes(evaluator: Evaluator) -> None:
    good = workflow(step("a"), vars={"x": "{{ input.y }}", "z": "{{ env.HOME_URL }}"})
    assert (await check(good, evaluator)).ok
    report = await check(workflow(step("a"), vars={"x": "{{ nodes.a.y }}", "y": "{{ vars.x }}"}), evaluator)
    assert found(report) == [("not_upstream", "/vars/x"), ("not_upstream", "/vars/y")]


async def test_run_has_known_fields(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a", v="{{ run.idd }}")), evaluator)
    assert report.diagnostics[0].suggestions == ("id",)


async def test_an_open_input_may_hold_anything_and_a_declared_one_only_what_it_says(evaluator: Evaluator) -> None:
    node = step("a", v="{{ input.anything.at.all }}")
    assert (await check(workflow(node), evaluator)).ok
    assert (await check(workflow(node, input={"type": "object", "additionalProperties": True}), evaluator)).ok
    report = await check(workflow(node, input={"type": "object", "properties": {}}), evaluator)
    assert report.diagnostics[0].patch == ({"op": "add", "path": "/input/properties/anything", "value": {}},)


async def test_names_for_items_must_be_usable(evaluator: Evaluator) -> None:
    for name in ("class", "input"):
        report = await check(workflow(foreach("each", step("x"), name=name)), evaluator)
        assert ("bad_value", "/nodes/0/config/as") in found(report)


async def test_scripts_are_checked_as_the_body_of_a_function(evaluator: Evaluator) -> None:
    def script(code: str, **config: Any) -> dict[str, Any]:
        return workflow(step("a", n=1), {"id": "s", "type": "script", "config": {"code": code, **config}}, links=edges("a>s"))

    good = "import math\ntotal = 0\nfor x in input.items:\n    total += x.price\nreturn {'t': total, 'n': nodes.a.n, 'rate': rate}"
    assert (await check(script(good, values={"rate": 2}), evaluator)).diagnostics == ()
    pointer = "/nodes/1/config/code"
    for code, name in (
        ("retrun 1", "bad_expression"),
        ("yield 1", "bad_expression"),
        ("return nodes.a.m", "unknown_field"),
        ("return rate", "unknown_name"),
    ):
        assert (name, pointer) in found(await check(script(code), evaluator)), code


async def test_what_the_sandbox_cannot_compile_is_found_without_running_it(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a", v="{{ [i async for i in input.x] }}", w="{{ 1 / 0 }}")), evaluator)
    assert found(report) == [("bad_expression", "/nodes/0/config/values/v")]


# -- edges ---------------------------------------------------------------------------------------------------------------------------


async def test_a_missing_edge_is_put_where_the_chain_is_broken(evaluator: Evaluator) -> None:
    nodes = [step("a", v=1), step("b"), step("c"), step("d", v="{{ nodes.a.v }}")]
    for lost in range(3):
        links = edges("a>b", "b>c", "c>d")
        missing = links.pop(lost)
        report = await check(workflow(*nodes, links=links), evaluator)
        assert ("not_upstream", "/nodes/3/config/values/v") in found(report)
        assert report.diagnostics[0].patch == ({"op": "add", "path": "/edges/-", "value": missing},)


async def test_a_missing_branch_is_offered_with_its_name(evaluator: Evaluator) -> None:
    decide = {"id": "q", "type": "if", "config": {"condition": "input.x"}}
    links: list[dict[str, Any]] = [{"from": "q", "to": "yes", "branch": "true"}]
    report = await check(workflow(decide, step("yes"), step("no"), links=links), evaluator)
    assert found(report) == [("unconnected", "/nodes/2")]
    assert report.ok
    assert report.diagnostics[0].patch[0]["value"] == {"from": "q", "to": "no", "branch": "false"}


async def test_several_starts_without_any_edge_are_meant(evaluator: Evaluator) -> None:
    assert (await check(workflow(step("a"), step("b")), evaluator)).diagnostics == ()


async def test_a_long_cycle_is_shown_and_cut_where_it_closes(evaluator: Evaluator) -> None:
    links = edges("a>b", "b>c", "c>d", "d>b")
    report = await check(workflow(*(step(id) for id in "abcd"), links=links), evaluator)
    assert found(report) == [("cycle", "/edges/3")]
    assert "b -> c -> d -> b" in report.diagnostics[0].message


async def test_error_edges_need_a_route_and_a_route_an_edge(evaluator: Evaluator) -> None:
    nodes = [{**step("a"), "on_error": "route"}, step("b")]
    good = [{"from": "a", "to": "b", "branch": "error", "when": "errors.a.code == 'timeout'"}]
    assert (await check(workflow(*nodes, links=good), evaluator)).diagnostics == ()
    report = await check(workflow(*nodes, links=edges("a>b")), evaluator)
    assert report.ok
    assert found(report) == [("bad_branch", "/nodes/0/on_error")]


async def test_two_edges_between_the_same_nodes_may_carry_different_branches(evaluator: Evaluator) -> None:
    decide = {"id": "q", "type": "if", "config": {"condition": "input.x"}}
    links: list[dict[str, Any]] = [{"from": "q", "to": "a", "branch": "true"}, {"from": "q", "to": "a", "branch": "false"}]
    assert (await check(workflow(decide, step("a"), links=links), evaluator)).diagnostics == ()


# -- nodes ---------------------------------------------------------------------------------------------------------------------------


async def test_ids_are_unique_across_groups(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a"), foreach("each", step("a")), links=edges("a>each")), evaluator)
    assert found(report) == [("duplicate_id", "/nodes/1/config/body/nodes/0/id")]
    assert report.diagnostics[0].suggestions == ("a_2",)


async def test_nested_bodies_are_checked_like_the_top_level(evaluator: Evaluator) -> None:
    inner = foreach("inner", {"id": "x", "type": "wait", "config": {"seconds": "5"}})
    report = await check(workflow(foreach("outer", inner)), evaluator)
    assert ("wrong_type", "/nodes/0/config/body/nodes/0/config/body/nodes/0/config/seconds") in found(report)
    assert report.diagnostics[0].patch[0]["value"] == 5


async def test_groups_nest_twenty_deep_and_no_deeper(evaluator: Evaluator) -> None:
    def nest(depth: int) -> dict[str, Any]:
        node = step("core")
        for number in range(depth):
            node = foreach(f"g{number}", node)
        return workflow(node)

    assert (await check(nest(20), evaluator)).ok
    report = await check(nest(21), evaluator)
    assert not report.ok
    assert "too_deep" in [one.code for one in report.diagnostics]
    assert not (await check(nest(60), evaluator)).ok


async def test_there_is_a_limit_of_nodes_and_of_size(evaluator: Evaluator) -> None:
    inside = foreach("each", *(step(f"x{number}") for number in range(1500)))
    report = await check(workflow(inside, *(step(f"n{number}") for number in range(600))), evaluator)
    assert ("too_large", "/nodes") in found(report)
    report = await check(workflow(step("a"), description="x" * 150_000, vars={f"v{n}": "x" * 190_000 for n in range(6)}), evaluator)
    assert found(report) == [("too_large", "")]


async def test_subflows_are_checked_against_what_is_published(evaluator: Evaluator) -> None:
    schema = {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]}
    published = {"send-invoice": schema, "other": None}

    def call(name: str, **given: Any) -> dict[str, Any]:
        return workflow({"id": "s", "type": "subflow", "config": {"workflow": name, "input": given}})

    assert (await check(call("send-invoice", order="1"), evaluator, Known(workflows=published))).ok
    assert (await check(call("send-invoice", order="{{ input.x }}"), evaluator, Known(workflows=published))).ok
    assert (await check(call("elsewhere"), evaluator)).ok
    report = await check(call("send_invoice", order="1"), evaluator, Known(workflows=published))
    assert found(report) == [("unknown_workflow", "/nodes/0/config/workflow")]
    assert report.diagnostics[0].patch[0]["value"] == "send-invoice"
    report = await check(call("send-invoice", order=5), evaluator, Known(workflows=published))
    assert found(report) == [("bad_input", "/nodes/0/config/input/order")]


async def test_renaming_an_id_renames_what_calls_it(evaluator: Evaluator) -> None:
    links = [{"from": "fetch-it", "to": "b", "when": "nodes['fetch-it'].n > 1"}]
    report = await check(workflow(step("fetch-it", n=1), step("b", v="{{ nodes.fetch-it.n }}"), links=links), evaluator)
    values = {operation["path"]: operation["value"] for operation in report.diagnostics[0].patch}
    assert values == {
        "/nodes/0/id": "fetch_it",
        "/edges/0/from": "fetch_it",
        "/edges/0/when": "nodes.fetch_it.n > 1",
        "/nodes/1/config/values/v": "{{ nodes.fetch_it.n }}",
    }


async def test_text_that_looks_like_a_forgotten_template_is_pointed_out(evaluator: Evaluator) -> None:
    report = await check(workflow(step("a", v="input.name", w="Hello {input.name}", x="a.b {c}")), evaluator)
    assert report.ok
    assert [(one.pointer[-1], one.patch[0]["value"]) for one in report.diagnostics] == [
        ("v", "{{ input.name }}"),
        ("w", "Hello {{ input.name }}"),
    ]
