"""run: starts a definition file as a durable run, shows how it goes and prints its output."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from graphs.definition import Json
from graphs.documents import is_object, parse
from server.logs import start_logging
from server.settings import Settings
from store.errors import Invalid, WeftError

if TYPE_CHECKING:
    from graphs.checks import Diagnostic
    from graphs.runs import Run
    from graphs.runtime import Actor, Runtime

CODES = {"succeeded": 0, "failed": 1, "cancelled": 4}
WAITING = 3
POLL_SECONDS = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the command line asks for, read and parsed."""

    definition: Json
    source: str
    input: Json
    mocks: dict[str, Json] | None
    test: bool


def read_order(file: str, input: str, mocks: str | None, *, test: bool) -> Order:
    """Raises Invalid with file and line when something cannot be read."""
    if file == "-" and input == "-":
        raise Invalid("stdin can be the definition or the input, not both.")
    if mocks is not None and not test:
        raise Invalid("--mocks stand in for steps of test runs only; add --test.")
    definition = _parsed(_text(file), "stdin" if file == "-" else file)
    stand_ins = None if mocks is None else read_value(mocks, "--mocks")
    if stand_ins is not None and not is_object(stand_ins):
        raise Invalid('--mocks must be an object: {"node id": output}.')
    source = "stdin" if file == "-" else file
    return Order(definition=definition, source=source, input=read_value(input, "--input"), mocks=stand_ins, test=test)


def read_value(argument: str, option: str) -> Json:
    """JSON as written, the content of @file, or of stdin for -."""
    if argument == "-":
        return _parsed(_text("-"), "stdin")
    if argument.startswith("@"):
        return _parsed(_text(argument[1:]), argument[1:])
    return _parsed(argument, option)


def _text(file: str) -> str:
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Invalid(f"There is no file {file}.") from None
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Invalid(f"{file} is not UTF-8 text.") from None


def _parsed(text: str, source: str) -> Json:
    try:
        return parse(text)
    except Invalid as wrong:
        raise Invalid(f"{source}: {wrong.message}") from None


async def run(settings: Settings, order: Order, *, watch: bool) -> int:
    """Runs it to its end, or until it waits for somebody who is not here. The exit code says which."""
    from graphs import authoring, runs
    from server.process import house, local_owner

    start_logging("warning", settings.secrets())
    async with house(settings, drive=True) as runtime:
        actor = await local_owner(runtime.database)
        report = await authoring.check(runtime, actor, order.definition)
        _tell_problems(order.source, report.diagnostics, warnings=watch)
        if not report.ok:
            return 2
        started = await runs.start_definition(
            runtime,
            actor,
            definition=order.definition,
            input=order.input,
            mode="test" if order.test else "production",
            mocks=order.mocks,
            name=order.definition["name"],
        )
        return _finish(await _seen_through(runtime, actor, started, watch=watch))


def _tell_problems(source: str, problems: tuple[Diagnostic, ...] | list[Diagnostic], *, warnings: bool) -> None:
    for problem in problems:
        if problem.severity == "error" or warnings:
            nearest = f" Nearest: {', '.join(problem.suggestions)}." if problem.suggestions else ""
            where = problem.pointer or "/"
            typer.echo(f"{source} {where}: {problem.severity}: {problem.message}{nearest}", err=True)


async def _seen_through(runtime: Runtime, actor: Actor, run: Run, *, watch: bool) -> Run:
    """Follows the run; asks the person at the terminal what it asks, where there is one."""
    while True:
        run = await _settled(runtime, actor, run, watch=watch)
        task = next((wait["task_id"] for wait in run.waiting_for if wait["kind"] == "task" and wait.get("task_id")), None)
        if run.finished_at is not None or task is None or not (watch and sys.stdin.isatty()):
            return run
        from server.commands.asking import ask

        await ask(runtime, actor, task)


async def _settled(runtime: Runtime, actor: Actor, run: Run, *, watch: bool) -> Run:
    from graphs import runs

    watcher = asyncio.create_task(_show(runtime, actor, run.id)) if watch else None
    try:
        while True:
            run = await runs.wait(runtime, actor, run.id, seconds=POLL_SECONDS, until="settled")
            if run.finished_at is not None or run.state == "paused" or any(wait["kind"] in ("task", "event") for wait in run.waiting_for):
                return run
    finally:
        if watcher is not None:
            await _stop(watcher, finished=run.finished_at is not None)


async def _stop(watcher: asyncio.Task[None], *, finished: bool) -> None:
    """A finished run ends its own stream of events; the last of any other is worth a moment."""
    await asyncio.wait([watcher], timeout=2.0 if finished else 0.4)
    while not watcher.done():
        watcher.cancel()  # more than once: Python 3.11's wait_for, which the pool uses, can lose a cancellation
        await asyncio.wait([watcher], timeout=0.5)
    with suppress(asyncio.CancelledError, WeftError):
        watcher.result()


async def _show(runtime: Runtime, actor: Actor, run_id: str) -> None:
    from rich.console import Console

    from graphs import runs
    from server.progress import Progress

    with Progress(Console(stderr=True, highlight=False)) as progress:
        async for event in runs.follow(runtime, actor, run_id, after=0):
            kind, _, state = event.type.partition(".")
            if kind == "step" and event.position:
                progress.step(event.position, "running" if state == "started" else state)
                progress.show()


def _finish(run: Run) -> int:
    if run.state == "succeeded":
        typer.echo(json.dumps(run.output, ensure_ascii=False, indent=2))
    elif run.state == "failed":
        error = run.error if is_object(run.error) else {"message": run.error}
        where = f" at {error['position']}" if error.get("position") else ""
        typer.echo(f"weft: run {run.id} failed{where}: {error.get('message')}", err=True)
    elif run.state == "cancelled":
        typer.echo(f"weft: run {run.id} was cancelled.", err=True)
    else:
        typer.echo(f"weft: run {run.id} {_waits_for(run)}. It keeps; `weft serve` or `weft worker` goes on with it.", err=True)
    return CODES.get(run.state, WAITING)


def _waits_for(run: Run) -> str:
    for wait in run.waiting_for:
        if wait["kind"] == "task":
            return f"waits for a person (task {wait.get('task_id')})"
        if wait["kind"] == "event":
            return f"waits for the event {wait['event_name']}"
    return f"is {run.state}"
