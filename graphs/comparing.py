"""Two runs held against each other, step by step: whether the same happened, and where it did not first."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from graphs import patches
from graphs.changes import changed
from graphs.definition import Json
from graphs.documents import is_object
from graphs.engine.cassette import Cassette, Entry, asked, digest
from graphs.engine.configs import rendered
from graphs.engine.pacing import DIVERGED
from graphs.outcomes import Happened, Key, happened, result
from graphs.positions import Place, locate, pointer_of
from store import jsontext

SHOWN = 600  # characters of a value
OPERATIONS = 8  # of a difference
What = Literal["type", "config", "state", "output", "error", "branch", "missing", "extra", "result"]
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
    it has none; `patch` makes what was got of what was expected. `cause`: the node is another one now."""

    position: str
    attempt: int
    node: str | None
    pointer: str | None
    what: What
    expected: Json
    got: Json
    patch: tuple[dict[str, Any], ...]
    cause: bool = False

    @property
    def message(self) -> str:
        return f"{self.position} {TOLD[self.what]}" if self.position else TOLD[self.what]


Parted = tuple[Rank, Divergence]  # with its place in time


class Comparison:
    """What happened in the recording (`then`) and in the replay (`now`)."""

    def __init__(self, then: Cassette, now: Cassette) -> None:
        self._then, self._now = then, now
        self._before, self._after = happened(then), happened(now)
        self._changed = changed(then, now)
        error: dict[str, Json] = now.recording.head.error or {}
        self._stopped = error.get("code") == DIVERGED

    def divergences(self) -> list[Divergence]:
        """All of them, the first cause first. What both definitions have in common parts only because of what they have not: steps that are
        others now come before those that are as they were. Among them the recording's time decides."""
        found = [*self._of_steps(), *self._cut_off()]
        if not any(one.cause for _, one in found):
            found = [self._lifted(*one) for one in found]
        found.sort(key=lambda item: (not item[1].cause, item[0], item[1].position))
        listed = [one for _, one in found]
        then, now = result(self._then), result(self._now)
        if digest(then) != digest(now) and not (self._stopped and listed):
            listed.append(self._made("result", "", 1, then, now))
        once: dict[tuple[str, int, What], Divergence] = {}
        for one in listed:
            once.setdefault((one.position, one.attempt, one.what), one)
        return [*once.values()]

    def _of_steps(self) -> Iterator[Parted]:
        for key in self._before.keys() | self._after.keys():
            before, after = self._before.get(key), self._after.get(key)
            what = _unlike(before, after)
            if what in ("missing", "extra"):
                if not (what == "missing" and self._stopped):
                    yield self._one_sided(what, key, before, after)
            elif what:
                yield self._parted(what, key, self._rank(what, before, after), before, after)

    def _cut_off(self) -> Iterator[Parted]:
        """What came to nothing in the recording, because it was cancelled, may have been asked for something else all the same."""
        for position, entries in self._then.by_position.items():
            for entry in entries:
                now = self._now.entry(position, entry.number)
                if not now or not (_has_asked(self._then, entry) and _has_asked(self._now, now)):
                    continue
                if entry.tried.unended and not entry.tried.boundary and now.asked != entry.asked:
                    before, after = _unfinished(entry), _unfinished(now)
                    yield self._parted("config", before.key, self._rank("config", before, after), before, after)

    def _parted(self, what: What, key: Key, rank: Rank, before: Happened | None, after: Happened | None) -> Parted:
        expected, got = self._shown(what, before, self._then), self._shown(what, after, self._now)
        return rank, self._made(what, *key, expected, got)

    def _one_sided(self, what: What, key: Key, before: Happened | None, after: Happened | None) -> Parted:
        """What came to something in only one of them. In the other it was under way and was cut off; or was not begun, which is told at the
        outermost group that is new with it, or at the one that decided on it."""
        rank, other = self._rank(what, before, after), self._now if before else self._then
        if began := other.begun(*key):
            if before:
                return self._parted("state", key, self._rank("state", before, None), before, _unfinished(began))
            return self._parted("state", key, rank, _unfinished(began), after)
        place = self._place(key[0])
        while place and place.parent and not other.begun(place.parent.position, 1):
            place, key = place.parent, (place.parent.position, 1)
        if not (place and place.parent) or place.node.incoming or ":" in key[0].rpartition("/")[2] or self._is_changed(key[0]):
            return self._parted(what, key, rank, before, after)
        return self._decided(place.parent, rank, key[0], {"missing": "did not run", "extra": "ran"}[what])

    def _decided(self, group: Place, rank: Rank, position: str, otherwise: str) -> Parted:
        return rank, self._made("branch", group.position, 1, f"{position}: as recorded", f"{position} {otherwise}")

    def _lifted(self, rank: Rank, one: Divergence) -> Parted:
        """No step that is another one now has parted by itself: what did so inside of a group that is another one now, did so for that."""
        place = self._place(one.position)
        group = next((group for group in place.around() if self._is_changed(group.position)), None) if place else None
        return self._decided(group, rank, one.position, TOLD[one.what]) if group else (rank, one)

    def _is_changed(self, position: str) -> bool:
        return self._id(position) in self._changed

    def _id(self, position: str) -> str | None:
        place = self._place(position)
        return place.node.id if place else re.split(r"[\[:~]", position.rpartition("/")[2])[0] or None

    def _made(self, what: What, position: str, number: int, expected: Json, got: Json) -> Divergence:
        node = self._id(position)
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
            cause=self._is_changed(position),
        )

    def _place(self, position: str) -> Place | None:
        return locate(self._now.plan, position) or locate(self._then.plan, position)

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


def _unfinished(entry: Entry) -> Happened:
    return Happened(entry, entry.tried.state, "", None)


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
