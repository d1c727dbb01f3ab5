"""Logging: one line per record on stderr, with every known secret and everything that looks like one blotted out."""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime

from graphs.redaction import without_secrets

HIDDEN = "[hidden]"
SHORTEST = 8  # characters; blotting out shorter values would eat ordinary words
PATTERNS = (
    (re.compile(r"weft_live_[0-9a-f]{12}_[0-9A-Za-z]{20,}"), HIDDEN),
    (re.compile(r"\b(?:sk|key|pat|ghp|xoxb)-[A-Za-z0-9_-]{16,}"), HIDDEN),
    (re.compile(r"(?i)(bearer\s+)[A-Za-z0-9._~+/=-]{8,}"), rf"\1{HIDDEN}"),
    (re.compile(r"(postgres(?:ql)?://[^:/@\s]+:)[^@\s]+(?=@)"), rf"\1{HIDDEN}"),
)


class SecretFilter:
    """Blots out what must not be read by others: values known to be secret, and text of the form of keys and passwords."""

    def __init__(self, values: tuple[str, ...]) -> None:
        known = sorted({value for value in values if len(value) >= SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def clean(self, text: str) -> str:
        if self._known is not None:
            text = self._known.sub(HIDDEN, text)
        for pattern, instead in PATTERNS:
            text = pattern.sub(instead, text)
        return text


class Line(logging.Formatter):
    """2026-11-21T02:00:00.123Z info server.process message; what has several lines is folded into one."""

    def __init__(self, secrets: SecretFilter) -> None:
        super().__init__()
        self._secrets = secrets

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        text = without_secrets(text)  # before it is folded: a key may have several lines
        folded = " | ".join(line.strip() for line in text.splitlines() if line.strip())
        return self._secrets.clean(f"{at} {record.levelname.lower()} {record.name} {folded}")


def start_logging(level: str, secrets: tuple[str, ...]) -> None:
    """Sends every record of this level and above to stderr; libraries speak up from warning on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Line(SecretFilter(secrets)))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level.upper()]) if level != "debug" else logging.DEBUG)
    for ours in ("server", "graphs", "memory", "store", "migrations", "weft"):
        logging.getLogger(ours).setLevel(level.upper())
