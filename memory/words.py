"""What a text is found by: its words as they are compared (casefolded, without accents, English stems), and pairs of neighbouring
characters of scripts that put no spaces between words. What a question asks for: its words, and the days it names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from memory import stem

UNSPACED = "぀-ヿ㐀-䶿一-鿿豈-﫿가-힯฀-๿຀-໿ក-៿က-႟ｦ-ﾝ𠀀-𲎯"
PART = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+(?:['’][^\W\d_{UNSPACED}]+)*")
RUN = re.compile(rf"[{UNSPACED}]")
ENDING = re.compile(r"['’](?:s|d|ll|m|re|ve|t)?$|n['’]t$")
LONGEST = 100  # characters of a word that is kept; what is longer is no word
MOST_POSITIONS = 16_383  # Postgres counts no further
STOP = frozenset(
    (
        "i", "me", "my", "myself", "we", "our", "ours", "ourselves", "you", "your", "yours", "yourself",
        "yourselves", "he", "him", "his", "himself", "she", "her", "hers", "herself", "it", "its", "itself",
        "they", "them", "their", "theirs", "themselves", "what", "which", "who", "whom", "this", "that", "these",
        "those", "am", "is", "are", "was", "were", "be", "been", "being", "have", "has", "had",
        "having", "do", "does", "did", "doing", "a", "an", "the", "and", "but", "if", "or",
        "because", "as", "until", "while", "of", "at", "by", "for", "with", "about", "against", "between",
        "into", "through", "during", "before", "after", "above", "below", "to", "from", "up", "down", "in",
        "out", "on", "off", "over", "under", "again", "further", "then", "once", "here", "there", "when",
        "where", "why", "how", "all", "any", "both", "each", "few", "more", "most", "other", "some",
        "such", "no", "nor", "not", "only", "own", "same", "so", "than", "too", "very", "s",
        "t", "can", "will", "just", "don", "should", "now", "d", "ll", "m", "o", "re",
        "ve", "y", "would", "could", "might", "must", "shall", "also",
    )
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """A word of a text: where it stands there, and what it is compared by."""

    start: int
    end: int
    term: str


def plain(text: str) -> str:
    """As words are compared: compatible forms as one, casefolded, Latin letters without accents."""
    text = unicodedata.normalize("NFKC", text).casefold()
    if text.isascii():
        return text
    parts = (unicodedata.normalize("NFD", letter) for letter in text)
    return "".join(part[0] if part[0].isascii() else letter for part, letter in zip(parts, text, strict=True))


def words(text: str) -> list[Word]:
    """All words of a text in order, stop words left out. Runs without spaces give each pair of neighbours, a lone character itself."""
    found: list[Word] = []
    for match in PART.finditer(text):
        part = match[0]
        if RUN.match(part):
            part = unicodedata.normalize("NFKC", part)
            at = match.start()
            last = match.end()
            if len(part) == 1:
                found.append(Word(start=at, end=last, term=part))
            found += [Word(start=min(at + n, last - 1), end=min(at + n + 2, last), term=part[n : n + 2]) for n in range(len(part) - 1)]
        elif term := _term(part):
            found.append(Word(start=match.start(), end=match.end(), term=term))
    return found


@lru_cache(maxsize=20_000)
def _term(word: str) -> str | None:
    word = ENDING.sub("", plain(word)).replace("'", "").replace("’", "")
    return None if not word or word in STOP or len(word) > LONGEST else stem.english(word)


def terms(text: str) -> list[str]:
    """The terms of a text in order, each as often as it is there."""
    return [word.term for word in words(text)]


def vector(scope_id: int, found: Sequence[str]) -> str:
    """A tsvector's text of the terms with their places. Each carries its scope, so that the index is read for this scope alone."""
    places: dict[str, list[str]] = {}
    for place, term in enumerate(found[:MOST_POSITIONS], 1):
        places.setdefault(term, []).append(str(place))
    return " ".join(f"{quoted(key(scope_id, term))}:{','.join(at[:255])}" for term, at in places.items())


def key(scope_id: int, term: str) -> str:
    """What a term is indexed by."""
    return f"{scope_id}.{term}"


def quoted(lexeme: str) -> str:
    """As it is written in the text of a tsvector or tsquery."""
    return "'" + lexeme.replace("\\", "\\\\").replace("'", "''") + "'"
