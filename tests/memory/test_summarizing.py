"""Summaries by rules: what says most, in its order, in any language; and long texts in pieces, whoever sums up."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from memory import summarizing
from memory.items import tokens
from memory.summarizing import Length, Summed, Told

pytestmark = pytest.mark.anyio

STORY = (
    "The harbour of Bergen is being rebuilt. The council of Bergen voted for the harbour on 3 May 2026. It rained. "
    "The harbour will cost 40 million crowns. Some people had coffee. Is that much? The new harbour opens in 2028."
)


async def test_what_says_most_is_chosen_and_stays_in_its_order() -> None:
    found = await summarizing.by_rules([Told(text=STORY)], None, Length(words=30, points=2))
    assert "harbour" in found.text
    assert "coffee" not in found.text
    assert "Is that much?" not in found.text
    places = [STORY.index(sentence) for sentence in ("voted for the harbour", "40 million") if sentence in found.text]
    assert places == sorted(places)
    assert 1 <= len(found.key_points) <= 2
    assert found == await summarizing.by_rules([Told(text=STORY)], None, Length(words=30, points=2))


async def test_who_said_it_stands_before_what_they_said() -> None:
    told = [Told(text="I moved to Kyoto in May 2023.", speaker="Ann"), Told(text="Nice!", speaker="Ben")]
    assert (await summarizing.by_rules(told, None, Length(words=20, points=1))).text == "Ann: I moved to Kyoto in May 2023."


async def test_japanese_and_chinese_are_summed_up_by_sentences() -> None:
    text = "京都への旅行について話しました。田中さんは四月に京都へ行きます。はい。予算は五万円です。"
    text += "天気は良いでしょうか？彼は京都の寺を見たいと言いました。"
    found = await summarizing.by_rules([Told(text=text)], None, Length(words=30, points=2))
    assert "京都" in found.text
    assert "？" not in found.text
    assert tokens(found.text) <= Length(words=30).tokens


async def test_the_same_said_twice_is_there_once() -> None:
    told = [Told(text="The parrot Bertrand eats sunflower seeds."), Told(text="The parrot Bertrand eats sunflower seeds!")]
    assert (await summarizing.by_rules(told, None, Length())).text.count("Bertrand") == 1


async def test_an_earlier_summary_is_gone_on_with() -> None:
    earlier = Summed(text="Ann: I moved to Kyoto in May 2023.")
    found = await summarizing.by_rules([Told(text="The flat in Osaka was sold.", speaker="Ben")], earlier, Length(words=60))
    assert found.text == "Ann: I moved to Kyoto in May 2023. Ben: The flat in Osaka was sold."


@pytest.mark.parametrize("text", ["word " * 60_000, "x" * 300_000, "漢" * 40_000, "A short one. " * 20_000])
async def test_a_long_text_is_read_in_pieces_that_fit_and_nothing_is_left_out(text: str) -> None:
    read: list[str] = []

    async def by(texts: Sequence[Told], earlier: Summed | None, length: Length) -> Summed:
        together = "".join(told.text for told in texts)
        assert tokens(together) <= summarizing.PIECE + 4
        read.append(together)
        return Summed(text="short")

    found, parts = await summarizing.sum_up([Told(text=text)], Length(), by)
    assert found.text == "short"
    assert parts == len(read) > 2
    assert sum(map(len, read[:-1])) == len(text)


async def test_a_model_that_sums_up_in_more_words_than_it_was_given_comes_to_an_end() -> None:
    async def by(texts: Sequence[Told], earlier: Summed | None, length: Length) -> Summed:
        return Summed(text="and so on " * 100_000)

    _, parts = await summarizing.sum_up([Told(text="word " * 100_000)], Length(), by)
    assert parts < 100


async def test_nothing_comes_to_nothing() -> None:
    assert await summarizing.by_rules([], None, Length()) == Summed(text="")
