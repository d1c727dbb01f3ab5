"""The embedders that need no network: tokens as BERT cuts them, the built-in table, and MiniLM's arithmetic on a small model."""

from __future__ import annotations

import json
import math
import random
import time
from array import array
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
    assert " ".join(cut) == "we ##ft remembers zurich ' s em ##bed ##ding ##s ; un ##quest ##ion ##ably 東 [UNK]"


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
    with pytest.raises(EmbeddingFailed, match=r"numpy is missing|No model\.safetensors") as failed:
        await embedding.open_embedder("minilm", folder=tmp_path)
    assert not failed.value.transient


SIZE = 24
TOKENS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "cat", "dog", "##s", "a"]
Row = list[float]
Matrix = list[Row]


def weights() -> dict[str, Matrix]:
    """Of a small BERT, at random; a vector is a matrix of one row."""
    shapes = {f"embeddings.{name}_embeddings.weight": rows for name, rows in (("word", len(TOKENS)), ("position", 512), ("token_type", 2))}
    wide = {f"encoder.layer.{number}.output.dense.weight" for number in range(minilm.LAYERS)}
    normals = ["embeddings.LayerNorm"]
    for number in range(minilm.LAYERS):
        layer = f"encoder.layer.{number}."
        for name in (*(f"attention.self.{part}" for part in ("query", "key", "value")), "attention.output.dense", "output.dense"):
            shapes |= {f"{layer}{name}.weight": SIZE, f"{layer}{name}.bias": 1}
        shapes[f"{layer}intermediate.dense.weight"] = 2 * SIZE
        normals += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for name in normals:
        shapes |= {f"{name}.weight": 1, f"{name}.bias": 1}
    chance = random.Random(3)
    made = {
        name: [[chance.gauss(0, 0.3) for _ in range(SIZE * (1 + (name in wide)))] for _ in range(rows)] for name, rows in shapes.items()
    }
    inner = {
        f"encoder.layer.{number}.intermediate.dense.bias": [[chance.gauss(0, 0.3) for _ in range(2 * SIZE)]]
        for number in range(minilm.LAYERS)
    }
    return made | inner


def written(folder: Path, tensors: dict[str, Matrix]) -> Path:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, rows in tensors.items():
        content = array("f", (number for row in rows for number in row)).tobytes()
        shape = [len(rows[0])] if name.endswith("bias") or "LayerNorm" in name else [len(rows), len(rows[0])]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)
    (folder / "vocab.txt").write_text("\n".join(TOKENS) + "\n")
    return folder


class Plain:
    """The forward as the paper has it, a number at a time."""

    def __init__(self, tensors: dict[str, Matrix]) -> None:
        self.tensors = tensors

    def vector(self, ids: list[int]) -> Row:
        word, place, kind = (self.tensors[f"embeddings.{name}_embeddings.weight"] for name in ("word", "position", "token_type"))
        rows = [
            self.normal([sum(x) for x in zip(word[at], place[n], kind[0], strict=True)], "embeddings.LayerNorm") for n, at in enumerate(ids)
        ]
        for number in range(minilm.LAYERS):
            rows = self.layer(rows, f"encoder.layer.{number}.")
        pooled = [sum(column) / len(rows) for column in zip(*rows, strict=True)]
        return [x / math.hypot(*pooled) for x in pooled]

    def layer(self, rows: Matrix, name: str) -> Matrix:
        query, key, value = ([self.linear(row, f"{name}attention.self.{part}") for row in rows] for part in ("query", "key", "value"))
        wide = SIZE // minilm.HEADS
        seen: Matrix = [[] for _ in rows]
        for head in range(0, SIZE, wide):
            part = slice(head, head + wide)
            for at, row in enumerate(query):
                scores = [math.exp(dot(row[part], other[part]) / math.sqrt(wide)) for other in key]
                seen[at] += [dot(scores, [row[head + n] for row in value]) / sum(scores) for n in range(wide)]
        after: Matrix = []
        for row, saw in zip(rows, seen, strict=True):
            middle = self.normal(added(row, self.linear(saw, f"{name}attention.output.dense")), f"{name}attention.output.LayerNorm")
            inner = [x / 2 * (1 + math.erf(x / math.sqrt(2))) for x in self.linear(middle, f"{name}intermediate.dense")]
            after.append(self.normal(added(middle, self.linear(inner, f"{name}output.dense")), f"{name}output.LayerNorm"))
        return after

    def linear(self, row: Row, name: str) -> Row:
        return added([dot(line, row) for line in self.tensors[f"{name}.weight"]], self.tensors[f"{name}.bias"][0])

    def normal(self, row: Row, name: str) -> Row:
        mean = sum(row) / len(row)
        spread = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-12)
        (weight,), (bias,) = self.tensors[f"{name}.weight"], self.tensors[f"{name}.bias"]
        return [(x - mean) / spread * w + b for x, w, b in zip(row, weight, bias, strict=True)]


def added(left: Row, right: Row) -> Row:
    return [x + y for x, y in zip(left, right, strict=True)]


@anyio
async def test_minilm_computes_what_the_model_says_also_in_a_batch_of_unlike_lengths(tmp_path: Path) -> None:
    tensors = weights()
    embedder = await embedding.open_embedder("minilm", folder=written(tmp_path, tensors))
    made = await embedder.embed(["cats", "a dog a cat", ""])
    plain = Plain(tensors)
    for vector, ids in zip(made, ([4, 6], [7, 5, 7, 4], list[int]()), strict=True):
        assert vector == pytest.approx(plain.vector([1, *ids, 2]), abs=2e-5)
