"""Remote tools on loopback, with a stand-in for the house's connections."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from graphs.definition import Json
from graphs.nodetype import Failure
from graphs.outbound import Outbound, Policy
from graphs.redaction import Redactor
from graphs.remote import Remote
from store.postgres import Tenant
from tests.engine.conftest import actor, evaluator, house, running
from tests.remote.toolserver import ToolServer, tool_server

__all__ = ["actor", "evaluator", "house", "running"]

LOOPBACK = Policy(allow_nets=("127.0.0.0/8",))


@dataclass(slots=True, kw_only=True)
class FakeConnection:
    name: str
    kind: str
    settings: dict[str, Json]
    sent: dict[str, str] = field(default_factory=dict[str, str])
    redactor: Redactor = field(default_factory=Redactor)
    remedy: str = "set them anew"

    async def headers(self, url: str) -> dict[str, str]:
        return self.sent

    async def params(self, url: str) -> dict[str, str]:
        return {}

    async def renew(self, authorization: str) -> bool:
        return False

    def refusal(self, url: str, status: int, challenge: str) -> Failure | None:
        return None


@dataclass(slots=True)
class FakeConnections:
    """`held`: (organization, name) -> connection."""

    held: dict[tuple[str, str], FakeConnection] = field(default_factory=dict[tuple[str, str], FakeConnection])

    def put(self, tenant: Tenant, name: str, kind: str, settings: Mapping[str, Any], **headers: str) -> FakeConnection:
        made = FakeConnection(name=name, kind=kind, settings=dict(settings), sent=headers)
        self.held[tenant.org_id, name] = made
        return made

    async def open(self, tenant: Tenant, name: str, *, kind: str | None = None) -> FakeConnection:
        found = self.held.get((tenant.org_id, name))
        if found is None:
            raise Failure("connection_missing", f"there is no connection {name!r}")
        return found


@pytest.fixture
def connections() -> FakeConnections:
    return FakeConnections()


@pytest.fixture
async def outbound() -> AsyncGenerator[Outbound]:
    async with Outbound(LOOPBACK) as opened:
        yield opened


@pytest.fixture
async def remote(connections: FakeConnections, outbound: Outbound) -> AsyncGenerator[Remote]:
    async with Remote(connections, outbound) as opened:
        yield opened


@pytest.fixture(params=["2026", "2025", "2026-json"])
def there(request: pytest.FixtureRequest) -> Generator[ToolServer]:
    """The same server in both eras, with streamed and with plain answers."""
    era, _, form = request.param.partition("-")
    with tool_server(era=era, json_response=bool(form)) as opened:
        yield opened


@pytest.fixture(params=["2026", "2025"])
def telling(request: pytest.FixtureRequest) -> Generator[ToolServer]:
    """One that can say when its tools change."""
    with tool_server(era=request.param) as opened:
        yield opened
