"""The one outbound HTTP client: every call that leaves the house, under the operator's policy and fully bounded."""

from __future__ import annotations

import asyncio
import json as jsontext
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import httpx2

from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.outbound.delays import retry_after
from graphs.outbound.gate import REFUSED, Gate, Passage
from graphs.outbound.network import Network
from graphs.outbound.parsing import parse_json
from graphs.outbound.policy import Policy
from graphs.outbound.transport import CONNECT_SECONDS, Resolver, check_url, origin, resolve, target_of
from store.postgres import Tenant

__all__ = ["REFUSED", "Answer", "Outbound", "Policy", "parse_json", "retry_after"]

MAX_REDIRECTS = 10
ACROSS_ORIGINS = frozenset({"accept", "accept-encoding", "accept-language", "content-type", "idempotency-key", "user-agent"})
ABSENT: Any = object()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: lower-case header names, repeated ones joined by ", "; the decoded body; the last URL asked. `redirected`: it is not
    the answer to the request itself, which has been answered otherwise."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes
    url: str
    redirected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hop:
    method: str
    url: httpx2.URL
    headers: Mapping[str, str]
    content: bytes | None


class Outbound:
    """`async with Outbound(policy) as outbound:` — one per process; safe for any number of calls at once.

    `outbound.of(tenant)` is the same for one organization: its calls keep to that organization's circuits and rate limits."""

    def __init__(
        self,
        policy: Policy,
        *,
        resolver: Resolver = resolve,
        tls: ssl.SSLContext | None = None,
        view: tuple[Network, Tenant] | None = None,
    ) -> None:
        self.policy = policy
        self._network, self._tenant = view or (Network(policy, resolver, tls), None)

    def of(self, tenant: Tenant) -> Outbound:
        """What an organization's steps call with. Cheap to make; what it knows is kept here."""
        return Outbound(self.policy, view=(self._network, tenant))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._network.aclose()

    @property
    def gate(self) -> Gate | None:
        """The organization's circuits as this process knows them; None where nobody in particular calls."""
        return self._network.gate(self._tenant) if self._tenant else None

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        json: Json = ABSENT,
        content: bytes | str | None = None,
        params: Mapping[str, Any] | None = None,
        timeout: float | None = None,
        max_bytes: int | None = None,
        follow_redirects: bool = True,
    ) -> Answer:
        """One call, redirects included, within `timeout` seconds in all and `max_bytes` of decoded answer.

        Raises Failure: circuit_open, rate_limited, blocked_address, bad_url, bad_request, connect, tls, timeout, cut, too_large,
        bad_answer, redirects. After the first seven nothing has reached the other side, unless `details` says {"sent": true}:
        then an earlier hop has answered with a redirect."""
        hop = _first(method, url, headers, json, content, params)
        limit = self.policy.max_bytes if max_bytes is None else max_bytes
        seconds = self.policy.timeout if timeout is None else timeout
        passage = await self._enter(hop, seconds)  # waiting for its turn is not part of the call
        try:
            async with asyncio.timeout(seconds) as deadline:
                return await self._follow(hop, passage, deadline, limit, seconds, MAX_REDIRECTS if follow_redirects else 0)
        except TimeoutError:
            raise Failure("timeout", f"{origin(hop.url)} did not finish its answer within {seconds:g} s", retryable=True) from None

    def client(self, base_url: str, *, trusted: bool = True) -> httpx2.AsyncClient:
        """An httpx2 client for a vendor SDK. `trusted`: the operator configured `base_url`, so its host may be private here."""
        return self._network.client(base_url, self._tenant, trusted=trusted)

    def transport(self) -> httpx2.AsyncBaseTransport:
        """The guarded network for an SDK that calls addresses an organization has chosen: none of them is trusted. No redirects, no
        cookies, answers bounded; what goes wrong is a Failure."""
        return self._network.plain(self._tenant)

    async def _enter(self, hop: _Hop, seconds: float) -> Passage:
        gate = self.gate
        return await gate.enter(target_of(hop.url), seconds) if gate else Passage()

    async def _follow(self, hop: _Hop, passage: Passage, deadline: asyncio.Timeout, limit: int, seconds: float, redirects: int) -> Answer:
        left = redirects
        while True:
            try:
                async with passage.until(deadline):
                    answer = await self._one(hop, passage, limit, seconds)
                if answer.status not in (301, 302, 303, 307, 308) or "location" not in answer.headers or not redirects:
                    return answer if left == redirects else replace(answer, redirected=True)
                if not left:
                    raise Failure("redirects", f"{origin(hop.url)} redirects more than {MAX_REDIRECTS} times")
                hop, left = _next(hop, answer), left - 1
                passage = await self._enter(hop, seconds)
            except Failure as wrong:
                if left != redirects:
                    wrong.details = {"sent": True}
                raise

    async def _one(self, hop: _Hop, passage: Passage, limit: int, seconds: float) -> Answer:
        # the deadline bounds reading, writing and waiting for a connection
        times = {"connect": min(CONNECT_SECONDS, seconds), "read": None, "write": None, "pool": None}
        try:
            request = httpx2.Request(hop.method, hop.url, headers=dict(hop.headers), content=hop.content, extensions={"timeout": times})
        except (ValueError, TypeError) as wrong:
            raise Failure("bad_request", f"the request to {origin(hop.url)} is not valid HTTP: {wrong}") from None
        response = await self._network.transport.handle_async_request(request)
        passage.answered(response.status_code, response.headers)
        try:
            body = await _read(response, limit, origin(hop.url))
        finally:
            await response.aclose()
        return Answer(
            status=response.status_code,
            reason=response.reason_phrase,
            headers=_joined(response.headers),
            body=body,
            url=str(hop.url),
        )


def _first(
    method: str,
    url: str,
    headers: Mapping[str, str] | None,
    json: Json,
    content: bytes | str | None,
    params: Mapping[str, Any] | None,
) -> _Hop:
    try:
        target = httpx2.URL(url)
        target = target.copy_merge_params(dict(params)) if params else target
    except (httpx2.InvalidURL, TypeError, UnicodeError) as wrong:
        raise Failure("bad_url", f"not a valid URL: {str(wrong)[:200]}") from None
    check_url(target)
    given = {name.lower(): value for name, value in (headers or {}).items()}
    sent = {"accept": "*/*", "accept-encoding": "gzip, deflate", "user-agent": "weft"}
    body = content.encode() if isinstance(content, str) else content
    if json is not ABSENT:
        body = jsontext.dumps(json, separators=(",", ":"), allow_nan=False).encode()
        sent["content-type"] = "application/json"
    elif isinstance(content, str):
        sent["content-type"] = "text/plain; charset=utf-8"
    return _Hop(method=method.upper(), url=target.copy_with(fragment=None), headers={**sent, **given}, content=body)


def _next(hop: _Hop, answer: Answer) -> _Hop:
    """Where a redirect leads, as a browser reads it; what might be a credential stays with the old origin."""
    try:
        target = hop.url.join(answer.headers["location"]).copy_with(fragment=None)
    except (httpx2.InvalidURL, UnicodeError):
        raise Failure("bad_url", f"{origin(hop.url)} redirects to something that is not a URL", details={"sent": True}) from None
    headers, method, content = dict(hop.headers), hop.method, hop.content
    if (answer.status == 303 and method != "HEAD") or (answer.status in (301, 302) and method == "POST"):
        method, content = "GET", None
        headers = {name: value for name, value in headers.items() if not name.startswith("content-")}
    if not _same_origin(hop.url, target):
        headers = {name: value for name, value in headers.items() if name in ACROSS_ORIGINS}
    return _Hop(method=method, url=target, headers=headers, content=content)


def _same_origin(old: httpx2.URL, new: httpx2.URL) -> bool:
    upgraded = old.host == new.host and (old.scheme, new.scheme) == ("http", "https") and old.port is new.port is None
    return upgraded or (old.scheme, old.host, old.port) == (new.scheme, new.host, new.port)


async def _read(response: httpx2.Response, limit: int, where: str) -> bytes:
    """The decoded body, refused as soon as it is known to be longer than `limit` bytes, packed or unpacked."""
    too_large = Failure("too_large", f"the answer of {where} is larger than {limit:,} bytes")
    declared = response.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > limit and response.status_code != 304:
        raise too_large
    parts: list[bytes] = []
    size = 0
    try:
        async for part in response.aiter_bytes():
            size += len(part)
            if size > limit or response.num_bytes_downloaded > limit:
                raise too_large
            parts.append(part)
    except httpx2.DecodingError as wrong:
        raise Failure("bad_answer", f"the answer of {where} is not what its Content-Encoding says ({str(wrong)[:100]})") from None
    return b"".join(parts)


def _joined(headers: httpx2.Headers) -> dict[str, str]:
    joined: dict[str, str] = {}
    for name, value in headers.multi_items():
        joined[name.lower()] = f"{joined[name.lower()]}, {value}" if name.lower() in joined else value
    return joined
