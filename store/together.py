"""Hot statements of many callers in one round trip and one commit: what is asked while one group is under way forms the next."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Any

from psycopg.pq.abc import PGresult

from store.errors import Unavailable
from store.line import Line
from store.queries import Query

MAX_GROUP = 64  # statements; none waits long for the others
SCOPE = Query("scope", b"SELECT set_config('weft.org', %(org_id)s, true)")


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    org_id: str
    query: Query
    params: dict[str, Any]
    answer: asyncio.Future[PGresult]


class Together:
    """Takes statements that are short and wait for no lock of another run; each is bound to its organization."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._asked: list[Question] = []
        self._work: asyncio.Task[None] | None = None

    async def ask(self, org_id: str, query: Query, params: dict[str, Any]) -> PGresult:
        """Raises what `translate` makes of an error of this statement; no other one's can reach it."""
        answer: asyncio.Future[PGresult] = asyncio.get_running_loop().create_future()
        self._asked.append(Question(org_id, query, params, answer))
        if self._work is None:
            self._work = asyncio.create_task(self._answer_all(), name="together")
        return await answer

    async def close(self) -> None:
        """Ends what is under way; those who wait for it are cancelled."""
        if self._work:
            self._work.cancel()
            await asyncio.wait([self._work])
        self._line.close()

    async def _answer_all(self) -> None:
        group: list[Question] = []
        try:
            while self._asked:
                group, self._asked = self._asked[:MAX_GROUP], self._asked[MAX_GROUP:]
                await self._answer(sorted((question for question in group if not question.answer.done()), key=attrgetter("org_id")))
        finally:
            self._work = None
            for question in (*group, *self._asked):
                question.answer.cancel()

    async def _answer(self, group: Sequence[Question]) -> None:
        sent: list[tuple[Query, dict[str, Any]]] = []
        heard: list[Question | None] = []
        for org_id, questions in groupby(group, key=attrgetter("org_id")):
            sent.append((SCOPE, {"org_id": org_id}))
            heard.append(None)
            for question in questions:
                sent.append((question.query, {"org_id": org_id, **question.params}))
                heard.append(question)
        try:
            answers = await self._line.send(sent)
        except Exception as error:  # noqa: BLE001 whatever it is, those who wait must hear of it
            if len(group) == 1 or isinstance(error, Unavailable):
                for question in group:
                    if not question.answer.done():
                        question.answer.set_exception(error)
                return
            for question in group:  # nothing has happened: one statement's fault must not fail the others
                await self._answer([question])
            return
        for question, result in zip(heard, answers, strict=True):
            if question and not question.answer.done():
                question.answer.set_result(result)
