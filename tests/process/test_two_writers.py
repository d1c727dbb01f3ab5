"""Two processes write the same conversation, entities and facts at once: nothing is lost, nothing is there twice, the order holds."""

from __future__ import annotations

import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import httpx2
import psycopg

from tests.process.conftest import Installation, Kept

OWN = 60  # turns that each process says alone
SHARED = 30  # that both say
ENTITIES = 25
CITIES = 30
AT_ONCE = 4  # requests under way at each process
SCOPE = "conversation:two-writers"


def sent_by(writer: str) -> list[dict[str, Any]]:
    """What a process is asked to remember, in an order of its own."""
    turns = [f"{writer} says sentence {number}." for number in range(OWN)] + [f"Both say sentence {number}." for number in range(SHARED)]
    items: list[dict[str, Any]] = [
        {"kind": "conversation", "item": {"messages": [{"id": text, "text": text, "speaker": "Ann"}]}} for text in turns
    ]
    items += [
        {"kind": "entity", "item": {"name": f"Harbour Club {number}", "type": "club", "attributes": {writer: number}}}
        for number in range(ENTITIES)
    ]
    items += [
        {"kind": "fact", "item": {"subject": "Ann", "predicate": "lives_in", "object": f"Town{number}", "valid_from": since(number)}}
        for number in range(CITIES)
    ]
    random.Random(writer).shuffle(items)
    return [{**item, "scope": SCOPE} for item in items]


def since(number: int) -> str:
    return datetime(1990 + number, 1, 1, tzinfo=UTC).isoformat()


def write(url: str, key: str, items: Sequence[dict[str, Any]]) -> None:
    with httpx2.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        for item in items:
            answer = client.post("/api/v1/memories", json=item)
            assert answer.status_code == 200, answer.text


def test_two_processes_write_the_same_and_lose_double_and_mix_up_nothing(kept: Kept, installation: Installation) -> None:
    with installation.process("serve", "--port", "0") as first, installation.process("serve", "--port", "0") as second:
        write(first.url, installation.key, [{"kind": "entity", "item": {"name": "Ann"}, "scope": SCOPE}])
        with ThreadPoolExecutor(2 * AT_ONCE) as pool:
            jobs = [
                pool.submit(write, server.url, installation.key, sent_by(name)[part::AT_ONCE])
                for name, server in (("first", first), ("second", second))
                for part in range(AT_ONCE)
            ]
            for job in jobs:
                job.result(timeout=120)
    with psycopg.connect(kept.postgres.admin_url) as admin:
        mine = "m.scope_id = (SELECT s.id FROM weft.memory_scopes s WHERE s.kind = 'conversation' AND s.name = 'two-writers')"

        def rows(query: str) -> list[Any]:
            return admin.execute(query.replace("MINE", mine).encode()).fetchall()

        turns = rows("SELECT m.seq, m.body FROM weft.memories m WHERE MINE AND m.kind = 'turn' ORDER BY m.seq")
        assert [seq for seq, _ in turns] == list(range(1, 2 * OWN + SHARED + 1))
        assert len({body for _, body in turns}) == 2 * OWN + SHARED
        clubs = rows("SELECT m.title, m.data FROM weft.memories m WHERE MINE AND m.kind = 'entity' AND m.body ~ '^Harbour Club'")
        assert len(clubs) == ENTITIES
        assert all({"first", "second"} <= set(data["attributes"]) for _, data in clubs), "what one process knew of an entity is lost"
        names = rows("SELECT n.name, count(*) FROM weft.memory_names n JOIN weft.memories m ON m.id = n.entity_id WHERE MINE GROUP BY 1")
        assert {number for _, number in names} == {1}
        facts = rows(
            "SELECT f.object, lower(f.valid), upper(f.valid) FROM weft.memory_facts f JOIN weft.memories m ON m.id = f.memory_id"
            " WHERE MINE AND f.live AND f.subject = 'ann' AND f.predicate = 'lives_in' ORDER BY lower(f.valid)"
        )
        assert [name for name, *_ in facts] == [f"town{number}" for number in range(CITIES)]
        assert [(begin.year, end and end.year) for _, begin, end in facts] == [
            (1990 + number, 1991 + number if number < CITIES - 1 else None) for number in range(CITIES)
        ]
