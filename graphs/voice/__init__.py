"""Voice: a person is asked by telephone, as a channel to a task. Here is what all of it is said in; a provider is a kind of connection
(graphs/connections/<kind>.py) that has, besides what every kind has:

    MEDIA: str                                              media type of what `render` makes
    def render(speech, address) -> str                      what the provider is to say and do, and the address it calls with what it heard
    async def dial(connection, outbound, order) -> str      calls; its name for the call. Failure("voice_refused") where it will not, and
                                                            Failure("in_doubt") where nobody can tell
    async def hang_up(connection, outbound, name, speech)   ends a call, with some words where somebody listens
    def authentic(connection, url, fields, headers) -> bool whether the provider itself sent this
    def news(connection, fields) -> News                    what it tells
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

EVENT: Final = "weft.voice"
"""The event by which a run hears that a call of its is over; the correlation is the call's id."""

PROVIDERS: Final = frozenset({"twilio"})
OVER: Final = frozenset({"completed", "busy", "no_answer", "failed", "cancelled"})
BEFORE: Final[Mapping[str, tuple[str, ...]]] = {
    "dialing": ("queued",),
    "ringing": ("dialing",),
    "answered": ("dialing", "ringing"),
    "asking": ("answered",),
    "completed": ("dialing", "ringing", "answered", "asking"),  # what came between may be late, or never come
    "busy": ("dialing", "ringing"),
    "no_answer": ("dialing", "ringing"),
    "failed": ("queued", "dialing", "ringing", "answered", "asking"),
    "cancelled": ("queued", "dialing", "ringing", "answered", "asking"),
}
"""The states of a call, and those from which each may be reached: it only ever goes forward."""
STATES: Final = ("completed", "busy", "no_answer", "failed", "cancelled", "queued", "dialing", "ringing", "answered", "asking")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`digits`: how many keys end it (None: the # key); `choices`: words that are likely to be said."""

    text: str
    speech: bool = True
    keys: bool = True
    digits: int | None = None
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What is said, and then asked; without a question the call ends."""

    lines: tuple[str, ...]
    language: str
    voice: str | None = None
    question: Question | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A call to be made. `ring`, `longest`: seconds; the addresses are ours, and nobody else knows them."""

    recipient: str
    answer_url: str
    status_url: str
    ring: int
    longest: int


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What a provider tells of a call: its name for it, the state it is in (None: of no interest), what was heard."""

    name: str
    state: str | None = None
    keys: str = ""
    speech: str = ""
    error: str | None = None


def provider(kind: str) -> Any:
    """The module that speaks to this kind of provider."""
    if kind not in PROVIDERS:
        raise KeyError(kind)
    return importlib.import_module(f"graphs.connections.{kind}")


def masked(number: str) -> str:
    """A telephone number as those see it who need not know it: "+49…4567"."""
    return f"{number[:3]}…{number[-4:]}" if len(number) > 7 else "…"
