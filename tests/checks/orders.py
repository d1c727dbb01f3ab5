"""A definition that uses all ways of control at once: a loop of edges, a try that undoes, a while, boundaries, a race, an event."""

from __future__ import annotations

import copy
from typing import Any

Document = dict[str, Any]


def order() -> Document:
    """Draft an offer until it is accepted, reserve and charge or undo both, wait for the parcel, reach the customer, tell others."""
    return copy.deepcopy(ORDER)


def _post(id: str, place: str, **more: Any) -> Document:
    config = {"method": "POST", "url": f"https://shop.example.com/{place}", "json": {"order": "{{ input.order_id }}"}}
    return {"id": id, "type": "http", "config": config, **more}


def _values(id: str, **values: Any) -> Document:
    return {"id": id, "type": "set", "config": {"values": values}}


PAYMENT: Document = {
    "compensate": True,
    "body": {
        "nodes": [
            _post(
                "reserve",
                "reservations",
                compensate={
                    "type": "http",
                    "config": {"method": "DELETE", "url": "https://shop.example.com/reservations/{{ nodes.reserve.body.id }}"},
                    "retry": {"max_attempts": 5},
                },
            ),
            _post(
                "charge",
                "charges",
                on_ambiguous="ask",
                milestone="{{ input.customer }} has paid: {{ nodes.charge.body.id }}",
                compensate={
                    "type": "http",
                    "config": {
                        "method": "POST",
                        "url": "https://shop.example.com/refunds",
                        "json": {"charge": "{{ nodes.charge.body.id }}", "reserved": "{{ nodes.reserve.body.id }}"},
                    },
                },
            ),
        ],
        "edges": [{"from": "reserve", "to": "charge"}],
    },
    "catch": {"nodes": [_values("sorry", text="{{ error.code }}: {{ error.message }}")]},
    "finally": {"nodes": [_values("noted", offers="{{ nodes.draft.text }}")]},
}
TRACKING: Document = {
    "condition": "last is None or (last.status == 202 and index < 10)",
    "max_iterations": 20,
    "on_limit": "continue",
    "body": {
        "nodes": [
            {"id": "pause", "type": "wait", "config": {"duration": "1h"}},
            {
                "id": "poll",
                "type": "http",
                "config": {
                    "url": "https://shop.example.com/parcels/{{ input.order_id }}",
                    "params": {"try": "{{ index }}"},
                    "expect": [200, 202],
                },
            },
        ],
        "edges": [{"from": "pause", "to": "poll"}],
    },
}
REACHING: Document = {
    "branches": {
        "mail": {"nodes": [{"id": "answer", "type": "wait_event", "config": {"event": "answered", "correlation": "{{ input.order_id }}"}}]},
        "phone": {"nodes": [{"id": "call", "type": "approval", "config": {"title": "Has {{ input.customer }} been called?"}}]},
    }
}
REVIEW_FORM: Document = {
    "type": "object",
    "properties": {"decision": {"enum": ["accept", "change"]}, "remark": {"type": "string"}},
    "required": ["decision"],
}

ORDER: Document = {
    "name": "order-saga",
    "input": {
        "type": "object",
        "properties": {"order_id": {"type": "string"}, "customer": {"type": "string"}, "due": {"type": "string"}},
        "required": ["order_id", "customer", "due"],
    },
    "nodes": [
        {"id": "draft", "type": "llm", "config": {"prompt": "Offer for {{ input.customer }}. {{ nodes.review.answer.remark }}"}},
        {"id": "review", "type": "input", "config": {"title": "Accept? {{ nodes.draft.text }}", "form": REVIEW_FORM}},
        {"id": "pay", "type": "try", "config": PAYMENT},
        {"id": "track", "type": "while", "config": TRACKING},
        {
            "id": "delivered",
            "type": "wait_event",
            "config": {"event": "delivered", "correlation": "{{ input.order_id }}"},
            "boundary": [
                {"name": "late", "timer": "7d", "interrupting": False},
                {"name": "lost", "event": "parcel_lost", "correlation": "{{ input.order_id }}"},
            ],
        },
        _post("remind", "reminders"),
        {"id": "reach", "type": "race", "config": REACHING},
        {
            "id": "tell",
            "type": "emit_event",
            "config": {
                "event": "order_done",
                "correlation": "{{ input.order_id }}",
                "payload": {"status": "{{ nodes.track.last.status }}"},
            },
            "boundary": [{"name": "refused", "error": ["event_*", "timeout"]}],
        },
        _values("done", delivered="{{ nodes.delivered.received }}", winner="{{ nodes.reach.winner }}"),
    ],
    "edges": [
        {"from": "draft", "to": "review"},
        {"from": "review", "to": "draft", "when": "nodes.review.answer.decision == 'change'", "max_loops": 5},
        {"from": "review", "to": "pay", "when": "nodes.review.answer.decision == 'accept'"},
        {"from": "pay", "to": "track"},
        {"from": "track", "to": "delivered"},
        {"from": "delivered", "to": "tell"},
        {"from": "delivered", "to": "remind", "branch": "late"},
        {"from": "delivered", "to": "reach", "branch": "lost"},
        {"from": "reach", "to": "tell"},
        {"from": "tell", "to": "done"},
        {"from": "tell", "to": "done", "branch": "refused"},
    ],
    "output": {"delivered": "{{ nodes.done.delivered }}", "offer": "{{ nodes.draft.text }}"},
    "settings": {
        "concurrency": {"key": "{{ input.customer }}", "limit": 2},
        "start_delay": "10ms",
        "deadline": "{{ input.due }}",
        "compensate": ["cancel"],
    },
}
