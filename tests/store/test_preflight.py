"""A Postgres that would lose work or mix organizations is refused with a sentence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from store import preflight
from store.errors import Misconfigured, Unavailable
from store.preflight import Facts
from tests.conftest import Server

pytestmark = pytest.mark.anyio

GOOD = Facts(
    major=18,
    fsync=True,
    synchronous_commit="on",
    full_page_writes=True,
    standby=False,
    encoding="UTF8",
    pgvector="0.8.5",
    login="weft_app",
    unbound=False,
    owner=False,
)


def test_a_good_server_passes() -> None:
    assert preflight.refusals(GOOD, app=True) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"major": 15}, "Postgres 15 is too old; Weft needs 16"),
        ({"pgvector": None}, "no pgvector; install the extension"),
        ({"pgvector": "0.7.4"}, r"pgvector 0\.7\.4 is too old; install 0\.8 or newer"),
        ({"fsync": False}, "fsync is off"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off"),
        ({"full_page_writes": False}, "full_page_writes is off"),
        ({"standby": True}, "read-only standby"),
        ({"encoding": "SQL_ASCII"}, "ENCODING 'UTF8'"),
        ({"unbound": True}, "Let Weft log in as weft_app"),
        ({"owner": True}, "owns Weft's tables"),
    ],
)
def test_each_fault_is_a_sentence(change: dict[str, Any], words: str) -> None:
    [sentence] = preflight.refusals(replace(GOOD, **change), app=True)
    assert pytest.raises(AssertionError, match=words).matches(AssertionError(sentence))


@pytest.mark.parametrize("version", ["0.8", "0.8.0", "0.10.1", "1.0"])
def test_newer_versions_of_pgvector_pass(version: str) -> None:
    assert preflight.refusals(replace(GOOD, pgvector=version), app=True) == []


async def test_every_fault_is_told_at_once(app_url: str) -> None:
    """The server of the tests is not durable, for speed."""
    with pytest.raises(Misconfigured, match=r"fsync is off.*synchronous_commit is off"):
        await preflight.check(app_url, app=True)


async def test_the_superuser_may_migrate_but_not_be_the_app(admin_url: str) -> None:
    facts = await preflight.inspect(admin_url)
    assert (facts.unbound, facts.major) == (True, 18)
    durable = replace(facts, fsync=True, synchronous_commit="on", full_page_writes=True)
    assert preflight.refusals(durable, app=False) == []
    assert any("superuser" in sentence for sentence in preflight.refusals(durable, app=True))


async def test_the_apps_login_is_bound_and_owns_nothing(app_url: str) -> None:
    facts = await preflight.inspect(app_url)
    assert (facts.login, facts.unbound, facts.owner) == ("weft_app", False, False)


async def test_a_server_that_is_not_there_is_unavailable(server: Server, app_url: str) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        await preflight.inspect(app_url.replace("host=", "host=/nowhere"))
