"""Workflows and names that the door tests share."""

from __future__ import annotations

from typing import Any

ROLES = ("owner", "builder", "operator", "viewer")

HELLO: dict[str, Any] = {
    "name": "hello-world",
    "description": "Greets somebody.",
    "input": {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    "nodes": [{"id": "greet", "type": "set", "config": {"values": {"text": "Hello {{ input.name }}"}}}],
    "output": {"text": "{{ nodes.greet.text }}"},
}
ASK: dict[str, Any] = {
    "name": "ask-first",
    "description": "Asks before it acts.",
    "input": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
    "nodes": [
        {"id": "ok", "type": "approval", "config": {"title": "Do {{ input.what }}?"}},
        {"id": "done", "type": "set", "config": {"values": {"did": "{{ input.what }}"}}},
    ],
    "edges": [{"from": "ok", "to": "done", "when": "nodes.ok.approved"}],
    "output": {"did": "{{ nodes.done.did }}"},
}
LISTEN: dict[str, Any] = {
    "name": "listen",
    "input": {"type": "object", "properties": {"order": {"type": "string"}}, "required": ["order"]},
    "nodes": [{"id": "paid", "type": "wait_event", "config": {"event": "paid", "correlation": "{{ input.order }}"}}],
    "output": {"amount": "{{ nodes.paid.payload.amount }}"},
}
FAILS: dict[str, Any] = {
    "name": "fails",
    "nodes": [{"id": "stop", "type": "stop", "config": {"state": "failed", "message": "as told"}}],
}
