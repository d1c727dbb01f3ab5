"""The embedders that need no network: tokens as BERT cuts them, the built-in table, and MiniLM's arithmetic on a model of a few kilobytes."""

from __future__ import annotations

import importlib.util
import json
import math
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory import embedding, wordpiece
from memory.embedding import EmbeddingFailed, minilm, static
from memory.wordpiece import WordPiece

anyio = pytest.mark.anyio

PAIRS = [  # each question with what answers it, in other words
    ("How do I get my money back?", "Customers receive a refund within ten days."),
    ("Which animals live at their house?", "She adopted two cats and a puppy."),
    ("What is the weather going to be?", "Rain and strong wind are forecast for tomorrow."),
    ("Who is the physician?", "Our doctor moved to a new clinic."),
    ("What instrument does he play?", "He practises the violin every evening."),
    ("When did they marry?", "The wedding was in June."),
    ("What does she do for a living?", "Her job is teaching mathematics at a school."),
    ("Which food makes him ill?", "He is allergic to peanuts and shrimps."),
    ("How can I reset my password?", "Follow the link in the e-mail to choose new login credentials."),
    ("Why was the flight late?", "The plane was delayed by fog at the airport."),
]


def dot(left: list[float], right: list[float]) -> float:
    return sum(x * y for x, y in zip(left, right, strict=True))


def test_words_are_lower_case_without_accents_and_split_at_marks_and_ideographs() -> None:
    assert wordpiece.words("Café NAÏVE, don't!") == ["cafe", "naive", ",", "don", "'", "t", "!"]
    assert wordpiece.words("a$b東京 tower\u200b") == ["a", "$", "b", "東", "京", "tower"]
    assert wordpiece.words("x\ty\x00z\n") == ["x", "yz"]
    assert wordpiece.words(" \x07 ") == []


@given(st.text(st.characters(codec="ascii")))
def test_the_short_way_for_ascii_cuts_as_the_long_one(text: str) -> None:
    assert [*wordpiece.words(text), "e"] == wordpiece.words(text + " é")


def test_a_word_is_cut_into_its_longest_pieces() -> None:
    cut = WordPiece({token: at for at, token in enumerate(["[UNK]", "un", "##aff", "##able", "##a", "play", "##ing", "!"])})
    assert cut.ids("Unaffable playing!") == [1, 2, 3, 5, 6, 7]
    assert cut.ids("unz play") == [0, 5]
    assert cut.ids("un" + "a" * 99) == [0], "a word of more than 100 letters"


def test_the_shipped_vocabulary_cuts_as_berts() -> None:
    table = static.table()
    names = list(table.tokens.vocabulary)
    cut = [names[at] for at in table.tokens.ids("Weft remembers Zürich's embeddings; unquestionably 東 🙂")]
    assert cut == ["we", "##ft", "remembers", "zurich", "'", "s", "em", "##bed", "##ding", "##s", ";", "un", "##quest", "##ion", "##ably", "東", "[UNK]"]  # fmt: skip


@anyio
async def test_the_built_in_embedder_gives_unit_vectors_the_same_for_one_text_and_for_many() -> None:
    embedder = embedding.built_in()
    assert (embedder.provider, embedder.model, embedder.dimensions) == ("static", "static-minilm-256", 256)
    texts = ["one", "two words", "", "?", "你好", "x" * 5000, "word " * 5000]
    many = await embedder.embed(texts)
    assert many == [(await embedder.embed([text], query=True))[0] for text in texts]
    assert all(len(vector) == 256 and math.isclose(math.hypot(*vector), 1) for vector in many)
    assert await embedder.embed([]) == []


@anyio
async def test_an_answer_in_other_words_is_nearer_than_nine_others() -> None:
    embedder = embedding.built_in()
    asked = await embedder.embed([question for question, _ in PAIRS], query=True)
    told = await embedder.embed([answer for _, answer in PAIRS])
    first = [max(range(len(told)), key=lambda at: dot(question, told[at])) == number for number, question in enumerate(asked)]
    assert sum(first) >= 8, [pair for pair, right in zip(PAIRS, first, strict=True) if not right]


def test_the_table_is_small_and_quick() -> None:
    assert static.FILE.stat().st_size < 8_000_000
    assert "Apache License" in static.FILE.with_name("NOTICE").read_text()
    table = static.table()
    texts = [f"{question} {answer}" for question, answer in PAIRS] * 20
    table.vector(texts[0])
    began = time.process_time()
    for text in texts:
        table.vector(text)
    assert time.process_time() - began < 1, "200 texts; 0.15 s on a quiet machine"


def test_another_file_is_not_taken_for_a_table() -> None:
    with pytest.raises(ValueError, match="not a table"):
        static.StaticTable(b"PK\x03\x04 something else")


@anyio
async def test_providers_are_the_files_of_the_folder() -> None:
    assert embedding.providers() == ["minilm", "openai", "static"]
    assert (await embedding.open_embedder("static")).model == "static-minilm-256"
    with pytest.raises(ValueError, match="there are: minilm, openai, static"):
        await embedding.open_embedder("../static")


@anyio
async def test_minilm_without_its_model_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(EmbeddingFailed, match="numpy is missing|No model.safetensors") as failed:
        await embedding.open_embedder("minilm", folder=tmp_path)
    assert not failed.value.transient


if importlib.util.find_spec("numpy"):
    import numpy as np

    SIZE = 24
    TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "cat", "dog", "##s", "a"]

    def weights() -> dict[str, Any]:
        chance = np.random.default_rng(3)
        shapes: dict[str, tuple[int, ...]] = {
            "embeddings.word_embeddings.weight": (len(TOKENS), SIZE),
            "embeddings.position_embeddings.weight": (512, SIZE),
            "embeddings.token_type_embeddings.weight": (2, SIZE),
            "embeddings.LayerNorm.weight": (SIZE,),
            "embeddings.LayerNorm.bias": (SIZE,),
        }
        for number in range(minilm.LAYERS):
            layer = f"encoder.layer.{number}."
            for name, out, into in [
                *((f"attention.self.{part}", SIZE, SIZE) for part in ("query", "key", "value")),
                ("attention.output.dense", SIZE, SIZE),
                ("intermediate.dense", 2 * SIZE, SIZE),
                ("output.dense", SIZE, 2 * SIZE),
            ]:
                shapes |= {f"{layer}{name}.weight": (out, into), f"{layer}{name}.bias": (out,)}
            for name in ("attention.output.LayerNorm", "output.LayerNorm"):
                shapes |= {f"{layer}{name}.weight": (SIZE,), f"{layer}{name}.bias": (SIZE,)}
        return {name: chance.normal(0, 0.3, shape).astype("<f4") for name, shape in shapes.items()}

    def written(folder: Path, tensors: dict[str, Any]) -> Path:
        header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
        data = b""
        for name, tensor in tensors.items():
            header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [len(data), len(data) + tensor.nbytes]}
            data += tensor.tobytes()
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
        (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
        return folder

    def plainly(tensors: dict[str, Any], ids: list[int]) -> list[float]:
        """The forward as the paper has it, a number at a time."""

        def linear(row: Any, name: str) -> Any:
            return [sum(w * x for w, x in zip(line, row, strict=True)) + b for line, b in zip(tensors[name + ".weight"].tolist(), tensors[name + ".bias"].tolist(), strict=True)]  # fmt: skip

        def normal(row: Any, name: str) -> Any:
            mean = sum(row) / len(row)
            spread = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-12)
            return [(x - mean) / spread * w + b for x, w, b in zip(row, tensors[name + ".weight"].tolist(), tensors[name + ".bias"].tolist(), strict=True)]  # fmt: skip

        parts = [tensors[f"embeddings.{name}_embeddings.weight"].tolist() for name in ("word", "position", "token_type")]
        rows = [normal([a + b + c for a, b, c in zip(parts[0][at], parts[1][place], parts[2][0], strict=True)], "embeddings.LayerNorm") for place, at in enumerate(ids)]  # fmt: skip
        for number in range(minilm.LAYERS):
            layer = f"encoder.layer.{number}."
            query, key, value = ([linear(row, f"{layer}attention.self.{part}") for row in rows] for part in ("query", "key", "value"))
            wide = SIZE // minilm.HEADS
            seen: list[list[float]] = [[] for _ in rows]
            for head in range(0, SIZE, wide):
                for at, row in enumerate(query):
                    scores = [math.exp(dot(row[head : head + wide], other[head : head + wide]) / math.sqrt(wide)) for other in key]
                    seen[at] += [sum(s * v[head + n] for s, v in zip(scores, value, strict=True)) / sum(scores) for n in range(wide)]
            rows = [normal([a + b for a, b in zip(row, linear(saw, f"{layer}attention.output.dense"), strict=True)], f"{layer}attention.output.LayerNorm") for row, saw in zip(rows, seen, strict=True)]  # fmt: skip
            inner = [[x / 2 * (1 + math.erf(x / math.sqrt(2))) for x in linear(row, f"{layer}intermediate.dense")] for row in rows]
            rows = [normal([a + b for a, b in zip(row, linear(more, f"{layer}output.dense"), strict=True)], f"{layer}output.LayerNorm") for row, more in zip(rows, inner, strict=True)]  # fmt: skip
        pooled = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        return [x / math.hypot(*pooled) for x in pooled]

    @anyio
    async def test_minilm_computes_what_the_model_says_also_in_a_batch_of_unlike_lengths(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(minilm.MiniLM, "dimensions", SIZE)
        tensors = weights()
        embedder = await embedding.open_embedder("minilm", folder=written(tmp_path, tensors))
        made = await embedder.embed(["cats", "a dog a cat", ""])
        expected = [plainly(tensors, [1, *ids, 2]) for ids in ([4, 6], [7, 5, 7, 4], list[int]())]
        for vector, right in zip(made, expected, strict=True):
            assert vector == pytest.approx(right, abs=2e-5)
