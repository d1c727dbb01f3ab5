"""doctor: looks at everything Weft stands on, changes nothing, and says for each thing that it is fine or what to do."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import typer

from migrations import apply as migrations
from server.keys import OWNER_KEY, open_keys, read
from server.logs import start_logging
from server.process import Address, postgres
from server.settings import Settings, load
from store import preflight
from store.cluster import Cluster
from store.errors import Misconfigured, Unavailable, WeftError

LOW_DISK = 500_000_000  # bytes
Colour = {"ok": "green", "note": "yellow", "problem": "red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    state: Literal["ok", "note", "problem"]
    text: str


def ok(text: str) -> Finding:
    return Finding(state="ok", text=text)


def note(text: str) -> Finding:
    return Finding(state="note", text=text)


def problem(text: str) -> Finding:
    return Finding(state="problem", text=text)


async def examine(*, port: int | None, data_dir: Path | None) -> int:
    """Prints a line per finding. 0 when nothing is a problem, else 1."""
    start_logging("error", ())
    healthy = True
    async for finding in _findings(port, data_dir):
        typer.secho(f"{finding.state:8}", fg=Colour[finding.state], nl=False)
        typer.echo(f"{finding.text}")
        healthy = healthy and finding.state != "problem"
    return 0 if healthy else 1


async def _findings(port: int | None, data_dir: Path | None) -> AsyncIterator[Finding]:
    yield _python()
    try:
        settings = load(port=port, data_dir=data_dir)
    except Misconfigured as wrong:
        for line in wrong.message.splitlines():
            yield problem(line)
        return
    yield ok(f"settings: {len(settings.variables)} variables for expressions")
    for look in (_data_dir, _keys, _port, _model):
        yield _told(look, settings)
    async for finding in _database(settings):
        yield finding


def _told(look: Callable[[Settings], Finding], settings: Settings) -> Finding:
    try:
        return look(settings)
    except WeftError as wrong:
        return problem(wrong.message)


def _python() -> Finding:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    return ok(text) if sys.version_info >= (3, 11) else problem(f"{text}; Weft needs 3.11 or newer")


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        return problem(f"data folder {folder}: {there} is a file; move it away or set WEFT_DATA_DIR")
    if not os.access(there, os.W_OK | os.X_OK):
        return problem(f"data folder {folder}: {there} is not writable for this user; make it so or set WEFT_DATA_DIR")
    free = shutil.disk_usage(there).free
    if free < LOW_DISK:
        return problem(f"data folder {folder}: only {free // 1_000_000} MB free on its disk; make room")
    state = "" if folder.exists() else " (made at the first start)"
    return ok(f"data folder {folder}, {free / 1e9:.1f} GB free{state}")


def _keys(settings: Settings) -> Finding:
    if not settings.keys_dir.exists():
        return note("keys: none yet; the first start makes them")
    open_keys(settings.keys_dir)
    if read(settings.keys_dir / OWNER_KEY) is None:
        return note(f"keys: private, in {settings.keys_dir}; no owner key here (weft key create makes one)")
    return ok(f"keys: private, in {settings.keys_dir}")


def _port(settings: Settings) -> Finding:
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            return note(f"port {settings.port}: {error.strerror}. If that is not your weft serve, choose another with --port or WEFT_PORT")
    return ok(f"port {settings.port} is free")


def _model(settings: Settings) -> Finding:
    if settings.openai_base_url:
        return ok("model: an OpenAI-compatible endpoint is configured")
    vendors = [name for name, key in (("OpenAI", settings.openai_api_key), ("Anthropic", settings.anthropic_api_key)) if key]
    if vendors:
        return ok(f"model: {' and '.join(vendors)}, default {settings.model or 'of the vendor'}")
    return note("model: no key; llm steps answer from the scripted provider (set OPENAI_API_KEY, ANTHROPIC_API_KEY or OPENAI_BASE_URL)")


async def _database(settings: Settings) -> AsyncIterator[Finding]:
    if settings.embedded and not Cluster(data=settings.postgres_dir).made:
        yield note("Postgres: embedded; the first start makes the database")
        return
    try:
        async with postgres(settings) as address:
            async for finding in _schema(settings, address):
                yield finding
    except (Misconfigured, Unavailable) as wrong:
        yield problem(f"Postgres: {wrong.message}")


async def _schema(settings: Settings, address: Address) -> AsyncIterator[Finding]:
    facts = await preflight.inspect(address.admin_url if settings.embedded else address.url)
    for sentence in preflight.refusals(facts, app=not settings.embedded):
        yield problem(f"Postgres: {sentence}")
    where = "embedded" if settings.embedded else "external"
    yield ok(f"Postgres {facts.major} ({where}), pgvector {facts.pgvector or 'missing'}")
    found = await migrations.status(address.admin_url if settings.embedded else address.url)
    if found.problem:
        yield problem(f"schema: {found.problem}")
    elif found.pending:
        yield problem(f"schema: {len(found.pending)} migrations to apply; run weft migrate up")
    else:
        yield ok(f"schema: up to date ({found.applied[-1]})")
