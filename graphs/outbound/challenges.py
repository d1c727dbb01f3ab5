"""What a server says about the credentials it wants: WWW-Authenticate of an answer (RFC 6750, RFC 9728)."""

from __future__ import annotations

import re

SCOPE = re.compile(r"[\x21\x23-\x5B\x5D-\x7E]{1,200}")
MAX_SCOPES = 50
MAX_HEADER = 4_000  # characters that are looked at


def parameter(challenge: str, name: str) -> str | None:
    """The value of a parameter, quoted or not."""
    found = re.search(rf'(?:^|[\s,]){name}=(?:"([^"]{{0,2000}})"|([^\s",]{{1,2000}}))', challenge[:MAX_HEADER])
    return None if found is None else found[1] if found[1] is not None else found[2]


def scopes_of(challenge: str) -> list[str]:
    """The scopes that are asked for."""
    return [scope for scope in (parameter(challenge, "scope") or "").split(" ") if SCOPE.fullmatch(scope)][:MAX_SCOPES]


def lacks_scope(status: int, challenge: str) -> bool:
    """Whether the token is good and does not suffice: a person may give more."""
    return status == 403 and parameter(challenge, "error") == "insufficient_scope"
