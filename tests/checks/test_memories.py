"""Recalled words are followed: into no instructions, and back into memory only as what they are."""

from __future__ import annotations

import itertools
from typing import Any

import jsonpatch
import pytest

from graphs.checks import check
from graphs.expressions import Evaluator

pytestmark = pytest.mark.anyio
FIND = {"id": "find", "type": "recall", "config": {"query": "x"}}


def node(id: str, type: str, /, **config: Any) -> dict[str, Any]:
    return {"id": id, "type": type, "config": {name.rstrip("_"): value for name, value in config.items()}}


def ask(**config: Any) -> dict[str, Any]:
    return node("ask", "llm", **{"prompt": "Hi", **config})


def chain(*nodes: dict[str, Any], **more: Any) -> dict[str, Any]:
    ids = [one["id"] for one in nodes]
    edges = [{"from": first, "to": second} for first, second in itertools.pairwise(ids)]
    return {"name": "w", "nodes": list(nodes), "edges": edges, **more}


def body(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"nodes": list(nodes), "edges": []}


def each(items: Any, *nodes: dict[str, Any]) -> dict[str, Any]:
    return node("each", "foreach", items=items, as_="memory", body=body(*nodes))


SCRIPT = "best = None\nfor one in nodes.find.memories:\n    best = one\nparts = []\nparts.append(best.quote)\nreturn {'said': parts}"
WORDS: dict[str, list[dict[str, Any]]] = {
    "its text": [FIND, ask(system="Be kind. {{ nodes.find.text }}")],
    "a quote": [FIND, ask(system="{{ nodes.find.memories[0].quote }}")],
    "a quote by key": [FIND, ask(system="{{ nodes['find']['memories'][0]['quote'] }}")],
    "a title": [FIND, ask(system="About {{ nodes.find.memories[0].title.upper() }}")],
    "a speaker": [FIND, ask(system="{{ nodes.find.memories[0].speaker or 'nobody' }}")],
    "all of it": [FIND, ask(system="{{ nodes.find }}")],
    "a choice": [FIND, ask(system="{{ nodes.find.text if len(nodes.find.memories) > 1 else 'nothing' }}")],
    "a list made of it": [FIND, ask(system="{{ ', '.join([m.quote for m in nodes.find.memories]) }}")],
    "a chunk": [node("find", "retrieve", query="x"), ask(system="{{ nodes.find.chunks[0].quote }}")],
    "a set": [FIND, node("s", "set", values={"n": 1, "a": {"b": "{{ nodes.find.text }}"}}), ask(system="{{ nodes.s.a.b }}")],
    "two sets": [
        FIND, node("s", "set", values={"a": "{{ nodes.find.text }}"}), node("t", "set", values={"b": "{{ nodes.s.a }}"}),
        ask(system="{{ nodes.t.b }}"),
    ],
    "a variable": [FIND, node("s", "set", vars={"v": "{{ nodes.find.text }}"}), ask(system="{{ vars.v }}")],
    "a script": [FIND, node("s", "script", code=SCRIPT), ask(system="{{ nodes.s.said }}")],
    "a script's value": [
        FIND, node("s", "script", code="return told[:10]", values={"told": "{{ nodes.find.text }}"}), ask(system="{{ nodes.s }}"),
    ],
    "a subflow": [FIND, node("s", "subflow", workflow="other", input={"q": "{{ nodes.find.text }}"}), ask(system="{{ nodes.s.output }}")],
    "what a loop goes through": [FIND, each("{{ nodes.find.memories }}", ask(system="{{ memory.quote }}"))],
    "what a loop has made": [
        FIND, each([1], node("s", "set", values={"a": "{{ nodes.find.text }}"})), ask(system="{{ nodes.each.items[0].a }}"),
    ],
    "a recall within a branch": [
        node("known", "if", condition="True", then=body(FIND), else_=body(FIND | {"id": "other"})), ask(system="{{ nodes.known }}"),
    ],
}  # fmt: skip
HARMLESS: dict[str, list[dict[str, Any]]] = {
    "in a prompt": [FIND, ask(prompt="{{ nodes.find.text }}", system="Be kind.")],
    "a number": [FIND, ask(system="There are {{ len(nodes.find.memories) }}, {{ nodes.find.tokens }} tokens.")],
    "a comparison": [FIND, ask(system="{{ 'known' if nodes.find.memories else 'new' }} {{ nodes.find.text == '' }}")],
    "what Weft says": [FIND, ask(system="{{ nodes.find.found_by }} {{ nodes.find.memories[0].trust }} {{ nodes.find.memories[0].score }}")],
    "their ids": [FIND, ask(system="{{ [m.memory_id for m in nodes.find.memories] }}")],
    "another field of a set": [FIND, node("s", "set", values={"a": "{{ nodes.find.text }}", "b": "kind"}), ask(system="{{ nodes.s.b }}")],
    "a script that counts": [FIND, node("s", "script", code="n = len(nodes.find.memories)\nreturn n"), ask(system="{{ nodes.s }}")],
    "the place in a loop": [FIND, each("{{ nodes.find.memories }}", ask(system="{{ index }}", prompt="{{ memory.quote }}"))],
    "what a model has said of it": [FIND, node("m", "llm", prompt="{{ nodes.find.text }}"), ask(system="{{ nodes.m.text }}")],
    "how often a loop went": [
        FIND,
        each("{{ nodes.find.memories }}", node("s", "set", values={"a": "{{ memory.quote }}"})),
        ask(system="{{ nodes.each.count }}"),
    ],
    "an input": [FIND, ask(system="{{ input.system }}")],
}


@pytest.mark.parametrize("name", list(WORDS))
async def test_recalled_words_are_refused_in_a_system_prompt(name: str, evaluator: Evaluator) -> None:
    report = await check(chain(*WORDS[name], vars={"v": ""}), evaluator)
    found = [(one.code, one.pointer.rsplit("/", 1)[-1]) for one in report.diagnostics if one.severity == "error"]
    assert found == [("memory_in_system", "system")], report.as_json()
    assert "prompt" in report.diagnostics[0].message


@pytest.mark.parametrize("name", list(WORDS))
async def test_the_repair_moves_them_into_the_prompt(name: str, evaluator: Evaluator) -> None:
    document = chain(*WORDS[name], vars={"v": ""})
    report = await check(document, evaluator)
    repaired = jsonpatch.apply_patch(document, [dict(operation) for operation in report.diagnostics[0].patch])
    again = await check(repaired, evaluator)
    assert again.ok, again.as_json()
    assert "{{" in str(repaired).split("'prompt': ", 1)[1]


@pytest.mark.parametrize("name", list(HARMLESS))
async def test_what_is_no_word_of_a_memory_may_stand_anywhere(name: str, evaluator: Evaluator) -> None:
    report = await check(chain(*HARMLESS[name], input={"type": "object"}), evaluator)
    assert report.ok, report.as_json()


async def test_the_step_that_undoes_is_looked_at_as_well(evaluator: Evaluator) -> None:
    undo = {"type": "llm", "config": {"prompt": "Undo", "system": "{{ nodes.find.text }}"}}
    report = await check(
        chain(FIND, {**node("s", "set", values={"a": 1}), "compensate": undo}, settings={"compensate": ["failure"]}), evaluator
    )
    assert ("memory_in_system", "/nodes/1/compensate/config/system") in [(one.code, one.pointer) for one in report.diagnostics]


@pytest.mark.parametrize(
    ("origin", "text", "refused"),
    [
        ("user", "{{ nodes.find.text }}", True),
        ("agent", "{{ nodes.find.memories[0].quote }}", True),
        ("{{ input.who }}", "{{ nodes.find.text }}", True),
        ("user", "{{ nodes.said.text }}", True),  # a model's word on it is not a person's
        ("agent", "{{ nodes.said.text }}", False),
        ("tool", "{{ nodes.find.text }}", False),
        (None, "{{ nodes.find.text }}", False),
        ("user", "{{ input.text }} ({{ len(nodes.find.memories) }})", False),
    ],
)
async def test_recalled_words_are_not_remembered_as_anybodys_own(
    evaluator: Evaluator, origin: str | None, text: str, refused: bool
) -> None:
    keep = node("keep", "remember", text=text, **({"origin": origin} if origin else {}))
    said = node("said", "llm", prompt="{{ nodes.find.text }}")
    document = chain(FIND, said, keep, input={"type": "object"})
    report = await check(document, evaluator)
    assert [(one.code, one.pointer) for one in report.diagnostics] == (
        [("memory_said_again", "/nodes/2/config/origin")] if refused else []
    ), report.as_json()
    if refused:
        repaired = jsonpatch.apply_patch(document, [dict(operation) for operation in report.diagnostics[0].patch])
        assert (await check(repaired, evaluator)).ok
