"""The demo told from its first to its last act: shop, server and story, and the server it leaves behind."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import platformdirs

from server.demo.acts import Acts
from server.demo.connect import how_to_connect
from server.demo.screen import Screen
from server.demo.served import Served
from server.demo.shop import Shop
from server.failures import first
from store.errors import Misconfigured, WeftError

DEFAULT_PORT = 7337


async def tell(*, once: bool, port: int | None) -> int:
    """0: every claim held. Leaves the server running until Ctrl-C, unless `once`."""
    screen = Screen()
    screen.title("Weft", "durable AI workflows over MCP, on one Postgres")
    with _data_folder(once) as folder, _ctrl_c() as stop:
        async with Shop().open() as shop:
            served = Served(data_dir=folder, port=_port(port, once), shop_url=shop.url)
            try:
                return await _told(screen, shop, served, stop, once=once)
            finally:
                await served.stop()


async def _told(screen: Screen, shop: Shop, served: Served, stop: asyncio.Event, *, once: bool) -> int:
    story = Acts(screen, shop, served)
    acts = asyncio.create_task(story.play())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({acts, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if not acts.done():
        acts.cancel()
        await asyncio.wait({acts})
        return 130
    stopped.cancel()
    if (error := acts.exception()) is not None:
        wrong = first(error)
        if not isinstance(wrong, WeftError):
            raise error
        screen.bad(f"{wrong.message} (server log: {served.log})")
        return 1
    if not once:
        await _linger(screen, served, story.name, stop)
    return 0


async def _linger(screen: Screen, served: Served, workflow: str, stop: asyncio.Event) -> None:
    screen.act("Your turn: connect a client")
    for way in how_to_connect(f"{served.url}/mcp", served.key()):
        screen.say(way.title)
        screen.code(way.text)
    screen.say(f'Then ask, for example: "Run {workflow} and tell me how it went."')
    screen.say("Server and shop stay up until Ctrl-C. For a server of your own: make serve")
    await stop.wait()
    screen.console.print("\n     Stopping.")


def _port(port: int | None, once: bool) -> int:
    """The port asked for; else the usual one, or a free one where that is taken or nobody will connect."""
    for wanted in (port,) if port is not None else (0,) if once else (DEFAULT_PORT, 0):
        try:
            with socket.create_server(("127.0.0.1", wanted or 0)) as probe:
                return int(probe.getsockname()[1])
        except OSError:
            continue
    raise Misconfigured(f"Port {port} is in use by another program; choose another with --port.")


@contextmanager
def _data_folder(once: bool) -> Generator[Path]:
    """The demo's own folder, so that keys given to clients stay valid; one that is thrown away for `once`, or while another demo runs."""
    kept = Path(platformdirs.user_data_dir("weft-demo", appauthor=False))
    if not once and (lock := _locked(kept)) is not None:
        try:
            yield kept
        finally:
            os.close(lock)
        return
    folder = Path(tempfile.mkdtemp(prefix="weft-demo-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> int | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "demo.lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Misconfigured(f"The demo cannot use {folder}: {error.strerror}. Make it writable, or run: make demo ONCE=1") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


@contextmanager
def _ctrl_c() -> Generator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
