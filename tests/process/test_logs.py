"""Log records are single lines, and no secret is in them."""

from __future__ import annotations

import logging
import sys

import pytest

from server.logs import HIDDEN, Line, SecretFilter


def record(message: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("server.test", logging.WARNING, __file__, 1, message, arguments, None)


def test_a_record_is_one_line_whatever_is_in_it() -> None:
    line = Line(SecretFilter(())).format(record("first\nsecond %s", "third\n"))
    assert line.count("\n") == 0
    assert line.endswith(" warning server.test first | second third")


def test_a_traceback_is_folded_into_the_line() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        failed = logging.LogRecord("server.test", logging.ERROR, __file__, 1, "it failed", (), sys.exc_info())
    line = Line(SecretFilter(())).format(failed)
    assert "\n" not in line
    assert "ValueError: broken" in line


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("key is weft_live_0123456789ab_" + "a" * 49, "a" * 49),
        ("sent sk-abcdefghijklmnop1234", "sk-abcdefghijklmnop1234"),
        ("Authorization: Bearer abc.def-ghi_jkl", "abc.def-ghi_jkl"),
        ("connect postgresql://weft_app:hush-hush@db/weft", "hush-hush"),
    ],
)
def test_what_looks_like_a_secret_is_blotted_out(text: str, secret: str) -> None:
    cleaned = SecretFilter(()).clean(text)
    assert secret not in cleaned
    assert HIDDEN in cleaned


def test_known_values_are_blotted_out_wherever_they_stand() -> None:
    secrets = SecretFilter(("correct horse battery", "short"))
    assert secrets.clean("it is correct horse battery!") == f"it is {HIDDEN}!"
    assert secrets.clean("a short word") == "a short word"
