"""Words as they are compared, and what a question asks for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memory import questions, stem, words

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("caresses", "caress"), ("ponies", "poni"), ("running", "run"), ("hoping", "hope"), ("nationalism", "nation"),
        ("relational", "relat"),
        ("happiness", "happi"), ("cried", "cri"), ("tied", "tie"), ("painting", "paint"), ("agreed", "agre"), ("controlling", "control"),
        ("news", "news"), ("skies", "sky"), ("by", "by"), ("communication", "communic"), ("generously", "generous"),
        ("proceed", "proceed"),
    ],
)  # fmt: skip
def test_english_words_are_stemmed_as_snowball_does(word: str, expected: str) -> None:
    assert stem.english(word) == expected


def test_case_accents_possessives_and_stop_words_make_no_difference() -> None:
    assert words.terms("Where did Ann's CAFÉ move?") == words.terms("ann cafe moving") == ["ann", "cafe", "move"]


def test_scripts_without_spaces_give_pairs_of_neighbours() -> None:
    assert words.terms("東京タワー") == ["東京", "京タ", "タワ", "ワー"]
    assert words.terms("我喜欢喝茶 every day") == ["我喜", "喜欢", "欢喝", "喝茶", "everi", "day"]
    assert words.terms("茶") == ["茶"]


@given(st.text(max_size=200))
@example("ำำ")  # one letter that is compared as two
def test_every_word_lies_where_it_says(text: str) -> None:
    for word in words.words(text):
        assert 0 <= word.start < word.end <= len(text)
        assert word.term


def test_the_text_of_a_vector_carries_scope_and_places() -> None:
    assert words.vector(7, ["tea", "o'clock", "tea"]) == "'7.tea':1,3 '7.o''clock':2"


def days(text: str) -> list[tuple[str, str]]:
    return [(f"{first:%Y-%m-%d}", f"{end:%Y-%m-%d}") for first, end in questions.days(text, NOW)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("What happened on 8 May, 2023?", [("2023-05-08", "2023-05-09")]),
        ("What happened on May 8th 2023?", [("2023-05-08", "2023-05-09")]),
        ("the trip in December 2022", [("2022-12-01", "2023-01-01")]),
        ("since 2021-03-04", [("2021-03-04", "2021-03-05")]),
        ("what did we do in 2020", [("2020-01-01", "2021-01-01")]),
        ("what did I say yesterday", [("2026-11-20", "2026-11-21")]),
        ("what did I say last week", [("2026-11-09", "2026-11-16")]),
        ("what did I say last month", [("2026-10-01", "2026-11-01")]),
        ("31 June 2023", []),
        ("may I come in?", []),
        ("who won the march?", days("in March")),
    ],
)
def test_days_are_read_from_a_question(text: str, expected: list[tuple[str, str]]) -> None:
    assert days(text) == expected


def test_a_month_without_a_year_is_one_of_any_late_year() -> None:
    assert ("2023-06-01", "2023-07-01") in days("What did she do in June?")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("When did it start?", questions.TIME),
        ("How many cats has she?", questions.NUMBER),
        ("Where did they go?", questions.PLACE),
        ("Who did it?", None),
    ],
)
def test_the_type_of_an_answer_is_read_from_a_question(text: str, expected: str | None) -> None:
    assert questions.read(text, NOW).expected == expected


def test_names_are_words_pairs_and_triples() -> None:
    assert {"ann", "ann lee", "ann lee dog"} <= set(questions.names("What does Ann Lee's dog eat?"))


def test_a_pasted_page_asks_for_a_bounded_number_of_terms() -> None:
    page = " ".join(f"word{number}" for number in range(5_000))
    assert len(questions.read(page, NOW).terms) == questions.MOST_TERMS
