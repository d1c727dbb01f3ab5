"""Small workflows for the crash matrix, at least one per node type, each with effects that the ledger can count.

Every one takes the input {"tag": …}; the ledger's paths begin with it, and what waits for an event has it as correlation.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.engine.conftest import flow, put
from tests.models.loopback import PLAY

Part = dict[str, Any]
TAGGED = {"type": "object", "properties": {"tag": {"type": "string"}}, "required": ["tag"]}
CALLS_A_CHILD = "crash-child"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """`make` gets the port of the ledger. `beside` is a run that is started first and must end too."""

    make: Callable[[int], Part]
    ends: str = "succeeded"
    beside: Callable[[int], Part] | None = None
    child: Callable[[int], Part] | None = None
    talks: bool = False  # its input has a `chat` with a `message` and the `answer` to be written
    action: dict[str, Any] = field(default_factory=dict[str, Any])  # what a person asks of the run once it waits for the event `never`


def types_in(part: Any) -> Iterator[str]:
    """Every node type that occurs in a definition, at any depth."""
    if isinstance(part, dict):
        if isinstance(part.get("id"), str) and isinstance(part.get("type"), str):  # pyright: ignore[reportUnknownMemberType]
            yield part["type"]
        for inner in part.values():  # pyright: ignore[reportUnknownVariableType]
            yield from types_in(inner)
    elif isinstance(part, list):
        for inner in part:  # pyright: ignore[reportUnknownVariableType]
            yield from types_in(inner)


# -- parts ---------------------------------------------------------------------------------------------------------------------------


def call(id: str, port: int, method: str = "POST", *, name: str = "", **more: Any) -> Part:
    """An effect that the ledger notes under `name`. A GET has no body."""
    config: Part = {"method": method, "url": f"http://127.0.0.1:{port}/{{{{ input.tag }}}}/{name or id}"}
    if method != "GET":
        config["json"] = {"n": 1}
    return {"id": id, "type": "http", "config": config, **more}


def body(*nodes: Part, edges: list[tuple[str, str]] | None = None) -> Part:
    return {"nodes": list(nodes), "edges": [{"from": source, "to": target} for source, target in edges or []]}


def node(id: str, type: str, /, **config: Any) -> Part:
    return {"id": id, "type": type, "config": {name.rstrip("_"): value for name, value in config.items()}}


def undone_by(port: int, id: str) -> Part:
    undo = call(id, port, "DELETE")
    return {"compensate": {"type": "http", "config": undo["config"]}}


def chain(*nodes: Part, edges: list[Any] | None = None, **more: Any) -> Part:
    """A workflow whose nodes follow one another where `edges` does not say otherwise."""
    ids = [item["id"] for item in nodes]
    return flow(*nodes, edges=edges if edges is not None else list(itertools.pairwise(ids)), input=TAGGED, **more)


def event(id: str, name: str) -> Part:
    return node(id, "wait_event", event=name, correlation="{{ input.tag }}")


# -- one per node type ---------------------------------------------------------------------------------------------------------------


def _approval(port: int) -> Part:
    return chain(
        call("before", port), node("ok", "approval", title="Go on?"), call("after", port), put("end", said="{{ nodes.ok.approved }}")
    )


def _emit_event(port: int) -> Part:
    emit = node("emit", "emit_event", event="inner", correlation="{{ input.tag }}", payload={"sum": 5})
    return chain(call("before", port), emit, call("after", port), put("end"))


def _listener(port: int) -> Part:
    return chain(event("hear", "inner"), call("heard", port), put("end", sum="{{ nodes.hear.payload.sum }}"))


def _foreach(port: int) -> Part:
    inner = body(
        call("item_call", port, name="item-{{ index }}"), call("kept", port, "PUT", name="kept-{{ index }}"), edges=[("item_call", "kept")]
    )
    each = node("each", "foreach", items=["a", "b", "c"], concurrency=2, body=inner)
    return chain(each, put("end", count="{{ nodes.each.count }}"))


def _http(port: int) -> Part:
    retried = call("flaky", port, "PUT", retry={"max_attempts": 3, "initial": "50ms", "jitter": False})
    return chain(put("begin"), call("once", port), call("again", port, "PUT"), retried, call("seen", port, "GET"), put("end"))


def _if(port: int) -> Part:
    inner = body(call("inside", port), put("done"), edges=[("inside", "done")])
    chosen = node("chosen", "if", condition="len(input.tag) > 0", then=inner, else_=body(put("other")))
    decided = node("decided", "if", condition="nodes.chosen.result")
    edges = [("chosen", "decided"), ("decided", "yes", {"branch": "true"}), ("decided", "no", {"branch": "false"})]
    return chain(chosen, decided, call("yes", port), call("no", port), edges=edges, output={"ok": "{{ nodes.yes.ok }}"})


def _input(port: int) -> Part:
    form = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    return chain(node("who", "input", title="Who?", form=form), call("after", port), put("end", name="{{ nodes.who.answer.name }}"))


def _join(port: int) -> Part:
    edges = [("begin", "left"), ("begin", "right"), ("left", "both"), ("right", "both"), ("both", "after")]
    nodes = (put("begin"), call("left", port), call("right", port, "PUT"), node("both", "join"), call("after", port))
    return chain(*nodes, edges=edges, output={"done": "{{ nodes.after.ok }}"})


def agent_at_work(port: int, turns: int) -> Part:
    """An agent that makes three calls a turn: one that must not be repeated, one that may, one that a person is asked about or a script.
    What its model says is in its prompt (tests/models/loopback.py)."""

    def http(name: str) -> list[Any]:
        return [name.split("-")[0], {"url": f"http://127.0.0.1:{port}/{{{{ input.tag }}}}/{name}"}]

    third = [http(f"asked-{turn}") if turn % 3 == 0 else ["add", {"n": turn}] for turn in range(turns)]
    script = [[http(f"post-{turn}"), http(f"put-{turn}"), third[turn]] for turn in range(turns)]
    tools: list[Part] = [
        {"node": "http", "name": "post", "config": {"method": "POST"}, "approve": False},
        {"node": "http", "name": "put", "config": {"method": "PUT"}},
        {"node": "http", "name": "asked", "config": {"method": "POST"}},
        {"node": "script", "name": "add", "config": {"code": "return n + 1"}},
    ]
    agent = node("work", "agent", prompt=PLAY + json.dumps(script), tools=tools, max_turns=turns + 1)
    return chain(call("before", port), agent, call("after", port), put("end", said="{{ nodes.work.text }}"))


def _agent(port: int) -> Part:
    return agent_at_work(port, 1)


def _llm(port: int) -> Part:
    return chain(call("before", port), node("ask", "llm", prompt="Say ok"), call("after", port), put("end", said="{{ nodes.ask.text }}"))


def _parallel(port: int) -> Part:
    deep = node("deep", "parallel", branches={"c": body(call("inner", port, "PUT")), "d": body(event("paid", "paid"))})
    left = body(call("left", port), put("left_done"), edges=[("left", "left_done")])
    right = body(deep, call("right", port), edges=[("deep", "right")])
    return chain(put("begin"), node("fan", "parallel", branches={"a": left, "b": right}), call("after", port), put("end"))


def _race(port: int) -> Part:
    loser = body(call("reserve", port, **undone_by(port, "release")), event("hope", "never"), edges=[("reserve", "hope")])
    winner = body(node("ok", "approval", title="Now?"), call("take", port), edges=[("ok", "take")])
    first = node("first", "race", branches={"slow": loser, "quick": winner})
    return chain(first, call("after", port), put("end", winner="{{ nodes.first.winner }}"))


def _script(port: int) -> Part:
    return chain(
        call("before", port), node("sum", "script", code="return sum([1, 2, 3])"), call("after", port), put("end", n="{{ nodes.sum }}")
    )


def _set(port: int) -> Part:
    return chain(put("begin"), call("once", port), put("end", tag="{{ 'x' + input.tag[:0] }}"))


def _stop(port: int) -> Part:
    side = body(node("halt", "stop", output={"done": True}, message="Enough"))
    return chain(call("before", port), node("choose", "if", condition="True", then=side), call("never_reached", port))


def _subflow(port: int) -> Part:
    child = node("child", "subflow", workflow=CALLS_A_CHILD, input={"tag": "{{ input.tag }}"})
    return chain(call("before", port), child, call("after", port), put("end", got="{{ nodes.child.output }}"))


def _child(port: int) -> Part:
    return {**chain(call("in_child", port), event("paid", "paid"), call("kept", port, "PUT"), put("end")), "name": CALLS_A_CHILD}


def _switch(port: int) -> Part:
    cases = [{"name": "big", "equals": "L", "body": body(call("crate", port))}, {"name": "small", "equals": "S", "body": body(put("bag"))}]
    return chain(put("begin", size="L"), node("size", "switch", value="nodes.begin.size", cases=cases), call("after", port), put("end"))


def _try(port: int) -> Part:
    made = call("make", port, **undone_by(port, "unmake"))
    risky = body(made, call("missing", port, "GET"), edges=[("make", "missing")])
    caught = body(call("caught", port), put("noted", code="{{ error.code }}"), edges=[("caught", "noted")])
    tried = node("tried", "try", body=risky, catch=caught, finally_=body(call("tidy", port, "PUT")), compensate=True)
    return chain(tried, call("after", port), put("end", code="{{ nodes.tried.code }}"))


def _wait(port: int) -> Part:
    return chain(call("before", port), node("rest", "wait", seconds=0.6), call("after", port), put("end"))


def _wait_event(port: int) -> Part:
    return chain(call("before", port), event("paid", "paid"), call("after", port), put("end", sum="{{ nodes.paid.payload.sum }}"))


def _while(port: int) -> Part:
    inner = body(call("poll", port, name="poll-{{ index }}"), put("seen", n="{{ index }}"), edges=[("poll", "seen")])
    loop = node("loop", "while", condition="last == None or last.n < 2", max_iterations=5, body=inner)
    return chain(loop, call("after", port), put("end", n="{{ nodes.loop.iterations }}"))


ROOM = "conversation:{{ input.tag }}"  # of memories: a place of this life alone
SAID = node("said", "remember", text="My favourite drink is green tea.", speaker="Ann", scope=ROOM, origin="user")
GUIDE = node("guide", "remember", kind="document", item={"text": "# Tea\n\nWater of 80 degrees."}, scope=ROOM, origin="user")


def memory_step(type: str, /, *before: Part, **config: Any) -> Callable[[int], Part]:
    """A step of memory, after those that say what it needs, between two calls. What is in its room at the end, with what that was made of
    and its vectors, must not depend on deaths (matrix.py)."""

    def make(port: int) -> Part:
        return chain(call("before", port), *before, node("step", type, scope=ROOM, **config), call("after", port), put("end"))

    return make


# -- what is no node type of its own -------------------------------------------------------------------------------------------------


def _loop_back(port: int) -> Part:
    step = {**put("count", n="{{ vars.n }}"), "config": {"values": {"n": "{{ vars.n }}"}, "vars": {"n": "{{ vars.n + 1 }}"}}}
    edges = [
        ("count", "draft"),
        ("draft", "review"),
        ("review", "count", {"when": "vars.n < 3", "max_loops": 5}),
        ("review", "after", {"when": "vars.n >= 3"}),
    ]
    nodes = (step, call("draft", port, name="draft-{{ vars.n }}"), put("review", n="{{ vars.n }}"), call("after", port))
    return chain(*nodes, edges=edges, vars={"n": 0}, output={"n": "{{ vars.n }}"})


def _boundary_timer(port: int) -> Part:
    slow = {**event("slow", "never"), "boundary": [{"name": "late", "timer": "600ms"}]}
    edges = [("before", "slow"), ("slow", "on_time"), ("slow", "too_late", {"branch": "late"})]
    nodes = (call("before", port), slow, call("on_time", port), call("too_late", port))
    return chain(*nodes, edges=edges, output={"late": "{{ nodes.too_late.ok }}"})


def _boundary_event(port: int) -> Part:
    """Not interrupting: what the event leads to happens beside the step, which goes on."""
    told = {"name": "told", "event": "paid", "correlation": "{{ input.tag }}", "interrupting": False}
    asked = {**node("ok", "approval", title="Go on?"), "boundary": [told]}
    edges = [("ok", "after"), ("ok", "beside", {"branch": "told"})]
    return chain(asked, call("after", port), call("beside", port), edges=edges, output={"ok": "{{ nodes.ok.approved }}"})


def _boundary_error(port: int) -> Part:
    failing = {**call("missing", port, "GET"), "boundary": [{"name": "gone", "error": ["http_*"]}]}
    edges = [("missing", "found"), ("missing", "instead", {"branch": "gone"})]
    return chain(failing, call("found", port), call("instead", port), edges=edges, output={"ok": "{{ nodes.instead.ok }}"})


def _compensated_failure(port: int) -> Part:
    made = call("make", port, **undone_by(port, "unmake"))
    more = call("more", port, "PUT", **undone_by(port, "less"))
    return chain(made, more, call("missing", port, "GET"), settings={"compensate": ["failure"]})


def _compensated_cancel(port: int) -> Part:
    made = call("make", port, **undone_by(port, "unmake"))
    return chain(made, call("more", port, "PUT", **undone_by(port, "less")), event("hope", "never"), settings={"compensate": ["cancel"]})


BY_TYPE: dict[str, Scenario] = {
    "agent": Scenario(make=_agent),
    "approval": Scenario(make=_approval),
    "emit_event": Scenario(make=_emit_event, beside=_listener),
    "foreach": Scenario(make=_foreach),
    "forget": Scenario(make=memory_step("forget", SAID, subject="Ann")),
    "http": Scenario(make=_http),
    "if": Scenario(make=_if),
    "input": Scenario(make=_input),
    "join": Scenario(make=_join),
    "llm": Scenario(make=_llm),
    "parallel": Scenario(make=_parallel),
    "race": Scenario(make=_race),
    "recall": Scenario(make=memory_step("recall", SAID, query="What does Ann drink?")),
    "remember": Scenario(make=memory_step("remember", text="I moved to Bergen.", speaker="Ann", origin="user")),
    "retrieve": Scenario(make=memory_step("retrieve", GUIDE, query="How hot is the water?")),
    "script": Scenario(make=_script),
    "set": Scenario(make=_set),
    "stop": Scenario(make=_stop),
    "subflow": Scenario(make=_subflow, child=_child),
    "switch": Scenario(make=_switch),
    "try": Scenario(make=_try),
    "wait": Scenario(make=_wait),
    "wait_event": Scenario(make=_wait_event),
    "while": Scenario(make=_while),
}
PLACE = "conversation:{{ input.tag }}"  # of memories: of this life alone
TALK = [{"text": f"On day {day} Ann visited temple {day} of Kyoto.", "speaker": "Ann", "id": str(day)} for day in range(5)]


def keeping(type: str, **config: Any) -> Callable[[int], Part]:
    """A step that keeps memory in order, or needs a model or an embedder, after something was said."""

    def make(port: int) -> Part:
        talk = node("talk", "remember", kind="conversation", item={"messages": TALK}, scope=PLACE, origin="user")
        return chain(call("before", port), talk, node("step", type, **config), call("after", port), put("end"))

    return make


BY_TYPE.update(
    {
        "consolidate": Scenario(make=keeping("consolidate")),
        "embed": Scenario(make=keeping("embed", texts=["a", "b"])),
        "reembed": Scenario(make=keeping("reembed", model="static:static-minilm-256")),
        "summarize": Scenario(make=keeping("summarize", session="main", scope=PLACE, remember=True, model="rules")),
    }
)


def _openapi(port: int) -> Part:
    put_it = node(
        "step", "openapi", connection="ledger", operation="put", arguments={"tag": "{{ input.tag }}", "name": "by-document", "body": 1}
    )
    return chain(call("before", port), put_it, call("after", port), put("end", status="{{ nodes.step.status }}"))


def _mcp_tool(port: int) -> Part:
    put_it = node("step", "mcp_tool", connection="tools", tool="put", arguments={"text": "{{ input.tag }}/by-tool"})
    return chain(call("before", port), put_it, call("after", port), put("end", said="{{ nodes.step.text }}"))


def _mcp_tool_once(port: int) -> Part:
    post_it = node("step", "mcp_tool", connection="tools", tool="post", arguments={"text": "{{ input.tag }}/by-tool"})
    return chain(call("before", port), post_it, call("after", port), put("end"))


def _house_tool(port: int) -> Part:
    seen = node("step", "house_tool", tool="list_runs", arguments={"workflow": "none"})
    return chain(call("before", port), seen, call("after", port), put("end"))


TALK_INPUT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("tag", "chat", "message", "answer")},
    "required": ["tag"],
}


def _chat(port: int) -> Part:
    """Both types of a turn in a chat: what is heard, and what is answered."""
    heard = node("heard", "chat_history", chat="{{ input.chat }}", message="{{ input.message }}")
    said = node("said", "chat_answer", chat="{{ input.chat }}", message="{{ input.answer }}", text="{{ nodes.heard.said }}, Ann")
    return {**chain(call("before", port), heard, call("between", port), said, call("after", port), put("end")), "input": TALK_INPUT}


BY_TYPE.update(
    {
        "chat_answer": Scenario(make=_chat, talks=True),
        "house_tool": Scenario(make=_house_tool),
        "mcp_tool": Scenario(make=_mcp_tool),
        "openapi": Scenario(make=_openapi),
    }
)
BY_TYPE["chat_history"] = BY_TYPE["chat_answer"]
ELSEWHERE = {"voice": "tests/server/test_voice.py::test_a_process_killed_while_it_calls_asks_and_never_calls_again_by_itself"}
"""Types whose deaths need more than a ledger outside, here a telephone: the test that kills their worker."""
BESIDES: dict[str, Scenario] = {
    "remote tool that must not be repeated": Scenario(make=_mcp_tool_once),
    "edges that lead back": Scenario(make=_loop_back),
    "boundary with a timer": Scenario(make=_boundary_timer),
    "boundary with an event": Scenario(make=_boundary_event),
    "boundary with an error": Scenario(make=_boundary_error),
    "compensated failure": Scenario(make=_compensated_failure, ends="failed"),
    "compensated cancel": Scenario(make=_compensated_cancel, ends="cancelled", action={"action": "cancel"}),
}
SCENARIOS = {**{name: one for name, one in BY_TYPE.items() if name != "chat_history"}, **BESIDES}  # one turn of a chat has both types
