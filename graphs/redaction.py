"""Secrets that a run has opened, blotted out of what is recorded, shown or logged: exact values in every spelling they travel in."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, quote_plus
from weakref import WeakSet

if TYPE_CHECKING:  # the log needs this module before anything else of ours is imported
    from graphs.definition import Json
    from graphs.nodetype import Failure

HIDDEN = "***"
SHORTEST = 8  # characters of a secret; shorter ones would eat ordinary words, and are refused when they are set
LOOKS_SECRET = re.compile(
    r"\b(?:sk|pk|rk|key|pat|ghp|gho|ghs|github_pat|glpat|xox[abprs]|shpat|hf|npm|whsec)[-_][A-Za-z0-9_-]{16,}"
    r"|\bAKIA[0-9A-Z]{16}\b|\bAIza[0-9A-Za-z_-]{30,}|(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"
    r"|(?i:\b(?:bearer|basic)\s+[A-Za-z0-9+/._=-]{12,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)
"""What vendors' keys look like: for refusing them where they do not belong, and never for trusting that there is none. Each run of
characters is looked through once: whoever sends a text must not make it take long."""

PASTED = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)|\bweft_live_[0-9a-f]{12}_[0-9A-Za-z]{20,}"
    rf"|(?<=://)[^\s:/@]+:[^\s/@]+(?=@)|{LOOKS_SECRET.pattern}",
    re.DOTALL,
)
"""What people paste by mistake: whole private keys, keys of Weft, passwords in addresses, and the above."""

EDGE = 6  # characters of a secret's beginning that are blotted out where a text was cut

_living: WeakSet[Redactor] = WeakSet()


class Redactor:
    """What one run, or one call, has opened. Costs nothing while that is nothing. Never shows what it looks for."""

    __slots__ = ("__weakref__", "_forms", "_values")

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._forms: tuple[str, ...] = ()
        self.add(*values)

    @property
    def holds(self) -> bool:
        """Whether anything was opened."""
        return bool(self._forms)

    def __repr__(self) -> str:
        return f"Redactor({len(self._values)} values)"

    def add(self, *values: str) -> None:
        """From now on these are blotted out."""
        new = {value for value in values if len(value) >= SHORTEST} - self._values
        if new:
            self._values |= new
            found = {form for value in self._values for form in forms(value)}
            self._forms = tuple(sorted(found, key=len, reverse=True))
            _living.add(self)

    def text(self, text: str) -> str:
        for form in self._forms:
            if form in text:
                text = text.replace(form, HIDDEN)
        return self._edge(text) if self._forms else text

    def split(self, text: str) -> tuple[str, str]:
        """What of a text that goes on may be shown, and its end when a secret may begin there: that has to wait for what follows."""
        for form in self._forms:
            text = text.replace(form, HIDDEN)
        longest = max((len(form) for form in self._forms), default=0)
        for at in range(max(0, len(text) - longest), len(text)):
            if any(form.startswith(text[at:]) for form in self._forms):
                return text[:at], text[at:]
        return text, ""

    def clean(self, value: Json) -> Json:
        """The value without them, keys of objects included; the value itself where nothing was opened."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {self.text(name): self.clean(inner) for name, inner in cast("dict[str, Json]", value).items()}
        if isinstance(value, list):
            return [self.clean(inner) for inner in cast("list[Json]", value)]
        if isinstance(value, int | float) and not isinstance(value, bool) and str(value) in self._values:
            return HIDDEN
        return value

    def clean_failure(self, failure: Failure) -> None:
        """Blots out its words in place: also those of whoever catches it."""
        if self._forms:
            failure.message, failure.details = self.text(failure.message), self.clean(failure.details)
            failure.args = (failure.message,)

    def _edge(self, text: str) -> str:
        """A text that was cut may end with the beginning of a secret."""
        bare = text.rstrip("….")
        for form in self._forms:
            start = bare.rfind(form[:EDGE], max(0, len(bare) - len(form)))
            if start >= 0 and form.startswith(bare[start:]):
                return bare[:start] + HIDDEN + text[len(bare) :]
        return text


def forms(value: str) -> set[str]:
    """The spellings of a secret: plain, for URLs, JSON and HTML, hex, and base64 wherever in a longer text it begins."""
    raw = value.encode("utf-8", "surrogatepass")
    escaped = json.dumps(value)[1:-1]
    found = {value, escaped, json.dumps(escaped)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1], html.escape(value)}
    for url in (quote(raw, safe=""), quote_plus(raw), quote(raw)):
        found |= {url, _lower_escapes(url), quote(url, safe="")}  # the last: a URL that holds a URL
    found |= {raw.hex(), raw.hex().upper()}
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + raw).decode().rstrip("=")
        whole = encoded[-(-8 * offset // 6) : 8 * (offset + len(raw)) // 6]  # only characters that depend on nothing but the secret
        found |= {whole, whole.replace("+", "-").replace("/", "_")}
    return found


def _lower_escapes(url: str) -> str:
    head, *rest = url.split("%")
    return head + "".join("%" + part[:2].lower() + part[2:] for part in rest)


def blotted(text: str) -> str:
    """Words of a person without what looks like a key. "Basic authentication" is none: a token has digits."""
    return PASTED.sub(lambda found: found[0] if found[0].replace(" ", "").isalpha() else HIDDEN, text)


def without_secrets(text: str) -> str:
    """For the log: without what any run of this process has opened and is not done with."""
    for redactor in list(_living):
        text = redactor.text(text)
    return text
