"""Two runs held against each other, step by step: whether the same happened, and where it did not first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from graphs import patches
from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.cassette import Cassette, Entry, asked, digest
from graphs.engine.configs import rendered
from graphs.engine.playing import DIVERGED
from graphs.positions import Place, locate
from store import jsontext

SHOWN = 600  # characters of a value
OPERATIONS = 8  # of a difference
What = Literal["type", "config", "state", "output", "error", "branch", "missing", "extra", "result"]
Key = tuple[str, int]
Rank = tuple[datetime, int, int, int]
BEGINNING = datetime.min.replace(tzinfo=UTC)
TOLD: Mapping[What, str] = {
    "type": "is of another type",
    "config": "has another rendered config",
    "state": "came to another end",
    "output": "has another output",
    "error": "failed in another way",
    "branch": "leads elsewhere",
    "missing": "did not happen",
    "extra": "happened, and did not in the recording",
    "result": "the run came to another result",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Divergence:
    """Where two runs part. `attempt` counts from 1; `pointer` is the place of the node in the definition that was replayed on, None where
    it has none; `patch` makes what was got of what was expected."""

    position: str
    attempt: int
    node: str | None
    pointer: str | None
    what: What
    expected: Json
    got: Json
    patch: tuple[dict[str, Any], ...]

    @property
    def message(self) -> str:
        return f"{self.position} {TOLD[self.what]}" if self.position else TOLD[self.what]


@dataclass(frozen=True, slots=True)
class Happened:
    """What an attempt came to, so that two can be compared."""

    entry: Entry
    state: str
    outcome: str
    leads: tuple[str, ...] | None

    @property
    def key(self) -> Key:
        return self.entry.tried.position, self.entry.number


def happened(cassette: Cassette) -> dict[Key, Happened]:
    """Everything that came to something, by position and attempt. What was cancelled, or never ended, came to nothing."""
    found: dict[Key, Happened] = {}
    for entries in cassette.by_position.values():
        for entry in entries:
            tried = entry.tried
            if tried.state == "skipped" or (tried.unended and not tried.boundary):
                continue
            state = (
                "interrupted" if tried.boundary else "succeeded" if tried.state == "compensated" else tried.state
            )  # undoing is a step too
            outcome = digest(_failure(tried.error) if tried.error and state != "succeeded" else tried.output)
            made = Happened(entry, state, outcome, _leads(cassette, entry))
            found[made.key] = made
    return found


def _failure(error: dict[str, Any]) -> Json:
    """Of an error of Weft itself the message holds a number that only the log knows."""
    return {name: error.get(name) for name in ("code", "details") + (("message",) if error["code"] != "internal" else ())}


def _leads(cassette: Cassette, entry: Entry) -> tuple[str, ...] | None:
    """Where a step led: targets, and the branches on which."""
    node = cassette.node(entry.tried.position)
    if node is None or (entry.tried.taken is None and node.outgoing):
        return None
    if entry.tried.taken is None:
        return ()  # nothing follows it: what a person has done by hand says so by saying nothing
    return tuple(sorted(f"{edge.branch or ''}>{edge.target}" for edge in node.outgoing if edge.index in entry.tried.taken))


def digest_of(cassette: Cassette) -> str:
    """SHA-256 over all that happened, by position: in which order branches beside each other moved does not count."""
    listed = [
        [*one.key, one.entry.tried.type, one.state, one.entry.asked, one.outcome, one.leads and [*one.leads]]
        for _, one in sorted(happened(cassette).items(), key=lambda item: (_natural(item[0][0]), item[0][1]))
    ]
    return digest([*listed, _result(cassette)])


def _natural(position: str) -> list[Any]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", position)]


def _result(cassette: Cassette) -> Json:
    head = cassette.recording.head
    return {"state": head.state, "output": head.output, "error": _failure(head.error) if head.error else None}


# -- where they part -------------------------------------------------------------------------------------------------------------


class Comparison:
    """What happened in the recording (`then`) and in the replay (`now`)."""

    def __init__(self, then: Cassette, now: Cassette) -> None:
        self._then, self._now = then, now
        self._before, self._after = happened(then), happened(now)
        error: dict[str, Json] = now.recording.head.error or {}
        self._stopped = error.get("code") == DIVERGED

    def divergences(self) -> list[Divergence]:
        """All of them, the first cause first."""
        found: list[tuple[Rank, Divergence]] = []
        for key in self._before.keys() | self._after.keys():
            before, after = self._before.get(key), self._after.get(key)
            if (what := _unlike(before, after)) and not (what == "missing" and self._stopped):
                found.append(self._parted(what, key, before, after))
        found += self._cut_off()
        found.sort(key=lambda item: item[0])
        listed = [divergence for _, divergence in found]
        then, now = _result(self._then), _result(self._now)
        if digest(then) != digest(now) and not (self._stopped and listed):
            listed.append(self._made("result", "", 1, then, now))
        once: dict[tuple[str, int, What], Divergence] = {}
        for one in listed:
            once.setdefault((one.position, one.attempt, one.what), one)
        return [*once.values()]

    def _cut_off(self) -> Iterator[tuple[Rank, Divergence]]:
        """What came to nothing in the recording, because it was cancelled, may have been asked for something else all the same."""
        for position, entries in self._then.by_position.items():
            for entry in entries:
                now = self._now.entry(position, entry.number)
                if not now or not (_has_asked(self._then, entry) and _has_asked(self._now, now)):
                    continue
                if entry.tried.unended and not entry.tried.boundary and now.asked != entry.asked:
                    before, after = (Happened(one, one.tried.state, "", None) for one in (entry, now))
                    yield self._parted("config", before.key, before, after)

    def _parted(self, what: What, key: Key, before: Happened | None, after: Happened | None) -> tuple[Rank, Divergence]:
        position, number = key
        rank = self._rank(what, before, after)
        expected, got = self._shown(what, before, self._then), self._shown(what, after, self._now)
        if what in ("missing", "extra") and (group := self._decider(position)):
            where = {"missing": "did not run", "extra": "ran"}[what]
            return rank, self._made("branch", group, 1, f"{position}: as recorded", f"{position} {where}")
        return rank, self._made(what, position, number, expected, got)

    def _made(self, what: What, position: str, number: int, expected: Json, got: Json) -> Divergence:
        place = self._place(position)
        node = place.node.id if place else re.split(r"[\[:~]", position.rpartition("/")[2])[0] or None
        pointer = pointer_of(self._now.recording.definition, node) if node else None
        return Divergence(
            position=position,
            attempt=number,
            node=node,
            pointer=pointer,
            what=what,
            expected=shortened(expected),
            got=shortened(got),
            patch=_patch(expected, got),
        )

    def _place(self, position: str) -> Place | None:
        return locate(self._now.plan, position) or locate(self._then.plan, position)

    def _decider(self, position: str) -> str | None:
        """The group that decides whether a step of it runs: of the first step of a body."""
        place, then = self._place(position), self._then.node(position)
        if place is None or place.parent is None or place.node.incoming or ":" in position.rpartition("/")[2]:
            return None
        if then is not None and then.node != place.node.node:
            return None  # it is another one now, and speaks for itself
        return place.parent.position

    def _rank(self, what: What, before: Happened | None, after: Happened | None) -> Rank:
        """By the recording's time: what a step asks counts from its beginning, what it came to from its end."""
        one = before or after
        assert one is not None  # noqa: S101 one of them is there
        depth = one.entry.tried.position.count("/")
        if before is None:
            return (self._when(one), 1, depth, one.entry.tried.seq)
        tried = before.entry.tried
        if what in ("state", "output", "error", "branch"):
            return (_moment(tried.ended or tried.began), 0, -depth, tried.seq)
        return (_moment(tried.began), 1, depth, tried.seq)

    def _when(self, one: Happened) -> datetime:
        """The recorded time at which something began that the recording does not have: when what ended before it did."""
        came = _moment(one.entry.tried.ended or one.entry.tried.began)
        ended = (
            _moment(before.entry.tried.ended)
            for key, before in self._before.items()
            if (after := self._after.get(key))
            and after.entry.tried.ended
            and _moment(after.entry.tried.ended) <= came
            and before.entry.tried.ended
        )
        return max(ended, default=BEGINNING)

    def _shown(self, what: What, one: Happened | None, cassette: Cassette) -> Json:
        if one is None:
            return None
        tried = one.entry.tried
        match what:
            case "type":
                return tried.type
            case "config":
                node = cassette.node(tried.position)
                return asked(node, tried.input) if node else rendered(tried.input) if is_object(tried.input) else tried.input
            case "branch":
                return [*(one.leads or ())]
            case "output":
                return tried.output
            case _:
                shown = {"state": one.state, "error": tried.error} if tried.error else {"state": one.state}
                return shown if what == "error" or tried.error else {**shown, "output": tried.output}


def _has_asked(cassette: Cassette, entry: Entry) -> bool:
    """Whether it came so far: a step may be cancelled before its config is rendered."""
    node = cassette.node(entry.tried.position)
    return entry.tried.input is not None or node is None or node.fixed is not None


def _unlike(before: Happened | None, after: Happened | None) -> What | None:
    if before is None or after is None:
        return "missing" if before else "extra"
    if before.entry.tried.type != after.entry.tried.type:
        return "type"
    if before.entry.asked != after.entry.asked and not before.entry.tried.given:
        return "config"
    if before.state != after.state:
        return "state"
    if before.outcome != after.outcome:
        return "error" if before.state in ("failed", "retrying", "interrupted") else "output"
    return "branch" if before.leads != after.leads else None


def _moment(text: str | None) -> datetime:
    return datetime.fromisoformat(text) if text else BEGINNING


def _patch(expected: Json, got: Json) -> tuple[dict[str, Any], ...]:
    if len(jsontext.text(expected)) + len(jsontext.text(got)) > patches.SMALL:
        return ()
    return tuple({name: shortened(value) for name, value in one.items()} for one in patches.patch(expected, got)[:OPERATIONS])


def shortened(value: Json) -> Json:
    """The value, or as much of its text as is worth showing."""
    text = jsontext.text(value)
    return value if len(text) <= SHOWN else text[:SHOWN] + "…"


def pointer_of(definition: Json, id: str) -> str | None:
    """The JSON pointer of a node in a definition; ids are unique in it."""
    return next((pointer for pointer, found in nodes_of(definition) if found == id), None)


def nodes_of(part: Json, pointer: str = "") -> Iterator[tuple[str, str]]:
    """(pointer, id) of every node, groups before what is in them."""
    if is_object(part):
        if is_array(part.get("nodes")):
            for number, node in enumerate(part["nodes"]):
                if is_object(node) and isinstance(node.get("id"), str):
                    yield f"{pointer}/nodes/{number}", node["id"]
                    yield from nodes_of(node.get("config"), f"{pointer}/nodes/{number}/config")
        else:
            for name, inner in part.items():
                yield from nodes_of(inner, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}")
    elif is_array(part):
        for number, inner in enumerate(part):
            yield from nodes_of(inner, f"{pointer}/{number}")
