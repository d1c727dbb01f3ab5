"""What counts as the words of a memory, and what a value looks like without them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.redaction import FORGOTTEN, Phrases, Wanted, parts, telling
from store.redaction import Told


def told(body: str) -> Told:
    return Told(kind="turn", title=None, body=body, data=None, names=[])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("My sister lives in Oslo.", {"oslo"}),
        ("The harbour opens at nine.", set[str]()),
        ("Call 0151 2345678 or mail ann.b@example.org!", {"2345678"}),
        ("The code is ZK-1042-b and the room 12.", {"zk 1042 b", "zk"}),
        ("On 2026-05-08 at 10:30 it rained.", set[str]()),
        ("quuxelfrob is a word of mine", {"quuxelfrob"}),
    ],
)
def test_names_numbers_and_words_of_no_dictionary_tell(text: str, expected: set[str]) -> None:
    assert expected <= {" ".join(phrase) for phrase in telling(text)}
    if not expected:
        assert list(telling(text)) == []


def test_a_value_keeps_its_structure_and_what_has_nothing_to_do_with_it() -> None:
    narrow = Wanted([told("Zebulunka keeps the key 55512 under the third stone.")], []).narrow(set())
    value = {
        "same": "the harbour",
        "quote": "> zebulunka  keeps, the KEY",
        "part": "it lies under the third stone, they say",
        "number": 55512,
        "price": 12.5,
        "Zebulunka": {"yes": True, "list": ["a", None, "Zebulunka's"]},
    }
    assert narrow.redact(value) == {
        "same": "the harbour",
        "quote": FORGOTTEN,
        "part": "it lies under the third stone, they say",
        "number": FORGOTTEN,
        "price": 12.5,
        FORGOTTEN: {"yes": True, "list": ["a", None, FORGOTTEN]},
    }
    assert narrow.within("keeps the key 55512 under")
    untouched = {"a": [1, {"b": "c"}]}
    assert narrow.redact(untouched) is untouched


def test_fields_with_the_words_in_their_names_stay_apart() -> None:
    assert Phrases([("x",)]).redact({"x": 1, "x y": 2, "z": 3}) == {FORGOTTEN: 1, f"{FORGOTTEN} 1": 2, "z": 3}


def test_five_words_in_a_row_are_a_quote_wherever_the_text_was_cut() -> None:
    narrow = Wanted([told("we all went down to the old mill by the river in the rain")], []).narrow(set())
    assert narrow.within("... to the old mill by the ri")
    assert not narrow.within("we went to the mill by the river")


def test_a_telling_word_that_another_memory_has_is_not_enough() -> None:
    wanted = Wanted([told("We met Bertrand in Oslo and then Quuxelfrob came.")], [])
    narrow = wanted.narrow({lexeme for lexeme in wanted.lexemes(7) if "oslo" in lexeme})
    assert (narrow.within("Oslo is far"), narrow.within("Quuxelfrob is near")) == (False, True)


def test_elsewhere_only_whole_lines_and_telling_words_that_were_chosen_are_looked_for() -> None:
    wanted = Wanted([told("Yes.\nThe harbour opens at nine every day.\nBertrand sings.")], ["the", "Quuxelfrob"])
    assert wanted.wide.within("He said: the harbour opens at nine every day!")
    assert wanted.wide.within("quuxelfrob")
    assert not any(wanted.wide.within(text) for text in ("Yes.", "the harbour opens at nine", "the"))


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)


@given(st.lists(WORDS, min_size=5, max_size=9).map(" ".join), st.booleans())
def test_whatever_holds_a_line_is_found_by_the_patterns(line: str, escaped: bool) -> None:
    wanted = Wanted([told(line)], [])
    if not wanted.wide or not wanted.wide.within(line):
        return
    text = json.dumps({"said": f"so: {line}"}, ensure_ascii=escaped)
    assert any(re.search(pattern, text, re.IGNORECASE) for pattern in wanted.patterns), (parts(line), wanted.patterns)
