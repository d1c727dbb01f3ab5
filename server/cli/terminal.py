"""What every command needs of the command line: the option for the data folder, the settings behind it, and a loop to run in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="where data and keys live (WEFT_DATA_DIR)", show_default=False)]


def settings_of(data_dir: Path | None) -> Any:
    """Read when a command runs, so that `--help` need not."""
    from server.settings import load

    return load(data_dir=data_dir)


def perform(work: Callable[[], Awaitable[Any]]) -> Any:
    """Runs a command's coroutine on uvloop where there is one."""
    import asyncio

    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(_awaited(work))


async def _awaited(work: Callable[[], Awaitable[Any]]) -> Any:
    return await work()
