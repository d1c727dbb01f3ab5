"""Answers never grow beyond their budget, say what was cut, and stay the JSON they were."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.answers import answer
from server.excerpts import MAX_ANSWER, MAX_ERROR, compact, explain, portion, preview
from store.errors import Invalid
from tests.server.conftest import text_of

pytestmark = pytest.mark.promise("P8")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
texts = st.builds(str.__mul__, words, st.integers(1, 50))  # as long as 3,000 drawn characters, for a fraction of the time
plain = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts
values = st.recursive(
    plain, lambda inner: st.lists(inner, max_size=30) | st.dictionaries(st.text(max_size=200), inner, max_size=30), max_leaves=30
)


@given(values, st.integers(300, 4_000))
def test_a_preview_fits_its_room_or_is_the_value_itself(value: Any, room: int) -> None:
    shown = preview(value, room, "ask for more")
    if len(compact(value)) <= room:
        assert shown == value
    else:
        assert len(compact(shown)) <= room * 1.2 + 200
        assert "ask for more" in compact(shown)


@given(st.dictionaries(st.text(max_size=50), values, max_size=4))
def test_text_and_structured_content_say_the_same_within_the_budget(content: dict[str, Any]) -> None:
    result = answer(content, next="get_run()")
    assert len(text_of(result)) <= MAX_ANSWER
    assert json.loads(text_of(result)) == result.structured_content
    result.model_dump_json()


@given(values)
def test_the_portions_of_a_value_are_the_whole_value(value: Any) -> None:
    part = portion(value, 0, "next(offset={offset})")
    if "value" in part:
        assert part["value"] == value
        return
    text = part["text"]
    while "more" in part:
        assert part["more"] == f"next(offset={len(text)})"
        part = portion(value, len(text), "next(offset={offset})")
        text += part["text"]
        assert len(compact(part)) < MAX_ANSWER
    assert text == (value if isinstance(value, str) else compact(value))


@given(st.builds(str.__mul__, st.text(max_size=50), st.integers(0, 40)), values)
def test_an_error_text_is_short(message: str, detail: Any) -> None:
    assert len(explain(Invalid(message or "x", detail=detail))) <= MAX_ERROR


def test_half_a_surrogate_pair_does_not_break_an_answer() -> None:
    result = answer({"text": "a\ud800b"})
    assert result.structured_content == {"text": "a?b"}
    result.model_dump_json()
