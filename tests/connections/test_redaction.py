"""What a run has opened is blotted out in every spelling it may come back in, and nothing else is touched."""

from __future__ import annotations

import base64
import html
import json
import logging
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphs.redaction import HIDDEN, LOOKS_SECRET, Redactor, blotted, without_secrets
from server.logs import Line, SecretFilter

SECRETS = st.text(st.characters(codec="utf-8"), min_size=8, max_size=60).filter(lambda text: HIDDEN not in text and len(set(text)) > 3)
WRAPS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "url": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "lower url": lambda text: re.sub("%..", lambda escape: escape[0].lower(), quote(text, safe="")),
    "json": lambda text: json.dumps(text)[1:-1],
    "json of json": lambda text: json.dumps(json.dumps(text))[3:-3],
    "html": html.escape,
    "repr": lambda text: repr(text)[1:-1],
    "hex": lambda text: text.encode().hex(),
    "HEX": lambda text: text.encode().hex().upper(),
}


@pytest.mark.parametrize("name", WRAPS)
@given(secret=SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_every_spelling_is_blotted_out(name: str, secret: str, before: str, after: str) -> None:
    spelled = WRAPS[name](secret)
    cleaned = Redactor([secret]).text(f"{before}<{spelled}>{after}")
    assert spelled not in cleaned or spelled in before + after


@given(secret=SECRETS, before=st.binary(max_size=20), after=st.binary(max_size=20), urlsafe=st.booleans())
def test_base64_is_blotted_out_wherever_it_begins(secret: str, before: bytes, after: bytes, urlsafe: bool) -> None:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    text = encode(before + secret.encode() + after).decode()
    cleaned = Redactor([secret]).text(text)
    assert HIDDEN in cleaned
    start = -(-8 * len(before) // 6)
    whole = text[start : 8 * (len(before) + len(secret.encode())) // 6]
    assert whole not in cleaned


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=30), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_what_holds_no_secret_stays_as_it_is(value: Any) -> None:
    assert Redactor(["q7#Vx2!mZ9-canary"]).clean(value) == value
    assert Redactor().clean(value) is value


def test_secrets_in_keys_numbers_lists_and_at_a_cut_are_blotted_out() -> None:
    redactor = Redactor(["1234567890", "tok-abcdefghijkl"])
    value = {"tok-abcdefghijkl": [1234567890, {"x": "a tok-abcdefghijkl b"}], "cut": "…said tok-abcdefg", "dots": "said tok-abcdef…"}
    cleaned = redactor.clean(value)
    assert cleaned == {HIDDEN: [HIDDEN, {"x": f"a {HIDDEN} b"}], "cut": f"…said {HIDDEN}", "dots": f"said {HIDDEN}…"}
    assert "tok-abcdefghijkl" not in repr(redactor)


def test_the_log_has_nothing_of_what_is_open_also_in_tracebacks_of_several_lines() -> None:
    pem = "-----BEGIN KEY-----\nMIIEvQIBADANBg\nkqhkiG9w0BAQ\n-----END KEY-----"
    redactor = Redactor([pem, "tok-abcdefghijkl"])
    try:
        raise ValueError(f"it said {pem} and tok-abcdefghijkl")
    except ValueError as error:
        record = logging.LogRecord("graphs", logging.ERROR, "", 0, "failed", None, (type(error), error, error.__traceback__))
    line = Line(SecretFilter(())).format(record)
    assert redactor.holds
    assert "MIIEvQ" not in line
    assert "tok-abc" not in line
    assert without_secrets("tok-abcdefghijkl") == HIDDEN


def test_what_nobody_holds_any_more_is_forgotten() -> None:
    import gc

    redactor = Redactor(["tok-of-a-run-that-ended"])
    assert without_secrets("tok-of-a-run-that-ended") == HIDDEN
    del redactor
    gc.collect()
    assert without_secrets("tok-of-a-run-that-ended") == "tok-of-a-run-that-ended"


@given(st.text(max_size=20), SECRETS, st.text(max_size=20), st.integers(1, 9))
def test_a_secret_that_comes_in_pieces_is_blotted_out_of_what_is_shown_live(before: str, secret: str, after: str, size: int) -> None:
    redactor, text, shown, held = Redactor([secret]), before + secret + after, "", ""
    for at in range(0, len(text), size):
        new, held = redactor.split(held + text[at : at + size])
        shown += new
    assert secret not in shown
    assert held == "" or secret.startswith(held) or len(held) < len(text)
    assert HIDDEN in shown or HIDDEN in held + shown


@pytest.mark.timeout(30)  # it took minutes
@pytest.mark.parametrize("piece", ["-eyJ", "eyJ.", "://a:", "-----BEGIN ", "-----END ", "bearer ", "weft_live_"])
def test_a_megabyte_that_almost_looks_like_keys_is_looked_through_once(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert blotted(text) == text
    assert LOOKS_SECRET.search(text) is None


def test_a_token_is_found_wherever_it_begins() -> None:
    token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
    for before in ("", " ", "token=", '{"jwt": "', "Bearer:", "https://x.example/?t=", "\n"):
        assert blotted(before + token) == f"{before}{HIDDEN}.c2lnbmF0dXJl", before
