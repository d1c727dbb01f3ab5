"""The slips of the second language: loops, boundaries, compensation, and what other tools call them."""

from __future__ import annotations

from typing import Any

from tests.checks.orders import Document
from tests.checks.samples import Slip

PAY, CHARGE = "/nodes/2/config", "/nodes/2/config/body/nodes/1"


def _node(document: Document, number: int) -> Document:
    return document["nodes"][number]


def _config(document: Document, number: int) -> Document:
    return document["nodes"][number]["config"]


def _paying(document: Document, number: int) -> Document:
    """A node in the body of the try."""
    return _config(document, 2)["body"]["nodes"][number]


def _rename(place: Document, old: str, new: str) -> None:
    place[new] = place.pop(old)


def _swap(place: Document, old: str, **new: Any) -> None:
    del place[old]
    place.update(new)


def _looped(document: Document) -> None:
    """`while` as `loop` with a number of times."""
    _node(document, 3)["type"] = "loop"
    _swap(_config(document, 3), "condition", times=3)


def _entered(document: Document) -> None:
    """A start beside the loop that leads into its middle."""
    document["nodes"].append({"id": "early", "type": "set", "config": {"values": {"a": 1}}})
    document["edges"].append({"from": "early", "to": "review"})


def _joined(document: Document) -> None:
    """A join that begins a loop without waiting for all."""
    document["nodes"].append({"id": "merge", "type": "join", "config": {"mode": "any"}})
    document["edges"][0] = {"from": "merge", "to": "draft"}
    document["edges"][1]["to"] = "merge"
    document["edges"].append({"from": "draft", "to": "review"})


def _bare_list(document: Document) -> None:
    _config(document, 6)["branches"] = [
        {"id": "answer", "type": "wait_event", "config": {"event": "answered"}},
        {"id": "call", "type": "approval", "config": {"title": "Called?"}},
    ]
    document["nodes"][8]["config"]["values"]["winner"] = "{{ nodes.reach.output }}"


def _list_of_branches(document: Document) -> None:
    branches = _config(document, 6)["branches"]
    _config(document, 6)["branches"] = [{"name": name, **body} for name, body in branches.items()]


ORDER_SLIPS: tuple[Slip, ...] = (
    # loops of edges
    Slip("a loop without a bound", lambda d: d["edges"][1].pop("max_loops"), "/edges/1", "cycle"),
    Slip("a bound on an edge that leads on", lambda d: d["edges"][3].update(max_loops=3), "/edges/3/max_loops", "bad_loop"),
    Slip("a bound in camel case", lambda d: _rename(d["edges"][1], "max_loops", "maxLoops"), "/edges/1/maxLoops", "unknown_field"),
    Slip(
        "a bound by another name",
        lambda d: _rename(d["edges"][1], "max_loops", "max_iterations"),
        "/edges/1/max_iterations",
        "unknown_field",
    ),
    Slip("a bound as text", lambda d: d["edges"][1].update(max_loops="5"), "/edges/1/max_loops", "wrong_type"),
    Slip("a bound of nothing", lambda d: d["edges"][1].update(max_loops=0), "/edges/1/max_loops", "bad_value"),
    Slip("a loop that never ends", lambda d: d["edges"][1].pop("when"), "/edges/1", "bad_loop"),
    Slip("a way into the middle of a loop", _entered, "/edges/11", "loop_entry"),
    Slip("a loop that begins with an early join", _joined, "/nodes/9/config/mode", "loop_join"),
    Slip("a boundary that leads back", lambda d: d["edges"][7].update(to="track", max_loops=2), "/edges/7/branch", "bad_loop"),
    Slip(
        "a step that repeats itself without a bound",
        lambda d: d["edges"].append({"from": "track", "to": "track", "when": "nodes.track.last is None"}),
        "/edges/11",
        "self_loop",
    ),
    # while
    Slip("a loop with a number of times", _looped, "/nodes/3/type", "unknown_type"),
    Slip("times instead of a condition", lambda d: _swap(_config(d, 3), "condition", times=3), "/nodes/3/config/times", "unknown_field"),
    Slip(
        "until instead of while",
        lambda d: _swap(_config(d, 3), "condition", until="last is not None and last.status == 200"),
        "/nodes/3/config/until",
        "unknown_field",
    ),
    Slip(
        "a condition that reads the body",
        lambda d: _config(d, 3).update(condition="nodes.poll is None or nodes.poll.status == 202"),
        "/nodes/3/config/condition",
        "not_visible",
    ),
    Slip(
        "a bound of a while by another name",
        lambda d: _rename(_config(d, 3), "max_iterations", "maxIterations"),
        "/nodes/3/config/maxIterations",
        "unknown_field",
    ),
    Slip("a name of the loop misspelt", lambda d: _config(d, 3).update(condition="indx < 3"), "/nodes/3/config/condition", "unknown_name"),
    # try and race
    Slip("finally misspelt", lambda d: _rename(_config(d, 2), "finally", "finaly"), "/nodes/2/config/finaly", "unknown_field"),
    Slip("except instead of catch", lambda d: _rename(_config(d, 2), "catch", "except"), "/nodes/2/config/except", "unknown_field"),
    Slip("catch as a list", lambda d: _config(d, 2).update(catch=_config(d, 2)["catch"]["nodes"]), "/nodes/2/config/catch", "wrong_type"),
    Slip("another tool's try", lambda d: _node(d, 2).update(type="tryCatch"), "/nodes/2/type", "unknown_type"),
    Slip(
        "a field of the error misspelt",
        lambda d: _config(d, 2)["catch"]["nodes"][0]["config"]["values"].update(text="{{ error.mesage }}"),
        "/nodes/2/config/catch/nodes/0/config/values/text",
        "unknown_field",
    ),
    Slip("a race with a list of bodies", _list_of_branches, "/nodes/6/config/branches", "wrong_type"),
    Slip("a race with a list of steps", _bare_list, "/nodes/6/config/branches", "wrong_type"),
    Slip("another tool's race", lambda d: _node(d, 6).update(type="first_of"), "/nodes/6/type", "unknown_type"),
    # boundaries
    Slip(
        "one boundary instead of a list",
        lambda d: _node(d, 7).update(boundary=_node(d, 7)["boundary"][0]),
        "/nodes/7/boundary",
        "wrong_type",
    ),
    Slip(
        "boundaries by name",
        lambda d: _node(d, 4).update(boundary={one.pop("name"): one for one in _node(d, 4)["boundary"]}),
        "/nodes/4/boundary",
        "wrong_type",
    ),
    Slip("a timer as a number", lambda d: _node(d, 4)["boundary"][0].update(timer=3600), "/nodes/4/boundary/0/timer", "wrong_type"),
    Slip("a timer in words", lambda d: _node(d, 4)["boundary"][0].update(timer="7 days"), "/nodes/4/boundary/0/timer", "bad_value"),
    Slip(
        "a timer by another name",
        lambda d: _rename(_node(d, 4)["boundary"][0], "timer", "after"),
        "/nodes/4/boundary/0/after",
        "unknown_field",
    ),
    Slip("a timer and an event", lambda d: _node(d, 4)["boundary"][0].update(event="late"), "/nodes/4/boundary/0", "bad_value"),
    Slip("a correlation of a timer", lambda d: _node(d, 4)["boundary"][0].update(correlation="x"), "/nodes/4/boundary/0", "bad_value"),
    Slip(
        "one code instead of a list",
        lambda d: _node(d, 7)["boundary"][0].update(error="timeout"),
        "/nodes/7/boundary/0/error",
        "wrong_type",
    ),
    Slip(
        "an empty code", lambda d: _node(d, 7)["boundary"][0].update(error=["timeout", ""]), "/nodes/7/boundary/0/error/1", "bad_boundary"
    ),
    Slip(
        "two boundaries of one name", lambda d: _node(d, 4)["boundary"][1].update(name="late"), "/nodes/4/boundary/1/name", "bad_boundary"
    ),
    Slip(
        "a boundary called error",
        lambda d: (_node(d, 7)["boundary"][0].update(name="error"), d["edges"][10].update(branch="error")),
        "/nodes/7/boundary/0/name",
        "bad_boundary",
    ),
    Slip("a boundary misspelt at the edge", lambda d: d["edges"][6].update(branch="latte"), "/edges/6/branch", "bad_branch"),
    Slip("a boundary without an edge", lambda d: d["edges"].pop(6), "/nodes/4/boundary/0", "no_effect"),
    Slip("boundary in the plural", lambda d: _rename(_node(d, 4), "boundary", "boundaries"), "/nodes/4/boundaries", "unknown_field"),
    # compensation
    Slip("compensation as the name of a step", lambda d: _paying(d, 1).update(compensate="http"), f"{CHARGE}/compensate", "wrong_type"),
    Slip("undo instead of compensate", lambda d: _rename(_paying(d, 1), "compensate", "undo"), f"{CHARGE}/undo", "unknown_field"),
    Slip(
        "config of a compensation beside config",
        lambda d: _paying(d, 1)["compensate"].update(_paying(d, 1)["compensate"].pop("config")),
        f"{CHARGE}/compensate/method",
        "misplaced_field",
    ),
    Slip(
        "a field of a compensation misspelt",
        lambda d: _rename(_paying(d, 1)["compensate"]["config"], "url", "uri"),
        f"{CHARGE}/compensate/config/uri",
        "unknown_field",
    ),
    Slip(
        "a type of a compensation misspelt",
        lambda d: _paying(d, 1)["compensate"].update(type="htttp"),
        f"{CHARGE}/compensate/type",
        "unknown_type",
    ),
    Slip(
        "a compensation that waits",
        lambda d: _paying(d, 1).update(compensate={"type": "approval", "config": {"title": "Refund?"}}),
        f"{CHARGE}/compensate/type",
        "bad_compensate",
    ),
    Slip(
        "a node misspelt in a compensation",
        lambda d: _paying(d, 1)["compensate"]["config"]["json"].update(charge="{{ nodes.chrge.body.id }}"),
        f"{CHARGE}/compensate/config/json/charge",
        "unknown_node",
    ),
    Slip(
        "compensation of a read",
        lambda d: _config(d, 3)["body"]["nodes"][1].update(compensate={"type": "http", "config": {"url": "https://a.example"}}),
        "/nodes/3/config/body/nodes/1/compensate",
        "no_effect",
    ),
    Slip("nothing to undo", lambda d: [_paying(d, number).pop("compensate") for number in (0, 1)], f"{PAY}/compensate", "no_effect"),
    Slip(
        "compensation that nobody asks for",
        lambda d: (_config(d, 2).pop("compensate"), d["settings"].pop("compensate")),
        f"{CHARGE}/compensate",
        "no_effect",
    ),
    # the rest
    Slip("on_error: retry", lambda d: _paying(d, 1).update(on_error="retry"), f"{CHARGE}/on_error", "bad_value"),
    Slip("on_error: ignore", lambda d: _paying(d, 1).update(on_error="ignore"), f"{CHARGE}/on_error", "bad_value"),
    Slip(
        "on_ambiguous of a read",
        lambda d: _config(d, 3)["body"]["nodes"][1].update(on_ambiguous="retry"),
        "/nodes/3/config/body/nodes/1/on_ambiguous",
        "no_effect",
    ),
    Slip(
        "a field misspelt in a milestone",
        lambda d: _paying(d, 1).update(milestone="paid: {{ nodes.charge.stauts }}"),
        f"{CHARGE}/milestone",
        "unknown_field",
    ),
    Slip(
        "a key over nodes",
        lambda d: d["settings"]["concurrency"].update(key="{{ input.custmer }}"),
        "/settings/concurrency/key",
        "unknown_input",
    ),
    Slip("concurrency as a number", lambda d: d["settings"].update(concurrency=5), "/settings/concurrency", "wrong_type"),
    Slip("a deadline without a zone", lambda d: d["settings"].update(deadline="2027-01-31T09:00:00"), "/settings/deadline", "bad_value"),
    Slip("a deadline as a length of time", lambda d: d["settings"].update(deadline="7d"), "/settings/deadline", "bad_value"),
    Slip("a delay as a number", lambda d: d["settings"].update(start_delay=60), "/settings/start_delay", "wrong_type"),
    Slip("a delay by another name", lambda d: _rename(d["settings"], "start_delay", "delay"), "/settings/delay", "unknown_field"),
    Slip("compensation of settings as a flag", lambda d: d["settings"].update(compensate=True), "/settings/compensate", "wrong_type"),
    Slip("compensation of settings as text", lambda d: d["settings"].update(compensate="failure"), "/settings/compensate", "wrong_type"),
    Slip("another tool's event", lambda d: _node(d, 7).update(type="publish_event"), "/nodes/7/type", "unknown_type"),
)
