"""Lines from the person at a terminal, and Ctrl-C, beside the event loop."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from contextlib import suppress
from typing import Any


async def read_line(prompt: str) -> str | None:
    """A line from the terminal, read beside the event loop by a thread that holds nobody up; None at its end."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[str | None] = loop.create_future()

    def done(line: str | None) -> None:
        if not answered.done():
            answered.set_result(line)

    def read() -> None:
        try:
            line: str | None = input(prompt) if sys.stdin.isatty() else (sys.stdin.readline() or None)
        except (EOFError, KeyboardInterrupt):
            line = None
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(done, line)

    threading.Thread(target=read, daemon=True).start()
    return await answered


class stopping:  # a context manager that reads like one
    """Ctrl-C during the block does this instead of ending the program."""

    def __init__(self, act: Any) -> None:
        self._act = act
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        with suppress(NotImplementedError):  # Windows
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._hit)

    def _hit(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.ensure_future(self._act())

    def __exit__(self, *exc: object) -> None:
        with suppress(NotImplementedError):
            asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
