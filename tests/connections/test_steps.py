"""http steps with connections: what authorizes a call goes to the origin it is for, and nowhere else."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any

import pytest

from graphs import connecting
from graphs.connections import Connections, Vault
from graphs.connections.http import OAuth2
from graphs.nodetype import Failure
from graphs.redaction import Redactor
from store import connections, identities
from store.errors import Conflict
from store.postgres import Tenant
from tests.connections.conftest import call, connect
from tests.engine.conftest import House, flow
from tests.outbound.loopback import Asked, always, answer, origin

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


async def test_two_processes_do_not_renew_a_token_at_once(running: House) -> None:
    """The row is locked: the second gets the token that the first has just got."""
    asked, go = asyncio.Event(), asyncio.Event()
    grants: list[Asked] = []

    async def vendor(request: Asked, writer: asyncio.StreamWriter) -> None:
        grants.append(request)
        asked.set()
        await go.wait()
        body = json.dumps({"access_token": f"access-token-{len(grants)}", "expires_in": 600}).encode()
        writer.write(answer(body=body, content_type="application/json"))

    async with origin(vendor) as api:
        auth = {"type": "oauth2", "grant": "client_credentials", "token_url": api.url + "/token", "client_id": "weft"}
        await connect(running, "api", api.url, auth, client_secret="secret-of-the-client")
        outbound = running.runtime.outbound
        processes = [Connections(Vault(lambda: running.master_keys), outbound) for _ in range(2)]
        opened = [await process.open(running.actor.tenant, "api") for process in processes for _ in range(3)]
        calls = [asyncio.create_task(connection.headers(api.url)) for connection in opened]
        async with asyncio.timeout(20):
            await asked.wait()
        go.set()
        sent = await asyncio.gather(*calls)
    assert len(grants) == 1
    assert sent == [{"Authorization": "Bearer access-token-1"}] * 6


async def test_a_token_server_that_refuses_is_said_without_its_secrets_and_one_that_is_down_is_tried_again(running: House) -> None:
    said = b'{"error":"invalid_client","error_description":"no client secret-of-the-client here"}'
    replies = [answer(503, b""), answer(401, said, content_type="application/json")]

    async def vendor(request: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(replies.pop(0))

    async with origin(vendor) as api:
        auth = {"type": "oauth2", "grant": "client_credentials", "token_url": api.url + "/token", "client_id": "weft"}
        await connect(running, "api", api.url, auth, client_secret="secret-of-the-client")
        step = {**call(method="POST", json={"pay": 1}), "retry": {"max_attempts": 3, "initial": "10ms"}}
        run = await running.run(flow(step))
    assert run.error["code"] == "connection_unusable"  # and not in doubt: nothing was posted
    assert "invalid_client: no client *** here" in run.error["message"]
    assert {asked.target for asked in api.asked} == {"/token"}
    assert replies == []


async def test_new_secrets_do_not_go_to_the_server_from_before(running: House) -> None:
    """Who had opened the connection, or was about to redeem a code, when it was moved knows the old address only."""
    reply = answer(body=b'{"access_token": "access-token-1"}', content_type="application/json")
    async with origin(always(reply)) as old, origin(always(reply)) as new:
        auth = {"type": "oauth2", "grant": "client_credentials", "token_url": old.url + "/token", "client_id": "weft"}
        made = await connect(running, "api", old.url, auth, client_secret="secret-of-the-client")
        house = running.runtime.connections
        assert house is not None
        opened = await house.open(running.actor.tenant, "api")
        moved = {"base_url": new.url, "auth": {**auth, "token_url": new.url + "/token"}}
        await connecting.update(running.runtime, running.actor, "api", settings=moved)
        await connecting.set_secret(running.runtime, running.actor, "api", "client_secret", "secret-for-the-new-one")
        with pytest.raises(Failure, match="was changed meanwhile") as refused:
            await opened.headers(old.url)
        assert refused.value.retryable
        proof: dict[str, Any] = {"code": "code", "verifier": "verifier", "redirect_uri": old.url, "user_id": running.actor.user_id}
        with pytest.raises(Conflict, match="was changed meanwhile"):
            await house.tokens.redeem(running.actor.tenant, made.row, OAuth2.model_validate(auth), **proof)
        assert not old.asked
        assert (await (await house.open(running.actor.tenant, "api")).headers(new.url))["Authorization"] == "Bearer access-token-1"


async def test_a_slow_token_server_of_one_organization_keeps_no_other_waiting(running: House, other_tenant: Tenant) -> None:
    """Token calls hold a connection to Postgres, so an organization gets some of them at a time and no more."""
    asked: list[Asked] = []
    full, go = asyncio.Event(), asyncio.Event()

    async def slow(request: Asked, writer: asyncio.StreamWriter) -> None:
        asked.append(request)
        if len(asked) == 2:
            full.set()
        await go.wait()
        writer.write(answer(body=b'{"access_token": "access-token-1"}', content_type="application/json"))

    quick = always(answer(body=b'{"access_token": "access-token-2"}', content_type="application/json"))
    async with origin(slow) as theirs, origin(quick) as ours:
        tokens = Connections(Vault(lambda: running.master_keys), running.runtime.outbound).tokens

        users = {
            running.actor.tenant: running.actor.user_id,
            other_tenant: (await identities.create_user(other_tenant, name="O", role="owner")).id,
        }

        async def renewed(tenant: Tenant, name: str, base: str) -> str:
            auth = {"type": "oauth2", "grant": "client_credentials", "token_url": base + "/token", "client_id": "weft"}
            settings = {"base_url": base, "auth": auth}
            row = await connections.create(
                tenant, name=name, kind="http", description="", settings=settings, roles=None, user_id=users[tenant]
            )
            return await tokens.renewed(tenant, row, OAuth2.model_validate(auth), Redactor())

        waiting = [asyncio.create_task(renewed(other_tenant, f"slow{number}", theirs.url)) for number in range(4)]
        async with asyncio.timeout(20):
            await full.wait()
            assert await renewed(running.actor.tenant, "quick", ours.url) == "access-token-2"
            assert len(asked) == 2
            go.set()
            assert await asyncio.gather(*waiting) == ["access-token-1"] * 4
