"""What of forgotten memories is looked for in the records of runs, and how values look without it.

Words are compared casefolded and without accents, marks between them do not count. In runs that wrote or read the memories a text is
redacted that shares five words in a row with one of them, or has one of their telling words (names, numbers, words that are in no
dictionary) that no other memory of the scope has. Elsewhere only whole lines are looked for, and the words by which they were chosen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

from memory import words
from memory.embedding import static
from store.redaction import FORGOTTEN, Told

ROW = 5  # words in a row that are taken for a quote
MOST_LINES = 200  # that are looked for in runs that have nothing to do with the memories
MOST_TELLING = 5_000
PART = re.compile(rf"[{words.UNSPACED}]|[^\W_{words.UNSPACED}]+")
TOKEN = re.compile(r"[^\W_]+(?:[-_.@+/:'’]+[^\W_]+)*")
DATE = re.compile(r"\d{4}-\d\d(?:-\d\d.*)?|\d{1,2}[:./]\d\d(?:[:./]\d{2,4})?")
SENTENCE = re.compile(r"(?:^|[.!?:\n\"“>(]\s*)$")

Phrase = tuple[str, ...]


def parts(text: str) -> list[str]:
    """The words of a text as they are compared; signs of scripts without spaces one by one."""
    return PART.findall(words.plain(text))


class Phrases:
    """A set of phrases that texts are searched for."""

    def __init__(self, phrases: Iterable[Phrase]) -> None:
        self._phrases = {phrase for phrase in phrases if phrase}
        self._lengths = sorted({len(phrase) for phrase in self._phrases})

    def __bool__(self) -> bool:
        return bool(self._phrases)

    def within(self, text: str) -> bool:
        found = parts(text)
        return any(tuple(found[at : at + size]) in self._phrases for size in self._lengths for at in range(len(found) - size + 1))

    def redact(self, value: Any) -> Any:
        """The JSON value with [forgotten] for every text, name of a field or number that holds a phrase; the same object if none does."""
        match value:
            case str():
                return FORGOTTEN if self.within(value) else value
            case bool():
                return value
            case int() | float():
                return FORGOTTEN if self.within(str(value)) else value
            case list():
                listed = cast("list[Any]", value)
                made = [self.redact(item) for item in listed]
                return made if any(after is not before for after, before in zip(made, listed, strict=True)) else listed
            case dict():
                return self._fields(cast("dict[str, Any]", value))
            case _:
                return value

    def _fields(self, value: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        changed = False
        for name, item in value.items():
            kept, after = name, self.redact(item)
            if self.within(name):
                kept = FORGOTTEN if FORGOTTEN not in made else f"{FORGOTTEN} {len(made)}"
            changed = changed or after is not item or kept is not name
            made[kept] = after
        return made if changed else value


class Wanted:
    """What is looked for. `chosen`: words by which the memories were chosen."""

    def __init__(self, memories: Sequence[Told], chosen: Sequence[str]) -> None:
        self._chosen = [phrase for text in chosen if (phrase := tuple(parts(text)))]
        texts = [text for memory in memories for text in _texts(memory)]
        self._lines = list(dict.fromkeys(line.strip() for text in texts for line in text.splitlines() if line.strip()))
        self.telling = _limited(phrase for text in (*texts, *chosen) for phrase in telling(text))
        self._names = {tuple(parts(name)) for memory in memories if memory.kind in ("entity", "node") for name in memory.names}
        self._quotes = {quote for line in self._lines for quote in _quotes(parts(line))}
        few = self._lines if len(memories) <= MOST_LINES else []
        self._whole = [line for line in (*few, *chosen) if self._is_whole(tuple(parts(line)))]

    def lexemes(self, scope_id: int) -> list[str]:
        """Of telling words, as they are indexed in a scope."""
        return [words.key(scope_id, term) for phrase in (*self.telling, *self._names) for term in words.terms(" ".join(phrase))]

    def narrow(self, surviving: set[str]) -> Phrases:
        """For runs that wrote or read the memories; without telling words that other memories have too (lexemes of them)."""
        common = {lexeme.partition(".")[2] for lexeme in surviving}

        def own(phrase: Phrase) -> bool:
            return any(term not in common for term in words.terms(" ".join(phrase)))

        return Phrases({*self._chosen, *self._quotes, *filter(own, self.telling), *filter(own, self._names)})

    @property
    def wide(self) -> Phrases:
        """For all other runs."""
        return Phrases(tuple(parts(line)) for line in self._whole)

    @property
    def patterns(self) -> list[str]:
        """Regular expressions of Postgres, of which the JSON text or text of whatever holds a phrase of `wide` matches one."""
        anchors = sorted({_anchor(line) for line in self._whole})
        return ["|".join(anchors[at : at + 50]) for at in range(0, len(anchors), 50)]

    def _is_whole(self, phrase: Phrase) -> bool:
        """Whether it says enough by itself to be known again anywhere."""
        return len(phrase) >= ROW or any(set(one) <= set(phrase) for one in self.telling)


def telling(text: str) -> Iterator[Phrase]:
    """Names, numbers and words that are in no dictionary."""
    for match in TOKEN.finditer(text):
        token = match[0]
        if DATE.fullmatch(token):
            continue
        found = parts(token)
        if len(found) > 1 and len(token) > 5 and any(character.isdigit() for character in token):
            yield tuple(found)
        begins = SENTENCE.search(text, max(0, match.start() - 5), match.start()) is not None
        for raw in TOKEN_PART.findall(token):
            if _tells(raw, begins):
                yield tuple(parts(raw))


TOKEN_PART = re.compile(r"[^\W_]+")


def _tells(word: str, begins: bool) -> bool:
    plain = words.plain(word)
    if plain in words.STOP or len(plain) < 2:
        return False
    if plain.isdecimal():
        return len(plain) > 4
    if any(character.isdigit() for character in plain):
        return len(plain) > 3
    vocabulary = static.table().tokens.vocabulary
    return (word[0].isupper() and not begins) or (
        len(plain) > 3 and plain not in vocabulary and words.stem.english(plain) not in vocabulary
    )


def _quotes(found: Sequence[str]) -> Iterator[Phrase]:
    if len(found) <= ROW:
        if len(found) > 1:
            yield tuple(found)
        return
    for at in range(len(found) - ROW + 1):
        yield tuple(found[at : at + ROW])


def _texts(memory: Told) -> Iterator[str]:
    yield memory.body
    if memory.title:
        yield memory.title
    yield from _strings(memory.data)


def _strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case list():
            for item in cast("list[Any]", value):
                yield from _strings(item)
        case dict():
            for item in cast("dict[str, Any]", value).values():
                yield from _strings(item)
        case _:
            return


def _limited(phrases: Iterable[Phrase]) -> list[Phrase]:
    """The longest, when there are very many."""
    return sorted(set(phrases), key=lambda phrase: (-sum(map(len, phrase)), phrase))[:MOST_TELLING]


def _anchor(line: str) -> str:
    """The longest word of a line, as it stands in JSON or in plain text."""
    found = TOKEN_PART.findall(line)
    word = max((one for one in found if one.isascii()), key=len, default="") or max(found, key=len)
    return "".join(character if character.isascii() else _either(character) for character in word)


def _either(character: str) -> str:
    forms = {character, character.lower(), character.upper()}
    return "(?:" + "|".join(sorted(forms | {json.dumps(form)[1:-1].replace("\\", "\\\\") for form in forms})) + ")"
