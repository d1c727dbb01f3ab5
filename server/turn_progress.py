"""What happens in a turn of a chat, as progress notifications: words as they are written, tools, what is asked, how started runs go."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress

from graphs import following, runs
from graphs.following import News
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
        self._since = time.monotonic()

    async def hear(self, news: News) -> None:
        if news.name == "text":
            self._words += str(news.data.get("delta") or news.data.get("text") or "")
            if time.monotonic() - self._since >= EVERY:
                await self.flush()
        elif line := line_of(news):
            await self.flush()
            await self._tell(line)

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


async def along(ctx: Ctx, caller: Caller, run_id: str, seconds: float, *, begun: bool) -> None:
    """Tells what happens until the turn has ended or asks something, at most for so long; from its beginning where it has just `begun`."""
    telling = Telling(ctx)
    after = 0 if begun else await _now(caller, run_id)
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds), aclosing(following.turn(caller.runtime, caller.actor, run_id, after=after)) as news:
            async for one in news:
                await telling.hear(one)
                if one.name == "approval" and one.data["state"] == "open":
                    break
    await telling.flush()


async def _now(caller: Caller, run_id: str) -> int:
    """The last event there is."""
    last = 0
    while found := await runs.events(caller.runtime, caller.actor, run_id, after=last):
        last = found[-1].seq
    return last
