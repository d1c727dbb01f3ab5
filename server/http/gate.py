"""The gate around the whole app: Host and Origin, then the API key, then the size of the body; nothing is parsed before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import TokenVerifier
from starlette.authentication import AuthCredentials
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.http.operations import problem
from store.errors import Denied, Invalid, Unauthenticated, WeftError

MAX_BODY: Final = 1_000_000  # bytes
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
OPEN_PATHS = frozenset({"/healthz", "/readyz"})
OPEN_PREFIXES = (
    "/.well-known/",  # there is nothing behind it; clients that look for OAuth must hear 404 and not 401
    "/hooks/voice/",  # whoever calls there signs what they say (server/http/voice.py)
    "/connect/",  # pages for people: a ticket that works once is the key
    "/oauth/callback",
    "/oauth/client.json",  # who Weft is: public by its nature
)
HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)


class TooLarge(WeftError):
    """The request body is larger than 1,000,000 bytes."""

    code = "too_large"
    status = 413


class Misdirected(WeftError):
    """This server does not go by that name; set WEFT_ALLOWED_HOSTS if it should."""

    code = "wrong_host"
    status = 421


class WrongOrigin(Denied):
    """Web pages of this origin may not call; set WEFT_ALLOWED_ORIGINS if they should."""

    code = "wrong_origin"


class Names:
    """The Host and Origin headers that are ours: loopback at any port, and what the operator named."""

    def __init__(self, hosts: Iterable[str], origins: Iterable[str]) -> None:
        self.hosts = frozenset((*LOOPBACK, *(host.lower() for host in hosts)))
        self.origins = frozenset(origin.lower().rstrip("/") for origin in origins)

    def host(self, header: str) -> bool:
        return header.lower() in self.hosts or _without_port(header.lower()) in self.hosts

    def origin(self, header: str) -> bool:
        """Browsers send it. A page served from loopback may call; `null` and everything else may not."""
        found = header.lower()
        scheme, separator, rest = found.partition("://")
        return found in self.origins or (bool(separator) and scheme in ("http", "https") and _without_port(rest) in LOOPBACK)


def _without_port(authority: str) -> str:
    name, colon, port = authority.rpartition(":")
    return name if colon and port.isdecimal() else authority


class Gate:
    """Pure ASGI, so that it costs microseconds and streams pass through."""

    def __init__(self, app: ASGIApp, *, names: Names, verifier: TokenVerifier) -> None:
        self._app = app
        self._names = names
        self._verifier = verifier

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._admit(scope, receive, _with_headers(send))
        else:
            await send({"type": "websocket.close", "code": 1008})

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in reversed(scope["headers"])}
        try:
            self._check_names(headers)
            user = await self._user(scope["path"], headers)
            _check_length(headers)
        except WeftError as error:
            await problem(error)(scope, receive, send)
            return
        if user is None:
            await self._within_size(scope, receive, send)
            return
        scope["user"], scope["auth"] = user, AuthCredentials(user.scopes)
        token = auth_context_var.set(user)
        try:
            await self._within_size(scope, receive, send)
        finally:
            auth_context_var.reset(token)

    def _check_names(self, headers: dict[bytes, str]) -> None:
        if not self._names.host(headers.get(b"host", "")):
            raise Misdirected
        origin = headers.get(b"origin")
        if origin is not None and not self._names.origin(origin):
            raise WrongOrigin

    async def _user(self, path: str, headers: dict[bytes, str]) -> AuthenticatedUser | None:
        """None for the few open paths. Raises Unauthenticated."""
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            return None
        kind, _, key = headers.get(b"authorization", "").partition(" ")
        token = await self._verifier.verify_token(key.strip()) if kind.lower() == "bearer" else None
        if token is None:
            raise Unauthenticated(
                "No valid API key came with the request; send “Authorization: Bearer <key>” (`weft key create` makes one)."
            )
        return AuthenticatedUser(token)

    async def _within_size(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Counts what arrives, for bodies that do not say their length beforehand."""
        size, started = 0, False

        async def counted() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > MAX_BODY:
                raise TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except TooLarge as error:
            if started:
                raise
            await problem(error)(scope, receive, send)


def _check_length(headers: dict[bytes, str]) -> None:
    length = headers.get(b"content-length", "0")
    if not length.isdecimal():
        raise Invalid("Content-Length is not a number.")
    if int(length[:20]) > MAX_BODY:
        raise TooLarge


def _with_headers(send: Send) -> Send:
    async def answered(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [header for header in HEADERS if header[0] not in present]
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return answered
