"""Pieces of long texts: slices that cover everything, within their size, along the structure."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from memory.chunking import OVERLAP, SIZE, chunks
from memory.items import tokens

texts = st.lists(
    st.sampled_from(["# A", "## B b", "word ", "A sentence. ", "Why? ", "\n", "\n\n", "```\n", "漢字。", "x" * 900, "a, b and c ", "1.5 "]),
    max_size=120,
).map("".join)


@given(text=texts)
def test_every_letter_is_in_a_piece_and_each_piece_is_a_slice_within_its_size(text: str) -> None:
    found = chunks(text)
    covered = {at for chunk in found for at in range(chunk.start, chunk.end)}
    assert {at for at, letter in enumerate(text) if not letter.isspace()} <= covered
    for chunk in found:
        assert text[chunk.start : chunk.end] == chunk.body == chunk.body.strip() != ""
        assert tokens(chunk.body) <= SIZE + 2
    assert [chunk.end for chunk in found] == sorted(chunk.end for chunk in found)


def test_a_piece_repeats_the_end_of_the_one_before_it_within_a_section() -> None:
    text = " ".join(f"This is sentence number {number}." for number in range(100))
    found = chunks(text)
    assert len(found) > 3
    for before, after in itertools.pairwise(found):
        assert after.start < before.end
        assert tokens(text[after.start : before.end]) <= OVERLAP + 2


def test_pieces_do_not_cross_headings_and_know_theirs() -> None:
    text = "intro\n\n# One\ntext one\n\n## Inner\ntext two\n\n# Two\n```\n# no heading\n```\ntext three\n"
    assert [(chunk.headings, chunk.body.splitlines()[-1]) for chunk in chunks(text)] == [
        ((), "intro"),
        (("One",), "text one"),
        (("One", "Inner"), "text two"),
        (("Two",), "text three"),
    ]


def test_a_roomy_piece_ends_with_its_paragraph() -> None:
    paragraph = " ".join(f"Some words of sentence {number}." for number in range(15))
    found = chunks(f"{paragraph}\n\n{paragraph}")
    assert found[0].body == paragraph


def test_nothing_gives_no_pieces() -> None:
    assert chunks("") == chunks(" \n\t\n ") == []
