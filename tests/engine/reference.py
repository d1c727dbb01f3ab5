"""A naive reading of the rules: which steps of a definition run, how each ends, and what the run gives, for a given input.

Where several things that run side by side may end a body first (a failure, a `stop`, a branch of a race), the rules leave open which of
them does and how far the others come. `readings` lists every choice; in each of them a step that may have been cut off is told with all
the states it may then have, "absent" among them. A run is right when it fits one reading: each step has one of the states told for it,
no other step is there, and state, output and position of the error are as told. Everything else is determined, and told with one state.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import Any, TypeVar

from graphs.loops import Region, regions
from tests.engine.generated import FAR

T = TypeVar("T")
CUT_OFF = {"absent", "cancelled"}
ASKED = {"approved": True, "comment": "", "answered_by": "Olga", "timed_out": False}


@dataclass(frozen=True, slots=True)
class End:
    """How a step or a body ended: "ok", "failed", "stopped" (the run), or "waits" for ever. `told`: the state of a run that ends so."""

    kind: str
    output: Any = None
    position: str | None = None  # of the step that failed or stopped
    code: str = "expression"
    told: str = "failed"  # of a stop


@dataclass(slots=True)
class Reading:
    """One way in which the run may go. `states`: position -> states its step may have in the end."""

    state: str = "succeeded"
    output: Any = None
    failed_at: str | None = None
    states: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def differences(self, state: str, output: Any, failed_at: str | None, found: dict[str, str]) -> list[str]:
        pairs = {"state": (state, self.state), "output": (output, self.output), "error at": (failed_at, self.failed_at)}
        told = [f"{name}: {there!r}, not {right!r}" for name, (there, right) in pairs.items() if there != right]
        for position in sorted(self.states.keys() | found.keys()):
            may, is_ = self.states.get(position, {"absent"}), found.get(position, "absent")
            told += [f"{position}: {is_}, not {'/'.join(sorted(may))}"] if is_ not in may else []
        return told


def readings(definition: dict[str, Any], given: dict[str, Any], *, most: int = 200) -> list[Reading]:
    """All of them, at most `most`."""
    found: list[Reading] = []
    path: list[int] = []
    while len(found) < most:
        reader = Reader(given, dict(definition["vars"]), path)
        end = reader.body(definition, "", {})
        stopped = end.kind == "stopped"
        state = "succeeded" if end.kind == "ok" else end.told
        output = end.output if state == "succeeded" or stopped else None
        found.append(Reading(state, output, None if stopped else end.position, reader.states))
        path = reader.next_path()
        if not path:
            break
    return found


@dataclass(slots=True)
class Visit:
    """A step of a body that was reached (or not): `end` is None for a skipped one. `needs`: places of the visits that came first."""

    positions: list[str]
    end: End | None
    needs: list[int]


@dataclass(slots=True)
class Reader:
    input: dict[str, Any]
    vars: dict[str, Any]
    path: list[int]  # choices to make again, then always the first
    sizes: list[int] = field(default_factory=list[int])
    states: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    tidying: set[str] = field(default_factory=set[str])  # positions inside a `finally`

    def choose(self, options: Sequence[T]) -> T:
        number = self.path[len(self.sizes)] if len(self.sizes) < len(self.path) else 0
        self.sizes.append(len(options))
        return options[number]

    def next_path(self) -> list[int]:
        chosen = [*self.path, *[0] * (len(self.sizes) - len(self.path))]
        while chosen and chosen[-1] + 1 >= self.sizes[len(chosen) - 1]:
            chosen.pop()
        return [*chosen[:-1], chosen[-1] + 1] if chosen else []

    def value(self, text: str, scope: dict[str, Any]) -> Any:
        return eval(text, {}, {"input": SimpleNamespace(**self.input), "vars": SimpleNamespace(**self.vars), **scope})

    def cut_off(self, positions: list[str]) -> None:
        """What tidies up after a cancellation is not cut off, and cannot wait: a step that would fails."""
        for position in positions:
            self.states[position] |= CUT_OFF | ({"failed"} if position in self.tidying else set())

    def body(self, body: dict[str, Any], prefix: str, scope: dict[str, Any]) -> End:
        return BodyReading(self, body, prefix, scope).read()

    def bodies(
        self, bodies: Sequence[tuple[dict[str, Any], str, dict[str, Any]]], ends: set[str], *, always: bool
    ) -> tuple[int | None, list[End]]:
        """Reads bodies that run side by side. Which of those that end as `ends` says is the first, if any, and how each ended; what the
        others do beside the first may be cut off."""
        found: list[End] = []
        parts: list[list[str]] = []
        for body, prefix, scope in bodies:
            before = len(self.states)
            found.append(self.body(body, prefix, scope))
            parts.append(list(self.states)[before:])
        enders = [number for number, end in enumerate(found) if end.kind in ends]
        first = self.choose(enders) if enders else None
        if first is not None and not always:
            for number, part in enumerate(parts):
                self.cut_off([] if number == first else part)
        return first, found

    # -- what each type of node does ---------------------------------------------------------------------------------------------

    def node(self, node: dict[str, Any], position: str, scope: dict[str, Any], arrived: int) -> End:
        config, read = node["config"], f"_{node['type']}"
        if node.get("disabled"):
            return End("ok")
        if node["type"] == "join":
            short = arrived < config.get("count", 1)
            return End("failed", position=position, code="join_unsatisfied") if short else End("ok", {})
        flag = re.search(r"input\.(\w+)", config.get("values", {}).get("x", "") or config.get("code", ""))
        if (flag and self.input[flag[1]]) or config.get("values", {}).get("x") == "{{ [1][5] }}":
            return End("failed", position=position)
        return getattr(self, read)(config, position, scope)

    def _set(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        for name in config.get("vars", {}):
            self.vars[name] += 1
        return End("ok", {name: None if "{{" in value else value for name, value in config["values"].items()})

    def _script(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        return End("ok", 1)

    def _approval(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        return End("ok", ASKED)

    def _wait(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        return End("waits") if config["duration"] == FAR else End("ok", {"waited": True})

    def _stop(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        return End("stopped", config["output"], position, told=config["state"])

    def _parallel(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        first, ends = self.bodies(
            [(body, f"{position}/", scope) for body in config["branches"].values()], {"failed", "stopped"}, always=False
        )
        return (
            ends[first] if first is not None else End("ok", {name: end.output for name, end in zip(config["branches"], ends, strict=True)})
        )

    def _foreach(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        items = [
            (config["body"], f"{position}[{number}]/", {**scope, "item": item, "index": number})
            for number, item in enumerate(config["items"])
        ]
        if config["concurrency"] > 1:
            first, ends = self.bodies(items, {"failed", "stopped"}, always=False)
        else:
            first, ends = None, list[End]()
            for item in items:
                ends.append(self.body(*item))
                if ends[-1].kind != "ok":
                    return ends[-1]
        return ends[first] if first is not None else End("ok", {"items": [end.output for end in ends], "count": len(ends)})

    def _while(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        last, most = None, config.get("max_iterations", 100)
        for index in range(most + 1):
            holds = self.value(config["condition"], {**scope, "index": index})
            if holds and index == most and config.get("on_limit", "fail") == "fail":
                return End("failed", position=position, code="loop_limit")
            if not holds or index == most:
                return End("ok", {"last": last, "iterations": index})
            end = self.body(config["body"], f"{position}[{index}]/", {**scope, "index": index, "last": last})
            if end.kind != "ok":
                return end
            last = end.output
        raise AssertionError("unreachable")

    def _try(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        end = self.body(config["body"], f"{position}/", scope)
        if end.kind == "failed" and "catch" in config:
            end = self.body(config["catch"], f"{position}/", scope)
        if "finally" in config and end.kind != "waits":
            before = len(self.states)
            last = self.body(config["finally"], f"{position}/", scope)
            self.tidying.update(list(self.states)[before:])
            end = end if last.kind == "ok" else last
        return end

    def _race(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        bodies = [(body, f"{position}/", scope) for body in config["branches"].values()]
        first, ends = self.bodies(bodies, {"ok", "stopped"}, always=False)
        if first is None:
            return self.choose(ends)  # all have failed: the last one speaks
        won = ends[first]
        return won if won.kind == "stopped" else End("ok", {"winner": list(config["branches"])[first], "output": won.output})

    def _if(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        result = bool(self.value(config["condition"], scope))
        return self._chosen(config.get("then" if result else "else"), "result", result, position, scope)

    def _switch(self, config: dict[str, Any], position: str, scope: dict[str, Any]) -> End:
        value = self.value(config["value"], scope)
        other: dict[str, Any] = {"name": "default", "body": config.get("default")}
        case: dict[str, Any] = next((case for case in config["cases"] if value is case["equals"]), other)
        return self._chosen(case.get("body"), "case", case["name"], position, scope)

    def _chosen(self, body: dict[str, Any] | None, name: str, chosen: Any, position: str, scope: dict[str, Any]) -> End:
        end = self.body(body, f"{position}/", scope) if body else End("ok")
        return End("ok", {name: chosen, "output": end.output}) if end.kind == "ok" else end


class BodyReading:
    """One body, read in an order in which every edge points forward."""

    def __init__(self, reader: Reader, body: dict[str, Any], prefix: str, scope: dict[str, Any]) -> None:
        self.reader, self.prefix, self.scope = reader, prefix, scope
        self.nodes = {node["id"]: node for node in body["nodes"]}  # the generator lists them in such an order
        self.edges: list[dict[str, Any]] = body.get("edges", [])
        self.loops = regions(list(self.nodes), [(edge["from"], edge["to"], "max_loops" in edge) for edge in self.edges])
        self.visits: list[Visit] = []
        self.times = dict.fromkeys(self.nodes, 0)
        self.outputs: dict[str, Any] = dict.fromkeys(self.nodes)
        self.latest: dict[str, int] = {}  # node -> place of its latest visit
        self.passes: dict[str, range] = {}  # header -> places of the visits in the latest pass
        self.again: dict[str, int] = {}  # header -> passes before this one
        self.taken: dict[int, bool | None] = {}  # None: its source was never resolved

    def read(self) -> End:
        self.level(None)
        enders = [number for number, visit in enumerate(self.visits) if visit.end and visit.end.kind in ("failed", "stopped")]
        if not enders:
            return End("waits") if any(visit.end and visit.end.kind == "waits" for visit in self.visits) else End("ok", self.output())
        first: int = self.reader.choose(enders)
        certain, waiting = {first}, [first]
        while waiting:
            new = [number for number in self.visits[waiting.pop()].needs if number not in certain]
            certain.update(new)
            waiting += new
        for number, visit in enumerate(self.visits):
            if number not in certain:
                self.reader.cut_off(visit.positions)
        end = self.visits[first].end
        assert end is not None
        return end

    def output(self) -> Any:
        onward = [edge for edge in self.edges if "max_loops" not in edge and edge.get("branch") not in ("error", "broken")]
        sinks = [id for id in self.nodes if id not in {edge["from"] for edge in onward}]
        if len(sinks) == 1:
            return self.outputs[sinks[0]]
        ran = {id for id in sinks if id in self.latest and self.state_of(id) == {"succeeded"}}
        return {id: self.outputs[id] for id in sinks if id in ran}

    def state_of(self, id: str) -> set[str]:
        return self.reader.states[self.visits[self.latest[id]].positions[0]]

    # -- loops of edges ----------------------------------------------------------------------------------------------------------

    def level(self, around: Region | None) -> None:
        """Visits the nodes of a loop (but its header), or of the body outside all loops; loops directly inside as wholes."""
        parent = around.header if around else None
        inner = {member: region for region in self.loops if region.parent == parent for member in region.members}
        for id in self.nodes:
            if id in inner and inner[id].header == id:
                self.loop(inner[id])
            elif id not in inner and (around is None or (id in around.members and id != around.header)):
                self.visit(id)

    def loop(self, region: Region) -> None:
        self.again[region.header] = 0
        while True:
            begin = len(self.visits)
            repeated = self.again[region.header] > 0
            self.visit(region.header, again=repeated, after=list(self.passes[region.header]) if repeated else [])
            self.level(region)
            self.passes[region.header] = range(begin, len(self.visits))
            left = [index for id in region.members for index in self.leaving(id)]
            whole = all(self.latest.get(id, -1) >= begin for id in region.members) and None not in [self.taken[index] for index in left]
            if not whole:
                self.taken |= dict.fromkeys((index for index in left if self.edges[index]["to"] not in region.members), None)
            if not whole or not any(self.taken[index] for index in region.back):
                return
            self.again[region.header] += 1

    # -- nodes and edges ---------------------------------------------------------------------------------------------------------

    def visit(self, id: str, *, again: bool = False, after: Sequence[int] = ()) -> None:
        node = self.nodes[id]
        into = [] if again else [index for index, edge in enumerate(self.edges) if edge["to"] == id and "max_loops" not in edge]
        arrived = [index for index in into if self.taken[index]]
        missing = any(self.taken[index] is None for index in into)
        early = node["type"] == "join" and node["config"].get("mode", "all") != "all"
        count = node["config"].get("count", 1) if early else len(into)
        if missing and not (early and len(arrived) >= count):
            self.taken |= dict.fromkeys(self.leaving(id), None)
            return  # something before it never ended
        self.times[id] += 1
        position = self.prefix + id + (f":{self.times[id]}" if self.times[id] > 1 else "")
        needed = arrived if early and len(arrived) == count else [] if early and len(arrived) > count else into
        needs = [*after, *(place for index in needed for place in self.before(index))]
        known = len(self.reader.states)
        self.reader.states[position] = {"skipped"}
        end = None
        if arrived or not into:
            end = self.reader.node(node, position, self.scope, len(arrived) if early and into else 99)
            end = self.decide(id, position, end)
        else:
            self.taken |= dict.fromkeys(self.leaving(id), False)
        self.latest[id] = len(self.visits)
        self.visits.append(Visit(list(self.reader.states)[known:], end, needs))

    def before(self, index: int) -> Iterator[int]:
        """Visits that an edge's being resolved needs: its source, or the whole last pass of the loops it leaves."""
        edge = self.edges[index]
        yield self.latest[edge["from"]]
        for region in self.loops:
            if edge["from"] in region.members and edge["to"] not in region.members:
                yield from self.passes[region.header]

    def leaving(self, id: str) -> list[int]:
        return [index for index, edge in enumerate(self.edges) if edge["from"] == id]

    def decide(self, id: str, position: str, end: End) -> End:
        """The step's state and the edges it takes; "ok" where the body goes on after a failure."""
        node, caught = self.nodes[id], None
        state = {"ok": "succeeded", "failed": "failed", "stopped": "cancelled", "waits": "waiting"}[end.kind]
        self.reader.states[position] = {"succeeded" if node["type"] == "stop" else state}
        self.outputs[id] = end.output if end.kind == "ok" else None
        goes_on = end.kind == "ok"
        if end.kind == "failed":
            caught = next(
                (one["name"] for one in node.get("boundary", []) if any(fnmatchcase(end.code, glob) for glob in one["error"])), None
            )
            goes_on = caught is not None or node.get("on_error", "stop") != "stop"
        chosen = [index for index in self.leaving(id) if goes_on and self.is_taken(self.edges[index], node, end, caught)]
        limits = [(self.edges[index].get("max_loops"), self.edges[index]["to"]) for index in chosen]
        if any(limit is not None and self.again[header] >= limit for limit, header in limits):
            goes_on, end = False, End("failed", position=position, code="loop_limit")
        self.taken |= {index: index in chosen if goes_on else None for index in self.leaving(id)}
        return End("ok") if goes_on else end

    def is_taken(self, edge: dict[str, Any], node: dict[str, Any], end: End, caught: str | None) -> bool:
        routed = end.kind == "failed" and node.get("on_error") == "route"
        branch = None
        if end.kind == "ok" and end.output is not None and node["type"] in ("if", "switch"):
            branch = str(end.output["result"]).lower() if node["type"] == "if" else str(end.output["case"])
        branch = caught or ("error" if routed else branch)
        if edge.get("branch") != branch and ("branch" in edge or caught or routed):
            return False
        names = {"nodes": SimpleNamespace(**self.outputs)}
        return "when" not in edge or bool(self.reader.value(edge["when"], {**self.scope, **names}))
