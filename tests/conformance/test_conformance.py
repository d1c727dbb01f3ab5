"""The official MCP conformance suite against the real app: with its fixtures for the whole verdict, and without them for what is ours."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from server.app import create_app
from tests.conformance import fixtures
from tests.conformance.suite import Suite, installed
from tests.server.conftest import House, served

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.long,
    pytest.mark.timeout(900),
    # The suite tests what the newer protocol deprecates (logging, sampling), and the SDK warns when the fixtures use it.
    pytest.mark.filterwarnings("ignore::mcp.MCPDeprecationWarning"),
]
REVISIONS = pytest.mark.parametrize("revision", ["2025-11-25", "2026-07-28"])


class Keyed:
    """Gives each request the API key that the suite has no option for. Everything behind it is the app as it is served."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", b"Bearer " + self._key)]}
        await self._app(scope, receive, send)


@asynccontextmanager
async def endpoint(house: House, *, with_fixtures: bool) -> AsyncGenerator[str]:
    install = fixtures.install if with_fixtures else None
    app = Keyed(create_app(house.runtime, house.settings, install=install), house.keys["owner"])
    async with served(app) as address:
        yield f"{address}/mcp"


@pytest.fixture
async def suite() -> Suite:
    return await installed()


@REVISIONS
async def test_the_suite_finds_nothing_wrong(suite: Suite, house: House, revision: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with endpoint(house, with_fixtures=True) as url:
        verdict = await suite.judge(url, revision)
    with capsys.disabled():
        print(f"\nMCP conformance {revision}: {verdict}")
    assert verdict.code == 0, verdict.said
    assert verdict.missed == frozenset()
    assert verdict.of("FAILURE", "WARNING", "SKIPPED") == []


@REVISIONS
async def test_without_fixtures_the_product_fails_only_what_needs_them(
    suite: Suite, house: House, revision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The baseline lists what cannot pass; the suite objects to an unlisted failure and to a listed one that passes."""
    baseline = Path(__file__).with_name(f"baseline-{revision}.yaml")
    async with endpoint(house, with_fixtures=False) as url:
        verdict = await suite.judge(url, revision, "--expected-failures", str(baseline))
    with capsys.disabled():
        print(f"\nMCP conformance {revision} without fixtures: {verdict}")
    assert verdict.code == 0, verdict.said
    assert verdict.missed == frozenset()
