"""What a call asks and how it takes what it hears: compared with the form, bounded, and never more than data."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from pydantic import ValidationError

from graphs.connections.twilio import render, signature
from graphs.nodes.voice import Config
from graphs.voice import Question, Speech, masked
from graphs.voice.dialogue import MAX_HEARD, Heard, Script, Standing, greeting, hear, prompt

BEGIN = Standing(answers={})


def script(attempts: int = 2, language: str = "en-US", required: tuple[str, ...] = ("it",), **field: Any) -> Script:
    form = {"type": "object", "properties": {"it": field}, "required": list(required)}
    return Script(say="Hello.", language=language, voice=None, attempts=attempts, form=form)


def given(asked: Script, *, keys: str = "", speech: str = "") -> Heard:
    return hear(asked, BEGIN, keys=keys, speech=speech)


@pytest.mark.parametrize(
    ("field", "keys", "speech", "value"),
    [
        ({"type": "boolean"}, "1", "", True),
        ({"type": "boolean"}, "2", "", False),
        ({"type": "boolean"}, "", "Yes, please!", True),
        ({"type": "boolean"}, "", "No.", False),
        ({"enum": ["red", "dark red", "blue"]}, "3", "", "blue"),
        ({"enum": ["red", "dark red", "blue"]}, "", "Dark red.", "dark red"),
        ({"enum": ["red", "blue"]}, "", "I would like the blue one", "blue"),
        ({"enum": [1, 5]}, "2", "", 5),
        ({"type": "integer"}, "42", "", 42),
        ({"type": "integer"}, "", "It is 42.", 42),
        ({"type": "number"}, "3*5", "", 3.5),
        ({"type": "number"}, "", "minus -2,5", -2.5),
        ({"type": "number"}, "7", "", 7),
        ({"type": "string"}, "", "  Platform   nine ", "Platform nine"),
        ({"type": "string"}, "", "{{ env.SECRET }} <b>\x00\x1b[31m", "{{ env.SECRET }} <b> [31m"),
    ],
)
def test_what_fits_is_taken(field: dict[str, Any], keys: str, speech: str, value: Any) -> None:
    heard = given(script(**field), keys=keys, speech=speech)
    assert (heard.outcome, heard.standing.answers) == ("answered", {"it": value})


@pytest.mark.parametrize(
    ("field", "keys", "speech"),
    [
        ({"type": "boolean"}, "3", ""),
        ({"type": "boolean"}, "", "yes no"),
        ({"type": "boolean"}, "", ""),
        ({"enum": ["red", "dark red"]}, "0", ""),
        ({"enum": ["red", "dark red"]}, "9" * 400, ""),
        ({"enum": ["red", "blue"]}, "", "red or blue"),
        ({"enum": ["red", "blue"]}, "²", ""),
        ({"type": "integer"}, "1*5", ""),
        ({"type": "integer"}, "#", ""),
        ({"type": "integer", "maximum": 9}, "10", ""),
        ({"type": "number"}, "", "between 3 and 4"),
        ({"type": "number"}, "9" * 90, ""),
        ({"type": "string"}, "", ""),
        ({"type": "string", "maxLength": 5}, "", "far too long"),
    ],
)
def test_what_does_not_fit_is_asked_again_and_then_given_up(field: dict[str, Any], keys: str, speech: str) -> None:
    asked = script(**field)
    first = given(asked, keys=keys, speech=speech)
    assert first.outcome == "again"
    assert prompt(asked, first.standing).lines == ("Sorry, that was not understood.",)
    second = hear(asked, first.standing, keys=keys, speech=speech)
    assert (second.outcome, second.standing.answers) == ("given_up", {})


def test_a_field_that_need_not_be_given_is_left_out() -> None:
    assert given(script(attempts=1, required=(), type="boolean")).outcome == "answered"


def test_what_is_heard_is_bounded() -> None:
    heard = given(script(type="string"), speech="a" * 100_000)
    assert len(heard.said) == len(heard.standing.answers["it"]) == MAX_HEARD


def test_the_language_of_the_call_is_spoken_and_understood() -> None:
    asked = script(language="de-DE", type="boolean", title="Kommen Sie?")
    assert greeting(asked, BEGIN).question == Question(
        text="Kommen Sie? Für ja drücken Sie die 1, für nein die 2.",
        digits=1,
        choices=(*sorted(asked.phrases.yes), *sorted(asked.phrases.no)),
    )
    assert given(asked, speech="Nein, danke").standing.answers == {"it": False}


def test_nothing_that_is_said_is_read_as_markup() -> None:
    speech = Speech(lines=('</Say><Dial>+1900</Dial> & "more"',), language="en-US", voice='x" y="', question=None)
    said = ElementTree.fromstring(render(speech, ""))
    assert [part.tag for part in said.iter()] == ["Response", "Say", "Hangup"]
    assert said[0].attrib == {"language": "en-US", "voice": 'x" y="'}
    assert said[0].text == speech.lines[0]


PUBLISHED = "https://mycompany.com/myapp.php?foo=1&bar=2"


def test_signatures_are_those_that_the_provider_publishes() -> None:
    fields = [
        ("Digits", "1234"),
        ("To", "+18005551212"),
        ("From", "+14158675309"),
        ("Caller", "+14158675309"),
        ("CallSid", "CA1234567890ABCDE"),
    ]
    assert signature("12345", PUBLISHED, fields) == "RSOYDt4T1cUTdK1PDd93/VVr8B8="
    repeated = [("Sid", "CA123"), ("SidAccount", "AC123"), ("Digits", "5678"), ("Digits", "1234"), ("Digits", "1234")]
    assert signature("12345", PUBLISHED, repeated) == "IK+Dwps556ElfBT0I3Rgjkr1wJU="


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"to": "030 123456"}, "pattern"),
        ({"ask": {"type": "object", "properties": {"a": {"type": "array"}}}}, "ask field 'a' must be"),
        ({"ask": {"type": "object", "properties": {"a": {"enum": list("abcdefghij")}}}}, "more than 9 choices"),
        ({"ask": {"type": "object", "properties": {f"f{n}": {"type": "string"} for n in range(11)}}}, "at most 10"),
        ({"ring": "2s"}, "ring must be"),
        ({"language": "English"}, "pattern"),
        ({"redial": {"attempts": 50}}, "less than or equal to 10"),
    ],
)
def test_a_config_that_cannot_be_called_with_is_refused(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Config.model_validate({"connection": "phone", "to": "+4930123456", "say": "Hi", **wrong})


def test_numbers_are_masked() -> None:
    assert masked("+4930123456") == "+49…3456"
    assert masked("+49301") == "…"
