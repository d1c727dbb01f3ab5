"""The http step: what it sends, what it brings back, which answers fail and which failures may be tried again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from graphs.catalogue import effect_of, node_types
from graphs.nodetype import Effect
from graphs.outbound import Policy
from tests.nodes.context import failing, http
from tests.outbound.loopback import Asked, always, answer, origin

pytestmark = pytest.mark.anyio
HTTP = node_types()["http"]


def effect(**config: Any) -> Effect:
    return effect_of(HTTP, HTTP.config.model_validate({"url": "https://a.example", **config}))


def typed(body: bytes, kind: str, status: int = 200, **headers: Any) -> Any:
    return always(answer(status, body, content_type=kind, **headers))


# --- what comes back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "body", "value"),
    [
        ("application/json", b'{"a": [1, null]}', {"a": [1, None]}),
        ("application/problem+json; charset=utf-8", b'"x"', "x"),
        ("application/json", '"é"'.encode("utf-16"), "é"),
        ("application/json", b'"\\ud800"', "\ud800"),
        ("text/plain", "é".encode(), "é"),
        ("text/plain; charset=ISO-8859-1", b"\xe9", "é"),
        ('text/plain; charset="windows-1252"', b"\x80", "€"),
        ("text/plain; charset=rot13", b"abc", "abc"),
        ("application/octet-stream", b"plain after all", "plain after all"),
        ("text/html", b"", None),
    ],
)
async def test_the_body_is_the_value_of_json_and_otherwise_text(kind: str, body: bytes, value: Any) -> None:
    async with origin(typed(body, kind)) as here:
        output = await http({"url": here.url})
    assert (output["status"], output["ok"], output["body"]) == (200, True, value)


async def test_headers_are_lower_case_bounded_and_without_cookies() -> None:
    many: dict[str, Any] = {f"x_{number}": "v" * 2000 for number in range(30)}
    async with origin(always(answer(body=b"ok", set_cookie="session=secret", X_Request_Id="7", **many))) as here:
        output = await http({"url": here.url})
    assert output["headers"]["x-request-id"] == "7"
    assert "set-cookie" not in output["headers"]
    assert max(map(len, output["headers"].values())) == 1000
    assert "secret" not in str(output)


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[1e999]", b"[" * 200_000, b"\xff", b"9" * 5000])
async def test_broken_json_is_a_clear_failure(body: bytes) -> None:
    async with origin(typed(body, "application/json")) as here:
        failure = await failing({"url": here.url})
    assert (failure.code, failure.retryable) == ("bad_json", False)
    assert failure.message.startswith("the answer says it is JSON but is not")


async def test_what_is_not_text_is_refused_or_taken_as_base64() -> None:
    async with origin(typed(b"\x89PNG\x00\xff", "image/png")) as here:
        failure = await failing({"url": here.url})
        output = await http({"url": here.url, "binary": "base64"})
    assert (failure.code, failure.message) == (
        "binary_body",
        "the answer (image/png) is not text; set `binary` to base64 to take it in as base64",
    )
    assert output["body"] == "iVBORwD/"


# --- what is sent -----------------------------------------------------------------------------------------------------


async def test_the_request_is_what_the_config_says() -> None:
    async with origin(always(answer())) as here:
        await http(
            {
                "method": "POST",
                "url": here.url + "/a?x=1",
                "params": {"q": "a b", "n": 2, "on": True, "none": None, "many": ["1", 2]},
                "headers": {"X-Token": "t", "X-None": None},
                "json": {"a": None},
            }
        )
    (asked,) = here.asked
    assert (asked.method, asked.target, asked.body) == ("POST", "/a?x=1&q=a+b&n=2&on=true&many=1&many=2", b'{"a":null}')
    assert (asked.headers["content-type"], asked.headers["x-token"]) == ("application/json", "t")
    assert "x-none" not in asked.headers


async def test_text_is_sent_as_it_is_and_null_is_a_json_body() -> None:
    async with origin(always(answer())) as here:
        await http({"method": "PUT", "url": here.url, "text": "<a/>", "headers": {"Content-Type": "application/xml"}})
        await http({"method": "PUT", "url": here.url, "json": None})
        await http({"method": "PUT", "url": here.url})
    assert [asked.body for asked in here.asked] == [b"<a/>", b"null", b""]
    assert here.asked[0].headers["content-type"] == "application/xml"


async def test_writes_carry_the_idempotency_key_and_reads_do_not() -> None:
    async with origin(always(answer())) as here:
        for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
            await http({"method": method, "url": here.url})
        await http({"method": "POST", "url": here.url, "headers": {"idempotency-key": "mine"}})
    keys = [asked.headers.get("idempotency-key") for asked in here.asked]
    assert keys == [None, *["run-1/step"] * 4, "mine"]


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"json": 1, "text": "a", "method": "POST"}, "give json or text, not both"),
        ({"json": 1}, "a GET request has no body"),
        ({"headers": {"Host": "inside"}}, "Host is set by the HTTP client"),
        ({"headers": {"content-length": "1"}}, "is set by the HTTP client"),
        ({"headers": {"Proxy-Authorization": "x"}}, "is set by the HTTP client"),
        ({"headers": {"A\r\nB": "x"}}, "should match pattern"),
        ({"method": "TRACE"}, "Input should be"),
        ({"expect": []}, "at least 1"),
        ({"expect": [99]}, "greater than or equal to 100"),
        ({"timeout": "soon"}, "is not a duration"),
    ],
)
async def test_a_config_that_cannot_be_meant_is_refused(config: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        HTTP.config.model_validate({"url": "https://a.example", **config})


async def test_a_header_value_cannot_begin_another_request() -> None:
    async with origin(always(answer())) as here:
        failure = await failing({"url": here.url, "headers": {"X-A": "1\r\nX-B: 2"}})
    assert failure.code == "bad_request"
    assert not here.asked


# --- which answers fail -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "retryable"), [(400, False), (401, False), (404, False), (408, True), (425, True), (429, True), (500, True), (503, True)]
)
async def test_a_status_that_is_not_expected_fails_and_some_may_be_tried_again(status: int, retryable: bool) -> None:
    async with origin(typed(b"  the  reason ", "text/plain", status)) as here:
        failure = await failing({"url": here.url})
    assert (failure.code, failure.retryable, failure.details) == ("http_status", retryable, {"status": status})
    assert failure.message == f"GET was answered with {status} Said: the reason"


async def test_expected_statuses_are_outputs() -> None:
    async with origin(typed(b'{"why": "gone"}', "application/json", 404)) as here:
        output = await http({"url": here.url, "expect": ["2xx", 404]})
    assert (output["status"], output["ok"], output["body"]) == (404, False, {"why": "gone"})
    async with origin(always(answer(200))) as here:
        assert (await failing({"url": here.url, "expect": [404]})).code == "http_status"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry_after": "12"}, 12.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 30.0),
        ({"retry_after": "Wed, 21 Oct 2026 07:28:00 GMT", "date": "Wed, 21 Oct 2026 07:30:00 GMT"}, 0.0),
        ({"retry_after": "99999999"}, 86400.0),
        ({"retry_after": "soon"}, None),
        ({}, None),
    ],
)
async def test_retry_after_is_honoured_as_a_number_or_an_instant(headers: dict[str, Any], seconds: float | None) -> None:
    async with origin(always(answer(429, **headers))) as here:
        assert (await failing({"url": here.url})).retry_after == seconds


# --- effects ----------------------------------------------------------------------------------------------------------


def test_the_effect_follows_from_the_method() -> None:
    assert {effect(method=method) for method in ("GET", "HEAD", "OPTIONS")} == {Effect.READ}
    assert {effect(method=method) for method in ("PUT", "DELETE")} == {Effect.WRITE_IDEMPOTENT}
    assert {effect(method=method) for method in ("POST", "PATCH")} == {Effect.WRITE_ONCE}
    assert effect(method="POST", idempotent=True) is Effect.WRITE_IDEMPOTENT


async def never(asked: Asked, writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def hang_up(asked: Asked, writer: asyncio.StreamWriter) -> None:
    writer.close()


@pytest.mark.parametrize("reply", [never, hang_up])
async def test_a_post_without_an_answer_is_in_doubt_and_never_repeated_blindly(reply: Any) -> None:
    config: dict[str, Any] = {"method": "POST", "timeout": "300ms"}
    async with origin(reply) as here:
        once = await failing({**config, "url": here.url})
        again = await failing({**config, "url": here.url, "idempotent": True})
    assert (once.code, once.retryable) == ("in_doubt", False)
    assert "it is not known whether this POST took effect" in once.message
    assert again.code in ("timeout", "cut")
    assert again.retryable


@pytest.mark.parametrize(
    ("status", "headers", "retryable"),
    [(500, {}, False), (502, {}, False), (503, {}, False), (503, {"retry_after": "1"}, True), (429, {}, True)],
)
async def test_a_post_that_was_answered_is_repeated_only_when_nothing_was_done(
    status: int, headers: dict[str, Any], retryable: bool
) -> None:
    async with origin(always(answer(status, **headers))) as here:
        assert (await failing({"method": "POST", "url": here.url})).retryable is retryable
        if status in (500, 502, 503):
            assert (await failing({"method": "POST", "url": here.url, "idempotent": True})).retryable


async def test_a_post_that_never_left_may_be_tried_again() -> None:
    async with origin(always(b"")) as gone:
        pass
    failure = await failing({"method": "POST", "url": gone.url})
    assert (failure.code, failure.retryable) == ("connect", True)


async def test_a_post_that_was_redirected_to_nowhere_is_in_doubt() -> None:
    async with origin(always(b"")) as gone:
        pass
    async with origin(always(answer(307, location=gone.url))) as here:
        assert (await failing({"method": "POST", "url": here.url})).code == "in_doubt"


# --- bounds -----------------------------------------------------------------------------------------------------------


async def test_size_and_time_are_bounded_by_the_config() -> None:
    async with origin(always(answer(body=b"x" * 100))) as here:
        assert (await failing({"url": here.url, "max_bytes": 99})).code == "too_large"
    async with origin(never) as here:
        assert (await failing({"url": here.url, "timeout": "200ms"})).code == "timeout"


async def test_private_addresses_are_refused_whatever_the_config_says() -> None:
    async with origin(always(answer())) as here:
        failure = await failing({"url": here.url, "headers": {"X-Forwarded-For": "127.0.0.1"}}, Policy())
    assert failure.code == "blocked_address"
    assert "WEFT_ALLOW_HOSTS" in failure.message


async def test_redirects_are_followed_unless_the_config_says_no() -> None:
    async with origin(typed(b"end", "text/plain")) as end, origin(always(answer(302, location=end.url))) as here:
        assert (await http({"url": here.url}))["body"] == "end"
        output = await http({"url": here.url, "follow_redirects": False, "expect": ["3xx"]})
        assert (output["status"], output["ok"], output["headers"]["location"]) == (302, False, end.url)
