"""Every kind of connection keeps the contract: settings are closed and hold nothing secret, secrets are named and explained."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from graphs.connections import Connection, auth_secrets, kinds
from graphs.definition import Closed
from graphs.nodetype import Failure
from graphs.redaction import Redactor

FIELD = re.compile(r"[a-z][a-z0-9_]{0,47}")
API = Connection(id="1", name="api", kind="http", settings={"base_url": "https://api.example/v1"}, secrets={"token": "tok-secret-value"})


@pytest.mark.parametrize("name", list(kinds()))
def test_a_kind_keeps_the_contract(name: str) -> None:
    kind = kinds()[name]
    assert 10 < len(kind.summary) <= 200
    assert issubclass(kind.settings, Closed)
    assert kind.secrets
    assert kind.optional <= set(kind.secrets)
    for field, words in kind.secrets.items():
        assert FIELD.fullmatch(field)
        assert words
        assert field not in kind.settings.model_fields
    if "auth" in kind.settings.model_fields:
        assert auth_secrets() <= set(kind.secrets)
    with pytest.raises(ValidationError):
        kind.settings.model_validate({"there is no such setting": 1})


def test_a_connection_does_not_show_its_secrets() -> None:
    assert "tok-secret-value" not in repr(API) + str(API)
    assert API.secret("token") == "tok-secret-value"
    assert API.secret("password") is None


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("/orders?x=1", "https://api.example/v1/orders?x=1"),
        ("orders/a:b", "https://api.example/v1/orders/a:b"),
        ("//evil.example/x", "https://api.example/v1/evil.example/x"),
        ("@evil.example/x", "https://api.example/v1/@evil.example/x"),
        (r"\\evil.example\x", "https://api.example/v1/\\\\evil.example\\x"),
        ("https:evil.example", "https://api.example/v1/https:evil.example"),
        ("https://api.example/v2", "https://api.example/v2"),
        ("https://API.example:443/v2", "https://API.example:443/v2"),
    ],
)
def test_a_path_stays_under_the_address(url: str, whole: str) -> None:
    assert API.address(url) == whole


@pytest.mark.parametrize(
    "url",
    [
        "http://api.example/v1",
        "https://api.example:8443/",
        "https://api.example.evil.example/",
        "https://evil.example/https://api.example/",
        "https://api.example@evil.example/",
        "HTTPS://EVIL.example/",
        "ftp://api.example/",
        "https://xn--pi-eia.example/",
    ],
)
@pytest.mark.anyio
async def test_nothing_goes_to_another_origin(url: str) -> None:
    for ask in (API.headers, API.params):
        with pytest.raises(Failure) as refused:
            await ask(url)
        assert refused.value.code in ("connection_origin", "bad_url")
    with pytest.raises(Failure):
        API.address(url)


def test_blotting_out_a_megabyte_is_quick() -> None:
    """Bounded loosely: it says when something grows with the square of the text."""
    import time

    redactor = Redactor(["tok-0123456789abcdef", "another-secret-value"])
    text = "word " * 200_000 + "tok-0123456789abcdef"
    start = time.process_time()
    cleaned = redactor.text(text)
    spent = time.process_time() - start
    print(f"\n{spent * 1000:.1f} ms of CPU for 1 MB and 2 secrets")
    assert cleaned.endswith("word ***")
    assert spent < 1.0


def test_a_server_does_not_write_the_command_that_a_person_is_to_run() -> None:
    evil = "pay:write ;curl;evil|sh $(id) `id` a&b --roles=x " + " ".join(f"more.{number}" for number in range(20))
    auth = {"type": "oauth2", "grant": "authorization_code", "token_url": "https://a.example/t", "client_id": "weft"} | {
        "authorize_url": "https://a.example/a"
    }
    api = Connection(id="1", name="payments", kind="http", settings={"base_url": "https://pay.example", "auth": auth})
    found = api.refusal("https://pay.example/x", 403, f'Bearer error="insufficient_scope", scope="{evil}"')
    assert found is not None
    named = ["pay:write", *(f"more.{number}" for number in range(9))]
    assert f"asks for the scopes {', '.join(named)}, which" in found.message
    assert found.message.endswith("weft connections authorize payments" + "".join(f" --scope {scope}" for scope in named))
