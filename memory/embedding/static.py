"""The built-in embedder: a table with a vector per token, of which a text has the mean. No key, no package, no network. English only.

`static.bin` was distilled from all-MiniLM-L6-v2 (scripts/distill_static.py says how; NOTICE says whose it is). Its vectors are a space of
their own, not comparable with the model's. Word order is not seen, and text in another language meets only the words it shares with
English: recall then goes by words alone, or by an embedder of your own.

The file: 8 bytes magic, 4 bytes length of the header, the header as JSON (`dimensions`, `count`, bytes of `vocabulary`), a token a line, a
float32 scale per token, and a row of int8 per token. A row times its scale is the token's vector with the token's weight in it.
"""

from __future__ import annotations

import asyncio
import json
import math
from array import array
from collections.abc import Sequence
from functools import cache, lru_cache
from pathlib import Path

from memory.wordpiece import WordPiece

FILE = Path(__file__).with_name("static.bin")
MAGIC = b"WEFTVEC1"
LONGEST = 2_000  # tokens of a text that are looked at; longer texts are cut into chunks before they come here
REMEMBERED = 2_048  # rows kept as numbers: 16 MB
AT_ONCE = 4  # texts that are embedded where they are asked for; more go to a thread, so that others have their turn


async def open_embedder() -> StaticTable:
    return await asyncio.to_thread(table)


@cache
def table() -> StaticTable:
    """The shipped one; read once (about 20 ms)."""
    return StaticTable(FILE.read_bytes())


class StaticTable:
    provider = "static"
    model = "static-minilm-256"
    max_batch = 256

    def __init__(self, content: bytes) -> None:
        if content[:8] != MAGIC:
            raise ValueError("This is not a table of token vectors.")
        begin = 12 + int.from_bytes(content[8:12], "little")
        header = json.loads(content[12:begin])
        self.dimensions: int = header["dimensions"]
        words_end = begin + header["vocabulary"]
        scales_end = words_end + 4 * header["count"]
        tokens = content[begin:words_end].decode().split("\n")
        self.tokens = WordPiece({token: at for at, token in enumerate(tokens)})
        self._scales = array("f", content[words_end:scales_end])
        self._rows = memoryview(content)[scales_end:].cast("b")
        self._row = lru_cache(maxsize=REMEMBERED)(self._read)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if len(texts) > AT_ONCE:
            return await asyncio.to_thread(lambda: [self.vector(text) for text in texts])
        return [self.vector(text) for text in texts]

    def vector(self, text: str) -> list[float]:
        """A text without any word has the vector of the unknown word: there is no direction in nothing."""
        ids = self.tokens.ids(text)[:LONGEST] or [self.tokens.unknown]
        total = list(map(sum, zip(*map(self._row, ids), strict=True)))
        length = math.hypot(*total)
        return [x / length for x in total]

    def _read(self, at: int) -> tuple[float, ...]:
        scale, size = self._scales[at], self.dimensions
        return tuple(scale * x for x in self._rows[at * size : (at + 1) * size])
