"""Connections at the doors: REST keeps secrets in and shows none, pages open by tickets that work once, MCP clients are sent there."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.types import ElicitRequestParams, ElicitRequestURLParams, ElicitResult

from graphs import authoring
from tests.outbound.loopback import Asked, always, answer, origin
from tests.server.conftest import House, connected, http, text_of, told

pytestmark = [pytest.mark.anyio, pytest.mark.promise("P6")]
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])
SECRET = "tok-4b1e77c0aa59d2f3"
BEARER = {"type": "bearer"}


def using(name: str = "payments", **config: Any) -> dict[str, Any]:
    call = {"id": "call", "type": "http", "config": {"url": "/pay", "connection": name, **config}, "retry": {"max_attempts": 1}}
    return {"name": "pays", "nodes": [call], "edges": [], "output": {"status": "{{ nodes.call.status }}"}}


def new(base_url: str = "https://pay.example", auth: Any = BEARER, name: str = "payments", **more: Any) -> dict[str, Any]:
    return {"name": name, "kind": "http", "settings": {"base_url": base_url, **({"auth": auth} if auth else {})}, **more}


def given(body: dict[str, Any] | None) -> dict[str, Any]:
    return {} if body is None else {"json": body}


# -- REST ------------------------------------------------------------------------------------------------------------------------


async def test_a_connection_is_made_given_its_secret_tested_used_and_removed_and_no_answer_shows_the_secret(house: House, url: str) -> None:
    seen: list[str] = []
    async with origin(always(answer(body=b"{}", content_type="application/json"))) as api, http(url, house.keys["builder"]) as door:

        async def ask(method: str, path: str, **body: Any) -> Any:
            answered = await door.request(method, f"/api/v1/connections{path}", **body)
            seen.append(answered.text + str(answered.headers))
            assert answered.is_success, answered.text
            return answered.json()

        made = await ask("POST", "", json=new(api.url))
        assert (made["missing"], made["ready"], made["takes"]) == (["token"], False, ["token"])
        found = await ask("PUT", "/payments/secrets/token", json={"value": SECRET})
        assert [secret["field"] for secret in found["secrets"]] == ["token"]
        assert found["secrets"][0]["set_by"] == "Builder"
        assert (await ask("POST", "/payments/test"))["health"] == "ok"
        assert api.asked[0].headers["authorization"] == f"Bearer {SECRET}"
        await house.publish(using())
        assert (await house.run("pays")).state == "succeeded"
        shown = await ask("GET", "/payments")
        assert shown["used_by"] == ["pays"]
        assert [event["act"] for event in shown["events"]] == ["tested", "secret set", "created"]
        assert (await ask("GET", ""))["total"] == 1
        refused = await door.delete("/api/v1/connections/payments")
        assert (refused.status_code, "used by pays" in refused.text) == (409, True)
        assert (await ask("DELETE", "/payments?force=true"))["used_by"] == ["pays"]
        assert (await door.get("/api/v1/connections/payments")).status_code == 404
    assert SECRET not in "".join(seen)


async def test_a_form_without_settings_may_be_its_word_alone(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        made = await door.post("/api/v1/connections", json=new(auth="bearer"))
    assert made.json()["settings"]["auth"] == {"type": "bearer"}


async def test_who_may_not_author_sees_names_only(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
    for role in ("viewer", "operator"):
        async with http(url, house.keys[role]) as door:
            one = {"name": "payments", "kind": "http", "ready": False}
            assert (await door.get("/api/v1/connections")).json()["connections"] == [one]
            assert (await door.get("/api/v1/connections/payments")).json() == one
            put = await door.put("/api/v1/connections/payments/secrets/token", json={"value": SECRET})
            assert put.status_code == 403


async def test_another_organization_sees_and_reaches_nothing(house: House, stranger: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as door:
        await door.post("/api/v1/connections", json=new())
    async with http(url, stranger.keys["owner"]) as door:
        assert (await door.get("/api/v1/connections")).json()["total"] == 0
        for method, path in (("GET", ""), ("POST", "/test"), ("DELETE", "")):
            assert (await door.request(method, f"/api/v1/connections/payments{path}")).status_code == 404
        assert (await door.put("/api/v1/connections/payments/secrets/token", json={"value": SECRET})).status_code == 404


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (new(name="Payments!"), "cannot name a connection"),
        (new(name="p") | {"kind": "htpp"}, "Did you mean http?"),
        (new("ftp://x"), "http:// or https://"),
        (new("https://user:hunter2hunter2@pay.example"), "must not carry a user name or password"),
        (new("https://pay.example?key=1"), "leave out what follows ?"),
        ({**new(), "settings": {"base_url": "https://pay.example", "token": SECRET}}, "is a secret and no setting"),
        ({**new(), "settings": {"base_url": "https://pay.example", "toke": SECRET}}, "There is no setting toke"),
        (new(auth={"type": "header", "name": "X-Key", "prefix": "Bearer sk-abcdefghijklmnop1234"}), "looks like a secret"),
        (new(auth={"type": "sk-abcdefghijklmnop1234"}), "is an object with the `type` none, bearer"),
        (new(description="key: ghp_abcdefghijklmnopqrst"), "looks like it holds a secret"),
        (new(roles=["admin"]), "is no role"),
        (
            new(auth={"type": "oauth2", "grant": "authorization_code", "token_url": "https://a.example/t", "client_id": "c"}),
            "authorize_url",
        ),
    ],
)
async def test_what_cannot_be_a_connection_is_refused_without_repeating_it(house: House, url: str, body: Any, words: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        refused = await door.post("/api/v1/connections", json=body)
    assert refused.status_code == 422
    assert words in refused.json()["error"]["message"]
    for secret in (SECRET, "hunter2hunter2", "sk-abcdefghijklmnop1234", "ghp_abcdefghijklmnopqrst"):
        assert secret not in refused.text


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("token", "short", "shorter than 8 characters"),
        ("password", SECRET, "has no secret 'password'; it takes token"),
        ("token", SECRET + "\n", "copied whole"),
        ("token", SECRET + "\x01x", "control characters"),
    ],
)
async def test_a_secret_that_cannot_be_kept_is_refused_without_repeating_it(
    house: House, url: str, field: str, value: str, words: str
) -> None:
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
        refused = await door.put(f"/api/v1/connections/payments/secrets/{field}", json={"value": value})
        wrong = await door.put("/api/v1/connections/payments/secrets/token", json={"value": [SECRET], "extra": SECRET})
    assert (refused.status_code, wrong.status_code) == (422, 422)
    assert words in refused.json()["error"]["message"]
    assert SECRET not in refused.text + wrong.text


async def test_a_secret_does_not_follow_its_connection_to_another_origin(house: House, url: str) -> None:
    """Else whoever may change settings could have the secrets of others sent to themselves."""
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
        await door.put("/api/v1/connections/payments/secrets/token", json={"value": SECRET})
        same = await door.patch("/api/v1/connections/payments", json={"settings": new("https://pay.example/v2")["settings"]})
        assert same.json()["ready"]
        moved = await door.patch("/api/v1/connections/payments", json={"settings": new("https://evil.example")["settings"]})
        assert (moved.json()["ready"], moved.json()["missing"]) == (False, ["token"])
        stale = await door.patch("/api/v1/connections/payments", json={"description": "x", "revision": 1})
        assert stale.status_code == 409


async def test_a_connection_for_owners_is_neither_used_nor_changed_by_a_builder(house: House, url: str) -> None:
    async with origin(always(answer())) as api:
        async with http(url, house.keys["owner"]) as door:
            await door.post("/api/v1/connections", json=new(api.url, roles=["owner"]))
            await door.put("/api/v1/connections/payments/secrets/token", json={"value": SECRET})
        async with http(url, house.keys["builder"]) as door:
            tries: tuple[tuple[str, str, dict[str, Any] | None], ...] = (
                ("PATCH", "", {"roles": []}),
                ("PUT", "/secrets/token", {"value": SECRET}),
                ("POST", "/link", {}),
                ("POST", "/test", None),
                ("DELETE", "", None),
            )
            for method, path, body in tries:
                refused = await door.request(method, f"/api/v1/connections/payments{path}", **given(body))
                assert refused.status_code == 403, path
            await house.publish(using())
            started = (await door.post("/api/v1/runs", json={"workflow": "pays"})).json()
            ended = (await door.get(f"/api/v1/runs/{started['run_id']}", params={"wait_seconds": 10})).json()
        assert ended["error"]["code"] == "connection_denied"
        assert not api.asked
        assert (await house.run("pays")).state == "succeeded"  # of the owner


# -- pages -----------------------------------------------------------------------------------------------------------------------


async def link(url: str, key: str, name: str = "payments", **body: Any) -> str:
    async with http(url, key) as door:
        made = await door.post(f"/api/v1/connections/{name}/link", json=body)
        assert made.is_success, made.text
        return made.json()["url"]


async def test_a_person_sets_a_secret_on_a_page_that_works_once(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
    page = await link(url, house.keys["builder"])
    assert page.startswith(f"{url}/connect/")
    async with http(url, None) as browser:
        shown = await browser.get(page)
        assert shown.status_code == 200
        assert "https://pay.example" in shown.text
        for header, words in (
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy", "form-action 'self';"),
            ("content-security-policy", "frame-ancestors 'none'"),
            ("cache-control", "no-store"),
            ("referrer-policy", "same-origin"),
        ):
            assert words in shown.headers[header]
        refused = await browser.post(page, data={"secret.token": "short"}, headers={"origin": url})
        assert (refused.status_code, "shorter than 8" in refused.text) == (422, True)
        foreign = await browser.post(page, data={"secret.token": SECRET}, headers={"origin": "https://evil.example"})
        assert foreign.status_code == 403
        saved = await browser.post(page, data={"secret.token": SECRET}, headers={"origin": url})
        assert (saved.status_code, SECRET in saved.text) == (200, False)
        for again in (await browser.get(page), await browser.post(page, data={"secret.token": "another-secret"})):
            assert again.status_code == 404
    async with http(url, house.keys["builder"]) as door:
        found = (await door.get("/api/v1/connections/payments")).json()
    assert found["ready"]
    assert found["events"][0]["via"] == "web"


async def test_two_posts_at_once_use_a_ticket_once(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
        page = await link(url, house.keys["builder"])
        async with http(url, None) as browser:
            sent = await asyncio.gather(*(browser.post(page, data={"secret.token": f"{SECRET}{n}"}) for n in range(6)))
        assert sorted(one.status_code == 200 for one in sent) == [False] * 5 + [True]
        events = (await door.get("/api/v1/connections/payments")).json()["events"]
    assert [event["act"] for event in events].count("secret set") == 1


async def test_a_connection_that_is_not_there_yet_is_made_on_the_page(house: House, url: str) -> None:
    page = await link(url, house.keys["builder"], "crm")
    async with http(url, None) as browser:
        assert "setting.base_url" in (await browser.get(page)).text
        given = {"setting.base_url": "nonsense", "auth": "basic", "auth.name": "ann", "auth.secret": SECRET}
        assert (await browser.post(page, data=given)).status_code == 422
        saved = await browser.post(page, data={**given, "setting.base_url": "https://crm.example"})
        assert saved.status_code == 200, saved.text
    async with http(url, house.keys["builder"]) as door:
        found = (await door.get("/api/v1/connections/crm")).json()
    assert (found["ready"], found["settings"]["auth"]) == (True, {"type": "basic", "username": "ann"})


@pytest.mark.parametrize("ticket", ["x", "A" * 64, "%00", "../../api/v1/runs", "A" * 5000])
async def test_a_ticket_that_was_never_given_out_opens_nothing(house: House, url: str, ticket: str) -> None:
    async with http(url, None) as browser:
        assert (await browser.get(f"/connect/{ticket}")).status_code in (401, 404)
        assert (await browser.post(f"/connect/{ticket}", data={"secret.token": SECRET})).status_code in (401, 404)
        assert (await browser.get("/oauth/callback", params={"state": ticket, "code": "c"})).status_code in (401, 404)


async def test_a_setting_nested_too_deeply_is_a_problem_of_the_form(house: House, url: str) -> None:
    page = await link(url, house.keys["builder"], "crm", kind="mcp")
    async with http(url, None) as browser:
        typed = {"setting.url": "https://crm.example/mcp", "setting.fresh_seconds": "[" * 20_000}
        refused = await browser.post(page, data=typed, headers={"origin": url})
    assert (refused.status_code, "fresh_seconds must be JSON" in refused.text) == (422, True)


async def test_a_ticket_of_a_person_who_lost_their_role_opens_nothing(house: House, url: str, admin_url: str) -> None:
    import psycopg

    page = await link(url, house.keys["builder"], "crm")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("UPDATE weft.users SET role = 'viewer' WHERE id = %s", (house.users["builder"],))
    async with http(url, None) as browser:
        assert (await browser.get(page)).status_code == 403


async def test_pages_take_no_more_than_the_other_doors(house: House, url: str) -> None:
    page = await link(url, house.keys["builder"], "crm")

    async def drip() -> AsyncGenerator[bytes]:
        for _ in range(20):
            yield b"a" * 100_000

    async with http(url, None) as browser:
        sent = await browser.post(page, content=drip(), headers={"content-type": "application/x-www-form-urlencoded"})
    assert sent.status_code == 413


# -- OAuth -----------------------------------------------------------------------------------------------------------------------


class Vendor:
    """An authorization server and the API behind it. Access tokens live for `lifetime` seconds."""

    def __init__(self, lifetime: float = 3600) -> None:
        self.lifetime, self.tokens, self.grants, self.refreshes = lifetime, 0, list[dict[str, str]](), True
        self.challenge = ""
        self.asked = asyncio.Event()
        self.slow = asyncio.Event()
        self.slow.set()

    async def reply(self, asked: Asked, writer: Any) -> None:
        if asked.target != "/token":
            writer.write(answer(body=b"{}", content_type="application/json"))
            return
        grant = {name: values[0] for name, values in parse_qs(asked.body.decode()).items()}
        self.grants.append({**grant, "authorization": asked.headers.get("authorization", "")})
        self.asked.set()
        await self.slow.wait()
        if grant["grant_type"] == "authorization_code":
            proof = base64.urlsafe_b64encode(hashlib.sha256(grant["code_verifier"].encode()).digest()).decode().rstrip("=")
            if proof != self.challenge:
                writer.write(answer(400, b'{"error":"invalid_grant"}', content_type="application/json"))
                return
        self.tokens += 1
        body: dict[str, Any] = {"access_token": f"access-{SECRET}-{self.tokens}", "expires_in": self.lifetime}
        if grant["grant_type"] != "client_credentials" and self.refreshes:
            body["refresh_token"] = f"refresh-{SECRET}-{self.tokens}"
        writer.write(answer(body=json.dumps(body).encode(), content_type="application/json"))


def oauth(base: str, grant: str = "authorization_code") -> dict[str, Any]:
    auth = {"type": "oauth2", "grant": grant, "token_url": f"{base}/token", "client_id": "weft-client", "scopes": ["read", "write"]}
    return new(base, {**auth, **({"authorize_url": "https://vendor.example/agree"} if grant == "authorization_code" else {})})


async def agree(url: str, page: str, vendor: Vendor, **changed: str) -> httpx2.Response:
    """What a browser does: opens the page, goes to the vendor, comes back with a code."""
    async with http(url, None) as browser:
        there = await browser.post(page, data={"secret.client_secret": f"client-{SECRET}"}, follow_redirects=False)
        assert there.status_code == 303, there.text
        assert there.headers["content-security-policy"].count("https://vendor.example") == 1
        sent = {name: values[0] for name, values in parse_qs(urlsplit(there.headers["location"]).query).items()}
        assert sent["redirect_uri"] == f"{url}/oauth/callback"
        assert (sent["scope"], sent["code_challenge_method"], sent["response_type"]) == ("read write", "S256", "code")
        vendor.challenge = sent["code_challenge"]
        assert re.search("httponly; .*samesite=lax", there.headers["set-cookie"].lower())
        if changed.get("browser") == "another":
            browser.cookies.clear()
        return await browser.get("/oauth/callback", params={"state": changed.get("state", sent["state"]), "code": "code-of-the-vendor"})


async def test_a_person_agrees_once_and_tokens_are_renewed_from_then_on(house: House, url: str) -> None:
    vendor = Vendor(lifetime=30)  # within the margin in which a token is renewed
    async with origin(vendor.reply) as api, http(url, house.keys["builder"]) as door:
        made = await door.post("/api/v1/connections", json=oauth(api.url))
        assert made.json()["missing"] == ["refresh_token"]
        done = await agree(url, await link(url, house.keys["builder"]), vendor)
        assert done.status_code == 200, done.text
        await house.publish(using())
        for _ in range(2):
            assert (await house.run("pays")).state == "succeeded"
        found = (await door.get("/api/v1/connections/payments")).text
    assert [grant["grant_type"] for grant in vendor.grants] == ["authorization_code", "refresh_token", "refresh_token"]
    assert [grant.get("refresh_token") for grant in vendor.grants] == [None, f"refresh-{SECRET}-1", f"refresh-{SECRET}-2"]  # rotated
    calls = [asked.headers["authorization"] for asked in api.asked if asked.target == "/pay"]
    assert calls == [f"Bearer access-{SECRET}-2", f"Bearer access-{SECRET}-3"]
    assert SECRET not in done.text + found


async def test_who_signs_in_anew_leaves_nothing_of_who_did_before(house: House, url: str) -> None:
    vendor = Vendor()
    async with origin(vendor.reply) as api, http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=oauth(api.url))
        for refreshes, kept in ((True, ["access_token", "client_secret", "refresh_token"]), (False, ["access_token", "client_secret"])):
            vendor.refreshes = refreshes
            assert (await agree(url, await link(url, house.keys["builder"]), vendor)).status_code == 200
            found = (await door.get("/api/v1/connections/payments")).json()
            assert [secret["field"] for secret in found["secrets"]] == kept


async def test_many_steps_at_once_get_one_token(house: House, url: str) -> None:
    vendor = Vendor()
    vendor.slow.clear()
    async with origin(vendor.reply) as api, http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=oauth(api.url, "client_credentials"))
        await door.put("/api/v1/connections/payments/secrets/client_secret", json={"value": f"client-{SECRET}"})
        await house.publish(using())
        runs = [asyncio.create_task(house.run("pays")) for _ in range(12)]
        async with asyncio.timeout(20):
            await vendor.asked.wait()
        vendor.slow.set()
        assert {run.state for run in await asyncio.gather(*runs)} == {"succeeded"}
    assert len(vendor.grants) == 1
    assert vendor.grants[0]["scope"] == "read write"
    basic = base64.b64encode(f"weft-client:client-{SECRET}".encode()).decode()
    assert vendor.grants[0]["authorization"] == f"Basic {basic}"


@pytest.mark.parametrize("changed", [{"browser": "another"}, {"state": "A" * 64}])
async def test_a_code_counts_only_in_the_browser_that_asked_for_it(house: House, url: str, changed: dict[str, str]) -> None:
    vendor = Vendor()
    async with origin(vendor.reply) as api, http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=oauth(api.url))
        refused = await agree(url, await link(url, house.keys["builder"]), vendor, **changed)
        assert refused.status_code in (403, 404)
        assert (await door.get("/api/v1/connections/payments")).json()["missing"] == ["refresh_token"]
    assert not vendor.grants


# -- MCP -------------------------------------------------------------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize("tool", ["start_run", "publish_workflow", "run_pays", "test_workflow"])
async def test_a_client_that_can_open_pages_is_sent_to_one_and_the_call_goes_on(house: House, url: str, mode: str, tool: str) -> None:
    await house.create(using()) if tool in ("publish_workflow", "test_workflow") else await house.publish(using())
    asked: list[Any] = []
    async with origin(always(answer())) as api:

        async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
            assert isinstance(params, ElicitRequestURLParams)
            asked.append(params)
            given = {"setting.base_url": api.url, "auth": "bearer", "auth.secret": SECRET}
            async with http(url, None) as browser:
                assert (await browser.post(params.url, data=given)).status_code == 200
            return ElicitResult(action="accept")

        arguments = {} if tool == "run_pays" else {"workflow": "pays"}
        async with connected(url, house.keys["builder"], mode, elicitation_callback=person) as client:
            done = told(await client.call_tool(tool, arguments))
        if tool == "test_workflow":
            assert done["state"] == "succeeded"
        elif tool != "publish_workflow":
            run = await house.run("pays")
            assert run.state == "succeeded"
    assert len(asked) == 1
    assert asked[0].url.startswith(f"{url}/connect/")
    assert "there is no connection 'payments'" in asked[0].message.lower()
    assert "connections_missing" not in done
    assert SECRET not in json.dumps(done)


@ERAS
async def test_a_person_who_declines_is_not_asked_twice_and_nothing_starts(house: House, url: str, mode: str) -> None:
    await house.publish(using())
    asked: list[Any] = []

    async def person(context: Any, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params)
        return ElicitResult(action="decline")

    async with connected(url, house.keys["builder"], mode, elicitation_callback=person) as client:
        refused = await client.call_tool("start_run", {"workflow": "pays"})
        assert refused.is_error
        assert len(asked) == 1
        assert told(await client.call_tool("list_runs", {}))["total"] == 0


async def test_a_client_that_cannot_is_told_the_command_and_the_call(house: House, url: str) -> None:
    await house.publish(using())
    async with connected(url, house.keys["builder"]) as client:
        refused = await client.call_tool("start_run", {"workflow": "pays"})
        published = told(await client.call_tool("publish_workflow", {"workflow": "pays"}))
        tested = told(await client.call_tool("test_workflow", {"workflow": "pays"}))
        mocked = told(await client.call_tool("test_workflow", {"workflow": "pays", "mocks": {"call": {"status": 200}}}))
    assert refused.is_error
    assert "weft connections add payments --kind http, or POST /api/v1/connections" in text_of(refused)
    for answered in (published, tested):
        assert answered["connections_missing"][0]["connection"] == "payments"
        assert answered["connections_missing"][0]["page"].startswith(f"{url}/connect/")
    assert (tested["state"], mocked["state"]) == ("succeeded", "succeeded")
    assert "connections_missing" not in mocked
    page = re.search(rf"The user opens ({url}/connect/\S+) ", text_of(refused))
    async with http(url, None) as browser:
        assert page is not None
        assert (await browser.get(page[1])).status_code == 200
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
    async with connected(url, house.keys["builder"]) as client:
        refused = await client.call_tool("start_run", {"workflow": "pays"})
    assert "PUT /api/v1/connections/payments/secrets/token" in text_of(refused)


async def test_the_check_names_what_is_missing_and_what_does_not_fit(house: House, url: str) -> None:
    async with http(url, house.keys["builder"]) as door:
        await door.post("/api/v1/connections", json=new())
    report = await authoring.check(house.runtime, house.actor(), using("paymets"))
    assert report.ok
    assert [(one.code, one.severity, one.suggestions) for one in report.diagnostics] == [("unknown_connection", "warning", ("payments",))]
    assert report.diagnostics[0].patch[0]["value"] == "payments"
    literal = using(headers={"Authorization": f"Bearer {SECRET}"})
    report = await authoring.check(house.runtime, house.actor(), literal)
    assert [(one.code, one.severity) for one in report.diagnostics] == [("secret_in_definition", "warning")]
    assert SECRET not in report.diagnostics[0].message
    literals: tuple[dict[str, Any], ...] = (
        {"headers": {"X-Other": "sk-abcdefghijklmnop1234"}},
        {"params": {"k": "ghp_abcdefghijklmnopqrst"}},
        {"params": {"api_key": "abcdefghijklmnop"}},
        {"method": "POST", "json": {"login": {"password": "abcdefghijklmnop"}}},
        {"method": "POST", "text": "key=sk-abcdefghijklmnop1234"},
        {"headers": {"Authorization": "Bearer abcdefghijklmnop{{ input.rest }}"}},
    )
    for written in literals:
        report = await authoring.check(house.runtime, house.actor(), using(**written))
        assert [one.code for one in report.diagnostics] == ["secret_in_definition"]
        assert "abcdefghijklmnop" not in report.diagnostics[0].message
    harmless: tuple[dict[str, Any], ...] = (
        {"headers": {"Authorization": "{{ input.token }}", "X-Id": "order-1"}},
        {"params": {"q": "a word"}},
        {"method": "POST", "json": {"password": "{{ input.password }}", "text": "Your password: none"}},
    )
    for fine in harmless:
        assert (await authoring.check(house.runtime, house.actor(), using(**fine))).diagnostics == ()
