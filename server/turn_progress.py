"""What happens in a turn of a chat, as progress notifications: words as they are written, tools, what is asked, how started runs go."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress
from typing import Any

from graphs import following, runs
from graphs.following import News
from graphs.live import so_far
from server.auth import Caller
from server.tools import Ctx

EVERY = 0.3  # seconds of words in one notification
LONGEST = 500  # characters of a notification


class Telling:
    """Tells one client; each notification has the next number."""

    def __init__(self, ctx: Ctx) -> None:
        self._ctx = ctx
        self._number = 0
        self._words = ""
        self._texts: dict[str, str] = {}  # each part as it is
        self._told: dict[str, str] = {}  # and as it was told
        self._since = time.monotonic()

    async def hear(self, news: News) -> None:
        if news.name == "text":
            await self._write(news.data["part"], news.data)
            if time.monotonic() - self._since >= EVERY:
                await self.flush()
        elif line := line_of(news):
            await self.flush()
            await self._tell(line)

    async def _write(self, part: str, data: dict[str, Any]) -> None:
        """What is told cannot be taken back: of what takes its place only that is told which is new."""
        text, told = so_far(self._texts.get(part, ""), data), self._told.get(part, "")
        self._texts[part] = text
        if told.startswith(text):
            return
        if not text.startswith(told):
            await self.flush()
            told = ""
        self._words += text[len(told) :]
        self._told[part] = text

    async def flush(self) -> None:
        words, self._words, self._since = self._words, "", time.monotonic()
        if words.strip():
            await self._tell(words)

    async def _tell(self, text: str) -> None:
        self._number += 1
        await self._ctx.report_progress(self._number, None, text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def line_of(news: News) -> str:
    """In a line; "" for what is shown elsewhere."""
    match news.name:
        case "tool":
            return f"{news.data['name']}: {news.data['state']}"
        case "approval" if news.data["state"] == "open":
            return f"asks: {news.data['title']}"
        case "run":
            return str(news.data["message"])
        case _:
            return ""


async def along(ctx: Ctx, caller: Caller, run_id: str, seconds: float, *, after: int) -> None:
    """Tells what happens behind the event `after` until the turn has ended or asks something, at most for so long."""
    telling = Telling(ctx)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), aclosing(following.turn(caller.runtime, caller.actor, run_id, after=after)) as news:
            async for one in news:
                await telling.hear(one)
                if one.name == "approval" and one.data["state"] == "open":
                    break
    await telling.flush()


async def last_event(caller: Caller, run_id: str) -> int:
    """The last event there is."""
    last = 0
    while found := await runs.events(caller.runtime, caller.actor, run_id, after=last):
        last = found[-1].seq
    return last
