"""Models at the doors: listed, priced, chosen and budgeted by an owner; usage told to everybody who may read."""

from __future__ import annotations

from typing import Any

import pytest

from graphs.models import Caller, Message, Models, ModelSettings
from server.commands import modelling as commands
from store.errors import Invalid
from tests.server.conftest import House, http
from tests.server.test_circuits import fits

pytestmark = pytest.mark.anyio
PATH = "/api/v1/models"


async def asked(house: House, **script: Any) -> None:
    outbound = house.runtime.outbound
    settings = ModelSettings(scripts={"demo": [{"text": "Hi.", "usage": {"input_tokens": 1000, "output_tokens": 100}, **script}]})
    models = Models(settings, outbound).of(house.tenant, Caller(workflow="refunds"))
    await models.complete("scripted:demo", [Message(role="user", text="Hello")], agent="clerk")


async def test_a_model_is_listed_changed_and_removed(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        body = {"alias": "fast", "input_price": 1.5, "output_price": 3, "vision": False, "base_url": "https://models.example.com/v1"}
        found = await fits(client, await client.put(f"{PATH}/openai:meta/llama-4", json=body), "putModel")
        assert (found["name"], found["alias"], found["input_price"], found["vision"]) == ("openai:meta/llama-4", "fast", 1.5, False)
        listing = await fits(client, await client.get(PATH), "listModels")
        assert listing["models"][0] == found
        assert (listing["default"], listing["fallbacks"], listing["only_listed"]) == ("scripted", [], False)
        assert {model["name"] for model in listing["models"]} > {"openai:gpt-5-mini", "anthropic:claude-haiku-5-5", "scripted"}
        assert (await client.put(f"{PATH}/openai:other", json={"alias": "fast"})).status_code == 409
        assert await fits(client, await client.request("DELETE", f"{PATH}/openai:meta/llama-4"), "removeModel")
        assert (await client.request("DELETE", f"{PATH}/openai:meta/llama-4")).status_code == 404


@pytest.mark.parametrize(
    ("name", "body", "says"),
    [
        ("gpt-5", {}, "is not a model; write anthropic:<model>"),
        ("openai:x", {"input_price": 1}, "give input_price and output_price together"),
        ("openai:x", {"connection": "nowhere"}, "There is no connection 'nowhere'"),
        ("openai:x", {"connection": "a", "base_url": "https://a.example"}, "leave out base_url"),
        ("openai:x", {"base_url": "ftp://files"}, "base_url is not the address of a server"),
        ("openai:x", {"base_url": "https://me:secret@a.example/v1"}, "base_url is not the address of a server"),
        ("openai:x", {"alias": "Not So"}, "small letters, digits"),
        ("openai:x", {"script": [{"text": "x"}]}, "A script belongs to a model scripted:<name>"),
        ("scripted:x", {"script": [{"says": "x"}]}, "turn 1 of the script, at says: extra inputs are not permitted"),
        ("openai:x", {"prize": 1}, "prize"),
    ],
)
async def test_what_cannot_be_listed_is_refused_with_a_reason(house: House, url: str, name: str, body: Any, says: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        answer = await client.put(f"{PATH}/{name}", json=body)
    assert answer.status_code in (404, 422), answer.text
    assert says in answer.json()["error"]["message"]
    assert "secret@" not in answer.text


async def test_a_default_with_fallbacks_is_chosen(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        choice: dict[str, Any] = {"default": "openai:a", "fallbacks": ["anthropic:b", "scripted"]}
        found = await fits(client, await client.put(f"{PATH}/choice", json=choice), "chooseModel")
        assert (found["default"], found["fallbacks"]) == ("openai:a", ["anthropic:b", "scripted"])
        assert (await client.put(f"{PATH}/choice", json={**choice, "only_listed": True})).status_code == 422
        assert (await client.put(f"{PATH}/choice", json={"default": "openai:a", "fallbacks": ["openai:a"]})).status_code == 422
        assert (await client.put(f"{PATH}/choice", json={"default": None})).json()["default"] == "scripted"


async def test_usage_and_single_calls_are_told(house: House, url: str) -> None:
    for _ in range(3):
        await asked(house)
    async with http(url, house.keys["viewer"]) as client:
        for by, mark in (("model", "scripted:demo"), ("agent", "clerk"), ("workflow", "refunds"), ("user", None), ("outcome", "ok")):
            found = await fits(client, await client.get(f"{PATH}/usage", params={"by": by}), "getModelUsage")
            [line] = found["usage"]
            assert (line[by], line["calls"], line["input_tokens"], line["output_tokens"]) == (mark, 3, 3000, 300)
        assert (await client.get(f"{PATH}/usage", params={"agent": "nobody"})).json()["usage"] == []
        assert (await client.get(f"{PATH}/usage", params={"by": "colour"})).status_code == 422
        page = await fits(client, await client.get(f"{PATH}/calls", params={"limit": 2}), "listModelCalls")
        rest = (await client.get(f"{PATH}/calls", params={"limit": 2, "cursor": page["next_cursor"]})).json()
        assert len({call["id"] for call in page["calls"] + rest["calls"]}) == 3
        assert rest["next_cursor"] is None
        assert (await client.get(f"{PATH}/calls", params={"run_id": "no such run"})).json()["calls"] == []


async def test_budgets_are_set_seen_and_removed(house: House, url: str) -> None:
    await asked(house)
    async with http(url, house.keys["owner"]) as client:
        body = {"kind": "organization", "period": "month", "tokens": 5000, "usd": 2}
        await fits(client, await client.put(f"{PATH}/budgets", json=body), "setBudget")
        await asked(house)
        found = await fits(client, await client.get(f"{PATH}/budgets"), "listBudgets")
        [budget] = found["budgets"]
        assert (budget["token_limit"], budget["tokens"], budget["usd_limit"], budget["usd"]) == (
            5000,
            2200,
            2.0,
            0.0,
        )  # of which one was asked before it was set
        name = (await client.put(f"{PATH}/budgets", json={"kind": "user", "subject": "Owner", "period": "day", "usd": 1})).json()
        assert [budget["subject"] for budget in name["budgets"]] == ["", "Owner"]
        for wrong in (
            {"kind": "user", "subject": "nobody", "usd": 1},
            {"kind": "agent", "usd": 1},
            {"kind": "organization"},
            {"kind": "house", "usd": 1},
        ):
            assert (await client.put(f"{PATH}/budgets", json=wrong)).status_code in (404, 422)
        gone = await client.request("DELETE", f"{PATH}/budgets", params={"kind": "organization"})
        assert [budget["kind"] for budget in (await fits(client, gone, "removeBudget"))["budgets"]] == ["user"]
        assert (await client.request("DELETE", f"{PATH}/budgets", params={"kind": "organization"})).status_code == 404


async def test_only_an_owner_changes_anything(house: House, url: str) -> None:
    for role in ("builder", "operator", "viewer"):
        async with http(url, house.keys[role]) as client:
            assert (await client.get(PATH)).status_code == 200
            assert (await client.put(f"{PATH}/openai:x", json={})).status_code == 403
            assert (await client.put(f"{PATH}/choice", json={})).status_code == 403
            assert (await client.put(f"{PATH}/budgets", json={"kind": "organization", "usd": 1})).status_code == 403
            assert (await client.post(f"{PATH}/scripted/test")).status_code == 403


async def test_a_model_is_tried_out(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        said = await fits(client, await client.post(f"{PATH}/scripted/test"), "testModel")
        assert said["said"] == "scripted answered, 0 tokens in and 0 out"
        answer = await client.post(f"{PATH}/openai:gpt-5-mini/test")
    assert answer.status_code == 422
    assert "must set OPENAI_API_KEY" in answer.json()["error"]["message"]


def test_a_script_of_the_command_line_is_json_or_a_file(tmp_path: Any) -> None:
    (tmp_path / "turns.json").write_text('[{"text": "Hi."}]')
    assert commands.script(f"@{tmp_path}/turns.json") == commands.script('[{"text": "Hi."}]') == [{"text": "Hi."}]
    for wrong in (f"@{tmp_path}/none.json", "{"):
        with pytest.raises(Invalid):
            commands.script(wrong)


async def test_a_price_that_nobody_verified_is_marked_until_one_is_set(house: House, url: str) -> None:
    async with http(url, house.keys["owner"]) as client:
        before = {model["name"]: model for model in (await client.get(PATH)).json()["models"]}
        assert before["openai:gpt-5-mini"]["unverified"] is True
        assert "unverified" not in before["scripted"]
        assert (await client.put(f"{PATH}/openai:gpt-5-mini", json={"input_price": 0.25, "output_price": 2})).status_code == 200
        after = {model["name"]: model for model in (await client.get(PATH)).json()["models"]}
        assert "unverified" not in after["openai:gpt-5-mini"]


async def test_a_connection_that_a_model_uses_is_not_removed_without_a_word(house: House) -> None:
    from graphs import connecting, modelling
    from store.errors import Conflict

    actor = house.actor("owner")
    await connecting.create(house.runtime, actor, name="oai", kind="openai", settings={})
    await modelling.change(house.runtime, actor, "openai:mine", {"connection": "oai"})
    with pytest.raises(Conflict, match="used by openai:mine"):
        await connecting.remove(house.runtime, actor, "oai")
    assert await connecting.remove(house.runtime, actor, "oai", force=True) == ["openai:mine"]


async def test_one_part_of_a_shipped_price_can_be_corrected(house: House) -> None:
    from graphs import modelling

    shown = await modelling.change(house.runtime, house.actor("owner"), "openai:gpt-5-mini", {"input_price": 0.3})
    assert shown.known.price
    assert (shown.known.price.input, shown.known.price.output, shown.known.price.cached) == (0.3, 2.0, 0.025)
    assert not shown.unverified
