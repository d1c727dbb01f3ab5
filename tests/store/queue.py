"""A queue to claim from: organizations, and runs of theirs put into it by the thousand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import psycopg

from store import identities, runs, workflows
from store.postgres import Database
from store.runs import Claimed

LEASE = timedelta(seconds=8)
INSERT = """
INSERT INTO weft.runs (org_id, digest, name, mode, input, state, priority, wake_at, begin_at, concurrency_key, concurrency_limit,
                       created_by)
SELECT %(org)s, %(digest)s, 'flow', 'production', '{}', %(state)s, %(priority)s,
       clock_timestamp() + make_interval(secs => %(due)s::float8 + n * 0.000001),
       CASE WHEN %(due)s::float8 > 0 AND %(state)s = 'queued' THEN clock_timestamp() + make_interval(secs => %(due)s::float8) END,
       %(key)s::text || n %% %(keys)s::int, %(limit)s::int, %(user)s
FROM generate_series(1, %(count)s) n RETURNING id::text"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    id: str
    user: str
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """`admin` looks at all organizations at once."""

    database: Database
    admin: psycopg.Connection

    async def organization(self, slug: str, *, max_running: int | None = None) -> Organization:
        made = await identities.create_organization(self.database, slug=slug, name=slug)
        tenant = self.database.tenant(made.id)
        user = await identities.create_user(tenant, name="Olga", role="owner")
        digest = await workflows.store_definition(tenant, {"name": "flow", "nodes": [{"id": "a", "type": "set"}]})
        self.admin.execute("UPDATE weft.organizations SET max_running = %s WHERE id = %s", (max_running, made.id))
        return Organization(id=made.id, user=user.id, digest=digest)

    def put(
        self,
        owner: Organization,
        count: int,
        *,
        due: float = -1.0,
        state: str = "queued",
        priority: int = 0,
        key: str | None = None,
        keys: int = 1,
        limit: int | None = None,
    ) -> list[str]:
        """Ids of new runs, due in so many seconds; with a `key`, under that many of them with numbers behind."""
        given = {"org": owner.id, "digest": owner.digest, "user": owner.user, "count": count, "due": due, "state": state}
        rows = self.admin.execute(INSERT, {**given, "priority": priority, "key": key, "keys": keys, "limit": limit})
        return [id for (id,) in rows.fetchall()]

    async def claim(self, slots: int = 32, *, worker: int = -1) -> list[Claimed]:
        return await runs.claim(self.database, slots=slots, worker=worker, lease=LEASE)

    def finish(self, run_ids: list[str]) -> None:
        """Ends runs without waking anybody, as a process that dies in that moment might."""
        self.admin.execute(
            """UPDATE weft.runs SET state = 'succeeded', finished_at = clock_timestamp(), worker = NULL, lease_until = NULL,
                 admitted = false WHERE id = ANY(%s::uuid[])""",
            (run_ids,),
        )

    def count(self, where: str) -> int:
        row = self.admin.execute(f"SELECT count(*) FROM weft.runs WHERE {where}".encode()).fetchone()
        assert row is not None
        return row[0]
