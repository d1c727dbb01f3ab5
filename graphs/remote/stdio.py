"""MCP over the standard input and output of a child process: exactly the environment it is given, bounded lines, its stderr in the log.

The SDK's own transport adds HOME, PATH and more of ours to the child's environment, and reads lines of any length."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.shared.message import SessionMessage
from mcp.types import jsonrpc_message_adapter

from graphs.nodetype import Failure
from graphs.remote.definitions import shown
from graphs.remote.servers import Server

MAX_LINE = 4 * 2**20  # bytes of a message
MAX_STDERR = 100  # lines of one process that the log takes
GRACE_SECONDS = 2.0  # from the end of its input to SIGTERM, and from there to SIGKILL
LEASH = Path(__file__).with_name("leash.py")

log = logging.getLogger(__name__)

Inbound = MemoryObjectReceiveStream[SessionMessage | Exception]
Outbound = MemoryObjectSendStream[SessionMessage]


@asynccontextmanager
async def stdio(server: Server) -> AsyncGenerator[tuple[Inbound, Outbound]]:
    """Runs the server for the block. Raises Failure when it cannot be started."""
    process = await _started(server)
    heard, inbound = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbound, said = anyio.create_memory_object_stream[SessionMessage](0)
    tasks = [
        asyncio.create_task(_read(process, heard, server.name)),
        asyncio.create_task(_write(process, said)),
        asyncio.create_task(_log(process, server)),
    ]
    try:
        yield inbound, outbound
    finally:
        ending = asyncio.ensure_future(_ended(process))
        try:
            await asyncio.shield(ending)
        except asyncio.CancelledError:  # the child must not outlive us, whoever is in a hurry
            _signal(process, signal.SIGKILL)
            await asyncio.wait([ending], timeout=GRACE_SECONDS)
            raise
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for stream in (heard, inbound, outbound, said):
                stream.close()


async def _started(server: Server) -> asyncio.subprocess.Process:
    if shutil.which(_placed(server), path=server.env.get("PATH", os.defpath)) is None:
        log.warning("the MCP server %r does not start: there is no program %s that may be run", server.name, server.command)
        message = f"the local server {server.name!r} does not start: its command is not there; the operator finds it in the log"
        raise Failure("remote_start", message, retryable=True)
    command = [sys.executable, "-I", "-S", str(LEASH), str(os.getpid()), server.command, *server.args]
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(server.env),
            cwd=server.cwd or "/",
            start_new_session=True,
            limit=MAX_LINE,
        )
    except OSError as wrong:
        raise Failure("remote_start", f"the server {server.name!r} could not be started: {wrong.strerror}", retryable=True) from None


def _placed(server: Server) -> str:
    """The command, which may be named from where it is run."""
    return os.path.join(server.cwd or "/", server.command) if os.path.dirname(server.command) else server.command


async def _read(process: asyncio.subprocess.Process, heard: MemoryObjectSendStream[SessionMessage | Exception], name: str) -> None:
    assert process.stdout  # noqa: S101  # a pipe
    async with heard:
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:
                log.warning("the MCP server %r wrote a message of more than %d bytes; its session ends", name, MAX_LINE)
                return
            if not line:
                return
            try:
                message: SessionMessage | Exception = SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
            except ValueError:
                message = ValueError("not a JSON-RPC message")
            try:
                await heard.send(message)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return


async def _write(process: asyncio.subprocess.Process, said: MemoryObjectReceiveStream[SessionMessage]) -> None:
    assert process.stdin  # noqa: S101  # a pipe
    async with said:
        async for message in said:
            line = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            try:
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()
            except (ConnectionError, OSError):
                return


async def _log(process: asyncio.subprocess.Process, server: Server) -> None:
    """What it says on stderr, without the values of its environment; all of it is read, so that it never waits for us."""
    assert process.stderr  # noqa: S101  # a pipe
    lines = 0
    while True:
        try:
            line = await process.stderr.readline()
        except ValueError:  # longer than a line may be
            continue
        if not line:
            return
        lines += 1
        if lines <= MAX_STDERR:
            log.info("%s: %s", server.name, shown(server.redacted(line.decode("utf-8", "replace").rstrip()), 500))
        elif lines == MAX_STDERR + 1:
            log.info("%s: says more than %d lines; the rest is not shown", server.name, MAX_STDERR)


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Its input is closed, then it is asked to end, then it is killed, and everything it has started with it."""
    if process.stdin:
        with suppress(OSError, RuntimeError):
            process.stdin.close()
    for number in (None, signal.SIGTERM, signal.SIGKILL):
        if number is not None:
            _signal(process, number)
        if await _gone(process):
            break
    _signal(process, signal.SIGKILL)  # what is left of its group


async def _gone(process: asyncio.subprocess.Process) -> bool:
    try:
        async with asyncio.timeout(GRACE_SECONDS):
            await process.wait()
    except TimeoutError:
        return False
    return True


def _signal(process: asyncio.subprocess.Process, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
