"""How a call says who it is: the forms of authorization that connections share, written in their settings as `auth`."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote
from typing import Annotated, Literal

import httpx2
from pydantic import AfterValidator, Field, StringConstraints

from graphs.definition import Closed, Json
from graphs.nodetype import Failure
from graphs.outbound.challenges import lacks_scope, scopes_of
from graphs.outbound.transport import check_url

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$")]


def _address(text: str) -> str:
    try:
        url = httpx2.URL(text)
        check_url(url)
    except (httpx2.InvalidURL, Failure) as wrong:
        raise ValueError(getattr(wrong, "message", None) or "not a valid URL") from None
    if url.query or url.fragment:
        raise ValueError("leave out what follows ? or #: what is secret belongs in a secret, the rest in the step")
    return text


Address = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_address)]
"""An http(s) URL without user, query or fragment."""

Scopes = tuple[Annotated[str, StringConstraints(pattern=r"^[\x21\x23-\x5B\x5D-\x7E]{1,200}$")], ...]


class NoAuth(Closed):
    type: Literal["none"] = "none"


class Bearer(Closed):
    """Authorization: Bearer <token>"""

    type: Literal["bearer"]


class Basic(Closed):
    """Authorization: Basic <username:password>"""

    type: Literal["basic"]
    username: str = Field(min_length=1, max_length=200, pattern=r"^[^:]+$")


class Header(Closed):
    """A header of any name, with `value` after the `prefix`."""

    type: Literal["header"]
    name: HeaderName
    prefix: str = Field(default="", max_length=50)


class Query(Closed):
    """A query parameter of any name with the secret `value`."""

    type: Literal["query"]
    name: str = Field(min_length=1, max_length=100)


class OAuth2(Closed):
    """A token that Weft gets and renews: for itself (client_credentials), or once a person has agreed (authorization_code, PKCE)."""

    type: Literal["oauth2"]
    grant: Literal["client_credentials", "authorization_code"]
    token_url: Address
    authorize_url: Address | None = Field(default=None, description="of authorization_code: where a person agrees")
    client_id: str = Field(min_length=1, max_length=500)
    client_auth: Literal["basic", "post"] = Field(default="basic", description="how the client names itself to token_url")
    scopes: Scopes = Field(default=(), max_length=50, strict=False)
    audience: str | None = Field(default=None, max_length=500)
    resource: Address | None = Field(default=None, description="what the token is for, where the authorization server asks (RFC 8707)")
    issuer: str | None = Field(
        default=None, max_length=500, description="the authorization server, checked where it names itself (RFC 9207)"
    )
    issuer_required: bool = Field(default=False, description="it always names itself: an answer that does not is refused")
    registered: Literal["hand", "document", "dynamic"] = Field(
        default="hand", description="how the client was made known there; Weft sets it when it does so itself"
    )


class SignIn(Closed):
    """OAuth as an MCP server tells it: where to agree and as which client is found out when a person opens the link."""

    type: Literal["sign_in"]
    client_id: str | None = Field(
        default=None, min_length=1, max_length=500, description="of a client registered by hand, where it must be"
    )
    scopes: Scopes = Field(default=(), max_length=50, strict=False, description="asked for besides those that the server names")


Auth = Annotated[NoAuth | Bearer | Basic | Header | Query | OAuth2, Field(discriminator="type")]

SECRETS: Mapping[str, str] = {
    "token?": "bearer token",
    "password?": "password of basic authorization",
    "value?": "value of the header or query parameter",
    "client_secret?": "secret of the OAuth client",
}
TOKENS = frozenset({"access_token", "refresh_token"})  # of OAuth: Weft sets them itself


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Settings that hold once a person has agreed. `anew`: with a client of its own, so that nothing known of the one before is kept."""

    settings: dict[str, Json]
    secret: str | None = field(repr=False)
    anew: bool


def needs(auth: Auth | SignIn) -> tuple[str, ...]:
    """The secrets without which nothing can be called."""
    match auth:
        case Bearer():
            return ("token",)
        case Basic():
            return ("password",)
        case Header() | Query():
            return ("value",)
        case OAuth2(grant="client_credentials"):
            return ("client_secret",)
        case OAuth2() | SignIn():
            return ("refresh_token",)
        case NoAuth():
            return ()


def takes(auth: Auth | SignIn) -> tuple[str, ...]:
    """The secrets that a person may set."""
    return ("client_secret",) if isinstance(auth, OAuth2 | SignIn) else needs(auth)


def headers(auth: Auth | SignIn, secrets: Mapping[str, str], token: str | None) -> dict[str, str]:
    """What authorizes a call; `token` is the access token of OAuth."""
    match auth:
        case Bearer():
            return {"Authorization": f"Bearer {secrets['token']}"}
        case Basic():
            return {"Authorization": f"Basic {basic(auth.username, secrets['password'])}"}
        case Header():
            return {auth.name: auth.prefix + secrets["value"]}
        case OAuth2():
            return {"Authorization": f"Bearer {token}"}
        case Query() | NoAuth() | SignIn():
            return {}


def params(auth: Auth | SignIn, secrets: Mapping[str, str]) -> dict[str, str]:
    """What authorizes a call in its query."""
    return {auth.name: secrets["value"]} if isinstance(auth, Query) else {}


def basic(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def again(auth: Auth | SignIn, name: str) -> str:
    """What a person must do where the credentials are not accepted any more."""
    match auth:
        case NoAuth():
            return f"sign in, if it asks for that: weft connections authorize {name}"
        case OAuth2(grant="authorization_code") | SignIn():
            return f"sign in again: weft connections authorize {name}"
        case OAuth2():
            return f"check its client: weft connections set-secret {name} client_secret"
        case _:
            return f"set them anew: weft connections set-secret {name} {needs(auth)[0]}"


PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9:/._-]*")  # scopes that are named in a command: the server that says them is a stranger
MAX_NAMED = 10


def refusal(auth: Auth | SignIn, name: str, where: str, status: int, challenge: str) -> Failure | None:
    """What a person must do about an answer that refuses the credentials; None where that is not known."""
    if lacks_scope(status, challenge):
        scopes = [scope for scope in scopes_of(challenge) if PLAIN.fullmatch(scope)][:MAX_NAMED]
        asked = f"the scopes {', '.join(scopes)}" if scopes else "more scopes than it says"
        options = "".join(f" --scope {quote(scope)}" for scope in scopes)
        signed = not isinstance(auth, OAuth2) or auth.grant == "authorization_code"
        fix = f"sign in again with them: weft connections authorize {name}{options}" if signed else "add them to `scopes` of its `auth`"
        return Failure("connection_unusable", f"{where} asks for {asked}, which {name!r} has not been given; {fix}")
    if status == 401 and isinstance(auth, OAuth2):
        return Failure("connection_unusable", f"{where} does not accept the token of {name!r}; {again(auth, name)}")
    return None
