"""runs: lists and shows runs, steers one or many, repeats and compares them."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import typer

from graphs import history, runs, steering
from graphs.definition import Json
from graphs.runs import Run
from graphs.steering import Filter
from server import ordering
from server.auth import Caller
from server.commands.running import read_value
from server.logs import start_logging
from server.ordering import Action, Many
from server.process import house, local_owner
from server.settings import Settings
from server.views.runs import difference_view, effect_view, event_view, past_view, run_line, run_view, step_view
from store.errors import Invalid

PAGE = 200
CHARACTERS = 200_000  # of a large value at a time


@asynccontextmanager
async def _home(settings: Settings) -> AsyncGenerator[Caller]:
    """Who acts here, without driving runs: whoever serves does that."""
    start_logging("warning", settings.secrets())
    async with house(settings) as runtime:
        yield Caller(runtime=runtime, actor=await local_owner(runtime.database))


def _print(value: Json) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


async def show_list(settings: Settings, *, workflow: str | None, state: str | None, mode: str, limit: int) -> None:
    """One line per run, and how many there are."""
    async with _home(settings) as caller:
        page = await runs.page(caller.runtime, caller.actor, workflow=workflow, state=state, mode=mode, limit=limit)
    for item in page.items:
        error = f"  {item.error['message']}" if item.error else ""
        name = f"{item.workflow} v{item.version}" if item.version else item.workflow
        shown = "dead" if item.dead_at else item.state
        typer.echo(f"{item.id}  {shown:9}  {item.created_at:%Y-%m-%d %H:%M:%S}  {name:24}{error[:100]}")
    if page.total > len(page.items):
        typer.echo(f"{len(page.items)} of {page.total:,} runs; --limit shows more.", err=True)


async def show(settings: Settings, run_id: str, view: str, node: str | None) -> None:
    """Prints a view of a run as JSON."""
    async with _home(settings) as caller:
        run = await runs.get(caller.runtime, caller.actor, run_id)
        if view == "status":
            _print({**run_view(run), "input": run.input, "output": run.output})
        elif view == "node":
            _print(step_view(await runs.node(caller.runtime, caller.actor, run.id, _needed(node, "the step"))))
        elif view == "state":
            _print(past_view(await history.state(caller.runtime, caller.actor, run.id, node)))
        elif view == "payload":
            await _payload(caller, run.id, _needed(node, "the digest"))
        else:
            _print(await _everything(caller, run.id, view))


def _needed(node: str | None, what: str) -> str:
    if node is None:
        raise Invalid(f"say {what} with --node")
    return node


async def _payload(caller: Caller, run_id: str, digest: str) -> None:
    at = 0
    while True:
        part = await history.payload(caller.runtime, caller.actor, run_id, digest, offset=at, limit=CHARACTERS)
        typer.echo(part.text, nl=False)
        at += len(part.text)
        if at >= part.size:
            typer.echo()
            return


async def _everything(caller: Caller, run_id: str, view: str) -> list[Json]:
    """All pages of a list."""
    found: list[Json] = []
    mark: str | None = None
    while True:
        rows, mark = await _rows(caller, run_id, view, mark)
        found += rows
        if len(rows) < PAGE:
            return found


async def _rows(caller: Caller, run_id: str, view: str, mark: str | None) -> tuple[list[Json], str | None]:
    """A page, and where the next one begins."""
    at = (caller.runtime, caller.actor, run_id)
    if view == "trace":
        steps = await runs.trace(*at, limit=PAGE, after=mark)
        return [step_view(step) for step in steps], f"{steps[-1].position}@{steps[-1].attempt}" if steps else None
    if view == "events":
        events = await runs.events(*at, limit=PAGE, after=int(mark or 0))
        return [event_view(event) for event in events], str(events[-1].seq) if events else None
    effects = await history.effects(*at, limit=PAGE, after=int(mark or 0))
    return [effect_view(effect) for effect in effects], str(effects[-1].seq) if effects else None


async def order(settings: Settings, run_id: str, action: Action, **arguments: Any) -> None:
    """Carries out what is for one run, and tells how it is then."""
    for name in ("input", "output"):
        if arguments.get(name) is not None:
            arguments[name] = read_value(arguments[name], f"--{name}")
    for name, option in (("edits", "--edit"), ("vars", "--var")):
        if name in arguments:
            arguments[name] = _pairs(arguments[name] or [], option) or None
    if (version := arguments.get("version")) is not None:
        arguments["version"] = _version(version)
    async with _home(settings) as caller:
        _tell(await ordering.carry_out(caller, run_id, ordering.order(action, **arguments)), run_id)


def _pairs(given: Sequence[str], option: str) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise Invalid(f"{option} is written name=JSON, not {text!r}")
        found[name] = read_value(value, f"{option} {name}")
    return found


def _version(text: str) -> Any:
    if text in ("active", "draft"):
        return text
    if text.isdecimal() and 0 < int(text) < 2**31:
        return int(text)
    raise Invalid(f"--version is a number, active or draft, not {text!r}")


def _tell(run: Run, before: str) -> None:
    """The id of a new run goes to stdout, so that it can be piped."""
    if run.id != before:
        typer.echo(run.id)
        typer.echo(f"The new run is {run.state}; `weft serve` or `weft worker` drives it.", err=True)
    else:
        _print(run_line(run))


async def steer(settings: Settings, action: Many, run_id: str | None, given: dict[str, Any], *, yes: bool, compensate: bool | None) -> int:
    """One run, or all that the options find: those are counted, and changed once somebody has said yes. The exit code."""
    chosen = {name: value for name, value in given.items() if value is not None}
    async with _home(settings) as caller:
        if run_id is None:
            return await _steer_many(caller, action, ordering.filter_of(chosen), yes=yes, compensate=compensate)
        if chosen:
            raise Invalid(f"give a run id or --{next(iter(chosen)).replace('_', '-')}, not both")
        _tell(await ordering.carry_out(caller, run_id, ordering.order(action, compensate=compensate)), run_id)
        return 0


async def _steer_many(caller: Caller, action: Many, filter: Filter, *, yes: bool, compensate: bool | None) -> int:
    counted = await steering.count(caller.runtime, caller.actor, action, filter)
    oldest = f"; the oldest: {', '.join(counted.first[:3])}" if counted.first else ""
    typer.echo(f"Runs to {action}: {counted.count:,}{oldest}", err=True)
    if not counted.count:
        return 0
    if not yes and not (sys.stdin.isatty() and typer.confirm("Go on?", err=True)):
        typer.echo("Nothing was done; --yes does it without asking.", err=True)
        return 2
    from rich.console import Console
    from rich.progress import Progress

    many = steering.control_many(caller.runtime, caller.actor, action, filter, expect=counted.count, compensate=compensate)
    done = 0
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(action, total=counted.count)
        async for done in many:
            progress.update(bar, completed=done)
    typer.echo(f"{done:,} asked to {action}")
    return 0


async def diff(settings: Settings, run_id: str, node: str | None, other: str | None, moment: history.Moment) -> None:
    """Prints the patch that makes the second state of the first."""
    async with _home(settings) as caller:
        _print(difference_view(await history.diff(caller.runtime, caller.actor, run_id, node, other, moment)))
