"""Random definitions: acyclic graphs with conditions, joins, modes and loops of edges, and groups nested in each other to any depth.

What a definition does depends only on its input, whose flags decide conditions, failures and items. Every flag `a` comes with `na` (its
opposite) and `xa`, `xna` (1 or null): a template that reads a field of 1 fails, and one that reads a field of null does not.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from graphs.loops import regions

FLAGS = "abc"
Node = dict[str, Any]
FAR = "30d"  # nobody waits that long here


def put(id: str, **values: Any) -> Node:
    return {"id": id, "type": "set", "config": {"values": {"at": id, **values}}}


def vectors(flags: int) -> Iterator[dict[str, Any]]:
    """Every input of a definition with that many flags."""
    for chosen in itertools.product((True, False), repeat=flags):
        given: dict[str, Any] = {}
        for name, value in zip(FLAGS, [*chosen, False, False, False], strict=False):
            given |= {name: value, f"n{name}": not value, f"x{name}": 1 if value else None, f"xn{name}": None if value else 1}
        yield given


@dataclass(slots=True)
class Maker:
    """Makes one definition. `room` is how many nodes it may still have."""

    rng: random.Random
    room: int
    flags: int
    waits: bool  # with questions to people in it, which the test answers
    count: int = 0
    vars: dict[str, int] = field(default_factory=dict[str, int])

    def definition(self) -> dict[str, Any]:
        body = self.body(depth=0, item=False, sequential=True)
        return {"name": "random", **body, "vars": self.vars}

    # -- bodies ------------------------------------------------------------------------------------------------------------------

    def body(self, *, depth: int, item: bool, sequential: bool) -> dict[str, Any]:
        """`item`: it is inside a foreach; `sequential`: it is never run twice at the same time, so that it may count in a variable."""
        nodes: list[Node] = []
        for number in range(self.rng.randint(2, 8) if depth == 0 else self.rng.randint(1, 4)):
            if number == 0 or self.room > 0:
                nodes.append(self.node(depth, number, item=item, sequential=sequential))
        edges = self.edges(nodes, item)
        if self.rng.random() < 0.7:
            self.loop(nodes, edges, sequential)
        return {"nodes": nodes, "edges": edges}

    def edges(self, nodes: list[Node], item: bool) -> list[dict[str, Any]]:
        edges: list[dict[str, Any]] = []
        straight = self.rng.random() < 0.4
        for number in range(1, len(nodes)):
            before = [number - 1] if straight else self.rng.sample(range(number), k=self.rng.randint(0, min(3, number)))
            edges += [self.edge(nodes[source], nodes[number], item) for source in before]
        for node in nodes:
            arriving = sum(edge["to"] == node["id"] for edge in edges)
            if node["type"] == "join" and arriving == 0:
                node["config"] = {}
            elif node["type"] == "join" and node["config"]["mode"] == "count":
                node["config"]["count"] = self.rng.randint(1, arriving)
        return edges

    def edge(self, source: Node, target: Node, item: bool) -> dict[str, Any]:
        edge: dict[str, Any] = {"from": source["id"], "to": target["id"]}
        if self.rng.random() < 0.3:
            edge["when"] = self.condition(item) if self.rng.random() < 0.8 else f"nodes.{source['id']} == None"
        branches = {"if": ["true", "false"], "switch": ["one", "two", "default"]}.get(source["type"], [])
        branches = branches + ["error"] * 2 * (source.get("on_error") == "route") + [one["name"] for one in source.get("boundary", [])]
        if branches and self.rng.random() < 0.7:
            edge["branch"] = self.rng.choice(branches)
        return edge

    def condition(self, item: bool) -> str:
        plain = [f"input.{negated}{self.flag()}" for negated in ("", "n")]
        return self.rng.choice([*plain, *plain, "item" if item else plain[0], f"not {plain[0]}", f"{plain[0]} or input.{self.flag()}"])

    def flag(self) -> str:
        return self.rng.choice(FLAGS[: max(self.flags, 1)])

    def loop(self, nodes: list[Node], edges: list[dict[str, Any]], sequential: bool) -> None:
        """Adds an edge that leads back, where that makes a loop with one way in: bounded by a count, or else by its limit."""
        heads = [node for node in nodes if node["type"] in ("set", "script")]
        if not heads or len(nodes) < 2:
            return
        head = self.rng.choice(heads)
        last = self.rng.choice(nodes[nodes.index(head) :])
        if last is head or last["type"] == "stop":
            return
        back: dict[str, Any] = {"from": last["id"], "to": head["id"], "max_loops": self.rng.randint(1, 3)}
        edges.append(back)
        if not sound(nodes, edges):
            edges.pop()
        elif sequential and head["type"] == "set" and "vars" not in head["config"] and self.rng.random() < 0.8:
            name = f"k{len(self.vars)}"
            self.vars[name] = 0
            head["config"]["vars"] = {name: f"{{{{ vars.{name} + 1 }}}}"}
            back["when"] = f"vars.{name} < {self.rng.randint(1, 3)}"
        else:
            back["when"] = f"input.{self.flag()}"

    # -- nodes -------------------------------------------------------------------------------------------------------------------

    def name(self) -> str:
        self.count += 1
        self.room -= 1
        return f"n{self.count}"

    def node(self, depth: int, number: int, *, item: bool, sequential: bool) -> Node:
        groups = ["parallel", "foreach", "while", "try", "race", "if", "switch"] if depth < 4 and self.room > 2 else []
        kind = self.rng.choices(
            ["set", "fails", "script", "join", "stop", "choice", "ask", "off", *groups],
            [30, 10, 4, 20 if number > 1 else 0, 1.5, 6, 6 if self.waits else 0, 2, *([4] * len(groups))],
        )[0]
        id = self.name()
        if kind in groups:
            return self.moded(getattr(self, f"_{kind}")(id, depth + 1, item, sequential))
        return getattr(self, f"_{kind}")(id)

    def moded(self, node: Node) -> Node:
        """With a way of going on when it fails, for some."""
        chance = self.rng.random()
        if chance < 0.5:
            node["on_error"] = self.rng.choice(["continue", "route"])
        elif chance < 0.6:
            node["boundary"] = [{"name": "broken", "error": [self.rng.choice(["expr*", "script", "loop_limit", "*"])]}]
        return node

    def _set(self, id: str) -> Node:
        return put(id)

    def _off(self, id: str) -> Node:
        return {**put(id), "disabled": True}

    def _fails(self, id: str) -> Node:
        flag = self.rng.choice([f"x{self.flag()}", f"xn{self.flag()}"])
        return self.moded(put(id, x=f"{{{{ input.{flag}.field }}}}"))

    def _script(self, id: str) -> Node:
        return self.moded({"id": id, "type": "script", "config": {"code": f"if input.{self.flag()}:\n    [][1]\nreturn 1"}})

    def _join(self, id: str) -> Node:
        mode = self.rng.choice(["all", "any", "count"])
        return self.moded({"id": id, "type": "join", "config": {"mode": mode}})

    def _stop(self, id: str) -> Node:
        state = self.rng.choice(["succeeded", "failed", "cancelled"])
        return {"id": id, "type": "stop", "config": {"state": state, "output": id}}

    def _ask(self, id: str) -> Node:
        return {"id": id, "type": "approval", "config": {"title": id}}

    def _choice(self, id: str) -> Node:
        if self.rng.random() < 0.5:
            return {"id": id, "type": "if", "config": {"condition": f"input.{self.flag()}"}}
        return {"id": id, "type": "switch", "config": {"value": f"input.{self.flag()}", "cases": self.cases()}}

    def cases(self) -> list[dict[str, Any]]:
        return [{"name": "one", "equals": True}, {"name": "two", "equals": self.rng.choice([False, 2])}]

    # -- groups ------------------------------------------------------------------------------------------------------------------

    def _parallel(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        bodies = {name: self.body(depth=depth, item=item, sequential=sequential) for name in "pqr"[: self.rng.randint(1, 3)]}
        return {"id": id, "type": "parallel", "config": {"branches": bodies}}

    def _foreach(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        items = [self.rng.random() < 0.5 for _ in range(self.rng.randint(0, 3))]
        places = self.rng.randint(1, 3)
        body = self.body(depth=depth, item=True, sequential=sequential and (places == 1 or len(items) < 2))
        return {"id": id, "type": "foreach", "config": {"items": items, "concurrency": places, "body": body}}

    def _while(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        condition = f"index < {self.rng.randint(0, 3)}" + self.rng.choice(["", f" and input.{self.flag()}"])
        config = {"condition": condition, "max_iterations": self.rng.randint(1, 3), "on_limit": self.rng.choice(["fail", "continue"])}
        return {"id": id, "type": "while", "config": {**config, "body": self.body(depth=depth, item=item, sequential=sequential)}}

    def _try(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        config = {"body": self.body(depth=depth, item=item, sequential=sequential)}
        config |= {key: self.body(depth=depth, item=item, sequential=sequential) for key in ("catch", "finally") if self.rng.random() < 0.6}
        return {"id": id, "type": "try", "config": config}

    def _race(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        """Either bodies that end by themselves, or one that surely succeeds beside others that wait or fail."""
        if self.rng.random() < 0.5:
            bodies = {name: self.body(depth=depth, item=item, sequential=sequential) for name in "pqr"[: self.rng.randint(1, 3)]}
        else:
            wait = {"id": self.name(), "type": "wait", "config": {"duration": FAR}}
            first, last, slow = self.name(), self.name(), self.name()
            bodies = {
                "win": {"nodes": [put(first), put(last)], "edges": [{"from": first, "to": last}]},
                "late": {"nodes": [put(slow), wait], "edges": [{"from": slow, "to": wait["id"]}]},
                "fail": {"nodes": [put(self.name(), x="{{ [1][5] }}")]},
            }
        return {"id": id, "type": "race", "config": {"branches": bodies}}

    def _if(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        bodies = {key: self.body(depth=depth, item=item, sequential=sequential) for key in ("then", "else") if self.rng.random() < 0.7}
        return {"id": id, "type": "if", "config": {"condition": self.condition(item), **bodies}}

    def _switch(self, id: str, depth: int, item: bool, sequential: bool) -> Node:
        cases = self.cases()
        cases[0]["body"] = self.body(depth=depth, item=item, sequential=sequential)
        other = {"default": self.body(depth=depth, item=item, sequential=sequential)} if self.rng.random() < 0.5 else {}
        return {"id": id, "type": "switch", "config": {"value": f"input.{self.flag()}", "cases": cases, **other}}


def sound(nodes: list[Node], edges: list[dict[str, Any]]) -> bool:
    """Every edge with max_loops leads back, every loop is entered by its header alone, and loops nest or are apart."""
    found = regions([node["id"] for node in nodes], [(edge["from"], edge["to"], "max_loops" in edge) for edge in edges])
    back = {index for region in found for index in region.back}
    if any("max_loops" in edge and index not in back for index, edge in enumerate(edges)):
        return False
    for one in found:
        entered = any(edge["to"] in one.members - {one.header} and edge["from"] not in one.members for edge in edges)
        if entered or any(
            one.members & other.members and not (one.members <= other.members or other.members <= one.members) for other in found
        ):
            return False
    return len({region.header for region in found}) == len(found)


def graph(seed: int) -> tuple[dict[str, Any], int]:
    """A definition and the number of its flags. A quarter ask people."""
    rng = random.Random(seed)
    maker = Maker(rng, room=rng.choice([6, 10, 16, 24]), flags=rng.choice([1, 1, 2, 2, 3]), waits=rng.random() < 0.25)
    return maker.definition(), maker.flags
