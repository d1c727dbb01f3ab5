"""What a provider tells of a call, and what it is to say next. Any process hears it: all there is to know is in the row of the call.

Whatever comes twice, late or out of order changes nothing and is answered as before: transitions only go forward
(store/voice_calls.sql), and every prompt has a number, under which one answer counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from graphs.nodetype import Failure
from graphs.voice import BEFORE, EVENT, OVER, News, Speech, masked, provider
from graphs.voice.calls import digest
from graphs.voice.dialogue import Heard, Script, Standing, farewell, greeting, hear, prompt
from store import runs as run_rows
from store import tasks as task_rows
from store import voice_calls as rows
from store import waits
from store.errors import Denied
from store.postgres import Tenant, Transaction
from store.voice_calls import Call

if TYPE_CHECKING:
    from graphs.engine import Engine

TOLD = {
    "ringing": "The telephone rings",
    "answered": "The call was answered",
    "completed": "The call has ended",
    "busy": "The line is busy",
}
MAX_TRANSCRIPT = 100  # lines


class Forged(Denied):
    """There is no such call, or this was not sent by its provider."""

    code = "forged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A request of a provider: the path of it under our address, its form fields in order, its headers in lower case."""

    ticket: str
    act: str
    turn: int
    path: str
    fields: Sequence[tuple[str, str]]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    media: str
    body: str


async def hear_of(engine: Engine, told: Told) -> Reply | None:
    """Takes in what a provider tells; None: there is nothing to say to that. Raises Forged, for whatever reason alike."""
    found = await rows.find(engine.database, digest(told.ticket))
    if found is None or engine.connections is None or engine.public_url is None:
        raise Forged
    tenant = engine.database.tenant(found.org_id)
    call = await rows.get(tenant, found.id)
    if call is None or call.kind is None:
        raise Forged
    try:
        connection = await engine.connections.open(tenant, call.connection, kind=call.kind)
    except Failure:  # it is gone, or was changed to something else
        raise Forged from None
    speaker = provider(call.kind)
    if not speaker.authentic(connection, engine.public_url + told.path, told.fields, told.headers):
        raise Forged
    news: News = speaker.news(connection, told.fields)
    if not news.name or (call.provider_id or news.name) != news.name:
        raise Forged
    if call.provider_id is None:
        await rows.name_it(tenant, call.id, news.name)
    talk = _Talk(engine, tenant, call)
    if told.act == "status":
        await talk.moved(news)
        return None
    speech = await (talk.answered() if told.act == "answer" else talk.said(told.turn, news))
    address = f"{engine.public_url}/hooks/voice/{told.ticket}/said/{talk.call.turn}"
    return Reply(media=speaker.MEDIA, body=speaker.render(speech, address))


class _Talk:
    """One request about one call."""

    def __init__(self, engine: Engine, tenant: Tenant, call: Call) -> None:
        self.engine, self.tenant, self.call = engine, tenant, call
        self.script = Script.of_json(call.script)

    @property
    def standing(self) -> Standing:
        return Standing(field=self.call.field, tries=self.call.tries, answers=self.call.answers)

    async def moved(self, news: News) -> None:
        """Another state. One that ends the call wakes the run, in the same transaction."""
        if news.state is None:
            return
        async with self.tenant.transaction() as transaction:
            moved = await self._move(transaction, news.state, error=news.error)
            if moved and news.state in OVER:
                await self._wake(transaction, news.state)
        if moved:
            self.engine.look(self.tenant.org_id, self.call.run_id)

    async def answered(self) -> Speech:
        """Somebody has taken the call. Asked again, the provider hears again what is due."""
        if not self.call.wanted:
            return await self._settled()
        if self.call.state in OVER:
            return farewell(self.script, "bye" if self.call.state == "completed" else "settled")
        async with self.tenant.transaction() as transaction:
            await self._move(transaction, "answered")
            if self.script.form:
                await self._move(transaction, "asking")
        return greeting(self.script, self.standing) if not self.call.turn else prompt(self.script, self.standing)

    async def said(self, turn: int, news: News) -> Speech:
        """Something was heard, or nothing, at prompt `turn`."""
        if self.call.state in OVER or not self.call.wanted:
            return await self.answered()
        if turn != self.call.turn or self.standing.field >= len(self.script.fields):  # told twice, or late
            return prompt(self.script, self.standing)
        heard = hear(self.script, self.standing, keys=news.keys, speech=news.speech)
        async with self.tenant.transaction() as transaction:
            taken = await self._turned(transaction, heard)
            outcome = await self._concluded(transaction, heard) if taken else None
        self.call = await rows.get(self.tenant, self.call.id) or self.call
        if outcome is None:
            return prompt(self.script, self.standing) if self.call.state not in OVER else await self.answered()
        self.engine.look(self.tenant.org_id, self.call.run_id)
        return farewell(self.script, outcome)

    # -- in a transaction --------------------------------------------------------------------------------------------------------

    async def _turned(self, transaction: Transaction, heard: Heard) -> bool:
        asked = (greeting if not self.call.turn else prompt)(self.script, self.standing)
        at = self.call.now.isoformat(timespec="seconds")
        said = " ".join([*asked.lines, asked.question.text if asked.question else ""]).strip()
        lines = [{"who": "weft", "text": said, "at": at}, {"who": "person", "text": heard.said, "at": at}]
        then = heard.standing
        return await rows.turn(
            transaction, self.call.id, turn=self.call.turn, field=then.field, tries=then.tries, answers=dict(then.answers),
            transcript=[*self.call.transcript, *lines][-MAX_TRANSCRIPT:],
        )  # fmt: skip

    async def _concluded(self, transaction: Transaction, heard: Heard) -> Any:
        """What is said in the end; None: there is more to ask."""
        if heard.outcome == "given_up":
            await self._move(transaction, "completed", error="what was said does not fit what was asked")
            await self._wake(transaction, "completed")
            return "sorry"
        if heard.outcome != "answered":
            return None
        won = await self._answer_task(transaction, dict(heard.standing.answers))
        await self._move(transaction, "completed" if won else "cancelled")
        return "bye" if won else "settled"

    async def _answer_task(self, transaction: Transaction, answers: dict[str, Any]) -> bool:
        """The first valid answer wins, at whatever door."""
        if self.call.task_id is None:
            return False
        who = f"telephone {masked(self.call.recipient)}"
        run_id = await task_rows.answer(
            transaction, self.call.task_id, answer=answers, comment=None, user_id=None, user_name=who, via="voice"
        )  # fmt: skip
        if run_id:
            await run_rows.notify(transaction, run_id)
        return run_id is not None

    async def _settled(self) -> Speech:
        """Nobody waits for this any longer; whoever is on the telephone is told so and let go."""
        async with self.tenant.transaction() as transaction:
            await self._move(transaction, "cancelled")
        return farewell(self.script, "settled" if self.call.state != "completed" else "bye")

    async def _move(self, transaction: Transaction, state: str, *, error: str | None = None) -> bool:
        """Whether it was not there yet. Whoever watches the run is told of it."""
        moved = await rows.move(transaction, self.call.id, state, before=BEFORE[state], error=error)
        if moved and (message := TOLD.get(state)):
            data = {"call_id": self.call.id, "state": state}
            await rows.tell(transaction, moved, f"{message}: {masked(self.call.recipient)}", data)
            await run_rows.notify(transaction, moved.run_id)
        return moved is not None

    async def _wake(self, transaction: Transaction, state: str) -> None:
        received = await waits.receive_within(
            transaction, name=EVENT, correlation=self.call.id, payload={"state": state}, idempotency_key=f"voice:{self.call.id}"
        )
        for run_id in received.woken if received else []:
            await run_rows.notify(transaction, run_id)
