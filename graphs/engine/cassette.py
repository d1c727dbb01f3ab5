"""A cassette: what a run came to at every step, as its journal tells it, ready to be played to another drive.

An entry is one attempt at a position. It answers a step that asks for the same: the same type and the same rendered config there.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from graphs.definition import Json
from graphs.documents import is_array, is_object
from graphs.engine.configs import DECIDED, rendered
from graphs.engine.plan import NodePlan, Plan
from graphs.nodetype import Effect
from graphs.positions import Place, inside, locate
from store import jsontext

UNDO = re.compile(r"(.+)~undo(\d*)")
CLOCK = re.compile(r"\b(?:now|today|hash|id)\s*\(")  # what the sandbox answers differently another time
SIDE_BY_SIDE = ("parallel", "foreach")  # groups whose bodies are cancelled when one of them fails
UNENDED = frozenset({"running", "waiting", "cancelled", "ambiguous"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The run that was recorded. `env`: the variables it saw; None where it began before they were recorded."""

    id: str
    workflow: str
    version: int | None
    mode: str
    started_at: str | None
    input: Json
    state: str
    output: Json
    error: Any
    mocks: Any = None
    env: dict[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """An attempt of a step. `given`: a person's word or another run's, which nothing computes again."""

    position: str
    attempt: int
    series: int
    type: str
    state: str
    seq: int
    input: Json
    output: Json
    error: Any
    taken: list[int] | None
    undo: Any
    began: str
    ended: str | None
    given: bool = False

    @property
    def boundary(self) -> str | None:
        """The boundary that cut it off."""
        error: dict[str, Json] = self.error or {}
        details: Json = error.get("details") if self.state in UNENDED else None
        return str(details["boundary"]) if is_object(details) and "boundary" in details else None

    @property
    def unended(self) -> bool:
        """It never came to anything of its own: it was cancelled, or its run ended first."""
        return self.state in UNENDED

    def fired(self) -> dict[str, list[int]]:
        """Boundaries that led on while it went on."""
        recorded: dict[str, Any] = self.input if is_object(self.input) else {}
        return recorded.get(DECIDED + "boundary") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Waited:
    """How a wait ended."""

    place: str
    kind: str
    state: str
    payload: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A boundary that led on beside its step, after so many attempts had ended."""

    position: str
    message: str
    after: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that a replay needs to know of a run. `tried` in the order in which the attempts settled."""

    head: Head
    definition: Json
    tried: tuple[Tried, ...]
    waits: tuple[Waited, ...] = ()
    fired: tuple[Fired, ...] = ()
    simulated: tuple[str, ...] = ()  # of a replay: where it made up what a step came to


@dataclass(frozen=True, slots=True)
class Entry:
    """An attempt as a replay counts it (from 1 at each position), with the digest of what was asked."""

    number: int
    tried: Tried
    asked: str


@dataclass(slots=True)
class Cassette:
    """A recording by position. `plan` is that of the definition it was made with."""

    recording: Recording
    plan: Plan
    by_position: dict[str, list[Entry]] = field(default_factory=dict[str, list[Entry]])
    groups: frozenset[str] = frozenset()  # positions of steps with steps inside

    def entry(self, position: str, number: int) -> Entry | None:
        found = self.by_position.get(position, [])
        return found[number - 1] if number <= len(found) else None

    def begun(self, position: str, number: int) -> Entry | None:
        """The attempt, if it was made at all."""
        entry = self.entry(position, number)
        return None if entry is None or entry.tried.state == "skipped" else entry

    def node(self, position: str) -> NodePlan | None:
        place = locate(self.plan, position)
        return place.node if place else None

    def heard(self, entry: Entry) -> int:
        """A failure was recorded some time before the steps beside it heard of it: the place of the last one that settled in between."""
        place, first = locate(self.plan, entry.tried.position), entry.tried.seq
        group = place.parent if place and place.parent and place.parent.node.kind.name in SIDE_BY_SIDE else None
        ends = [one.tried.seq for one in self.by_position.get(group.position, []) if one.tried.seq > first] if group else []
        end, last = min(ends, default=None), first
        for other, entries in self.by_position.items():
            if place and not (inside(other, group.position) if group else _beside(other, place)):
                continue
            for one in entries:
                again = one.number > 1 and one.tried.series == one.tried.attempt
                if not (one.tried.unended or again or one.tried is entry.tried) and (end is None or one.tried.seq < end):
                    last = max(last, one.tried.seq)
        return last

    def spoke(self, entry: Entry) -> str | None:
        """Of several failures beside each other one is heard of: where that was, as the group around them, or the run, says. "": nowhere,
        for something graver ended them all, such as a stop; None: nobody says."""
        place = locate(self.plan, entry.tried.position)
        if place is None or place.parent is None:
            return _position(self.recording.head.error) or ""
        around = [one.tried for one in self.by_position.get(place.parent.position, [])]
        if group := next((one for one in around if one.seq > entry.tried.seq), None):
            return _position(_caught(group) or group.error)
        cut_off = around and around[-1].unended and place.parent.node.kind.name != "race"  # a race goes on without those that fail
        return (_position(_caught(around[-1])) or "") if cut_off else None

    def last_inside(self, group: Entry) -> int:
        """Where the last step inside a group settled before the group itself did."""
        prefix = group.tried.position + "/"
        inside = (one.tried for other, entries in self.by_position.items() if other.startswith(prefix) for one in entries)
        return max(
            (tried.seq for tried in inside if not tried.unended and "~undo" not in tried.position and tried.seq < group.tried.seq),
            default=0,
        )

    def wait(self, place: str) -> Waited | None:
        return next((wait for wait in self.recording.waits if wait.place == place), None)


def _caught(group: Tried) -> Json:
    return group.input.get(DECIDED + "caught") if is_object(group.input) else None


def _position(error: Json) -> str | None:
    return error.get("position") if is_object(error) else None


def _beside(position: str, place: Place) -> bool:
    """Whether a position lies in the body of a step, at any depth."""
    if not position.startswith(place.prefix):
        return False
    part = position[len(place.prefix) :].split("/")[0]
    return "~" not in part and re.split(r"[\[:#]", part)[0] in place.body.nodes


def cassette(recording: Recording, plan: Plan) -> Cassette:
    """Reads a recording against the definition it was made with."""
    made = Cassette(recording, plan)
    undone = {(tried.position, tried.attempt): tried.undo for tried in recording.tried if tried.undo}
    grouped: dict[str, list[Tried]] = {}
    for tried in recording.tried:
        if not tried.position.startswith("#"):
            grouped.setdefault(tried.position, []).append(tried)
    for position, attempts in grouped.items():
        kept = _kept(sorted(attempts, key=lambda tried: tried.attempt), retried=_in_retried(plan, position))
        made.by_position[position] = [Entry(number, tried, _asked_then(plan, tried, undone)) for number, tried in enumerate(kept, start=1)]
    made.groups = frozenset(_around(grouped))
    return made


def _around(positions: Iterable[str]) -> Iterable[str]:
    for position in positions:
        parts = position.split("/")
        yield from (re.sub(r"\[\d+\]$", "", "/".join(parts[:number])) for number in range(1, len(parts)))


def _kept(attempts: list[Tried], *, retried: bool) -> list[Tried]:
    """The attempts that count: not those before a person had the step done anew, unless a group around it does that by itself, nor those
    in doubt that were repeated."""
    kept: list[Tried] = []
    for tried in attempts:
        if kept and not retried and (tried.series == tried.attempt or tried.given):
            kept.clear()
        if kept and kept[-1].state in ("ambiguous", "succeeded"):  # the latter: a stop, made again after its run was put down
            kept.pop()
        kept.append(tried)
    return kept


def _in_retried(plan: Plan, position: str) -> bool:
    place = locate(plan, position)
    return place is not None and any(group.node.retry for group in place.around())


# -- what is asked ---------------------------------------------------------------------------------------------------------------


def digest(value: Json) -> str:
    """SHA-256 of the canonical JSON of a value: the order of keys does not count."""
    return hashlib.sha256(jsontext.text(ordered(value)).encode()).hexdigest()


def ordered(value: Json) -> Json:
    if is_object(value):
        return {key: ordered(value[key]) for key in sorted(value)}
    return [ordered(item) for item in value] if is_array(value) else value


def reaches(node: NodePlan, config: Any) -> bool:
    """Whether a step reaches outside or waits, so that a replay must not do it."""
    return node.kind.waits or node.kind.effect(config) is not Effect.PURE


def asked(node: NodePlan, input: Json) -> dict[str, Json]:
    """What a step asked for: its rendered config without bodies, and of what is computed here without code, whose outcome counts."""
    bodies = {key.split("/")[1] for key in node.bodies}
    hidden = bodies | set(node.raw) if node.kind.family == "flow" else bodies
    if node.fixed is not None:
        given: dict[str, Json] = node.node.config
    else:
        given = {**rendered(input or {}), **{name: node.node.config[name] for name in node.raw}}
    return {name: value for name, value in given.items() if name not in hidden}


def _asked_then(plan: Plan, tried: Tried, undone: Mapping[tuple[str, int], Any]) -> str:
    if found := UNDO.fullmatch(tried.position):
        undo = undone.get((found[1], int(found[2] or 1)))
        return digest({tried.type: undo["config"] if undo else None})
    place = locate(plan, tried.position)
    if place is None:  # an inner step of an agent: what it was given is what was recorded
        return digest({tried.type: rendered(tried.input) if is_object(tried.input) else tried.input})
    return digest({tried.type: asked(place.node, tried.input)})


def reads_clock(node: NodePlan) -> bool:
    """Whether computing a step anew may give something else: it looks at the clock."""
    bodies = {key.split("/")[1] for key in node.bodies}
    return bool(CLOCK.search(jsontext.text({name: value for name, value in node.node.config.items() if name not in bodies})))
