"""How memories look from outside: data that is quoted, never a part of what quotes it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

from graphs.memories.forgetting import Forgotten
from graphs.memories.recalling import Found
from graphs.memories.writing import Remembered
from graphs.nodetype import QUOTED
from memory import kinds as kinds_of_memory
from memory.recall import Hit
from store.memories import Memory

UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
NAMED = 50  # runs in an answer
TRUSTED = {0: "quarantined", 1: "from outside", 2: "from an agent", 3: "said by a person"}


def hit_view(found: Found, hit: Hit) -> dict[str, Any]:
    """A hit with its source, date and trust, and why it is there."""
    memory = hit.memory
    about: dict[str, Any] = {
        "memory_id": memory.id,
        "kind": memory.kind,
        "quote": memory.body,
        "title": memory.title,
        "speaker": memory.speaker,
        "at": _iso(memory.occurred_at),
        "valid_from": _iso(memory.valid_from),
        "valid_to": _iso(memory.valid_to),
        "source": memory.source,
        "author": memory.author,
        "trust": TRUSTED[memory.trust],
        "labels": memory.labels,
        "scope": found.scopes.get(memory.scope_id),
        "score": hit.score,
        "why": {name: value for name, value in hit.parts.items() if value},
        "highlights": [list(span) for span in hit.highlights],
    }
    return {name: value for name, value in about.items() if value not in (None, [], {})}


def memory_view(memory: Memory) -> dict[str, Any]:
    """A memory as its kind shows it, with where it is from and how far it is believed."""
    return {**kinds_of_memory.show(memory), "trust": TRUSTED[memory.trust]}


def outcome_view(kept: Remembered) -> dict[str, Any]:
    """Ids of what is new, was known, was superseded, is contested; of what was said, and of what was concluded from it, and by what."""
    found = {"created": kept.kept.created, "known": kept.kept.known, "concluded": kept.concluded.created}
    for name in ("superseded", "contested"):
        found[name] = [*getattr(kept.kept, name), *getattr(kept.concluded, name)]
    view = {"scope": kept.scope, **{name: ids for name, ids in found.items() if ids or name == "created"}}
    by: dict[str, Any] = {"concluded_by": kept.concluded_by} if kept.concluded_by else {}
    if kept.usage:
        by["usage"] = {"input_tokens": kept.usage.input_tokens, "output_tokens": kept.usage.output_tokens}
    return {**view, **by}


def forgotten_view(found: Forgotten) -> dict[str, Any]:
    """Of the runs the first ones and their number: there may be thousands."""
    view: dict[str, Any] = {
        "count": found.count,
        "kinds": dict(found.kinds),
        "runs": list(found.runs[:NAMED]),
        "run_count": len(found.runs),
    }
    return {**view, "redacted": dict(found.redacted), "receipt_id": found.receipt_id} if found.receipt_id else view


def quoted(found: Found) -> str:
    """The hits as a text for a prompt. Every line of a memory begins with "> ", so that none of it can pass for what stands around it."""
    if not found.recalled.hits:
        return "(nothing is remembered about this)"
    return "\n\n".join([QUOTED, *(_quote(number, hit.memory) for number, hit in enumerate(found.recalled.hits, 1))])


def _quote(number: int, memory: Memory) -> str:
    about = [
        memory.kind,
        TRUSTED[memory.trust],
        f"{memory.occurred_at:%Y-%m-%d}" if memory.occurred_at else None,
        memory.speaker,
        memory.source,
    ]
    head = " · ".join(" ".join(_plain(part).replace("·", "-").split()) for part in about if part)
    return f"[{number}] {head}\n" + "\n".join(f"> {_plain(line)}" for line in memory.body.splitlines())


def _plain(text: str) -> str:
    """Without what is not seen and changes how the rest is read: control characters, and marks of direction."""
    return UNSEEN.sub(" ", text)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
