"""What a run came to, step by step, so that two runs can be compared; and the digest of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from graphs.definition import Json
from graphs.engine.cassette import Cassette, Entry, digest

Key = tuple[str, int]


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
    return digest([*listed, result(cassette)])


def _natural(position: str) -> list[Any]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", position)]


def result(cassette: Cassette) -> Json:
    """What the run as a whole came to."""
    head = cassette.recording.head
    return {"state": head.state, "output": head.output, "error": _failure(head.error) if head.error else None}
