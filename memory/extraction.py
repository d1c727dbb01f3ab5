"""What a text says, by rules: entities, facts and episodes, from plain statements of a few shapes. Rather nothing than something wrong.

Questions, negations, conditions, reported and uncertain speech are passed over. A model does more; it is given to `remember` from outside
as a callable that answers with the same `Extracted`.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

Date = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEntity:
    name: str
    type: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundFact:
    """`single`: the predicate has one value at a time; None: as is known of the predicate."""

    subject: str
    predicate: str
    object: str
    single: bool | None = None
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    confidence: float = 0.7
    object_is_entity: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundEpisode:
    actor: str
    action: str
    object: str | None = None
    outcome: str | None = None
    occurred_at: datetime | None = None
    importance: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    entities: Sequence[FoundEntity] = ()
    facts: Sequence[FoundFact] = ()
    episodes: Sequence[FoundEpisode] = ()


Extract = Callable[[str, str | None, datetime | None], Awaitable[Extracted]]
"""(text, who said it, when) → what it says. Text is data: whoever asks a model puts it where data goes. Raises NotRead."""


class NotRead(Exception):
    """A model gave no reading of a text; the words say why. The rules read it then."""


SINGLE = frozenset(
    {"lives_in", "works_at", "works_as", "age", "name", "email", "phone", "birthday", "born_in", "born_on", "married_to", "address", "job",
     "nationality", "status", "favorite_color", "title", "employer", "height", "weight", "salary", "timezone", "native_language"}
)  # fmt: skip
"""Predicates that have one value at a time. Of others several are true beside each other."""

NAME = r"(?:[A-Z][\w'’-]*[^\W\d_](?:[ ][A-Z][\w'’-]*[^\W_])*)"
SUBJECT = rf"(?P<subject>I|(?:My|my) (?P<kin>[a-z]+(?: [a-z]+)?)|{NAME})"
PLACE = rf"(?P<object>{NAME}(?:, {NAME})?)"
PHRASE = r"(?P<object>[^\s,.;:!?][^,.;:!?\n]{0,60}?)"
TAIL = (
    r"(?= (?:since|from|until|in|on|at|as of|last|this|next|yesterday|today|recently|and|but|because|"
    r"with|where|which|who|now|these days)\b|\s*[,.;:!?\n]|\s*$)"
)
ADVERB = r"(?: (?:now|still|also|currently|really|always))?"
PATTERNS: tuple[tuple[str, re.Pattern[str], bool], ...] = tuple(
    (predicate, re.compile(rf"^(?:(?:Well|So|Yes|Yeah|Actually|Oh|Hi|Hey|Also|And|Btw|Now),? )?{SUBJECT}{pattern}{TAIL}"), entity)
    for predicate, pattern, entity in (
        ("name", rf"(?:['’]m called| am called|['’]s name is| name is) {PLACE}", True),
        ("works_at", rf"{ADVERB}(?: works?| am working| is working|['’]m working|['’]s working) (?:at|for) (?:the )?{PLACE}", True),
        ("works_as", rf"{ADVERB}(?: works?| am working| is working|['’]m working) as (?:an? |the )?{PHRASE}", False),
        ("lives_in", rf"{ADVERB}(?: lives?| am living| is living|['’]m living|['’]s living) in {PLACE}", True),
        ("lives_in", rf"(?: just| have| has|['’]ve|['’]s)?(?: just)? moved to {PLACE}", True),
        ("born_in", rf"(?: was| were) born in {PLACE}", True),
        ("from", rf"(?: am| is|['’]m|['’]s)(?: originally)? from {PLACE}", True),
        ("married_to", rf"(?: am| is|['’]m|['’]s) married to {PLACE}", True),
        ("studied_at", rf" (?:studied|studies|study) at (?:the )?{PLACE}", True),
        ("age", r"(?: am| is|['’]m|['’]s) (?P<object>\d{1,3}) years old", False),
        ("likes", rf"{ADVERB} (?:likes?|loves?|enjoys?) {PHRASE}", False),
        ("dislikes", rf"{ADVERB} (?:dislikes?|hates?|can['’]t stand|cannot stand) {PHRASE}", False),
        ("prefers", rf"{ADVERB} prefers? {PHRASE}", False),
        ("allergic_to", rf"(?: am| is|['’]m|['’]s) allergic to {PHRASE}", False),
        (
            "has",
            rf"{ADVERB} (?:have|has|own|owns) (?P<object>(?:an?|one|two|three|four|five|\d+) [^,.;:!?\n]{{1,40}}?)",
            False,
        ),
        ("is_a", rf"(?: am| is|['’]m) an? (?!(?:bit|little|lot|few|while|mess|pleasure|shame|pity|fan)\b){PHRASE}", False),
    )
)
ATTRIBUTE = re.compile(
    rf"^(?:(?P<mine>My|my)|(?P<subject>{NAME})['’]s) (?P<predicate>[a-z]+(?: [a-z]+){{0,2}}) (?:is|are) "
    r"(?P<object>[^\s,;:!?][^,;:!?\n]{0,60}?)\s*[.!]?$"
)
EPISODE = re.compile(
    rf"^(?:(?:Yesterday|Today|Last \w+|This \w+|On [^,]{{3,20}}|In [^,]{{3,20}}),? )?(?P<subject>I|{NAME})(?: just| recently| finally)? "
    r"(?P<action>went to|visited|bought|sold|met|attended|finished|completed|started|joined|left|moved to|signed|launched|won|lost|adopted|"
    r"graduated from|travelled to|traveled to|flew to|ordered|cancelled|canceled|paid|shipped|sent|received|booked|called|founded|quit|ran|"
    r"passed|failed|broke|fixed|published|released|opened|closed|married) (?P<object>[^.;:!?\n]{2,100}?)\s*[.!]?$"
)
DOUBT = re.compile(
    r"\?\s*$|^(?:if|when|unless|suppose|imagine|should|could|would|maybe|perhaps|what|who|where|why|how|do|does|did|is|are|can)\b|"
    r"\b(?:if|not|never|no longer|might|(?-i:may)|could|would|should|maybe|perhaps|probably|possibly|wish|"
    r"hopes? to|wants? to|said|says|told|"
    r"thinks?|believes?|heard|pretend|allegedly|supposedly|used to|almost|nearly|\w+n['’]t)\b",
    re.IGNORECASE,
)
SENTENCE = re.compile(r"[^.!?\n]+(?:\.(?=\w)[^.!?\n]+)*[.!?]*")
PROPER = re.compile(NAME)
MONTHS = ("january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december")
MONTH = "|".join((*MONTHS, *(month[:3] for month in MONTHS)))
WHEN = re.compile(
    rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)|(?P<d1>\d{{1,2}})(?:st|nd|rd|th)?(?: of)? (?P<m1>{MONTH})\.?,? (?P<y1>\d{{4}})|"
    rf"(?P<m2>{MONTH})\.? (?P<d2>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<y2>\d{{4}})|(?P<m3>{MONTH})\.?,? (?P<y3>\d{{4}})|(?P<y4>(?:19|20)\d\d)\b",
    re.IGNORECASE,
)
SINCE = re.compile(r"\b(?:since|from|as of|starting|in|on)\s+$", re.IGNORECASE)
UNTIL = re.compile(r"\b(?:until|till|to)\s+$", re.IGNORECASE)
COMMON = frozenset(
    (
        "i", "i'm", "i've", "i'd", "i'll", "the", "a", "an", "and", "but", "or", "so", "if", "when", "then", "this", "that",
        "these", "those", "he", "she", "it", "we", "they", "you", "my", "your", "his", "her", "our", "their", "what", "who",
        "where", "why", "how", "yes", "no", "yeah", "ok", "okay", "oh", "well", "hi", "hey", "hello", "thanks", "thank", "please",
        "sorry", "also", "now", "today", "yesterday", "tomorrow", "monday", "tuesday", "wednesday", "thursday", "friday",
        "saturday", "sunday", "last", "next", "on", "in", "at", "to", "for", "from", "with", "as", "is", "are", "was", "were",
        "do", "does", "did", "have", "has", "had", "can", "could", "will", "would", "just", "not", "there", "here", "let", "great",
        "good", "wow", "sure", "congrats", "cool", "nice", "awesome", "btw", "actually", "maybe",
    )
) | {*MONTHS}  # fmt: skip


def extract(text: str, speaker: str | None = None, told: datetime | None = None) -> Extracted:
    """`told`: when it was said; facts without a date of their own hold from then on."""
    facts: list[FoundFact] = []
    episodes: list[FoundEpisode] = []
    entities: dict[str, FoundEntity] = {}
    for match in SENTENCE.finditer(text):
        sentence = match[0].strip()
        for name in _proper(sentence):
            entities.setdefault(name, FoundEntity(name=name))
        if not DOUBT.search(sentence):
            facts += _facts(sentence, speaker, told)
            episodes += _episodes(sentence, speaker, told)
    if speaker:
        entities.setdefault(speaker, FoundEntity(name=speaker, type="person"))
    for fact in facts:
        entities.setdefault(fact.subject, FoundEntity(name=fact.subject))
        if fact.object_is_entity:
            entities.setdefault(fact.object, FoundEntity(name=fact.object))
    for episode in episodes:
        entities.setdefault(episode.actor, FoundEntity(name=episode.actor))
    return Extracted(entities=tuple(entities.values()), facts=tuple(dict.fromkeys(facts)), episodes=tuple(episodes))


def single(predicate: str) -> bool:
    """Whether a predicate has one value at a time, as far as is known."""
    return predicate in SINGLE or predicate.startswith(("favorite_", "favourite_"))


def predicate_named(text: str) -> str:
    """As predicates are compared: "Works at" is works_at."""
    return "_".join(re.findall(r"\w+", text.casefold()))


def dates(text: str) -> list[tuple[int, Date]]:
    """Dates that a text names, each where it stands there, as the first instant of it and the first after it (UTC)."""
    found: list[tuple[int, Date]] = []
    for match in WHEN.finditer(text):
        year = match["year"] or match["y1"] or match["y2"] or match["y3"] or match["y4"]
        word = match["m1"] or match["m2"] or match["m3"]
        month = int(match["month"]) if match["month"] else (_month(word) if word else None)
        day = match["day"] or match["d1"] or match["d2"]
        try:
            found.append((match.start(), _span(int(year), month, int(day) if day else None)))
        except (ValueError, OverflowError):
            continue
    return found


def _facts(sentence: str, speaker: str | None, told: datetime | None) -> Iterator[FoundFact]:
    made: FoundFact | None = None
    for predicate, pattern, entity in PATTERNS:
        match = pattern.match(sentence)
        if match and (subject := _subject(match["subject"], match["kin"], speaker)) and _real(match["object"]):
            made = FoundFact(subject=subject, predicate=predicate, object=match["object"].strip(), object_is_entity=entity)
            break
    else:
        match = ATTRIBUTE.match(sentence)
        subject = match and (speaker if match["mine"] else match["subject"])
        if match and subject and _real(match["object"]):
            made = FoundFact(subject=subject, predicate=predicate_named(match["predicate"]), object=match["object"].strip())
    if made is not None:
        yield _dated(made, sentence, told)


def _dated(fact: FoundFact, sentence: str, told: datetime | None) -> FoundFact:
    since, until = told, None
    for at, (first, after) in dates(sentence):
        if UNTIL.search(sentence[:at]):
            until = after
        elif SINCE.search(sentence[:at]):
            since = first
    if since and until and since >= until:
        since = None
    return replace(fact, valid_from=since, valid_to=until)


def _episodes(sentence: str, speaker: str | None, told: datetime | None) -> Iterator[FoundEpisode]:
    match = EPISODE.match(sentence)
    if match and (actor := _subject(match["subject"], None, speaker)):
        named = dates(sentence)
        yield FoundEpisode(
            actor=actor, action=match["action"], object=match["object"].strip(), occurred_at=named[0][1][0] if named else told
        )


def _subject(text: str, kin: str | None, speaker: str | None) -> str | None:
    if kin:
        return f"{speaker}'s {kin}" if speaker else None
    if text == "I":
        return speaker
    return None if text.casefold() in COMMON else text


def _real(text: str) -> bool:
    return bool(re.search(r"\w", text)) and text.casefold() not in COMMON and len(text.split()) <= 10


def _proper(sentence: str) -> Iterator[str]:
    """Names: capitalised words, of which those at the beginning of a sentence count only when there are several or they are possessive."""
    for match in PROPER.finditer(sentence):
        words = match[0].split(" ")
        while words and words[0].casefold() in COMMON:
            words = words[1:]
        name = " ".join(words).removesuffix("'s").removesuffix("’s")
        if not name or name.casefold() in COMMON or ("'" in name and name.split("'")[0].casefold() in COMMON):
            continue
        if match.start() == 0 and len(words) == 1 and not match[0].endswith(("'s", "’s")):
            continue
        yield name


def _month(word: str) -> int:
    return next(number for number, month in enumerate(MONTHS, 1) if month.startswith(word.casefold()[:3]))


def _span(year: int, month: int | None, day: int | None) -> Date:
    first = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if month is None:
        return first, datetime(year + 1, 1, 1, tzinfo=UTC)
    if day is None:
        return first, datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return first, datetime.fromtimestamp(first.timestamp() + 86_400, UTC)
