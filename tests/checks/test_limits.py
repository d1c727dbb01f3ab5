"""The largest documents that anyone may send, made to be slow: each is answered in bounded time."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import Any

import pytest

from graphs.checks import check
from graphs.expressions import Evaluator

pytestmark = pytest.mark.anyio
BOUND = 8.0  # seconds of CPU on a slow machine; about a quarter of it here
IDS = [f"node_{number * 7919 % 10007}_{number}" for number in range(1900)]


def step(id: str, value: Any = "x") -> dict[str, Any]:
    return {"id": id, "type": "set", "config": {"values": {"v": value}}}


def document(nodes: list[dict[str, Any]], edges: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"name": "w", "nodes": nodes, "edges": edges or []}


DECIDE = [{"id": id, "type": "if", "config": {"condition": "input.x"}} for id in IDS]
SLOW: dict[str, dict[str, Any]] = {
    "edges from and to misspelt nodes": document(
        [step(id) for id in IDS], [{"from": f"{a}x", "to": b[:-1]} for a, b in zip(IDS, IDS[5:], strict=False)] * 4
    ),
    "references to misspelt nodes": document([step(id, f"{{{{ nodes.{id}x.v }}}}") for id in IDS]),
    "the same id again and again": document([step("a") for _ in IDS]),
    "bad ids that are used everywhere": document([step(f"A-{id}", "{{ nodes.x.y }}") for id in IDS]),
    "decisions without edges": document(DECIDE, [{"from": IDS[0], "to": id, "branch": "true"} for id in IDS[1:900]]),
    "a hundred thousand holes": document([step("a", "{{a}}" * 39_000)]),
    "thousands of holes": document([step("a", "{{ input.a + 1 }}" * 9_000)]),
    "holes that never end": document([step("a", "{{ (" * 20_000)]),
    "quotes that never end": document([step("a", "{{ '" + "\\'" * 90_000)]),
    "a dense graph": document(
        [step(id, f"{{{{ nodes.{IDS[0]}.v }}}}") for id in IDS],
        [{"from": IDS[k], "to": IDS[k + j]} for k in range(1890) for j in range(1, 5)],
    ),
    "one large cycle": document([step(id) for id in IDS], [{"from": IDS[k - 1], "to": IDS[k]} for k in range(len(IDS))]),
    "loops in one another": document(
        [step(id) for id in IDS],
        [{"from": a, "to": b} for a, b in pairwise(IDS)] + [{"from": IDS[-1], "to": id, "max_loops": 2} for id in IDS],
    ),
    "every step a loop": document(
        [step(id, f"{{{{ nodes.{IDS[-1]}.v }}}}") for id in IDS],
        [{"from": id, "to": id, "max_loops": 2} for id in IDS]
        + [{"from": IDS[k], "to": IDS[k + j]} for k in range(1890) for j in (1, 2, 3)],
    ),
    "ways into every loop": document(
        [step(id) for id in IDS],
        [{"from": a, "to": b} for a, b in pairwise(IDS[:1800])]
        + [{"from": IDS[900 + k], "to": IDS[900 - k], "max_loops": 2, "when": "input.x"} for k in range(1, 900)]
        + [{"from": IDS[1800 + k % 100], "to": IDS[k]} for k in range(1800)],
    ),
    "cycles everywhere": document(
        [step(id) for id in IDS], [{"from": a, "to": b} for a, b in pairwise(IDS)] + [{"from": b, "to": a} for a, b in pairwise(IDS)]
    ),
    "compensations nobody asks for": document(
        [
            {"id": id, "type": "http", "config": {"url": "https://a.example"}, "compensate": {"type": "htp", "config": {"ur": id}}}
            for id in IDS
        ]
    ),
    "thousands of bad schemas": {
        **document([step("a")]),
        "input": {"type": "object", "properties": {f"p{i}": {"type": "strin", "pattern": f"^a{i}+$"} for i in range(12_000)}},
    },
    "broken code everywhere": document([step(id, f"{{{{ a && b || !c === ] {id} }}}}") for id in IDS]),
    "braces everywhere": document([step("a", "${ input " * 20_000), step("b", "{ input.a" * 20_000)]),
}


@pytest.mark.parametrize("name", list(SLOW))
async def test_a_slow_document_is_answered_in_time(evaluator: Evaluator, name: str) -> None:
    began = time.process_time()
    report = await check(SLOW[name], evaluator)
    spent = time.process_time() - began
    assert spent < BOUND
    assert len(report.diagnostics) <= 200
