"""English stems: the Snowball "English" (Porter2) algorithm, https://snowballstem.org/algorithms/english/stemmer.html, for ASCII words."""

from __future__ import annotations

import re
from functools import lru_cache

VOWELS = "aeiouy"
DOUBLE = ("bb", "dd", "ff", "gg", "mm", "nn", "pp", "rr", "tt")
SPECIAL = {
    "skis": "ski",
    "skies": "sky",
    "dying": "die",
    "lying": "lie",
    "tying": "tie",
    "idly": "idl",
    "gently": "gentl",
    "ugly": "ugli",
    "early": "earli",
    "only": "onli",
    "singly": "singl",
    **{word: word for word in ("sky", "news", "howe", "atlas", "cosmos", "bias", "andes")},
}
KEPT_AFTER_1A = frozenset(("inning", "outing", "canning", "herring", "earring", "proceed", "exceed", "succeed"))
STEP_2 = {
    "ization": "ize", "ational": "ate", "fulness": "ful", "ousness": "ous", "iveness": "ive", "tional": "tion", "biliti": "ble",
    "lessli": "less", "entli": "ent", "ation": "ate", "alism": "al", "aliti": "al", "ousli": "ous", "iviti": "ive", "fulli": "ful",
    "enci": "ence", "anci": "ance", "abli": "able", "izer": "ize", "ator": "ate", "alli": "al", "bli": "ble",
}  # fmt: skip
STEP_3 = {"ational": "ate", "tional": "tion", "alize": "al", "icate": "ic", "iciti": "ic", "ical": "ic", "ness": "", "ful": ""}
STEP_4 = ("ement", "ance", "ence", "able", "ible", "ment", "ant", "ent", "ism", "ate", "iti", "ous", "ive", "ize", "al", "er", "ic")
REGION = re.compile(r"[aeiouy][^aeiouy]")
SHORT_END = re.compile(r"(?:[^aeiouy][aeiouy][^aeiouywxY]|^[aeiouy][^aeiouy])$")


@lru_cache(maxsize=50_000)
def english(word: str) -> str:
    """The stem of a casefolded ASCII word; other words come back as they are."""
    if len(word) <= 2 or not word.isascii() or not word.isalpha():
        return word
    if word in SPECIAL:
        return SPECIAL[word]
    word = re.sub(r"(?<=[aeiouy])y|^y", "Y", word)
    r1 = _first_region(word)
    found = REGION.search(word, r1)
    r2 = found.end() if found else len(word)
    word = _plural(word)
    if word in KEPT_AFTER_1A:
        return word
    word = _past(word, r1)
    if len(word) > 2 and word[-1] in "yY" and word[-2] not in VOWELS:
        word = word[:-1] + "i"
    word = _long_suffix(word, r1, r2)
    return _residue(word, r1, r2).lower()


def _first_region(word: str) -> int:
    for beginning in ("gener", "commun", "arsen"):
        if word.startswith(beginning):
            return len(beginning)
    found = REGION.search(word)
    return found.end() if found else len(word)


def _plural(word: str) -> str:
    if word.endswith("sses"):
        return word[:-2]
    if word.endswith(("ied", "ies")):
        return word[:-2] if len(word) > 4 else word[:-1]
    if word.endswith("s") and not word.endswith(("us", "ss")) and any(letter in VOWELS for letter in word[:-2]):
        return word[:-1]
    return word


def _past(word: str, r1: int) -> str:
    for suffix in ("eedly", "eed"):
        if word.endswith(suffix):
            return word[: -len(suffix)] + "ee" if len(word) - len(suffix) >= r1 else word
    for suffix in ("ingly", "edly", "ing", "ed"):
        if not word.endswith(suffix):
            continue
        rest = word[: -len(suffix)]
        if not any(letter in VOWELS for letter in rest):
            return word
        if rest.endswith(("at", "bl", "iz")):
            return rest + "e"
        if rest.endswith(DOUBLE):
            return rest[:-1]
        return rest + "e" if len(rest) <= r1 and SHORT_END.search(rest) else rest
    return word


def _long_suffix(word: str, r1: int, r2: int) -> str:
    for suffix, instead in STEP_2.items():
        if word.endswith(suffix):
            word = word[: -len(suffix)] + instead if len(word) - len(suffix) >= r1 else word
            break
    else:
        if len(word) - 3 >= r1 and word.endswith("ogi") and word[-4:-3] == "l":
            word = word[:-1]
        elif len(word) - 2 >= r1 and word.endswith("li") and word[-3:-2] in tuple("cdeghkmnrt"):
            word = word[:-2]
    for suffix, instead in STEP_3.items():
        if word.endswith(suffix):
            return word[: -len(suffix)] + instead if len(word) - len(suffix) >= r1 else word
    if word.endswith("ative") and len(word) - 5 >= r2:
        return word[:-5]
    return word


def _residue(word: str, r1: int, r2: int) -> str:
    for suffix in STEP_4:
        if word.endswith(suffix):
            word = word[: -len(suffix)] if len(word) - len(suffix) >= r2 else word
            break
    else:
        if word.endswith(("sion", "tion")) and len(word) - 3 >= r2:
            word = word[:-3]
    if word.endswith("e"):
        at = len(word) - 1
        return word[:-1] if at >= r2 or (at >= r1 and not SHORT_END.search(word[:-1])) else word
    if word.endswith("ll") and len(word) - 1 >= r2:
        return word[:-1]
    return word
