"""What a question asks for: its terms, the names and days in it, and what its answer will have (a time, a number, a place)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from memory import words

MOST_TERMS = 24  # of a question; what comes after is left out, as a whole page pasted as a question would take a second
MONTH_YEARS = 10  # a month without a year is looked for in so many years
TIME = r"(?i)\m(yesterday|today|tonight|tomorrow|last|ago|next|week|weekend|month|year|since|recently|\d{4}|monday|tuesday|wednesday" + (
    r"|thursday|friday|saturday|sunday|january|february|march|april|may|june|july|august|september|october|november|december)\M"
)
NUMBER = (
    r"(?i)\m(\d+|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|once|twice|couple|few|several|hundred|thousand)\M"
)
PLACE = r"\m(in|at|to|from|near|of|[Vv]isit\w*)\s+(the\s+)?[A-Z]\w+"
EXPECTED = (
    (re.compile(r"^\W*(when|(on |in |at |since )?(what|which) (date|day|month|year|time)|(for |since )?how long)\b", re.I), TIME),
    (re.compile(r"^\W*how (many|much|old|often)\b", re.I), NUMBER),
    (
        re.compile(r"^\W*((from |to )?where|(in |to |from )?(what|which) (city|cities|country|countries|place|places|state|town))\b", re.I),
        PLACE,
    ),
)
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
MONTH = "|".join(f"{name[:3]}(?:{name[3:]})?" if name != "may" else name for name in MONTHS)
ISO = re.compile(r"\b(\d{4})-(\d\d)(?:-(\d\d))?\b")
NAMED = re.compile(
    rf"\b(?:(?P<before>in|of|by|on|since|during|until|from|this|last)\s+(?:the\s+)?)?(?:(?P<day>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?)?"
    rf"(?P<month>{MONTH})\b\.?(?:\s+(?P<after>\d{{1,2}})(?:st|nd|rd|th)?\b)?(?:,?\s+(?P<year>(?:19|20)\d\d)\b)?",
    re.I,
)
YEAR = re.compile(r"\b(?:in|of|by|since|during|year)\s+((?:19|20)\d\d)\b(?!-)", re.I)
RELATIVE = re.compile(r"\b(today|yesterday|this|last|past)\s*(week|month|year)?\b", re.I)
Days = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`names`: its words, and pairs and triples of them, casefolded. `days`: from, and to without. `expected`: a pattern for Postgres."""

    terms: Sequence[str]
    names: Sequence[str]
    days: Sequence[Days]
    expected: str | None


def read(text: str, now: datetime) -> Question:
    """`now` is what "last week" is counted from."""
    found = list(dict.fromkeys(words.terms(text)))[:MOST_TERMS]
    expected = next((pattern for asks, pattern in EXPECTED if asks.search(text)), None)
    return Question(terms=found, names=names(text), days=days(text, now), expected=expected)


def names(text: str) -> list[str]:
    """What might be a name in it: every word, pair and triple of words that stand side by side, as names are compared."""
    parts = [re.sub(r"['’]s$", "", words.plain(match[0])) for match in words.PART.finditer(text)][: 2 * MOST_TERMS]
    spans = [" ".join(parts[at : at + size]) for size in (1, 2, 3) for at in range(len(parts) - size + 1)]
    return [name for name in dict.fromkeys(spans) if name not in words.STOP]


def days(text: str, now: datetime) -> list[Days]:
    """The stretches of time it names: a day, a month (of any of the last years when it names none), a year; "last week" and its like."""
    found = [_month(int(match[1]), int(match[2]), int(match[3]) if match[3] else None) for match in ISO.finditer(text)]
    years: set[int] = set()
    for match in NAMED.finditer(text):
        month = next(number for number, name in enumerate(MONTHS, 1) if name.startswith(match["month"].casefold()[:3]))
        day = match["day"] or match["after"]
        if month == 5 and not (day or match["year"] or match["before"]):
            continue  # "may" is a verb more often than a month
        wanted = [int(match["year"])] if match["year"] else range(now.year - MONTH_YEARS, now.year + 2)
        years.update([int(match["year"])] if match["year"] else [])
        found += [_month(year, month, int(day) if day else None) for year in wanted]
    found += [(_day(year, 1, 1), _day(year + 1, 1, 1)) for year in {int(match[1]) for match in YEAR.finditer(text)} - years]
    found += [_relative(match[1].casefold(), (match[2] or "").casefold(), now) for match in RELATIVE.finditer(text)]
    return [stretch for stretch in found if stretch is not None]


def _month(year: int, month: int, day: int | None) -> Days | None:
    try:
        if day is not None:
            first = _day(year, month, day)
            return first, first + timedelta(days=1)
        return _day(year, month, 1), _day(year + month // 12, month % 12 + 1, 1)
    except ValueError:  # the 31st of June
        return None


def _relative(which: str, unit: str, now: datetime) -> Days | None:
    today = _day(now.year, now.month, now.day)
    back = which != "this"
    if not unit:
        day = today - timedelta(days=which == "yesterday")
        return (day, day + timedelta(days=1)) if which in ("today", "yesterday") else None
    if unit == "week":
        first = today - timedelta(days=today.weekday() + 7 * back)
        return first, first + timedelta(days=7)
    if unit == "month":
        last = today.replace(day=1) - timedelta(days=1)
        return _month(last.year, last.month, None) if back else _month(now.year, now.month, None)
    return _day(now.year - back, 1, 1), _day(now.year - back + 1, 1, 1)


def _day(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)
