"""WordPiece as BERT's uncased models cut text into tokens, in plain Python: no package, and the same tokens as theirs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from functools import lru_cache

LONGEST = 100  # letters of a word; a longer one is [UNK], as in the original
REMEMBERED = 20_000  # words whose tokens are kept
CJK = (
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0002a6df\U0002a700-\U0002b73f\U0002b740-\U0002b81f\U0002b820-\U0002ceaf\U0002f800-\U0002fa1f"
)
ASCII_WORDS = re.compile(r"[a-z0-9]+|[!-/:-@\[-`{-~]")
IDEOGRAPHS = re.compile(f"([{CJK}])")
CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class WordPiece:
    """Ids of the tokens of a text. `vocabulary` maps a token ('##' before one that continues a word) to its id and holds [UNK]."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self.vocabulary = vocabulary
        self.unknown = vocabulary["[UNK]"]
        self._pieces = lru_cache(maxsize=REMEMBERED)(self._cut)

    def ids(self, text: str) -> list[int]:
        """Without [CLS] and [SEP]; empty for a text without words."""
        return [token for word in words(text) for token in self._pieces(word)]

    def _cut(self, word: str) -> tuple[int, ...]:
        """The longest token that the word begins with, and so on for the rest; [UNK] alone when that leads nowhere."""
        if len(word) > LONGEST:
            return (self.unknown,)
        found: list[int] = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                token = self.vocabulary.get(piece)
                if token is not None:
                    found.append(token)
                    start = end
                    break
            else:
                return (self.unknown,)
        return tuple(found)


def words(text: str) -> list[str]:
    """Lower case, without accents; punctuation marks and ideographs are words of their own."""
    if text.isascii():
        return ASCII_WORDS.findall(CONTROLS.sub("", text).lower())
    kept = "".join(" " if letter in "\t\n\r" else letter for letter in text if letter in "\t\n\r" or not _is_control(letter))
    found: list[str] = []
    for word in IDEOGRAPHS.sub(r" \1 ", kept).split():
        plain = "".join(letter for letter in unicodedata.normalize("NFD", word.lower()) if unicodedata.category(letter) != "Mn")
        found += _at_punctuation(plain)
    return found


def _is_control(letter: str) -> bool:
    return letter == "\ufffd" or unicodedata.category(letter)[0] == "C"


def _at_punctuation(word: str) -> list[str]:
    found: list[str] = []
    begun = False
    for letter in word:
        if _is_punctuation(letter):
            found.append(letter)
            begun = False
        elif begun:
            found[-1] += letter
        else:
            found.append(letter)
            begun = True
    return found


def _is_punctuation(letter: str) -> bool:
    return ("!" <= letter <= "~" and not letter.isalnum()) if letter.isascii() else unicodedata.category(letter)[0] == "P"
