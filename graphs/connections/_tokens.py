"""OAuth access tokens: got when one is needed, kept sealed, and renewed by one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

from graphs.connections import _auth as auths
from graphs.connections._envelope import Place, Vault
from graphs.definition import Json
from graphs.documents import is_object
from graphs.nodetype import Failure
from graphs.outbound import Outbound, parse_json, retry_after
from graphs.redaction import Redactor
from store import connections, secrets
from store.connections import Row
from store.errors import Conflict, NotFound
from store.postgres import Tenant, Transaction

SECONDS = 15.0  # a token server has for its answer; a connection to Postgres is held meanwhile,
AT_ONCE = 2  # so only so many at once for an organization,
OF_ALL = 4  # of the process: a slow one must not keep the others waiting
MAX_LIFETIME = 10 * 365 * 86400.0
FORM = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class Tokens:
    """One per process."""

    def __init__(self, vault: Vault, outbound: Outbound) -> None:
        self._vault, self._outbound = vault, outbound
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._of_one: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()
        self._of_all = asyncio.Semaphore(OF_ALL)

    @asynccontextmanager
    async def _few(self, tenant: Tenant) -> AsyncGenerator[None]:
        async with self._of_one.setdefault(tenant.org_id, asyncio.Semaphore(AT_ONCE)), self._of_all:
            yield

    async def renewed(self, tenant: Tenant, row: Row, auth: auths.OAuth2, redactor: Redactor, refused: str | None = None) -> str:
        """An access token that is good now, and another than the one that was `refused`: the one another worker has just got, or a new
        one. Raises Failure."""
        lock = self._locks.setdefault(row.id, asyncio.Lock())
        async with lock, self._few(tenant), tenant.transaction() as transaction:
            try:
                revision = await connections.lock(transaction, row.id)
            except NotFound:
                raise Failure("connection_missing", f"the connection {row.name!r} was removed meanwhile") from None
            if revision != row.revision:  # its secrets may be for another server than the one that this caller knows
                raise Failure("connection_unusable", f"the connection {row.name!r} was changed meanwhile", retryable=True)
            known: dict[str, str] = {}
            for secret in await secrets.of(transaction, row.id):
                place = Place(org_id=tenant.org_id, connection_id=row.id, version=secret.version, field=secret.field)
                if secret.field != "access_token" or secret.fresh:
                    known[secret.field] = self._vault.open(place, secret)
            redactor.add(*known.values())
            if "access_token" in known and known["access_token"] != refused:
                return known["access_token"]
            answer = await self._ask(tenant, row, auth, _grant(row, auth, known), known.get("client_secret"), redactor)
            return await self._keep(transaction, tenant, row, answer, redactor)

    async def redeem(
        self,
        tenant: Tenant,
        row: Row,
        auth: auths.OAuth2,
        *,
        code: str,
        verifier: str,
        redirect_uri: str,
        user_id: str,
        adopted: auths.Adopted | None = None,
    ) -> None:
        """Makes tokens of the code that an authorization server has sent. Raises Failure; Conflict when it was changed meanwhile."""
        redactor = Redactor((code, verifier))
        async with self._few(tenant), tenant.transaction() as transaction:
            if await connections.lock(transaction, row.id) != row.revision:
                raise Conflict(f"The connection {row.name!r} was changed meanwhile. Ask for a new link.")
            client_secret = adopted.secret if adopted and adopted.anew else await self._client_secret(transaction, tenant, row)
            redactor.add(*([client_secret] if client_secret else []))
            grant = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": verifier}
            grant |= {"resource": auth.resource} if auth.resource else {}
            answer = await self._ask(tenant, row, auth, grant, client_secret, redactor)
            if adopted:
                await self._adopt(transaction, tenant, row, adopted, user_id)
            await secrets.remove(transaction, row.id, "refresh_token")  # of whoever signed in before, where no new one comes
            await self._keep(transaction, tenant, row, answer, redactor, user_id=user_id)

    async def _client_secret(self, transaction: Transaction, tenant: Tenant, row: Row) -> str | None:
        for secret in await secrets.of(transaction, row.id):
            if secret.field == "client_secret":
                place = Place(org_id=tenant.org_id, connection_id=row.id, version=secret.version, field=secret.field)
                return self._vault.open(place, secret)
        return None

    async def _adopt(self, transaction: Transaction, tenant: Tenant, row: Row, adopted: auths.Adopted, user_id: str) -> None:
        await connections.update(
            transaction, row.id, revision=row.revision, settings=adopted.settings, description=row.description, roles=row.roles
        )
        if adopted.anew:
            await secrets.remove(transaction, row.id)
            if adopted.secret:
                await self._put(transaction, tenant, row, "client_secret", adopted.secret, user_id)

    async def _ask(
        self, tenant: Tenant, row: Row, auth: auths.OAuth2, grant: dict[str, str], client_secret: str | None, redactor: Redactor
    ) -> dict[str, Any]:
        headers = dict(FORM)
        if client_secret is not None and auth.client_auth == "basic":  # RFC 6749 §2.3.1: form-encoded first
            both = auths.basic(quote(auth.client_id, safe=""), quote(client_secret, safe=""))
            redactor.add(both)
            headers["authorization"] = f"Basic {both}"
        else:
            grant = {**grant, "client_id": auth.client_id, **({"client_secret": client_secret} if client_secret else {})}
        answer = await self._outbound.of(tenant).request(
            "POST", auth.token_url, headers=headers, content=urlencode(grant), timeout=SECONDS, max_bytes=100_000, follow_redirects=False
        )
        body: Json = None
        with suppress(ValueError):
            body = parse_json(answer.body)
        if answer.status == 200 and is_object(body) and isinstance(body.get("access_token"), str) and body["access_token"]:
            return body
        raise _refused(row, auth, answer.status, body, redactor, retry_after(answer.headers))

    async def _keep(
        self, transaction: Transaction, tenant: Tenant, row: Row, answer: dict[str, Any], redactor: Redactor, *, user_id: str | None = None
    ) -> str:
        lifetime = answer.get("expires_in")
        seconds = float(lifetime) if isinstance(lifetime, int | float) and 0 < lifetime < MAX_LIFETIME else None
        for field, left in (("access_token", seconds), ("refresh_token", None)):
            value = answer.get(field)
            if isinstance(value, str) and value:
                redactor.add(value)
                await self._put(transaction, tenant, row, field, value, user_id, left)
        return str(answer["access_token"])

    async def _put(
        self, transaction: Transaction, tenant: Tenant, row: Row, field: str, value: str, user_id: str | None, lifetime: float | None = None
    ) -> None:
        version = await connections.next_version(transaction, row.id)
        place = Place(org_id=tenant.org_id, connection_id=row.id, version=version, field=field)
        await secrets.put(transaction, row.id, self._vault.seal(place, value), user_id=user_id, lifetime=lifetime)


def _grant(row: Row, auth: auths.OAuth2, known: dict[str, str]) -> dict[str, str]:
    more = {"scope": " ".join(auth.scopes)} if auth.scopes else {}
    resource = {"resource": auth.resource} if auth.resource else {}
    if auth.grant == "client_credentials":
        return {"grant_type": "client_credentials", **more, **({"audience": auth.audience} if auth.audience else {}), **resource}
    if "refresh_token" not in known:
        raise Failure("connection_unusable", f"the token of {row.name!r} holds no longer; {auths.again(auth, row.name)}")
    return {"grant_type": "refresh_token", "refresh_token": known["refresh_token"], **resource}


def _refused(row: Row, auth: auths.OAuth2, status: int, body: Json, redactor: Redactor, wait: float | None) -> Failure:
    said = ""
    if is_object(body):
        parts = [str(body[name]) for name in ("error", "error_description") if isinstance(body.get(name), str)]
        said = redactor.text(": ".join(parts))[:300]
    later = status == 429 or status >= 500
    hint = "" if later else f"; {auths.again(auth, row.name)}"
    message = f"the token server of {row.name!r} answered {status}" + (f" ({said})" if said else " without a token") + hint
    return Failure("connection_unusable", message, retryable=later, retry_after=wait if later else None)
