"""What is said and asked in a call, field by field, and how what was heard fits the form. Pure: all of it is in the row of the call.

Speech is what somebody said to a machine that writes: it is bounded, compared with the form, and never read as anything but data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from graphs.definition import Json, Schema
from graphs.inputs import problems
from graphs.voice import Question, Speech
from graphs.voice.phrases import Phrases, phrases

MAX_HEARD: Final = 1000  # characters of one answer
MAX_CHOICES: Final = 9  # one key each
MAX_FIELDS: Final = 10
UNSPEAKABLE = re.compile(r"[^\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]+")
NUMBER = re.compile(r"-?\d+(?:[.,]\d+)?")
ABSENT: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What a call says and asks. `form`: None where it only tells something."""

    say: str
    language: str
    voice: str | None
    attempts: int
    form: Schema | None

    @classmethod
    def of_json(cls, value: Mapping[str, Json]) -> Script:
        return cls(**value)

    def to_json(self) -> dict[str, Json]:
        return {"say": self.say, "language": self.language, "voice": self.voice, "attempts": self.attempts, "form": self.form}

    @property
    def fields(self) -> list[tuple[str, Schema]]:
        return list((self.form or {}).get("properties", {}).items())

    @property
    def phrases(self) -> Phrases:
        return phrases(self.language)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a call has come: the field being asked, how often it was asked before, and the answers so far."""

    field: int = 0
    tries: int = 0
    answers: Mapping[str, Json]


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An answer as it was given, and where it leads."""

    said: str
    standing: Standing
    outcome: Literal["next", "again", "answered", "given_up"]


def clean(text: str) -> str:
    """Bounded, on one line, without what no telephone can say."""
    return " ".join(UNSPEAKABLE.sub(" ", text[: 2 * MAX_HEARD]).split())[:MAX_HEARD]


# -- what is said ----------------------------------------------------------------------------------------------------------------


def greeting(script: Script, standing: Standing) -> Speech:
    """The beginning of the call: what there is to say, then the first question."""
    return _speech(script, (script.say,), _question(script, standing), () if script.form else (script.phrases.bye,))


def prompt(script: Script, standing: Standing) -> Speech:
    """The question that is due, with an apology where it was asked before."""
    return _speech(script, (script.phrases.again,) if standing.tries else (), _question(script, standing))


def farewell(script: Script, why: Literal["bye", "sorry", "settled"]) -> Speech:
    return _speech(script, (getattr(script.phrases, why),), None)


def _speech(script: Script, lines: tuple[str, ...], question: Question | None, after: tuple[str, ...] = ()) -> Speech:
    return Speech(lines=(*lines, *after), language=script.language, voice=script.voice, question=question)


def _question(script: Script, standing: Standing) -> Question | None:
    if standing.field >= len(script.fields):
        return None
    name, field = script.fields[standing.field]
    words = script.phrases
    asked = str(field.get("description") or field.get("title") or name.replace("_", " "))
    if field.get("enum"):
        choices = tuple(str(choice) for choice in field["enum"])
        listed = " ".join(words.choice.format(choice=choice, key=key) for key, choice in enumerate(choices, 1))
        return Question(text=f"{asked} {listed}", digits=1, choices=choices)
    match field.get("type"):
        case "boolean":
            return Question(text=f"{asked} {words.yes_or_no}", digits=1, choices=(*sorted(words.yes), *sorted(words.no)))
        case "number" | "integer":
            return Question(text=f"{asked} {words.number}")
        case _:
            return Question(text=asked, keys=False)


# -- what is heard ---------------------------------------------------------------------------------------------------------------


def hear(script: Script, standing: Standing, *, keys: str, speech: str) -> Heard:
    """Takes an answer to the question that is due. What fits leads to the next field, what does not is asked again, so often as the
    script says; then a field that need not be given is left out, and a call that cannot go on without it gives up."""
    name, field = script.fields[standing.field]
    keys, speech = clean(keys)[:100], clean(speech)
    said = speech or keys
    value = _value(field, keys, speech, script.phrases)
    if value is not ABSENT and not problems(field, value):
        return _forward(script, standing, said, {**standing.answers, name: value})
    if standing.tries + 1 < script.attempts:
        again = Standing(field=standing.field, tries=standing.tries + 1, answers=standing.answers)
        return Heard(said=said, standing=again, outcome="again")
    if name in (script.form or {}).get("required", ()):
        return Heard(said=said, standing=standing, outcome="given_up")
    return _forward(script, standing, said, standing.answers)


def _forward(script: Script, standing: Standing, said: str, answers: Mapping[str, Json]) -> Heard:
    then = Standing(field=standing.field + 1, answers=answers)
    if then.field < len(script.fields):
        return Heard(said=said, standing=then, outcome="next")
    fits = not problems(script.form or {}, dict(answers))
    return Heard(said=said, standing=then, outcome="answered" if fits else "given_up")


def _value(field: Schema, keys: str, speech: str, words: Phrases) -> Json:
    """The value that was meant, or ABSENT."""
    if field.get("enum"):
        return _choice(field["enum"], keys, speech)
    match field.get("type"):
        case "boolean":
            return _yes_or_no(keys, speech, words)
        case "number" | "integer":
            return _number(keys, speech, whole=field["type"] == "integer")
        case _:
            return (speech or keys) or ABSENT


def _choice(choices: list[Json], keys: str, speech: str) -> Json:
    if keys:
        return choices[int(keys) - 1] if keys.isascii() and keys.isdigit() and 0 < int(keys) <= len(choices) else ABSENT
    said = _plain(speech)
    whole = [choice for choice in choices if _plain(str(choice)) == said]
    within = [choice for choice in choices if _plain(str(choice)) and f" {_plain(str(choice))} " in f" {said} "]
    found = whole or within
    return found[0] if len(found) == 1 else ABSENT


def _yes_or_no(keys: str, speech: str, words: Phrases) -> Json:
    if keys:
        return {"1": True, "2": False}.get(keys, ABSENT)
    said = set(_plain(speech).split())
    yes, no = bool(said & words.yes), bool(said & words.no)
    return yes if yes != no else ABSENT  # "yes, no, wait" is neither


def _number(keys: str, speech: str, *, whole: bool) -> Json:
    text = keys.replace("*", ".") if keys else speech.replace(" ", "")
    found = NUMBER.findall(text)
    if len(found) != 1 or (keys and found[0] != text) or len(found[0]) > 30:
        return ABSENT
    value = float(found[0].replace(",", "."))
    if not math.isfinite(value):
        return ABSENT
    return int(value) if value.is_integer() and (whole or "." not in found[0].replace(",", ".")) else value


def _plain(text: str) -> str:
    """For comparing: lower case, without punctuation."""
    return " ".join(re.sub(r"[^\w\s]", " ", text.casefold()).split())
