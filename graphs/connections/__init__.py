"""Connections: what a call to something outside needs, opened by name for one call, with its secrets in memory only.

A kind of connection is one module graphs/connections/<kind>.py with these names (modules with an underscore are no kinds):

    SUMMARY: str                        one sentence for people
    class Settings(Closed)              what is not secret; `base_url` (or `url`) and `auth` (graphs.connections.http.Auth) mean the same
                                        everywhere
    SECRETS: Mapping[str, str]          field -> what it is; a "?" after the field: it may be missing

and, where it applies:

    def needs(auth) / takes(auth)       of kinds with `auth`: taken from graphs.connections.http
    async def check(connection, outbound) -> str    a sentence about its health; raises Failure
    async def settle(settings, outbound) -> settings    of ones without `auth`: with the one that the other side asks for
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import httpx2
from pydantic import BaseModel

from graphs.connections import _auth as auths
from graphs.connections._auth import Adopted
from graphs.connections._envelope import MasterKey, Place, Vault
from graphs.connections._rewrapping import rewrap_all
from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.outbound.transport import origin, target_of
from graphs.redaction import Redactor
from store import identities, secrets
from store.connections import Row
from store.errors import Misconfigured
from store.postgres import Tenant
from store.secrets import Sealed

if TYPE_CHECKING:
    from graphs.outbound import Outbound

__all__ = [
    "Adopted",
    "Connection",
    "Connections",
    "Kind",
    "MasterKey",
    "Place",
    "Vault",
    "auth_secrets",
    "kinds",
    "missing",
    "origin_of",
    "place_of",
    "rewrap_all",
]

ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A module of graphs/connections/ as the rest of the house sees it. `secrets`: field -> what it is."""

    name: str
    summary: str
    settings: type[BaseModel]
    secrets: Mapping[str, str]
    optional: frozenset[str]
    check: Callable[[Connection, Outbound], Awaitable[str]] | None
    settle: Callable[[dict[str, Json], Outbound], Awaitable[dict[str, Json]]] | None

    def needs(self, settings: BaseModel) -> tuple[str, ...]:
        """The secrets without which it cannot be used."""
        always = tuple(name for name in self.secrets if name not in self.optional)
        return always + (auths.needs(auth) if (auth := _auth_of(settings)) else ())

    def takes(self, settings: BaseModel) -> tuple[str, ...]:
        """The secrets that may be set."""
        auth = _auth_of(settings)
        own = tuple(name for name in self.secrets if auth is None or name not in auth_secrets())
        return own + (auths.takes(auth) if auth else ())


def _auth_of(settings: BaseModel) -> Any:
    return getattr(settings, "auth", None)


@cache
def kinds() -> Mapping[str, Kind]:
    """Every kind by name, in alphabetical order."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__) if not module.name.startswith("_"))
    return MappingProxyType({name: _described(name) for name in names})


def _described(name: str) -> Kind:
    module: Any = importlib.import_module(f"{__name__}.{name}")
    return Kind(
        name=name,
        summary=module.SUMMARY,
        settings=module.Settings,
        secrets={field.removesuffix("?"): words for field, words in module.SECRETS.items()},
        optional=frozenset(field.removesuffix("?") for field in module.SECRETS if field.endswith("?")),
        check=getattr(module, "check", None),
        settle=getattr(module, "settle", None),
    )


async def _no_token(refused: str | None = None) -> str:
    raise Failure("connection_unusable", "this connection has no OAuth token")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Connection:
    """Opened for one call. Its secrets are in memory only, and its repr does not show them."""

    id: str
    name: str
    kind: str
    settings: Mapping[str, Json]
    secrets: Mapping[str, str] = field(repr=False, default_factory=dict[str, str])
    token: Callable[[str | None], Awaitable[str]] = field(repr=False, default=_no_token)  # one that is good now, and not that one
    redactor: Redactor = field(repr=False, default_factory=Redactor)  # blots out what was opened

    def secret(self, field: str) -> str | None:
        """None where it was never set."""
        return self.secrets.get(field)

    @property
    def base_url(self) -> str:
        """Raises Failure for a kind that has none."""
        base = self.settings.get("base_url") or self.settings.get("url")
        if not isinstance(base, str):
            raise Failure("connection_unusable", f"the connection {self.name!r} (kind {self.kind}) has no base_url")
        return base

    def address(self, url: str) -> str:
        """The URL, which may be a path under `base_url`. Raises Failure("connection_origin") for any other origin."""
        whole = url if ABSOLUTE.match(url) else _under(self.base_url, url)
        self._same_origin(whole)
        return whole

    async def headers(self, url: str) -> dict[str, str]:
        """What authorizes a call to `url`. Raises Failure("connection_origin") when that is not the origin of `base_url`."""
        self._same_origin(url)
        auth = self._auth
        token = await self.token(None) if isinstance(auth, auths.OAuth2) else None
        return auths.headers(auth, self.secrets, token)

    async def params(self, url: str) -> dict[str, str]:
        """What authorizes a call to `url` in its query; to be recorded nowhere. Raises as `headers`."""
        self._same_origin(url)
        return auths.params(self._auth, self.secrets)

    async def renew(self, authorization: str) -> bool:
        """After an answer of 401 to a call with this Authorization: whether there is another token now to repeat it with. Such a call was
        not performed. Raises Failure when a person must sign in again."""
        if not isinstance(self._auth, auths.OAuth2):
            return False
        await self.token(authorization.removeprefix("Bearer "))
        return True

    @property
    def remedy(self) -> str:
        """What a person must do where its credentials are not accepted."""
        return auths.again(self._auth, self.name)

    def refusal(self, url: str, status: int, challenge: str) -> Failure | None:
        """What a person must do about such an answer of `url` (`challenge`: its WWW-Authenticate); None where that is not known."""
        return auths.refusal(self._auth, self.name, origin(httpx2.URL(url)), status, challenge)

    @property
    def _auth(self) -> auths.Auth:
        given = kinds()[self.kind].settings.model_validate(dict(self.settings))
        return _auth_of(given) or auths.NoAuth()

    def _same_origin(self, url: str) -> None:
        try:
            asked, own = httpx2.URL(url), httpx2.URL(self.base_url)
        except httpx2.InvalidURL:
            raise Failure("bad_url", "not a valid URL") from None
        if target_of(asked) != target_of(own):
            message = (
                f"the connection {self.name!r} is for {origin(own)}, and its secret is not sent to {origin(asked)}; "
                "use a path, or another connection"
            )
            raise Failure("connection_origin", message)


def _under(base: str, path: str) -> str:
    return base.rstrip("/") + "/" + path.lstrip("/") if path.strip("/") else base


class Connections:
    """One per process."""

    def __init__(self, vault: Vault, outbound: Outbound) -> None:
        from graphs.connections._tokens import Tokens

        self.vault, self.outbound = vault, outbound
        self.tokens = Tokens(vault, outbound)

    async def open(
        self,
        tenant: Tenant,
        name: str,
        *,
        kind: str | Collection[str] | None = None,
        user_id: str | None = None,
        redactor: Redactor | None = None,
    ) -> Connection:
        """The connection with its secrets. `user_id`: on whose behalf, None for the house itself; `redactor` hears what was opened.

        Raises Failure: connection_missing, connection_denied, connection_unusable; each says how to fix it."""
        row, sealed = await secrets.of_name(tenant, name)
        if row is None:
            hint = f"weft connections add {name} --kind {_one(kind) or 'http'}, or POST /api/v1/connections"
            raise Failure("connection_missing", f"there is no connection {name!r}; make it: {hint}")
        wanted = {kind} if isinstance(kind, str) else set(kind or ())
        if wanted and row.kind not in wanted:
            raise Failure("connection_unusable", f"the connection {name!r} is of kind {row.kind}; this needs {' or '.join(sorted(wanted))}")
        await _allow(tenant, row, user_id)
        return self.unsealed(tenant, row, sealed, Redactor() if redactor is None else redactor)

    def unsealed(self, tenant: Tenant, row: Row, sealed: list[Sealed], redactor: Redactor) -> Connection:
        """Raises Failure("connection_unusable") when a secret is missing or does not open."""
        described = kinds().get(row.kind)
        if described is None:
            raise Failure(
                "connection_unusable", f"the connection {row.name!r} is of kind {row.kind}, which this version of Weft does not know"
            )
        settings = described.settings.model_validate(row.settings)
        _complete(row, described, settings, {secret.field for secret in sealed})
        try:
            opened = {secret.field: self.vault.open(place_of(tenant, row.id, secret.version, secret.field), secret) for secret in sealed}
        except Misconfigured as wrong:
            raise Failure("connection_unusable", f"the connection {row.name!r} cannot be used: {wrong.message}") from None
        redactor.add(*opened.values())
        auth = _auth_of(settings)
        if isinstance(auth, auths.Basic):
            redactor.add(auths.basic(auth.username, opened["password"]))
        good = next((opened["access_token"] for secret in sealed if secret.field == "access_token" and secret.fresh), None)

        async def token(refused: str | None) -> str:
            nonlocal good
            if not isinstance(auth, auths.OAuth2):
                return await _no_token()
            if good is None or good == refused:
                good = await self.tokens.renewed(tenant, row, auth, redactor, refused)
            return good

        return Connection(
            id=row.id, name=row.name, kind=row.kind, settings=MappingProxyType(row.settings), secrets=opened, token=token, redactor=redactor
        )


def place_of(tenant: Tenant, connection_id: str, version: int, field: str) -> Place:
    """Whose secret it is: what its seal is bound to."""
    return Place(org_id=tenant.org_id, connection_id=connection_id, version=version, field=field)


def auth_secrets() -> frozenset[str]:
    """The secrets of the forms of authorization that kinds share."""
    return frozenset(name.removesuffix("?") for name in auths.SECRETS)


def origin_of(url: str) -> str:
    """Scheme, host and port of an address that has been validated: what is compared, and as much of it as may be shown."""
    return target_of(httpx2.URL(url))


def missing(kind: Kind, settings: BaseModel, present: Collection[str]) -> list[str]:
    """The secrets that must be set yet. An access token is enough: not every server gives one with which it is renewed."""
    had = {*present, "refresh_token"} if "access_token" in present else present
    return [name for name in kind.needs(settings) if name not in had]


def _complete(row: Row, kind: Kind, settings: BaseModel, present: Collection[str]) -> None:
    lacking = missing(kind, settings, present)
    if "refresh_token" in lacking:
        raise Failure(
            "connection_unusable",
            f"nobody has agreed yet that Weft may use the connection {row.name!r}: run weft connections authorize {row.name}",
        )
    if lacking:
        hint = f"weft connections set-secret {row.name} {lacking[0]}"
        raise Failure("connection_unusable", f"the connection {row.name!r} has no {' and no '.join(lacking)} yet; set it: {hint}")


async def _allow(tenant: Tenant, row: Row, user_id: str | None) -> None:
    if row.roles is None or user_id is None:
        return
    user = await identities.get_user(tenant, user_id)
    if user.role not in row.roles:
        able = " or ".join(row.roles) or "nobody"
        raise Failure("connection_denied", f"the connection {row.name!r} is for {able}, and {user.name} is {user.role}")


def _one(kind: str | Collection[str] | None) -> str | None:
    return kind if isinstance(kind, str) else next(iter(sorted(kind)), None) if kind else None
