"""OpenAPI documents: what becomes a tool, what does not, and how arguments reach their places in a request."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from graphs.checks.schemas import check_schema
from graphs.definition import Json
from graphs.inputs import problems
from graphs.nodetype import Effect, Failure
from graphs.outbound import Outbound
from graphs.remote import Remote
from graphs.remote.definitions import cautious, gathered, hinted
from graphs.remote.openapi.document import read
from graphs.remote.openapi.requests import build
from store import remote_tools as rows
from store.errors import Invalid
from store.postgres import Tenant
from store.remote_tools import Listing
from tests.remote.conftest import FakeConnections
from tests.remote.openapiserver import DOCUMENT, Api, api_server

pytestmark = pytest.mark.anyio


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in read(json.dumps(document)).definitions}


def operation(*parameters: dict[str, Any], path: str = "/things", method: str = "get", **more: Any) -> dict[str, Any]:
    """A document of one operation."""
    op = {"operationId": "op", "parameters": list(parameters), **more}
    return {"openapi": "3.1.0", "info": {"title": "t", "version": "1"}, "paths": {path: {method: op}}}


def test_each_operation_is_a_tool_with_a_schema_of_its_own() -> None:
    found = by_name(DOCUMENT)
    assert found.keys() == {"getOrder", "putOrder", "findOrders", "createRefund", "addNote"}
    put = found["putOrder"]["input_schema"]
    assert put["required"] == ["order_id", "body"]
    assert problems(put, {"order_id": "a", "body": {"n": 1, "parent": {"n": 2}}}) == []  # `id` is read-only: nobody sends it
    assert problems(put, {"order_id": "a", "body": {"parent": {"n": "x"}}})[0]["pointer"] == "/body/parent/n"
    for definition in found.values():
        assert [one for one in check_schema(definition["input_schema"], "") if one.severity == "error"] == []
    tools, refused = gathered(found.values())
    assert (len(tools), refused) == (5, [])


def test_a_long_chain_of_schemas_is_refused_and_not_a_crash() -> None:
    document = operation({"name": "a", "in": "query", "schema": {"$ref": "#/components/schemas/S0"}})
    chain = {f"S{n}": {"properties": {"next": {"$ref": f"#/components/schemas/S{n + 1}"}}} for n in range(1_000)}
    document["components"] = {"schemas": {**chain, "S1000": {}}}
    found = read(json.dumps(document))
    assert found.definitions == []
    assert len(found.refused) == 1


def test_yaml_is_read_too_and_tags_choose() -> None:
    text = "openapi: 3.1.0\ninfo: {title: t, version: '1'}\npaths:\n  /a:\n    get: {tags: [x]}\n    post: {operationId: b}\n"
    assert [one["name"] for one in read(text).definitions] == ["get_a", "b"]
    assert [one["name"] for one in read(text, ("x",)).definitions] == ["get_a"]


def test_the_dialect_of_3_0_is_read() -> None:
    schema = {"type": "integer", "nullable": True, "minimum": 1, "exclusiveMinimum": True, "enum": [2, 3], "example": 2}
    document = operation({"name": "n", "in": "query", "schema": schema}) | {"openapi": "3.0.1"}
    assert by_name(document)["op"]["input_schema"]["properties"]["n"] == {
        "type": ["integer", "null"],
        "exclusiveMinimum": 1,
        "enum": [2, 3, None],
    }


UNREAD: list[tuple[str, dict[str, Any], str]] = [
    ("a remote reference", operation({"$ref": "https://evil.example/p.json#/p"}), "outside the document"),
    ("a remote schema", operation({"name": "a", "in": "query", "schema": {"$ref": "other.yaml#/A"}}), "outside the document"),
    ("a reference to nothing", operation({"$ref": "#/components/parameters/none"}), "not in the document"),
    ("a server of its own", operation(servers=[{"url": "https://evil.example"}]), "server of its own"),
    ("a multipart body", operation(requestBody={"required": True, "content": {"multipart/form-data": {}}}, method="post"), "multipart"),
    ("a hole without a parameter", operation(path="/things/{id}"), "differ in id"),
    ("a header that is ours", operation({"name": "Host", "in": "header"}), "cannot be sent"),
    ("an odd style", operation({"name": "a", "in": "query", "style": "odd"}), "style"),
    ("a parameter of another kind", operation({"name": "a", "in": "query", "content": {"text/csv": {}}}), "only JSON"),
    ("parameters that are no list", operation() | {"paths": {"/a": {"get": {"parameters": 5}}}}, "no list"),
    ("parameters of a path that are no list", operation() | {"paths": {"/a": {"parameters": {"a": 1}, "get": {}}}}, "no list"),
    ("a place that is a list", operation({"name": "a", "in": ["path"]}), "no name or place"),
    ("a style that is a list", operation({"name": "a", "in": "query", "style": ["form"]}), "style"),
    (
        "a media type of two lines",
        operation(method="post", requestBody={"content": {"application/json;\r\nX-Evil: 1": {}}}),
        "no media type",
    ),
    (
        "a media type of two lines that is text",
        operation(method="post", requestBody={"content": {"text/plain;\nX-Evil: 1": {}}}),
        "no media type",
    ),
]


@pytest.mark.parametrize(("what", "document", "why"), UNREAD, ids=[one[0] for one in UNREAD])
def test_an_operation_that_cannot_be_called_rightly_is_refused(what: str, document: dict[str, Any], why: str) -> None:
    found = read(json.dumps(document))
    assert found.definitions == []
    assert why in found.refused[0]["reason"]


ODD: list[Json] = [5, "x", True, [1], {"a": 1}, [[]], [None], {"application/json": 5}, {"200": []}, None]
PARTS = ("tags", "operationId", "parameters", "requestBody", "responses", "servers", "description", "summary", "security")


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("value", ODD, ids=str)
def test_whatever_one_operation_holds_the_others_are_read(part: str, value: Json) -> None:
    document = operation(path="/good")
    document["paths"]["/bad"] = {"post": {"operationId": "bad", part: value}}
    for include in ((), ("op", "bad")):
        found = read(json.dumps(document), include)
        assert "op" in [one["name"] for one in found.definitions]


@pytest.mark.parametrize("value", ODD, ids=str)
def test_whatever_a_schema_holds_the_operation_is_read_or_refused(value: Json) -> None:
    for keyword in ("type", "enum", "properties", "allOf", "required", "$ref", "nullable", "items", "minimum"):
        for version in ("3.0.0", "3.1.0"):
            schema = {"nullable": True, "type": "object", keyword: value}
            document = operation({"name": "a", "in": "query", "schema": schema}) | {"openapi": version}
            found = read(json.dumps(document))
            tools, refused = gathered(found.definitions)
            assert len(tools) + len(refused) + len(found.refused) == 1, (keyword, version)


@pytest.mark.parametrize("idempotent", [{"x-idempotent": True}, {"parameters": [{"name": "Idempotency-Key", "in": "header"}]}])
def test_what_a_document_says_of_its_effects_is_a_claim(idempotent: dict[str, Any]) -> None:
    (claiming,) = read(json.dumps(operation(method="post") | {"paths": {"/a": {"post": idempotent}}})).definitions
    assert (hinted(claiming), cautious(claiming)) == (Effect.WRITE_IDEMPOTENT, Effect.WRITE_ONCE)


def test_references_that_lead_in_circles_end() -> None:
    document = operation({"$ref": "#/components/parameters/a"})
    document["components"] = {"parameters": {"a": {"$ref": "#/components/parameters/b"}, "b": {"$ref": "#/components/parameters/a"}}}
    assert "leads to itself" in read(json.dumps(document)).refused[0]["reason"]
    endless = operation({"name": "a", "in": "query", "schema": {"$ref": "#/components/schemas/A"}})
    endless["components"] = {"schemas": {"A": {"allOf": [{"$ref": "#/components/schemas/A"}]}}}
    tools, refused = gathered(read(json.dumps(endless)).definitions)
    assert tools == []
    assert "without end" in refused[0]["reason"]


BAD = [
    ("[]", "is an object"),
    ('{"swagger": "2.0"}', "Swagger 2.0"),
    ('{"openapi": "4.0.0"}', "4.0.0"),
    ("a: &a [x]\nb: *a\nopenapi: 3.1.0", "alias"),
    ("x" * 1_000_001, "1000000"),
    ("[" * 500 + "]" * 500, "an object"),
]


@pytest.mark.parametrize(("text", "why"), BAD, ids=[why for _, why in BAD])
def test_a_document_that_is_none_is_refused(text: str, why: str) -> None:
    with pytest.raises(Invalid) as caught:
        read(text)
    assert why in caught.value.message


STYLES: list[tuple[dict[str, Any], Any, str]] = [  # after the table in the OpenAPI specification
    ({"in": "path"}, "blue", "/things/blue"),
    ({"in": "path"}, ["blue", "black"], "/things/blue,black"),
    ({"in": "path", "explode": True}, {"R": 1, "G": 2}, "/things/R=1,G=2"),
    ({"in": "path"}, {"R": 1, "G": 2}, "/things/R,1,G,2"),
    ({"in": "path", "style": "label"}, "blue", "/things/.blue"),
    ({"in": "path", "style": "label", "explode": True}, ["a", "b"], "/things/.a.b"),
    ({"in": "path", "style": "matrix"}, "blue", "/things/;color=blue"),
    ({"in": "path", "style": "matrix"}, ["a", "b"], "/things/;color=a,b"),
    ({"in": "path", "style": "matrix", "explode": True}, ["a", "b"], "/things/;color=a;color=b"),
    ({"in": "path", "style": "matrix", "explode": True}, {"R": 1, "G": 2}, "/things/;R=1;G=2"),
    ({"in": "path"}, "a/../b c", "/things/a%2F..%2Fb%20c"),
    ({"in": "query"}, "a&b=c", "/things?color=a%26b%3Dc"),
    ({"in": "query"}, ["a", "b"], "/things?color=a&color=b"),
    ({"in": "query", "explode": False}, ["a,", "b"], "/things?color=a%2C,b"),
    ({"in": "query", "style": "spaceDelimited", "explode": False}, ["a", "b"], "/things?color=a%20b"),
    ({"in": "query", "style": "pipeDelimited", "explode": False}, ["a", "b"], "/things?color=a|b"),
    ({"in": "query"}, {"R": 1, "G": 2}, "/things?R=1&G=2"),
    ({"in": "query", "explode": False}, {"R": 1, "G": 2}, "/things?color=R,1,G,2"),
    ({"in": "query", "style": "deepObject"}, {"R": 1, "G": 2}, "/things?color%5BR%5D=1&color%5BG%5D=2"),
    ({"in": "query", "allowReserved": True}, "a/b", "/things?color=a/b"),
    ({"in": "query", "content": {"application/json": {}}}, {"a": [1]}, "/things?color=%7B%22a%22%3A%5B1%5D%7D"),
    ({"in": "query"}, True, "/things?color=true"),
]


@pytest.mark.parametrize(("parameter", "value", "target"), STYLES)
def test_parameters_are_written_by_style_and_explode(parameter: dict[str, Any], value: Any, target: str) -> None:
    path = "/things/{color}" if parameter["in"] == "path" else "/things"
    definition = by_name(operation({"name": "color", **parameter}, path=path))["op"]
    assert build(definition["request"], "https://api.example/v1/", {"color": value}).url == "https://api.example/v1" + target


@pytest.mark.parametrize("value", ["..", ".", ""])
def test_a_path_parameter_does_not_climb(value: str) -> None:
    definition = by_name(operation({"name": "color", "in": "path"}, path="/things/{color}"))["op"]
    with pytest.raises(Failure) as caught:
        build(definition["request"], "https://api.example", {"color": value})
    assert caught.value.code == "bad_arguments"


def test_a_header_takes_one_line() -> None:
    definition = by_name(operation({"name": "X-A", "in": "header"}))["op"]
    with pytest.raises(Failure, match="one line"):
        build(definition["request"], "https://api.example", {"X-A": "a\r\nEvil: b"})


# -- calls -----------------------------------------------------------------------------------------------------------------------


async def uploaded(connections: FakeConnections, tenant: Tenant, user: str, api: Api, document: dict[str, Any] | None = None) -> None:
    connections.put(tenant, "shop", "openapi", {"base_url": api.url}, Authorization="Bearer t0ken")
    tools, refused = gathered(read(api.text(document)).definitions)
    listing = Listing(kind="openapi", target=api.url, title="", protocol="3.0.3", latency_ms=0, tools=tools, refused=refused)
    await rows.keep(tenant, "shop", listing)
    for tool in tools:
        effect = str(tool.definition["effect"])
        assert await rows.approve(tenant, "shop", tool.name, digest=tool.digest, effect=effect, user_id=user)


async def call(remote: Remote, tenant: Tenant, name: str, **arguments: Any) -> Any:
    return await remote.call(tenant, "shop", name, arguments, kind="openapi", key="run-1/step")


async def test_arguments_reach_their_places(
    remote: Remote, connections: FakeConnections, outbound: Outbound, tenant: Tenant, owner: str
) -> None:
    with api_server() as api:
        await uploaded(connections, tenant, owner, api)
        await call(remote, tenant, "findOrders", filter={"state": "open"}, tag=["a", "b"], seen=True, **{"X-Trace": "t"})
        await call(remote, tenant, "addNote", body="a note")
        await call(remote, tenant, "createRefund", body={"amount": 1})
    search, note, refund = api.asked
    assert search.target == "/orders?filter%5Bstate%5D=open&tag=a&tag=b"
    assert (search.headers["x-trace"], search.headers["cookie"], search.headers["authorization"]) == ("t", "seen=true", "Bearer t0ken")
    assert "idempotency-key" not in search.headers
    assert (note.body, note.headers["content-type"], note.headers["idempotency-key"]) == (b"a note", "text/plain", "run-1/step")
    assert (refund.body, refund.headers["content-type"]) == (b'{"amount":1}', "application/json")


async def test_a_form_is_sent_as_a_form(remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    del document["paths"]["/refunds"]["post"]["requestBody"]["content"]["application/json"]
    with api_server() as api:
        await uploaded(connections, tenant, owner, api, document)
        await call(remote, tenant, "createRefund", body={"amount": 1, "tag": ["a b", "c"]})
    assert api.asked[0].body == b"amount=1&tag=a+b&tag=c"


async def test_an_answer_unlike_the_document_is_noted_and_not_failed(
    remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str
) -> None:
    with api_server() as api:
        await uploaded(connections, tenant, owner, api)
        api.said = (200, b'{"id": 3}', "application/json")
        got = await call(remote, tenant, "getOrder", order_id="a")
        assert got["data"] == {"id": 3}
        assert "/id" in got["notes"][0]
        api.said = (200, b"\xff\xfe", "application/octet-stream")
        assert (await call(remote, tenant, "getOrder", order_id="a"))["data"] == "//4="
        api.said = (404, b"no \xe2\x80\xaesuch", "text/plain")
        with pytest.raises(Failure) as caught:
            await call(remote, tenant, "getOrder", order_id="a")
    assert caught.value.code == "http_status"
    assert "no \\u202esuch" in caught.value.message


async def test_arguments_that_do_not_fit_are_not_sent(remote: Remote, connections: FakeConnections, tenant: Tenant, owner: str) -> None:
    with api_server() as api:
        await uploaded(connections, tenant, owner, api)
        for arguments in ({}, {"order_id": 3}, {"order_id": "a", "odd": 1}):
            with pytest.raises(Failure) as caught:
                await call(remote, tenant, "getOrder", **arguments)
            assert caught.value.code == "bad_arguments"
    assert api.asked == []


@pytest.mark.parametrize("path", ["/../admin", "/a/../b", "/a/./b", "/%2e%2E/x", "/a?x=1", "/a#f", "/a\\..\\b", "/a b"])
def test_a_path_that_leads_elsewhere_is_no_operation(path: str) -> None:
    document = operation(path="/good")
    document["paths"][path] = {"get": {"operationId": "bad", "responses": {"200": {"description": "ok"}}}}
    found = read(json.dumps(document))
    assert [one["name"] for one in found.definitions] == ["op"]
    assert "calls would go elsewhere" in found.refused[0]["reason"]
