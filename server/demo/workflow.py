"""The workflow of the demo, the two slips its author makes at first, and the stand-ins of its test."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]

NAME = "evening-orders"
PARCEL: Document = {
    "id": "parcel",
    "type": "http",
    "config": {
        "method": "POST",
        "url": "{{ env.SHOP_URL }}/parcels",
        "json": {"order": "{{ order.id }}"},
        "idempotent": True,
    },
    "retry": {"max_attempts": 3},
}
DEFINITION: Document = {
    "name": NAME,
    "description": "Ships tonight's orders side by side, has a model write the note, asks a person before money goes out.",
    "input": {"type": "object", "properties": {"percent": {"type": "number"}}, "required": ["percent"]},
    "nodes": [
        {"id": "orders", "type": "http", "config": {"url": "{{ env.SHOP_URL }}/orders"}, "retry": {"max_attempts": 3}},
        {"id": "any", "type": "if", "config": {"condition": "len(nodes.orders.body.orders) > 0"}},
        {"id": "nothing", "type": "stop", "config": {"message": "no orders tonight", "output": {"shipped": 0}}},
        {
            "id": "ship",
            "type": "foreach",
            "config": {
                "items": "{{ nodes.orders.body.orders }}",
                "as": "order",
                "concurrency": 3,
                "body": {"nodes": [PARCEL]},
            },
        },
        {
            "id": "note",
            "type": "llm",
            "config": {
                "prompt": "One short friendly sentence to customers whose parcels leave late tonight: "
                "{{ ', '.join([o.item for o in nodes.orders.body.orders if o.late]) }}",
                "max_tokens": 2000,
                "timeout": "20s",
            },
            "retry": {"max_attempts": 1},
            "on_error": "continue",
        },
        {
            "id": "sums",
            "type": "set",
            "config": {
                "values": {
                    "late": "{{ [o.id for o in nodes.orders.body.orders if o.late] }}",
                    "refund": "{{ sum([o.total for o in nodes.orders.body.orders if o.late]) * input.percent / 100 }}",
                }
            },
        },
        {
            "id": "ask",
            "type": "approval",
            "config": {
                "title": "Refund {{ nodes.sums.refund }} EUR for {{ len(nodes.sums.late) }} late orders?",
                "timeout": "2d",
            },
        },
        {
            "id": "refund",
            "type": "http",
            "config": {
                "method": "POST",
                "url": "{{ env.SHOP_URL }}/refunds",
                "json": {"amount": "{{ nodes.sums.refund }}"},
                "idempotent": True,
            },
        },
    ],
    "edges": [
        {"from": "orders", "to": "any"},
        {"from": "any", "to": "ship", "branch": "true"},
        {"from": "any", "to": "note", "branch": "true"},
        {"from": "any", "to": "nothing", "branch": "false"},
        {"from": "ship", "to": "sums"},
        {"from": "note", "to": "sums"},
        {"from": "sums", "to": "ask"},
        {"from": "ask", "to": "refund", "when": "nodes.ask.approved"},
    ],
    "output": {"shipped": "{{ nodes.ship.count }}", "note": "{{ nodes.note }}", "refund": "{{ nodes.refund.body }}"},
}
TEST_ORDERS = [{"id": "T-1", "item": "Test lamp", "total": 50.0, "late": True}]
MOCKS: Document = {
    "orders": {"status": 200, "ok": True, "headers": {}, "body": {"orders": TEST_ORDERS}},
    "parcel": {"status": 200, "ok": True, "headers": {}, "body": {"receipt": "test"}},
    "ask": {"approved": True},
    "refund": {"status": 200, "ok": True, "headers": {}, "body": {"receipt": "test"}},
}


def named(name: str) -> Document:
    """The definition as it should be, under this name."""
    return {**copy.deepcopy(DEFINITION), "name": name}


def with_slips(name: str) -> Document:
    """The definition as a model in a hurry writes it: a misspelt node type and a number as text."""
    slipped = named(name)
    slipped["nodes"][0]["type"] = "htpp"
    slipped["nodes"][3]["config"]["concurrency"] = "3"
    return slipped
