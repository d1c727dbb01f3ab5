"""Recall over conversations: which share of the turns that a question's answer is in comes back among the first k. And how long it takes in
scopes of 1,000, 10,000 and 100,000 memories beside others, and whether a scope gives all it has.

    python -m benchmarks.recall [--data ../shared/data/locomo_dev.json] [--minilm <folder of the model>] [--only quality | latency]

`--long N` joins every N turns to one message and calls those who speak user and assistant in turn: as conversations with a model are.

Peers in the same run, on the same Postgres: websearch_to_tsquery, ts_rank_cd, BM25 alone, vectors alone, both by reciprocal ranks (k = 60),
and LangGraph's PostgresStore. The data are for measurement only and are never shipped.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import re
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from langgraph.store.postgres import AsyncPostgresStore

import migrations.apply
from benchmarks.cpu import of_postgres
from memory import items, recall, scopes, spaces
from memory.embedding import Embedder, minilm, static
from memory.items import NewMemory
from store import identities
from store.embedded import embedded
from store.memories import Scope, in_space
from store.postgres import Database, Tenant
from store.queries import Query
from store.recall import RECALL, Asked, parameters

DATA = Path(__file__).parents[2] / "shared" / "data" / "locomo_dev.json"
DEPTHS = (5, 10, 20)
BUDGETS = {1_000: 15.0, 10_000: 40.0, 100_000: 120.0}  # ms, p95
ROUNDS = 30
ROLES = ("user", "assistant")
SIZES = (30, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
Ask = Callable[[str], Awaitable[list[str]]]
"""A question's answer: names of turns, the best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    name: str
    speaker: str
    body: str
    session: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    text: str
    evidence: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    name: str
    turns: list[Turn]
    questions: list[Question]


@dataclass(slots=True)
class Scores:
    """Per conversation, per question: recall at each depth, reciprocal rank, nDCG@10; and milliseconds."""

    rows: dict[str, list[tuple[float, ...]]] = field(default_factory=dict[str, list[tuple[float, ...]]])
    times: list[float] = field(default_factory=list[float])


def conversations(path: Path, long: int = 1) -> list[Conversation]:
    """`long`: how many turns are joined to one message; what a joined one holds is evidence as a whole."""
    return [_joined(talk, long) if long > 1 else talk for talk in _read(path)]


def _joined(talk: Conversation, size: int) -> Conversation:
    within: dict[str, str] = {}
    turns: list[Turn] = []
    for session in dict.fromkeys(turn.session for turn in talk.turns):
        said = [turn for turn in talk.turns if turn.session == session]
        for number, start in enumerate(range(0, len(said), size)):
            group = said[start : start + size]
            body = "\n".join(f"{turn.speaker} said: {turn.body}" for turn in group)
            turns.append(replace(group[0], speaker=ROLES[number % 2], body=body))
            within |= {turn.name: group[0].name for turn in group}
    asked = [replace(one, evidence=frozenset(within[name] for name in one.evidence)) for one in talk.questions]
    return Conversation(name=talk.name, turns=turns, questions=asked)


def _read(path: Path) -> list[Conversation]:
    found: list[Conversation] = []
    for sample in json.loads(path.read_text()):
        talk = sample["conversation"]
        numbers = sorted(int(key.split("_")[1]) for key in talk if re.fullmatch(r"session_\d+", key))
        turns = [
            Turn(
                name=turn["dia_id"],
                speaker=turn["speaker"],
                body=turn["text"],
                session=f"session {number}",
                at=datetime.strptime(talk[f"session_{number}_date_time"], "%I:%M %p on %d %B, %Y").replace(tzinfo=UTC),
            )
            for number in numbers
            for turn in talk[f"session_{number}"]
        ]
        names = {turn.name for turn in turns}
        asked = [
            Question(text=qa["question"], evidence=frozenset(re.findall(r"D\d+:\d+", " ".join(qa["evidence"]))) & names)
            for qa in sample["qa"]
            if qa["category"] != 5  # has no answer in the conversation
        ]
        found.append(Conversation(name=sample["sample_id"], turns=turns, questions=[one for one in asked if one.evidence]))
    return found


async def measure(scores: Scores, conversation: Conversation, ask: Ask) -> None:
    rows = scores.rows.setdefault(conversation.name, [])
    for question in conversation.questions:
        started = time.perf_counter()
        answer = await ask(question.text)
        scores.times.append((time.perf_counter() - started) * 1000)
        hits = [name in question.evidence for name in answer]
        shares = [sum(hits[:depth]) / len(question.evidence) for depth in DEPTHS]
        first = next((1 / rank for rank, hit in enumerate(hits, 1) if hit), 0.0)
        gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits[:10], 1) if hit)
        ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(10, len(question.evidence)) + 1))
        rows.append((*shares, first, gain / ideal))


def show(results: dict[str, Scores]) -> None:
    heads = "".join(f"{name:>7}" for name in ("R@5", "R@10", "R@20", "MRR", "nDCG"))
    print(f"{'means of the conversations':44}{heads}   {'R@10 of each':24}{'p50':>7}{'p95 ms':>8}")
    for name, scores in results.items():
        each = [[statistics.fmean(column) for column in zip(*rows, strict=True)] for rows in scores.rows.values()]
        means = "".join(f"{statistics.fmean(column):7.3f}" for column in zip(*each, strict=True))
        tens = " ".join(f"{one[1]:.3f}" for one in each)
        p50, p95 = quantiles(scores.times)
        print(f"{name:44}{means}   {tens:24}{p50:7.1f}{p95:8.1f}")


def quantiles(times: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(times)
    return ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, int(len(ordered) * 0.95))]


async def kept(tenant: Tenant, scope: Scope, conversation: Conversation, embedder: Embedder | None) -> dict[str, str]:
    """Keeps the turns; answers the name of each by its id."""
    seqs: dict[str, int] = {}
    new: list[NewMemory] = []
    for turn in conversation.turns:
        seqs[turn.session] = seqs.get(turn.session, 0) + 1
        seq = seqs[turn.session]
        one = NewMemory(
            kind="turn",
            body=turn.body,
            speaker=turn.speaker,
            role=turn.speaker if turn.speaker in ROLES else None,
            series=turn.session,
            seq=seq,
            occurred_at=turn.at,
            identity=turn.name,
        )
        new.append(one)
    rows = await items.keep(tenant, scope, new, embedder=embedder)
    return {row.id: turn.name for row, turn in zip(rows, conversation.turns, strict=True)}


async def weft(
    database: Database, name: str, embedder: Embedder | None, talks: Sequence[Conversation], results: dict[str, Scores]
) -> Tenant:
    """Our recall, in an organization of its own; answers it, for peers to search the same rows."""
    organization = await identities.create_organization(database, slug=name.split()[-1].lower(), name=name)
    tenant = database.tenant(organization.id)
    owner = await identities.create_user(tenant, name="bench", role="owner")
    who = scopes.Principal(user_id=owner.id, role="owner")
    if embedder is not None:
        await spaces.register(tenant, embedder)  # active at once, as nothing is remembered yet
    scores = results[name] = Scores()
    for talk in talks:
        scope = await scopes.make(tenant, who, "conversation", talk.name)
        names = await kept(tenant, scope, talk, embedder)

        async def ask(text: str, scope: Scope = scope, names: dict[str, str] = names) -> list[str]:
            found = await recall.recall(tenant, who, [scope], text, k=20, embedder=embedder)
            return [names[hit.memory.id] for hit in found.hits]

        await measure(scores, talk, ask)
    return tenant


async def peers(admin_url: str, store_url: str, embedder: Embedder, talks: Sequence[Conversation], results: dict[str, Scores]) -> None:
    """What others do, on the words of "speaker: text" and the vectors of "[date] speaker: text"."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("CREATE TABLE turns (talk text, name text, words tsvector, length int, e halfvec)")
        for talk in talks:
            texts = [contextual(turn) for turn in talk.turns]
            rows = zip(talk.turns, await items.embed(embedder, texts), strict=True)
            with admin.cursor() as cursor:
                cursor.executemany(
                    """INSERT INTO turns SELECT %s, %s, v, (SELECT sum(cardinality(positions)) FROM unnest(v)), %s::halfvec
                       FROM to_tsvector('english', %s) v""",
                    [(talk.name, turn.name, vector, f"{turn.speaker}: {turn.body}") for turn, vector in rows],
                )
        admin.execute("CREATE INDEX ON turns USING gin (words)")
        admin.execute("ANALYZE turns")

        def asking(query: str, talk: Conversation, *, embeds: bool) -> Ask:
            async def ask(text: str) -> list[str]:
                vector = (await items.embed(embedder, [text], query=True))[0] if embeds else None
                return [name for (name,) in admin.execute(query.encode(), {"talk": talk.name, "text": text, "vector": vector}).fetchall()]

            return ask

        for name, query in PEERS.items():
            scores = results[name] = Scores()
            for talk in talks:
                await measure(scores, talk, asking(query, talk, embeds="vector" in query))
    await _langgraph(store_url, embedder, talks, results)


async def _langgraph(url: str, embedder: Embedder, talks: Sequence[Conversation], results: dict[str, Scores]) -> None:
    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return await embedder.embed(texts)

    scores = results["LangGraph PostgresStore"] = Scores()
    index: Any = {"dims": embedder.dimensions, "embed": embed, "fields": ["text"]}
    async with AsyncPostgresStore.from_conn_string(url, index=index) as store:
        await store.setup()
        for talk in talks:
            for turn in talk.turns:
                await store.aput(("talks", talk.name), turn.name, {"text": contextual(turn)})

            async def ask(text: str, talk: Conversation = talk) -> list[str]:
                return [item.key for item in await store.asearch(("talks", talk.name), query=text, limit=20)]

            await measure(scores, talk, ask)


def contextual(turn: Turn) -> str:
    return items.contextual(NewMemory(kind="turn", body=turn.body, speaker=turn.speaker, occurred_at=turn.at))


SOME = "to_tsquery('english', array_to_string(ARRAY(SELECT quote_literal(lexeme) FROM unnest(to_tsvector('english', %(text)s))), ' | '))"
BM25 = """
  SELECT name, sum(idf * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * length / average))) AS score FROM (
    SELECT t.name, cardinality(u.positions) AS tf, t.length, m.average,
      ln(1 + (m.n - count(*) OVER same + 0.5) / (count(*) OVER same + 0.5)) AS idf
    FROM turns t, unnest(t.words) u, (SELECT count(*) AS n, avg(length) AS average FROM turns WHERE talk = %(talk)s) m
    WHERE t.talk = %(talk)s AND u.lexeme = ANY (ARRAY(SELECT lexeme FROM unnest(to_tsvector('english', %(text)s))))
    WINDOW same AS (PARTITION BY u.lexeme)) hits GROUP BY name"""
NEAREST = "SELECT name, 1 - (e <=> %(vector)s::halfvec) AS score FROM turns WHERE talk = %(talk)s"
PEERS = {
    "websearch_to_tsquery (and)": "SELECT name FROM turns, websearch_to_tsquery('english', %(text)s) q"
    " WHERE talk = %(talk)s AND words @@ q ORDER BY ts_rank_cd(words, q) DESC LIMIT 20",
    "ts_rank_cd (or)": f"SELECT name FROM turns, {SOME} q WHERE talk = %(talk)s AND words @@ q ORDER BY ts_rank_cd(words, q) DESC LIMIT 20",
    "BM25 alone": f"SELECT name FROM ({BM25}) b ORDER BY score DESC LIMIT 20",
    "vectors alone, built-in": f"SELECT name FROM ({NEAREST}) v ORDER BY score DESC LIMIT 20",
    "BM25 + vectors by ranks (RRF, k = 60)": f"""
      SELECT name FROM (SELECT name, row_number() OVER (ORDER BY score DESC) AS rank FROM ({BM25}) b
        UNION ALL SELECT name, row_number() OVER (ORDER BY score DESC) FROM ({NEAREST}) v) both_ways
      GROUP BY name ORDER BY sum(1.0 / (60 + rank)) DESC LIMIT 20""",
}


async def quality(admin_url: str, store_url: str, database: Database, talks: Sequence[Conversation], folder: Path | None) -> None:
    built_in = await static.open_embedder()
    results: dict[str, Scores] = {}
    await peers(admin_url, store_url, built_in, talks, results)
    await weft(database, "Weft, no embedder: words", None, talks, results)
    await weft(database, "Weft, built-in table: static", built_in, talks, results)
    if folder is not None:
        await weft(database, "Weft, MiniLM: minilm", await minilm.open_embedder(folder=folder), talks, results)
    show(results)


async def latency(admin_url: str, database: Database, largest: int) -> None:
    """Scopes of several sizes in one organization; vectors are of random sentences, made by the built-in embedder."""
    organization = await identities.create_organization(database, slug="sizes", name="Sizes")
    tenant = database.tenant(organization.id)
    owner = await identities.create_user(tenant, name="bench", role="owner")
    who = scopes.Principal(user_id=owner.id, role="owner")
    embedder = await static.open_embedder()
    await spaces.register(tenant, embedder)
    random.seed(7)
    words = [f"{a}{b}" for a in SYLLABLES for b in SYLLABLES]
    weights = [1 / (rank + 3) for rank in range(len(words))]
    made: dict[int, Scope] = {}
    for size in (size for size in SIZES if size <= largest):
        scope = made[size] = await scopes.make(tenant, who, "conversation", f"of {size}")
        for start in range(0, size, 2_000):
            new = [_sentence(words, weights, number) for number in range(start, min(start + 2_000, size))]
            await items.keep(tenant, scope, new, embedder=embedder)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("VACUUM ANALYZE")
        (data,) = admin.execute("SHOW data_directory").fetchone() or ("",)
    postmaster = int((Path(data) / "postmaster.pid").read_text().split()[0])
    heads = "".join(f"{name:>26}" for name in ("CPU ms, ours + Postgres", "of k = 10 came", "of the 10 nearest, ranked"))
    print(f"{'memories in the scope':24}{'p50':>8}{'p95 ms':>8}{'budget':>8}{heads}")
    for size, scope in made.items():
        times: list[float] = []
        least = 10
        begun = (0.0, 0.0)
        for number in range(ROUNDS):
            if number == 5:  # prepared, planned and in memory by now
                begun = (time.process_time(), of_postgres(postmaster))
            query = "When did we talk about " + " ".join(random.choices(words, weights, k=6)) + "?"
            started = time.perf_counter()
            least = min(least, len((await recall.recall(tenant, who, [scope], query, k=10, embedder=embedder)).hits))
            times.append((time.perf_counter() - started) * 1000)
        p50, p95 = quantiles(times[5:])
        spent = (time.process_time() - begun[0], of_postgres(postmaster) - begun[1])
        cpu = " + ".join(f"{seconds * 1000 / (ROUNDS - 5):.1f}" for seconds in spent)
        share = await _nearest(tenant, who, scope, embedder, words)
        print(f"{size:<24,}{p50:8.1f}{p95:8.1f}{BUDGETS.get(size, math.nan):8.0f}{cpu:>26}{least:>26}{share:>26.3f}")


async def _nearest(tenant: Tenant, who: scopes.Principal, scope: Scope, embedder: Embedder, words: list[str]) -> float:
    """Of the ten memories whose vectors are nearest, found by comparing with all: the share that recall ranks by their vector."""
    space = await recall.space_of(tenant, embedder)
    nearest = Query(
        "nearest",
        f"""SELECT v.memory_id::text FROM weft.memory_vectors_{space} v WHERE v.org_id = %(org_id)s::uuid
              AND v.scope_id = %(scope_id)s::bigint ORDER BY v.e <=> %(vector)s::text::halfvec LIMIT 10""".encode(),
    )
    ranked = RECALL.text[: RECALL.text.index(b"places AS (")].rstrip().rstrip(b",")
    field_of = in_space(Query("field", ranked + b" SELECT id::text FROM field WHERE vec IS NOT NULL"), space)
    shares: list[float] = []
    for _ in range(10):
        query = " ".join(random.choices(words, k=6))
        asked = Asked(terms=query.split(), vector=(await items.embed(embedder, [query], query=True))[0], space_id=space)
        exact = await tenant.all(nearest, str, scope_id=scope.id, vector=asked.vector)
        found = await tenant.all(field_of, str, **parameters(asked, [scope.id], who.user_id, many=10, skip=0))
        shares.append(len({*exact} & {*found}) / len(exact))
    return statistics.fmean(shares)


SYLLABLES = [a + b for a in ("b", "d", "f", "gr", "k", "l", "m", "n", "p", "st", "tr", "v") for b in ("a", "e", "i", "o", "u")]


def _sentence(words: list[str], weights: list[float], number: int) -> NewMemory:
    body = " ".join(random.choices(words, weights, k=random.randint(8, 40)))
    at = datetime(2025, 1, 1, tzinfo=UTC) + timedelta(minutes=number)
    speaker = "Ann" if number % 2 else "Bob"
    return NewMemory(
        kind="turn", body=body, speaker=speaker, series=f"s{number // 40}", seq=number % 40, occurred_at=at, identity=str(number)
    )


async def main(data: Path, folder: Path | None, *, only: str | None, largest: int, long: int) -> None:
    with tempfile.TemporaryDirectory(prefix="weft-bench-") as home:
        async with embedded(Path(home) / "pg", Path(home) / "keys" / "postgres.json") as server:
            await migrations.apply.apply(server.admin_url, app_password=server.app_password)
            with psycopg.connect(server.admin_url, autocommit=True) as admin:
                admin.execute("CREATE DATABASE store")
            store_url = server.url("postgres", server.passwords.admin, "store")
            async with Database.open(server.app_url) as database:
                if only != "latency":
                    await quality(server.admin_url, store_url, database, conversations(data, long), folder)
                if only != "quality":
                    await latency(server.admin_url, database, largest)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--minilm", type=Path, default=None)
    parser.add_argument("--only", choices=("quality", "latency"), default=None)
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="memories in the largest scope that is timed")
    parser.add_argument("--long", type=int, default=1, help="turns that are joined to one message")
    arguments = parser.parse_args()
    folder = arguments.minilm or minilm.installed()
    asyncio.run(main(arguments.data, folder, only=arguments.only, largest=arguments.largest, long=arguments.long))
