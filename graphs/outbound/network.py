"""What all organizations of a process share on the way out: connections, certificates, and one gate for each of them."""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from urllib.parse import urlsplit

import httpx2

from graphs.outbound.clients import ModelClient, PlainTransport
from graphs.outbound.gate import Gate
from graphs.outbound.policy import Policy, Rules, bracketed
from graphs.outbound.transport import GuardedTransport, Resolver
from store.postgres import Tenant

MAX_GATES = 1000  # organizations remembered; what they share is in Postgres anyway


class Network:
    """One per process."""

    def __init__(self, policy: Policy, resolver: Resolver, tls: ssl.SSLContext | None) -> None:
        self._policy, self._resolver, self._context = policy, resolver, tls
        self._building = asyncio.Lock()
        self.transport = GuardedTransport(Rules.of(policy), resolver, self._tls)
        self._trusted: dict[str, GuardedTransport] = {}
        self._clients: dict[str, httpx2.AsyncClient] = {}
        self._gates: OrderedDict[str, tuple[Gate, dict[str, httpx2.AsyncClient]]] = OrderedDict()

    def gate(self, tenant: Tenant) -> Gate:
        return self._furnished(tenant)[0]

    def client(self, base_url: str, tenant: Tenant | None, *, trusted: bool = True) -> httpx2.AsyncClient:
        """`trusted`: the operator configured `base_url`, so its host may be private here."""
        where = urlsplit(base_url)
        port = where.port or (443 if where.scheme == "https" else 80)
        key = f"{bracketed(where.hostname or '')}:{port}" if trusted else ""
        gate, clients = self._furnished(tenant) if tenant else (None, self._clients)
        if key not in clients:
            if trusted and key not in self._trusted:
                self._trusted[key] = GuardedTransport(Rules.of(self._policy, (key,)), self._resolver, self._tls)
            clients[key] = ModelClient(self._trusted[key] if trusted else self.transport, self._policy.max_bytes, gate)
        return clients[key]

    def plain(self, tenant: Tenant | None) -> PlainTransport:
        """As the policy has it for everybody: no host is trusted because an organization named it."""
        return PlainTransport(self.transport, self._policy.max_bytes, self.gate(tenant) if tenant else None)

    async def aclose(self) -> None:
        for gate, _ in self._gates.values():
            await gate.settled()
        for transport in (self.transport, *self._trusted.values()):
            await transport.aclose()

    def _furnished(self, tenant: Tenant) -> tuple[Gate, dict[str, httpx2.AsyncClient]]:
        if tenant.org_id not in self._gates:
            self._gates[tenant.org_id] = Gate(tenant), {}
            if len(self._gates) > MAX_GATES:
                self._gates.popitem(last=False)
        self._gates.move_to_end(tenant.org_id)
        return self._gates[tenant.org_id]

    async def _tls(self) -> ssl.SSLContext:
        """Built once, at the first https call and off the event loop: loading the certificates takes 60 to 230 ms."""
        async with self._building:
            if self._context is None:
                self._context = await asyncio.to_thread(httpx2.create_ssl_context)
        return self._context
