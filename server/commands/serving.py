"""serve, mcp and worker: the long-running commands, and how they end."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import signal
import socket
import sys
from collections.abc import Generator
from contextlib import contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

import typer
import uvicorn

from server import keys
from server.http.wire import BoundedProtocol
from server.logs import start_logging
from server.process import house, local_owner, warm_up
from server.settings import Settings
from store.errors import Misconfigured

if TYPE_CHECKING:
    from graphs.runtime import Runtime

CLOSE_SECONDS = 5  # for answers under way when the door closes


async def serve(settings: Settings) -> None:
    """Opens the HTTP door; returns after SIGTERM or Ctrl-C."""
    start_logging(settings.log_level, settings.secrets())
    listener = _listen(settings)  # first of all, so that a port in use is said at once
    newborn = keys.read(keys.open_keys(settings.keys_dir).folder / keys.OWNER_KEY) is None
    with _stopping() as stop:
        async with house(settings, drive=settings.worker, door="server.app") as runtime:
            await _serve(settings, runtime, listener, stop, newborn=newborn)


async def _serve(settings: Settings, runtime: Runtime, listener: socket.socket, stop: asyncio.Event, *, newborn: bool) -> None:
    from server.app import create_app

    door = Door(
        uvicorn.Config(
            create_app(runtime, settings),
            log_config=None,
            access_log=False,
            server_header=False,
            http=BoundedProtocol,
            timeout_graceful_shutdown=CLOSE_SECONDS,
            timeout_keep_alive=75,
        )
    )
    opened = asyncio.create_task(door.serve(sockets=[listener]))
    told = asyncio.create_task(_announce(settings, door, listener, newborn=newborn))
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({opened, stopped}, return_when=asyncio.FIRST_COMPLETED)
    door.should_exit = True
    told.cancel()
    stopped.cancel()
    await opened


async def _announce(settings: Settings, door: Door, listener: socket.socket, *, newborn: bool) -> None:
    await door.ready.wait()
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    typer.echo(f"Weft {version('weft')} is ready on {url} (MCP at {url}/mcp)")
    path = settings.keys_dir / keys.OWNER_KEY
    typer.echo(f"API key: {keys.read(path)} (shown this once; kept in {path})" if newborn else f"API key: in {path}")
    sys.stdout.flush()
    await warm_up()
    _settle_memory()


class Door(uvicorn.Server):
    """uvicorn without its own signal handlers, and with an event for when it listens."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


async def stdio(settings: Settings) -> None:
    """MCP on stdin and stdout. stdout belongs to the protocol: everything else goes to stderr."""
    sys.stdout, wire = sys.stderr, sys.stdout
    start_logging(settings.log_level if settings.log_level == "debug" else "warning", settings.secrets())
    with _stopping() as stop:
        async with house(settings, drive=settings.worker, door="server.mcp") as runtime:
            from server.mcp import build_server

            sealing = [keys.open_keys(settings.keys_dir).request_state]
            local = await local_owner(runtime.database)
            await warm_up()
            server = build_server(runtime, keys=sealing, local=local, publish=settings.published_tools)
            _settle_memory()
            sys.stdout = wire  # the transport takes the descriptor over and leaves stderr in its place
            spoken = asyncio.create_task(server.run_stdio_async())
            stopped = asyncio.create_task(stop.wait())
            await asyncio.wait({spoken, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if spoken.done():
                await spoken
    os._exit(0)  # a thread may still sit in read(stdin), and Python would wait for it


async def work(settings: Settings) -> None:
    """Drives runs until SIGTERM or Ctrl-C."""
    start_logging(settings.log_level, settings.secrets())
    with _stopping() as stop:
        async with house(settings, drive=True):
            await warm_up()
            _settle_memory()
            typer.echo(f"Weft {version('weft')} worker is ready, up to {settings.max_runs} runs at a time")
            sys.stdout.flush()
            await stop.wait()


def _listen(settings: Settings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family[0], socket.SOCK_STREAM, socket.IPPROTO_TCP)  # named, so that asyncio turns Nagle off
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(family[4])
    except OSError as error:
        raise Misconfigured(_why_not(settings, error)) from None
    except UnicodeError:
        raise Misconfigured(f"WEFT_HOST is {settings.host!r}, which is not the name of a host.") from None
    listener.listen(2048)
    listener.setblocking(False)
    return listener


def _why_not(settings: Settings, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {settings.port} is in use by another program (perhaps another weft serve); choose another with --port or WEFT_PORT."
    if error.errno == errno.EACCES:
        return f"Port {settings.port} may only be opened by root; choose one above 1023 with --port or WEFT_PORT."
    return f"Weft cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. Set WEFT_HOST to an address of this machine."


@contextmanager
def _stopping() -> Generator[asyncio.Event]:
    """An event that the first SIGTERM or Ctrl-C sets; the second ends the process on the spot, which loses nothing either."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def asked() -> None:
        if stop.is_set():
            os._exit(130)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked)
    try:
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def _settle_memory() -> None:
    """What was made while starting stays: the collector need never look at it again."""
    gc.collect()
    gc.freeze()
    gc.enable()
