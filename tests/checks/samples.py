"""A definition of ten nodes as a model would write it, and the slips models make in it: what was changed, and where it must be found."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Document = dict[str, Any]


def ten_nodes() -> Document:
    """Classify a ticket, look the order up, decide, refund every item or ask a person, and say so."""
    return copy.deepcopy(TEN)


TEN: Document = {
    "name": "refund-triage",
    "description": "Classify a ticket, look up the order, refund or ask.",
    "input": {
        "type": "object",
        "properties": {"ticket": {"type": "string"}, "order_id": {"type": "string"}, "limit": {"type": "number"}},
        "required": ["ticket", "order_id"],
    },
    "vars": {"refunded": 0},
    "nodes": [
        {
            "id": "classify",
            "type": "llm",
            "config": {
                "prompt": "Classify this ticket: {{ input.ticket }}",
                "output_schema": {
                    "type": "object",
                    "properties": {"kind": {"enum": ["refund", "other"]}, "amount": {"type": "number"}},
                    "required": ["kind", "amount"],
                    "additionalProperties": False,
                },
            },
            "retry": {"max_attempts": 3},
            "timeout": "30s",
        },
        {"id": "order", "type": "http", "config": {"method": "GET", "url": "https://shop.example.com/orders/{{ input.order_id }}"}},
        {
            "id": "totals",
            "type": "set",
            "config": {
                "values": {
                    "count": "{{ len(nodes.order.body['items']) }}",
                    "sum": "{{ sum([i.price for i in nodes.order.body['items']]) }}",
                    "note": "Order {{ input.order_id }}: {{ nodes.classify.amount }}",
                }
            },
        },
        {"id": "decide", "type": "if", "config": {"condition": "nodes.classify.kind == 'refund' and nodes.totals.sum < 100"}},
        {
            "id": "each",
            "type": "foreach",
            "config": {
                "items": "{{ nodes.order.body['items'] }}",
                "as": "item",
                "concurrency": 5,
                "body": {
                    "nodes": [
                        {
                            "id": "refund",
                            "type": "http",
                            "config": {
                                "method": "POST",
                                "url": "https://pay.example.com/refunds",
                                "json": {"sku": "{{ item.sku }}", "position": "{{ index + 1 }}", "ticket": "{{ input.ticket }}"},
                            },
                        },
                        {"id": "receipt", "type": "set", "config": {"values": {"id": "{{ nodes.refund.body.id }}"}}},
                    ],
                    "edges": [{"from": "refund", "to": "receipt", "when": "nodes.refund.status < 300"}],
                },
            },
        },
        {
            "id": "ask",
            "type": "approval",
            "config": {
                "title": "Refund {{ nodes.classify.amount }}?",
                "assign_to": {"group": "support"},
                "timeout": "2d",
                "on_timeout": "reject",
            },
        },
        {"id": "merge", "type": "join", "config": {"mode": "any"}},
        {
            "id": "done",
            "type": "set",
            "config": {"values": {"count": "{{ nodes.each.count }}"}, "vars": {"refunded": "{{ vars.refunded + 1 }}"}},
        },
    ],
    "edges": [
        {"from": "classify", "to": "order"},
        {"from": "order", "to": "totals"},
        {"from": "totals", "to": "decide"},
        {"from": "decide", "to": "each", "branch": "true"},
        {"from": "decide", "to": "ask", "branch": "false"},
        {"from": "each", "to": "merge"},
        {"from": "ask", "to": "merge", "when": "nodes.ask.approved"},
        {"from": "merge", "to": "done"},
    ],
    "output": {"refunded": "{{ nodes.done.count }}", "approved": "{{ nodes.ask.approved }}"},
    "settings": {"timeout": "7d"},
}


@dataclass(frozen=True)
class Slip:
    """One mistake: `break_it` makes it, `pointer` is where a diagnostic must be, `code` what it must be called."""

    name: str
    break_it: Callable[[Document], object]
    pointer: str
    code: str


def _config(document: Document, number: int) -> Document:
    return document["nodes"][number]["config"]


def _rename(place: Document, old: str, new: str) -> None:
    place[new] = place.pop(old)


def _body(document: Document) -> Document:
    return _config(document, 4)["body"]


def _rename_node(document: Document) -> None:
    document["nodes"][1]["id"] = "fetchOrder"
    document["edges"][0]["to"] = document["edges"][1]["from"] = "fetchOrder"
    values = _config(document, 2)["values"]
    for name in ("count", "sum"):
        values[name] = values[name].replace("nodes.order", "nodes.fetchOrder")
    _config(document, 4)["items"] = "{{ nodes.fetchOrder.body['items'] }}"


SLIPS: tuple[Slip, ...] = (
    Slip("wrong field name in a config", lambda d: _rename(_config(d, 0), "prompt", "promt"), "/nodes/0/config/promt", "unknown_field"),
    Slip("another tool's field name", lambda d: _rename(_config(d, 1), "url", "endpoint"), "/nodes/1/config/endpoint", "unknown_field"),
    Slip("wrong field name of a node", lambda d: _rename(d["nodes"][0], "timeout", "time_out"), "/nodes/0/time_out", "unknown_field"),
    Slip(
        "camel case field name",
        lambda d: _rename(d["nodes"][0]["retry"], "max_attempts", "maxAttempts"),
        "/nodes/0/retry/maxAttempts",
        "unknown_field",
    ),
    Slip("wrong field name of the workflow", lambda d: _rename(d, "input", "inputs"), "/inputs", "unknown_field"),
    Slip(
        "wrong field names of an edge",
        lambda d: (_rename(d["edges"][0], "from", "source"), _rename(d["edges"][0], "to", "target")),
        "/edges/0/source",
        "unknown_field",
    ),
    Slip(
        "a version that the node type does not have",
        lambda d: d["nodes"][0].update(type_version=2),
        "/nodes/0/type_version",
        "unknown_version",
    ),
    Slip("number as text", lambda d: d["nodes"][0]["retry"].update(max_attempts="3"), "/nodes/0/retry/max_attempts", "wrong_type"),
    Slip("number as text in a config", lambda d: _config(d, 4).update(concurrency="5"), "/nodes/4/config/concurrency", "wrong_type"),
    Slip("text as number", lambda d: _config(d, 5).update(description=5), "/nodes/5/config/description", "wrong_type"),
    Slip("true as text", lambda d: d["nodes"][1].update(disabled="false"), "/nodes/1/disabled", "wrong_type"),
    Slip("duration as number", lambda d: d["nodes"][0].update(timeout=30), "/nodes/0/timeout", "wrong_type"),
    Slip("duration in words", lambda d: _config(d, 5).update(timeout="2 days"), "/nodes/5/config/timeout", "bad_value"),
    Slip("one object instead of a list", lambda d: _body(d).update(edges=_body(d)["edges"][0]), "/nodes/4/config/body/edges", "wrong_type"),
    Slip("list instead of a body", lambda d: _config(d, 4).update(body=_body(d)["nodes"][:1]), "/nodes/4/config/body", "wrong_type"),
    Slip("single node instead of a body", lambda d: _config(d, 4).update(body=_body(d)["nodes"][0]), "/nodes/4/config/body", "wrong_type"),
    Slip("nodes by id instead of a list", lambda d: d.update(nodes={n.pop("id"): n for n in d["nodes"]}), "/nodes", "wrong_type"),
    Slip(
        "JSON in a text",
        lambda d: _config(d, 0).update(output_schema='{"type": "object", "properties": {"kind": {}, "amount": {}}}'),
        "/nodes/0/config/output_schema",
        "wrong_type",
    ),
    Slip("braces forgotten", lambda d: _config(d, 4).update(items="nodes.order.body"), "/nodes/4/config/items", "wrong_type"),
    Slip("value out of range", lambda d: d["nodes"][0]["retry"].update(max_attempts=0), "/nodes/0/retry/max_attempts", "bad_value"),
    Slip("method in small letters", lambda d: _config(d, 1).update(method="get"), "/nodes/1/config/method", "bad_value"),
    Slip("wrong word of several", lambda d: d["nodes"][0].update(on_error="continu"), "/nodes/0/on_error", "bad_value"),
    Slip("name of the workflow with capitals", lambda d: d.update(name="Refund Triage"), "/name", "bad_value"),
    Slip("name missing", lambda d: d.pop("name"), "", "missing_field"),
    Slip("url missing", lambda d: _config(d, 1).pop("url"), "/nodes/1/config", "missing_field"),
    Slip("id missing", lambda d: d["nodes"][7].pop("id"), "/nodes/7", "missing_field"),
    Slip("type missing", lambda d: d["nodes"][0].pop("type"), "/nodes/0", "missing_field"),
    Slip("missing edge", lambda d: d["edges"].pop(1), "/nodes/2/config/values/count", "not_upstream"),
    Slip("missing edge in the middle", lambda d: d["edges"].pop(2), "/nodes/3/config/condition", "not_upstream"),
    Slip("missing edge before the end", lambda d: d["edges"].pop(), "/nodes/7", "unconnected"),
    Slip("missing edge of a branch", lambda d: d["edges"].pop(4), "/nodes/5/config/title", "not_upstream"),
    Slip("no edges at all", lambda d: (d.pop("edges"), d["nodes"].pop(6)), "/nodes/2/config/values/count", "not_upstream"),
    Slip("missing edge in a body", lambda d: _body(d).pop("edges"), "/nodes/4/config/body/nodes/1/config/values/id", "not_upstream"),
    Slip("edge to a misspelt node", lambda d: d["edges"][2].update(to="decid"), "/edges/2/to", "unknown_node"),
    Slip("edge from nowhere", lambda d: d["edges"].append({"from": "zzz", "to": "done"}), "/edges/8/from", "unknown_node"),
    Slip("edge into a body", lambda d: d["edges"].append({"from": "totals", "to": "refund"}), "/edges/8/to", "crossing_edge"),
    Slip("edge to itself", lambda d: d["edges"].append({"from": "order", "to": "order"}), "/edges/8", "self_loop"),
    Slip("edge twice", lambda d: d["edges"].append({"from": "classify", "to": "order"}), "/edges/8", "duplicate_edge"),
    Slip("cycle", lambda d: d["edges"].append({"from": "totals", "to": "order"}), "/edges/8", "cycle"),
    Slip("branch that is none", lambda d: d["edges"][3].update(branch="yes"), "/edges/3/branch", "bad_branch"),
    Slip("branch as a boolean", lambda d: d["edges"][3].update(branch=True), "/edges/3/branch", "wrong_type"),
    Slip("branch of a plain node", lambda d: d["edges"][0].update(branch="true"), "/edges/0/branch", "bad_branch"),
    Slip(
        "error edge without route",
        lambda d: d["edges"].append({"from": "order", "to": "done", "branch": "error"}),
        "/edges/8/branch",
        "bad_branch",
    ),
    Slip("misspelt node type", lambda d: d["nodes"][1].update(type="htpp"), "/nodes/1/type", "unknown_type"),
    Slip("another tool's node type", lambda d: d["nodes"][4].update(type="for_each"), "/nodes/4/type", "unknown_type"),
    Slip("capital node type", lambda d: d["nodes"][5].update(type="Approval"), "/nodes/5/type", "unknown_type"),
    Slip("duplicate id", lambda d: d["nodes"].append({"id": "done", "type": "set"}), "/nodes/8/id", "duplicate_id"),
    Slip("id with capitals, used elsewhere", _rename_node, "/nodes/1/id", "bad_id"),
    Slip("config beside config", lambda d: d["nodes"][1].update(d["nodes"][1].pop("config")), "/nodes/1/method", "misplaced_field"),
    Slip(
        "retry inside config", lambda d: _config(d, 0).update(retry=d["nodes"][0].pop("retry")), "/nodes/0/config/retry", "misplaced_field"
    ),
    Slip(
        "JavaScript operators",
        lambda d: _config(d, 3).update(condition="nodes.classify.kind === 'refund' && !(nodes.totals.sum >= 100)"),
        "/nodes/3/config/condition",
        "bad_expression",
    ),
    Slip(
        "JavaScript ternary",
        lambda d: _config(d, 2)["values"].update(sum="{{ input.limit ? input.limit : 0 }}"),
        "/nodes/2/config/values/sum",
        "bad_expression",
    ),
    Slip("true of other languages", lambda d: d["edges"][6].update(when="nodes.ask.approved == true"), "/edges/6/when", "unknown_name"),
    Slip("null of other languages", lambda d: d["edges"][6].update(when="nodes.ask.approved != null"), "/edges/6/when", "unknown_name"),
    Slip(
        "length of JavaScript",
        lambda d: _config(d, 7)["values"].update(count="{{ nodes.each.items.length }}"),
        "/nodes/7/config/values/count",
        "unknown_field",
    ),
    Slip(
        "method of JavaScript",
        lambda d: _config(d, 2)["values"].update(note="{{ input.ticket.toUpperCase() }}"),
        "/nodes/2/config/values/note",
        "bad_expression",
    ),
    Slip(
        "template string of JavaScript",
        lambda d: _config(d, 2)["values"].update(note="Order ${input.order_id}"),
        "/nodes/2/config/values/note",
        "bad_template",
    ),
    Slip(
        "bracket missing",
        lambda d: _config(d, 2)["values"].update(count="{{ len(nodes.order.body }}"),
        "/nodes/2/config/values/count",
        "bad_expression",
    ),
    Slip(
        "bracket missing in a condition", lambda d: d["edges"][6].update(when="bool(nodes.ask.approved"), "/edges/6/when", "bad_expression"
    ),
    Slip(
        "assignment instead of comparison",
        lambda d: d["edges"][6].update(when="nodes.ask.comment = 'yes'"),
        "/edges/6/when",
        "bad_expression",
    ),
    Slip("braces around a condition", lambda d: d["edges"][6].update(when="{{ nodes.ask.approved }}"), "/edges/6/when", "bad_expression"),
    Slip(
        "braces inside a condition",
        lambda d: _config(d, 3).update(condition="{{ nodes.classify.kind }} == 'refund'"),
        "/nodes/3/config/condition",
        "bad_expression",
    ),
    Slip(
        "template not closed",
        lambda d: _config(d, 5).update(title="Refund {{ nodes.classify.amount }?"),
        "/nodes/5/config/title",
        "bad_template",
    ),
    Slip(
        "dangling reference",
        lambda d: _config(d, 5).update(title="Refund {{ nodes.clasify.amount }}?"),
        "/nodes/5/config/title",
        "unknown_node",
    ),
    Slip(
        "reference to a later node",
        lambda d: (
            _config(d, 1).update(url="https://shop.example.com/{{ nodes.extra.x }}")
            or d["nodes"].append({"id": "extra", "type": "set", "config": {"values": {"x": 1}}})
        ),
        "/nodes/1/config/url",
        "not_upstream",
    ),
    Slip(
        "field that cannot be",
        lambda d: _config(d, 5).update(title="Refund {{ nodes.classify.amout }}?"),
        "/nodes/5/config/title",
        "unknown_field",
    ),
    Slip(
        "output of another tool",
        lambda d: _config(d, 5).update(title="Refund {{ nodes.classify.output.amount }}?"),
        "/nodes/5/config/title",
        "unknown_field",
    ),
    Slip("nodes forgotten", lambda d: _config(d, 5).update(title="Refund {{ classify.amount }}?"), "/nodes/5/config/title", "unknown_name"),
    Slip(
        "name of another tool",
        lambda d: _config(d, 5).update(title="Refund {{ steps.classify.amount }}?"),
        "/nodes/5/config/title",
        "unknown_name",
    ),
    Slip("misspelt input", lambda d: _config(d, 0).update(prompt="{{ input.tiket }}"), "/nodes/0/config/prompt", "unknown_input"),
    Slip("undeclared input", lambda d: _config(d, 0).update(prompt="{{ input.customer }}"), "/nodes/0/config/prompt", "unknown_input"),
    Slip(
        "undeclared variable read",
        lambda d: _config(d, 0).update(prompt="{{ vars.tone }}"),
        "/nodes/0/config/prompt",
        "undeclared_variable",
    ),
    Slip(
        "undeclared variable set", lambda d: _config(d, 7)["vars"].update(tone="kind"), "/nodes/7/config/vars/tone", "undeclared_variable"
    ),
    Slip(
        "inner node seen from outside",
        lambda d: _config(d, 7)["values"].update(count="{{ nodes.receipt.id }}"),
        "/nodes/7/config/values/count",
        "not_visible",
    ),
    Slip(
        "field in a body that cannot be",
        lambda d: _body(d)["edges"][0].update(when="nodes.refund.statuss < 300"),
        "/nodes/4/config/body/edges/0/when",
        "unknown_field",
    ),
    Slip(
        "type of another language in a schema",
        lambda d: d["input"]["properties"].update(limit={"type": "float"}),
        "/input/properties/limit/type",
        "bad_schema",
    ),
    Slip(
        "shorthand schema", lambda d: d.update(input={"ticket": "string", "order_id": "string", "limit": "number"}), "/input", "bad_schema"
    ),
    Slip(
        "required as a flag",
        lambda d: d["input"]["properties"]["ticket"].update(required=True),
        "/input/properties/ticket/required",
        "bad_schema",
    ),
    Slip(
        "join waits for too many",
        lambda d: d["nodes"][6].update(config={"mode": "count", "count": 3}),
        "/nodes/6/config/count",
        "join_count",
    ),
    Slip("output field misspelt", lambda d: d.update(output="{{ nodes.done.cont }}"), "/output", "unknown_field"),
    Slip("wrapped in another object", lambda d: _wrap(d), "/workflow", "unknown_field"),
)


def _wrap(document: Document) -> None:
    inner = dict(document)
    document.clear()
    document["workflow"] = inner
