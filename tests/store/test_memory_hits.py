"""P3, no leak: weft.memory_words and weft.memory_hits, which the version before calls, see all rows and mind the organization themselves;
here they are asked for what is somebody else's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from memory import items, recall, scopes, words
from memory.items import NewMemory
from memory.scopes import Principal
from store import identities, memories
from store import recall as stored
from store.errors import WeftError
from store.memories import Scope
from store.postgres import Database, Tenant
from store.queries import Query
from store.recall import Asked, Filters

pytestmark = pytest.mark.anyio
SECRET = "The vault opens with quuxotl."
HITS = Query(
    "hits",
    b"""SELECT id::text FROM weft.memory_hits(%(scopes)s::bigint[], %(keys)s::text[], %(least)s::int, clock_timestamp(), NULL, NULL, NULL,
        NULL, NULL, NULL, NULL)""",
)
WORDS = Query(
    "words",
    b"""SELECT id::text FROM weft.memory_words(%(scopes)s::bigint[], ARRAY(SELECT q::tsquery FROM unnest(%(keys)s::text[]) AS q), 1000,
        %(least)s::int, clock_timestamp(), NULL, NULL, NULL, NULL, NULL, NULL, NULL)""",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vault:
    scope: Scope
    key: str  # the lexeme of the secret word in that scope

    def asked(self, **more: Any) -> dict[str, Any]:
        return {"scopes": [self.scope.id], "keys": [self.key], "least": 0, **more}


@pytest.fixture
def boss(owner: str) -> Principal:
    return Principal(user_id=owner, role="owner")


async def vault(tenant: Tenant, principal: Principal, **where: Any) -> Vault:
    scope = await scopes.make(tenant, principal, "conversation", "vault", **where)
    await items.keep(tenant, scope, [NewMemory(kind="turn", body=SECRET)])
    (term,) = words.terms("quuxotl")
    return Vault(scope=scope, key=words.key(scope.id, term))


async def test_it_finds_ones_own_or_all_that_follows_would_prove_nothing(tenant: Tenant, boss: Principal) -> None:
    ours = await vault(tenant, boss)
    assert len(await tenant.all(HITS, str, **ours.asked())) == 1


async def test_whatever_is_asked_of_words_only_ones_own_answers(tenant: Tenant, other_tenant: Tenant, boss: Principal) -> None:
    """The query is a query here, with operators and prefixes: all that it can match is of the one who asks."""
    theirs, ours = await vault(tenant, boss), await vault(other_tenant, Principal(user_id=None, role="owner"))
    everywhere = list(range(1, 200))
    own = set(await other_tenant.all(WORDS, str, **ours.asked(keys=[words.quoted(ours.key)])))
    assert len(own) == 1
    asked = [words.quoted(theirs.key), f"{theirs.scope.id}:*", "!zzz", f"{words.quoted(theirs.key)} | !zzz", f"!{words.quoted(ours.key)}"]
    for query in asked:
        assert set(await other_tenant.all(WORDS, str, **theirs.asked(keys=[query], scopes=everywhere))) <= own
        assert await other_tenant.all(WORDS, str, **theirs.asked(keys=[query])) == []
    assert len(await tenant.all(WORDS, str, **theirs.asked(keys=["!zzz"]))) == 1  # they do match


async def test_scopes_of_another_organization_say_nothing(tenant: Tenant, other_tenant: Tenant, boss: Principal) -> None:
    theirs = await vault(tenant, boss)
    everywhere = list(range(1, 200))
    for asked in (theirs.asked(), theirs.asked(scopes=everywhere), theirs.asked(scopes=[*everywhere, None], keys=[theirs.key, None])):
        assert await other_tenant.all(HITS, str, **asked) == []
    who = Principal(user_id=(await identities.create_user(other_tenant, name="Mallory", role="owner")).id, role="owner")
    found = await recall.recall(other_tenant, who, [theirs.scope], "quuxotl vault", filters=Filters(least_trust=1))
    assert found.hits == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "'",
        "''",
        "\\",
        "\\'",
        "' | 'quuxotl",
        "quuxotl' | '1:",
        ":*",
        "'1':*",
        "1:*",
        "*",
        "!x",
        "<->",
        "x\x01",
        "é" * 3000,
        "(",
        "&",
        "a & b",
    ],
)
async def test_a_crafted_key_is_a_word_and_nothing_else(tenant: Tenant, other_tenant: Tenant, boss: Principal, key: str) -> None:
    """No operator, prefix or quote of a query gets out of it: at most it is refused."""
    ours, theirs = await vault(tenant, boss), await vault(other_tenant, Principal(user_id=None, role="owner"))
    for asker in (tenant, other_tenant):
        for wanted in (key, f"{theirs.key}{key}x", f"{ours.key}' | '{key}"):
            try:
                found = await asker.all(HITS, str, **ours.asked(keys=[wanted], scopes=[ours.scope.id, theirs.scope.id]))
            except (WeftError, psycopg.Error):  # an empty word is none
                continue
            assert found == []


@pytest.mark.parametrize("setting", ["", "x", "00000000-0000-0000-0000-000000000000", "' OR true --"])
async def test_without_an_organization_or_with_a_made_up_one_it_says_nothing(
    database: Database, tenant: Tenant, boss: Principal, setting: str
) -> None:
    ours = await vault(tenant, boss)
    async with database.connection() as connection:
        found: list[Any] = []
        try:
            async with connection.transaction():
                await connection.execute(b"SELECT set_config('weft.org', %s, true)", (setting,))
                found = await (await connection.execute(HITS.text, ours.asked())).fetchall()
        except psycopg.Error:  # a text that is no id
            assert setting not in ("", "00000000-0000-0000-0000-000000000000")
        assert found == []
    async with database.connection() as connection:
        assert await (await connection.execute(HITS.text, ours.asked())).fetchall() == []
        assert await (await connection.execute(WORDS.text, ours.asked(keys=["!zzz"]))).fetchall() == []


async def test_what_stands_in_front_of_its_names_is_not_what_it_calls(
    database: Database, tenant: Tenant, other_tenant: Tenant, boss: Principal
) -> None:
    """A search path, a table or a function of the caller's own changes nothing of what it does with its owner's rights."""
    theirs = await vault(tenant, boss)
    async with database.connection() as connection:
        for attack in (
            b"CREATE TEMP TABLE memories (org_id uuid, id uuid, terms tsvector)",
            b"CREATE FUNCTION pg_temp.org() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
            b"CREATE FUNCTION pg_temp.ts_rank(real[], tsvector, tsquery) RETURNS real LANGUAGE sql AS 'SELECT 1::real'",
            b"CREATE OR REPLACE FUNCTION weft.org() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
            b"ALTER FUNCTION weft.memory_hits OWNER TO weft_app",
            b"GRANT weft_dispatch TO weft_app",
            b"SET ROLE weft_dispatch",
        ):
            try:
                await connection.execute(attack)
            except psycopg.Error:
                continue
        async with connection.transaction():
            await connection.execute(b"SET LOCAL search_path = pg_temp, weft, public")
            await connection.execute(b"SELECT set_config('weft.org', %s, true)", (other_tenant.org_id,))
            row = await (await connection.execute(b"SELECT current_user, session_user")).fetchone()
            assert row == ("weft_app", "weft_app")
            assert await (await connection.execute(HITS.text, theirs.asked())).fetchall() == []
            assert await (await connection.execute(WORDS.text, theirs.asked(keys=["!zzz"]))).fetchall() == []
            assert await (await connection.execute(b"SELECT id FROM weft.memories")).fetchall() == []
        await connection.execute(b"DISCARD ALL")


async def test_nobody_recalls_from_the_private_scope_of_another_user(tenant: Tenant, boss: Principal) -> None:
    """The statement that calls it decides which scopes a user reads, whatever ids it is given."""
    ann = Principal(user_id=(await identities.create_user(tenant, name="Ann", role="viewer")).id, role="viewer")
    hers = await vault(tenant, ann, private=True)
    asked = Asked(terms=words.terms("quuxotl"), filters=Filters(least_trust=0))
    assert len(await stored.recall(tenant, [hers.scope.id], ann.user_id, asked, many=10)) == 1
    assert await stored.recall(tenant, [hers.scope.id], boss.user_id, asked, many=10) == []
    assert await stored.recall(tenant, [hers.scope.id], None, asked, many=10) == []
    assert await stored.recall(tenant, list(range(1, 100)), boss.user_id, asked, many=10) == []


async def test_words_that_were_heard_are_heard_by_those_who_may_read_them(tenant: Tenant, other_tenant: Tenant, boss: Principal) -> None:
    ann = Principal(user_id=(await identities.create_user(tenant, name="Ann", role="viewer")).id, role="viewer")
    hers = await scopes.make(tenant, ann, "conversation", "mail", private=True)
    await items.keep(tenant, hers, [NewMemory(kind="turn", body=SECRET, origin="web")])
    assert await memories.heard(tenant, [SECRET.upper()], ann.user_id) == 1
    assert await memories.heard(tenant, [SECRET], boss.user_id) is None
    assert await memories.heard(other_tenant, [SECRET], ann.user_id) is None
