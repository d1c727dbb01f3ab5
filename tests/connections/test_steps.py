"""http steps with connections: what authorizes a call goes to the origin it is for, and nowhere else."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.connections.conftest import call, connect
from tests.engine.conftest import House, flow
from tests.outbound.loopback import always, answer, origin

pytestmark = pytest.mark.anyio

FORMS: list[tuple[dict[str, Any], dict[str, str], str, str]] = [
    ({"type": "bearer"}, {"token": "t0ken-of-bearer"}, "authorization", "Bearer t0ken-of-bearer"),
    (
        {"type": "basic", "username": "ann"},
        {"password": "pass:word ü"},
        "authorization",
        "Basic " + base64.b64encode("ann:pass:word ü".encode()).decode(),
    ),
    ({"type": "header", "name": "X-Key", "prefix": "v1 "}, {"value": "value-of-header"}, "x-key", "v1 value-of-header"),
]


@pytest.mark.parametrize(("auth", "secrets", "header", "sent"), FORMS)
async def test_each_form_of_authorization_is_sent(
    running: House, auth: dict[str, Any], secrets: dict[str, str], header: str, sent: str
) -> None:
    async with origin(always(answer(body=b"fine"))) as api:
        await connect(running, "api", api.url + "/v1/", auth, **secrets)
        run = await running.run(flow(call(url="/orders?x=1")))
    assert run.state == "succeeded", run.error
    assert (api.asked[0].target, api.asked[0].headers[header]) == ("/v1/orders?x=1", sent)


async def test_a_secret_in_the_query_is_sent_and_recorded_nowhere(running: House) -> None:
    async with origin(always(answer(404, b"no such thing"))) as api:
        await connect(running, "api", api.url, {"type": "query", "name": "key"}, value="s3cret in query")
        run = await running.run(flow(call(params={"q": "x"})))
    assert api.asked[0].target in ("/orders?q=x&key=s3cret+in+query", "/orders?q=x&key=s3cret%20in%20query")
    assert run.state == "failed"
    assert "s3cret" not in str(run)


async def test_a_secret_is_not_sent_to_another_origin(running: House) -> None:
    async with origin(always(answer(body=b"mine"))) as mine, origin(always(answer(body=b"theirs"))) as theirs:
        await connect(running, "api", mine.url, {"type": "bearer"}, token="t0ken-of-bearer")
        run = await running.run(flow(call(url=theirs.url + "/orders")))
    assert run.error["code"] == "connection_origin"
    assert not theirs.asked


async def test_a_redirect_to_another_origin_drops_it(running: House) -> None:
    async with origin(always(answer(body=b"theirs"))) as theirs, origin(always(answer(302, location=theirs.url + "/x"))) as mine:
        await connect(running, "api", mine.url, {"type": "header", "name": "X-Key"}, value="value-of-header")
        run = await running.run(flow(call()))
    assert run.state == "succeeded"
    assert "x-key" in mine.asked[0].headers
    assert "x-key" not in theirs.asked[0].headers


async def test_a_connection_that_is_missing_says_how_to_make_it(running: House) -> None:
    run = await running.run(flow(call("payments")))
    assert run.error["code"] == "connection_missing"
    assert "weft connections add payments" in run.error["message"]


async def test_a_connection_without_its_secret_says_how_to_set_it(running: House) -> None:
    async with origin(always(answer())) as api:
        await connect(running, "api", api.url, {"type": "bearer"})
        run = await running.run(flow(call()))
    assert run.error["code"] == "connection_unusable"
    assert "weft connections set-secret api token" in run.error["message"]
    assert not api.asked
