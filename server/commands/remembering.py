"""memory: brings files in, lists and exports what is remembered, makes vectors anew, keeps it in order."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import Progress

from graphs import housekeeping, memories, runs
from graphs.definition import Json
from graphs.documents import is_object
from graphs.memories import Access, Source
from graphs.runtime import Actor, Runtime
from memory import reading
from server.logs import start_logging
from server.process import house, local_owner
from server.settings import Settings
from store.errors import Invalid, Misconfigured
from store.runs import Run

ROWS = 200  # of a list, kept together


@asynccontextmanager
async def home(settings: Settings) -> AsyncGenerator[Access]:
    start_logging("warning", settings.secrets())
    async with house(settings) as runtime:
        yield memories.access(runtime, await local_owner(runtime.database))


def files_of(paths: Sequence[Path]) -> list[Path]:
    """The files, and those below folders that there is a reader for, in order. Raises Invalid."""
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            below = (inner for inner in path.rglob("*") if inner.is_file() and reading.reader_of(inner))
            found += sorted(inner for inner in below if not any(part.startswith(".") for part in inner.relative_to(path).parts))
        elif not path.is_file():
            raise Invalid(f"there is no file {path}")
        elif reading.reader_of(path) is None:
            raise Invalid(f"{path}: there is no reader for this; there are readers for {', '.join(sorted(reading.readers()))}")
        else:
            found.append(path)
    if not found:
        raise Invalid(f"there is nothing to read there; there are readers for {', '.join(sorted(reading.readers()))}")
    return found


async def bring_in(settings: Settings, paths: Sequence[Path], source: Source) -> int:
    """Keeps what is in the files, and says how much of it was new. What was brought in before, whole or in part, is passed over.

    A file that cannot be read is named, and the others go on; the exit code is then 1.
    """
    files = files_of(paths)
    memories.parse_scope(source.scope)
    new = known = failed = 0
    async with home(settings) as access:
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task("reading", total=sum(_parts(path) for path in files))
            for path in files:
                progress.update(bar, description=path.name[:40])
                one = replace(source, name=path.absolute().as_uri(), title=path.stem)
                try:
                    for passages in _batches(reading.read(path)):
                        kept = await memories.keep_passages(access, one, passages)
                        new, known = new + len(kept.created), known + len(kept.known)
                        progress.advance(bar, len(passages))
                except (Invalid, Misconfigured, OSError) as wrong:
                    failed += 1
                    progress.console.print(f"weft: {path}: {wrong}", markup=False, highlight=False, soft_wrap=True)
    typer.echo(f"{len(files) - failed:,} files: {new:,} memories are new, {known:,} were known")
    return 1 if failed else 0


def _parts(path: Path) -> int:
    if not reading.is_list(path):
        return 1
    try:
        return sum(1 for _ in reading.read(path))
    except (Invalid, OSError):  # said when it is read
        return 1


def _batches(passages: Iterator[reading.Passage]) -> Iterator[list[reading.Passage]]:
    while batch := list(islice(passages, ROWS)):
        yield batch


async def show_list(settings: Settings, *, scope: str | None, kind: str | None, limit: int) -> None:
    """One line per memory, newest first."""
    async with home(settings) as access:
        page = await memories.page(access, scope=scope, kinds=[kind] if kind else None, limit=limit)
    for item in page.items:
        about = f"{item.speaker}: " if item.speaker else ""
        typer.echo(f"{item.id}  {item.kind:8}  {item.recorded_at:%Y-%m-%d %H:%M}  {about}{' '.join(item.body.split())[:100]}")
    if page.total > len(page.items):
        typer.echo(f"{len(page.items)} of {page.total:,} memories; --limit shows more.", err=True)


async def export(settings: Settings, *, subject: str | None, scope: str | None, out: Path | None) -> None:
    """One JSON object a line; a file is for its owner alone."""
    try:
        file = os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") if out else sys.stdout
    except FileExistsError:
        raise Invalid(f"{out} is there already; it is not overwritten") from None
    async with home(settings) as access:
        count = 0
        try:
            async for memory in memories.export(access, subject=subject, scope=scope):
                file.write(json.dumps(memory, ensure_ascii=False, default=str) + "\n")
                count += 1
        finally:
            if out is not None:
                file.close()
    typer.echo(f"{count:,} memories", err=True)


async def reembed(settings: Settings) -> int:
    """Starts the run that makes the missing vectors and then uses them, or takes up the one that is under way, and follows it."""
    return await _follow(
        settings, "embedding", lambda runtime, actor: housekeeping.reembed(runtime, actor, memories.access(runtime, actor))
    )


async def consolidate(settings: Settings) -> int:
    """Starts the run that keeps memories in order, and follows it."""
    return await _follow(settings, "consolidating", housekeeping.consolidate)


async def _follow(settings: Settings, what: str, start: Callable[[Runtime, Actor], Awaitable[Run]]) -> int:
    """To its end. Whatever becomes of this command, the run goes on with whoever drives runs."""
    start_logging("warning", settings.secrets())
    async with house(settings, drive=True) as runtime:
        actor = await local_owner(runtime.database)
        run = await start(runtime, actor)
        typer.echo(f"run {run.id}", err=True)
        with Progress(console=Console(stderr=True)) as progress:
            bar = progress.add_task(what, total=None)
            async for event in runs.follow(runtime, actor, run.id):
                if event.type == "step.progress" and is_object(event.data):
                    progress.update(bar, completed=event.data.get("current"), total=event.data.get("total"), description=event.message[:60])
        run = await runs.get(runtime, actor, run.id)
    if run.state != "succeeded":
        typer.echo(f"weft: run {run.id} {run.state}: {run.error['message'] if is_object(run.error) else ''}", err=True)
        return 1
    typer.echo(_said(run.output))
    return 0


def _said(output: Json) -> str:
    if "total" in output:
        return f"{output['done']:,} of {output['total']:,} memories have vectors of this embedder"
    made, one, linked, gone = (f"{output[name]:,}" for name in ("summed_up", "merged", "linked", "forgotten"))
    return f"{made} summaries made, {one} entities merged, {linked} duplicates linked, {gone} memories forgotten"
